"""``anyorder data zebra`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyorder.cli.app import main
from anyorder.tasks.zebra import Names, Puzzles, read_answer, read_prompt, verify
from anyorder.tasks.zebra.rules import parse_size


def run(*words: object) -> int:
    return main([str(word) for word in words])


def test_a_set_is_the_same_for_any_number_of_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("data", "zebra", "--count", 8, "--seed", 3, "--sizes", "3x3", "4x3", "--kinds", "classic")
    for workers in (1, 2):
        assert run(*options, "--workers", workers, "--out", tmp_path / f"{workers}.npz") == 0
    one, two = (Puzzles.load(tmp_path / f"{workers}.npz") for workers in (1, 2))
    assert one.fingerprint == two.fingerprint
    assert one.order is not None
    printed = capsys.readouterr().out
    assert one.fingerprint[:16] in printed
    assert "same house" in printed


def test_prompts_come_with_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    assert run("data", "zebra", "--count", 4, "--sizes", "3x3", "--out", path) == 0
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(lines) == 4
    for line in lines:
        puzzle, names = read_prompt(line["prompt"])
        assert names == Names.usual(parse_size(line["size"]))
        assert verify(puzzle, read_answer(line["answer"], names))


@pytest.mark.parametrize(
    "words, told",
    [
        (("--count", "0", "--out", "a.npz"), "--count"),
        (("--count", "1", "--out", "a.csv"), ".npz or .jsonl"),
        (("--count", "1", "--out", "a.npz", "--sizes", "9x9"), "2 to 6 houses"),
        (("--count", "1", "--out", "a.npz", "--sizes", "four"), "no size"),
        (("--count", "1", "--out", "a.npz", "--hardest", "7"), "hardest"),
    ],
)
def test_bad_words_are_one_line(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", "zebra", *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
