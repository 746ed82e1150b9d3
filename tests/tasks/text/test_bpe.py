"""Trained byte-pair encodings: every text comes back, words are kept apart, files are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer, Tokenizer
from anyorder.tasks.text import Document, write_tokens
from anyorder.tasks.text.bpe import BpeTokenizer, open_tokenizer, train_bpe

pytest.importorskip("tokenizers")
TEXT = "the cat sat on the mat; the other cat sat on the other mat.\n" * 50


@pytest.fixture(scope="module")
def tokenizer() -> BpeTokenizer:
    return train_bpe([TEXT], 300)


def test_it_is_a_tokenizer_with_its_special_tokens_last(tokenizer: BpeTokenizer) -> None:
    assert isinstance(tokenizer, Tokenizer)
    n = tokenizer.learned
    assert (tokenizer.end_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id) == (n, n + 1, n + 2)
    assert tokenizer.vocab_size == n + 3 <= 300
    assert len(tokenizer.encode(TEXT)) < len(TEXT) / 2
    pieces = {tokenizer.decode([token]) for token in tokenizer.encode(TEXT)}
    assert " the" in pieces
    assert all(" " not in piece[1:] for piece in pieces)  # no token holds parts of two words


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_text_comes_back(text: str) -> None:
    tokenizer = _trained()
    tokens = tokenizer.encode(text)
    assert tokenizer.decode(tokens) == text
    assert all(0 <= token < tokenizer.learned for token in tokens)
    assert tokenizer.decode([tokenizer.end_token_id, *tokens, tokenizer.mask_token_id]) == text


_CACHE: list[BpeTokenizer] = []


def _trained() -> BpeTokenizer:
    if not _CACHE:
        _CACHE.append(train_bpe([TEXT], 300))
    return _CACHE[0]


def test_the_definition_is_kept_and_checked(tokenizer: BpeTokenizer, tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    kind = {"name": tokenizer.name, "definition": tokenizer.definition}
    write_tokens(folder, [Document("text", (TEXT,))], tokenizer, **kind, validation_every=None)
    again = open_tokenizer(folder)
    assert isinstance(again, BpeTokenizer)
    assert again.name == tokenizer.name
    assert again.encode(TEXT) == tokenizer.encode(TEXT)
    train_bpe([TEXT.upper()], 290).save(folder / "tokenizer.json")
    with pytest.raises(UserError, match="its tokenizer is bpe-"):
        open_tokenizer(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="the tokenizer cannot be read"):
        open_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UserError, match="cannot read the tokenizer"):
        open_tokenizer(folder)


def test_bytes_need_no_file(tmp_path: Path) -> None:
    write_tokens(tmp_path / "t", [Document("text", ("hello",))], ByteTokenizer(), validation_every=None)
    assert open_tokenizer(tmp_path / "t") == ByteTokenizer()


def test_bad_input_is_refused(tokenizer: BpeTokenizer) -> None:
    with pytest.raises(UserError, match="at least 259 tokens"):
        train_bpe([TEXT], 100)
    with pytest.raises(UserError, match="is not one of the"):
        tokenizer.decode([tokenizer.vocab_size])
    with pytest.raises(UserError, match="half a surrogate pair"):
        tokenizer.encode("x\ud800")
