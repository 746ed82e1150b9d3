"""`anyorder data text`: what it writes, and what it refuses in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyorder.cli.app import main
from anyorder.tasks.text import TokenSet, read_index
from anyorder.tasks.text.bpe import open_tokenizer


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    path = tmp_path / "novel.txt"
    path.write_text("It was the best of times, it was the worst of times.\n" * 60)
    return path


def run(*arguments: object) -> int:
    return main(["data", "text", *map(str, arguments)])


def test_bytes(novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(novel, "--out", tmp_path / "tokens", "--block", 64) == 0
    index = read_index(tmp_path / "tokens")
    size = novel.stat().st_size
    assert (index.documents, index.bytes, index.tokens, index.origin) == (1, size, size + 1, "novel.txt")
    assert f"1 texts of {size:,} bytes" in capsys.readouterr().out
    tokens = TokenSet(tmp_path / "tokens")
    assert bytes(tokens.windows(np.array([0]), 24)[0].tolist()) == b"It was the best of times"


def test_a_trained_tokenizer_is_kept_and_used_again(novel: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    options = ("--validation-every", 0)
    assert run(novel, "--out", tmp_path / "one", "--tokenizer", "bpe", "--vocab-size", 280, *options) == 0
    assert run(novel, "--out", tmp_path / "two", "--trained", tmp_path / "one", *options) == 0
    assert read_index(tmp_path / "one") == read_index(tmp_path / "two")
    text = "the worst of times"
    tokenizer = open_tokenizer(tmp_path / "two")
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert read_index(tmp_path / "one").tokens < novel.stat().st_size / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name text files, or a data set with --hub"),
        (("novel.txt", "--hub", "owner/name"), "one of the two"),
        (("novel.txt", "--column", "body"), "belong to --hub"),
        (("novel.txt", "--vocab-size", 100), "--vocab-size must be at least 259"),
        (("novel.txt", "--validation-every", 1), "--validation-every must be 0"),
        (("novel.txt", "--trained", "t", "--tokenizer", "bpe"), "give one of the two"),
        (("absent.txt",), "no such file or folder: absent.txt"),
        (("novel.txt",), "too few to keep a block"),
        (("latin.txt",), "latin.txt, line 1: not UTF-8"),
    ],
)
def test_bad_input_is_one_line(
    novel: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[object, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    before = set(tmp_path.iterdir())
    assert run(*arguments, "--out", tmp_path / "tokens") == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("anyorder: error:")]
    assert len(error) == 1
    assert message in error[0]
    assert set(tmp_path.iterdir()) == before
