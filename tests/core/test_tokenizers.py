"""The byte tokenizer: exact both ways, and special tokens that no text can produce."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer, Tokenizer

TOKENIZER = ByteTokenizer()
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT)
def test_round_trip_is_exact(text):
    ids = TOKENIZER.encode(text)
    assert all(0 <= token < 256 for token in ids)
    assert TOKENIZER.decode(ids) == text


@given(TEXT, TEXT)
def test_a_text_of_two_parts_is_its_parts(left, right):
    assert TOKENIZER.encode(left + right) == TOKENIZER.encode(left) + TOKENIZER.encode(right)


@given(st.lists(st.integers(0, 258)))
def test_any_tokens_have_a_text(ids):
    text = TOKENIZER.decode(ids)
    assert text == bytes(token for token in ids if token < 256).decode(errors="replace")


def test_it_is_a_tokenizer_with_distinct_special_tokens():
    assert isinstance(TOKENIZER, Tokenizer)
    special = (TOKENIZER.end_token_id, TOKENIZER.pad_token_id, TOKENIZER.mask_token_id)
    assert special == (256, 257, 258)
    assert TOKENIZER.vocab_size == 259
    assert TOKENIZER.decode([104, *special, 105]) == "hi"


def test_a_character_cut_in_two_shows():
    assert TOKENIZER.decode("é".encode()[:1]) == "�"


@pytest.mark.parametrize("ids", [[-1], [259], [0, 10**9]])
def test_what_is_no_token_is_refused(ids):
    with pytest.raises(UserError, match="not one of the 259"):
        TOKENIZER.decode(ids)


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(UserError, match="character 1 is half a surrogate pair"):
        TOKENIZER.encode("a\ud83d")
