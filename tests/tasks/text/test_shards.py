"""Tokens on disk: all of them, in order, in the right split; whole or not at all; damage is seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer
from anyorder.tasks.text import Document, TokenSet, read_index, write_tokens


def stream(texts: list[str]) -> np.ndarray:
    """What the folder must hold, written down independently."""
    return np.concatenate([[*text.encode(), 256] for text in texts])


def test_the_splits_hold_the_stream_block_by_block(folder: Path, texts: list[str]) -> None:
    whole = stream(texts)
    block = np.arange(len(whole)) // 64
    for split, chosen in {"train": block % 5 != 4, "validation": block % 5 == 4}.items():
        tokens = TokenSet(folder, split)
        assert len(tokens) == chosen.sum()
        assert (tokens.windows(np.array([0]), len(tokens))[0] == whole[chosen]).all()
    index = read_index(folder)
    assert (index.documents, index.origin, index.tokenizer) == (3, "test", "bytes")
    assert index.bytes == sum(len(text.encode()) for text in texts)
    assert index.tokens == index.bytes + 3
    assert len(index.splits["train"].shards) > 3
    assert {count for _, count in index.splits["train"].shards[:-1]} == {1000}


def test_windows_may_cross_shards(folder: Path) -> None:
    tokens = TokenSet(folder)
    whole = tokens.windows(np.array([0]), len(tokens))[0]
    starts = np.array([0, 990, 999, 1000, 1001, 2500, len(tokens) - 40])
    assert (tokens.windows(starts, 40) == whole[starts[:, None] + np.arange(40)]).all()
    assert (tokens.windows(np.array([500]), 2200)[0] == whole[500:2700]).all()
    for starts, length in (([-1], 4), ([len(tokens) - 3], 4), ([0], 0)):
        with pytest.raises(UserError, match="must lie inside"):
            tokens.windows(np.array(starts), length)


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path) -> None:
    class Wide(ByteTokenizer):
        vocab_size, mask_token_id, end_token_id = 70_003, 70_002, 70_000

        def encode(self, text: str) -> list[int]:
            return [65_530 + k % 10 for k in range(len(text))]

    write_tokens(tmp_path / "wide", [Document("one", ("x" * 20,))], Wide(), name="wide", validation_every=None)
    tokens = TokenSet(tmp_path / "wide")
    assert tokens.windows(np.array([0]), 21)[0].tolist() == [65_530 + k % 10 for k in range(20)] + [70_000]
    assert (tmp_path / "wide" / "train-00000.bin").stat().st_size == 4 * 21


def test_what_was_there_stays_when_writing_fails(tmp_path: Path, folder: Path) -> None:
    target = tmp_path / "tokens"
    write_tokens(target, [Document("one", ("hello",))], ByteTokenizer(), validation_every=None)
    before = {path.name: path.read_bytes() for path in target.iterdir()}

    def failing():
        yield Document("fine", ("fine",))
        yield Document("bad", ("half a pair: \ud800",))

    with pytest.raises(UserError, match="bad: text: character 13"):
        write_tokens(target, failing(), ByteTokenizer(), validation_every=None)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]
    write_tokens(target, [Document("two", ("other text",))], ByteTokenizer(), validation_every=None)
    assert read_index(target).bytes == 10
    assert [path.name for path in tmp_path.iterdir()] == ["tokens"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    for documents, options, message in (
        ([], {}, "no text"),
        ([Document("empty", ("",))], {}, "no text"),
        ([Document("little", ("little",))], {"validation_every": 20}, "7 tokens are too few to keep a block of"),
        ([Document("x", ("x",))], {"block": 0}, "must be at least 1"),
        ([Document("x", ("x",))], {"validation_every": 1}, "validation_every at least 2"),
    ):
        with pytest.raises(UserError, match=message):
            write_tokens(tmp_path / "out", documents, ByteTokenizer(), **{"validation_every": None, **options})
        assert list(tmp_path.iterdir()) == []


def test_other_files_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds other files"):
        write_tokens(tmp_path, [Document("x", ("x",))], ByteTokenizer(), validation_every=None)
    with pytest.raises(UserError, match="it is a file"):
        write_tokens(tmp_path / "thesis.txt", [Document("x", ("x",))], ByteTokenizer(), validation_every=None)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_damage_is_seen(tmp_path: Path) -> None:
    def fresh() -> Path:
        write_tokens(tmp_path / "t", [Document("one", ("some text",))], ByteTokenizer(), validation_every=None)
        return tmp_path / "t"

    shard = fresh() / "train-00000.bin"
    data = bytearray(shard.read_bytes())
    data[0] ^= 1
    shard.write_bytes(data)
    with pytest.raises(UserError, match="do not match their SHA-256"):
        TokenSet(tmp_path / "t")
    shard.write_bytes(data[:-2])
    with pytest.raises(UserError, match="18 bytes instead of 20"):
        TokenSet(tmp_path / "t")
    shard.unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-00000\.bin"):
        TokenSet(tmp_path / "t")
    with pytest.raises(UserError, match="has no validation split"):
        TokenSet(fresh(), "validation")
    index = tmp_path / "t" / "index.json"
    values = json.loads(index.read_text())
    for broken, message in (
        ({**values, "anyorder_tokens": 9}, "no index of tokens of format 1"),
        ({**values, "surprise": 1}, "is damaged"),
        ({**values, "splits": {"train": {"tokens": 10}}}, "is damaged"),
        ({**values, "splits": {"train": {**values["splits"]["train"], "tokens": 11}}}, "do not add up"),
    ):
        index.write_text(json.dumps(broken))
        with pytest.raises(UserError, match=message):
            TokenSet(tmp_path / "t")
    index.write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_index(tmp_path / "t")
    with pytest.raises(UserError, match="no folder of tokens"):
        read_index(tmp_path / "absent")


def test_the_fingerprint_is_that_of_the_content(tmp_path: Path, folder: Path) -> None:
    def written(text: str) -> str:
        write_tokens(tmp_path / "t", [Document("x", (text,))], ByteTokenizer(), validation_every=None)
        return TokenSet(tmp_path / "t").fingerprint

    assert written("same") == written("same") != written("other")
    assert TokenSet(folder).fingerprint != TokenSet(folder, "validation").fingerprint
