"""``anyorder data arithmetic`` and ``countdown`` from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.cli.app import main
from anyorder.tasks.arithmetic import held_out, read_countdown, read_problems


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.mark.parametrize("difficulty", ["normal", "hard"])
def test_problems_are_written_and_read_back(tmp_path: Path, difficulty: str) -> None:
    options = ("data", "arithmetic", "--count", 20, "--seed", 3, "--difficulty", difficulty, "--split", "held-out")
    for name in ("a", "b"):
        assert run(*options, "--out", tmp_path / f"{name}.jsonl") == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    problems = read_problems(tmp_path / "a.jsonl")
    assert len({problem.question for problem in problems}) == 20
    assert all(held_out(problem.question) for problem in problems)


def test_countdown_has_the_published_form(tmp_path: Path) -> None:
    path = tmp_path / "countdown_4.jsonl"
    assert run("data", "countdown", "--count", 15, "--numbers", 4, "--out", path) == 0
    problems = read_countdown(path)
    assert len(problems) == 15
    assert all(problem.question.count(",") == 4 for problem in problems)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("arithmetic", "--count", "0", "--out", "a.jsonl"), "--count"),
        (("arithmetic", "--count", "1", "--out", "a.csv"), ".jsonl"),
        (("arithmetic", "--count", "1", "--seed", "-1", "--out", "a.jsonl"), "--seed"),
        (("countdown", "--count", "1", "--numbers", "1", "--out", "a.jsonl"), "2 to 12 numbers"),
    ],
)
def test_bad_input(words: tuple[str, ...], told: str, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("data", *words) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"question": "1+2"}',
        '{"question": "1+", "trace": "1+2=3", "answer": "3"}',
        '{"question": "1+2", "trace": "1+2=4", "answer": "3"}',
        '{"question": "1+2", "trace": "1+2=3", "answer": "4"}',
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str) -> None:
    from anyorder.core.errors import UserError

    path = tmp_path / "bad.jsonl"
    path.write_text('{"question": "1+2", "trace": "1+2=3", "answer": "3"}\n\n' + line + "\n")
    with pytest.raises(UserError, match="line 3"):
        read_problems(path)
