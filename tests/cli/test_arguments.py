"""Argument text becomes a command, or one clear line."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.cli import arguments
from anyorder.cli.app import COMMANDS, DESCRIPTION, main
from anyorder.cli.compare import Compare
from anyorder.cli.solve import Solve
from anyorder.cli.train import Train
from anyorder.cli.view import View
from anyorder.core.errors import UserError


def parse(*argv: str) -> Any:
    return arguments.parse(COMMANDS, argv, prog="anyorder", description=DESCRIPTION)


def leaves(commands: Any = COMMANDS, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type]]:
    for name, command in commands.items():
        if isinstance(command, dict):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


def test_the_documented_command_lines_are_understood() -> None:
    solve = parse("solve", "puzzles.csv", "--model", "sudoku-9x9", "--order", "margin", "--budget", "one")
    assert isinstance(solve, Solve)
    assert (solve.file, solve.model) == (Path("puzzles.csv"), "sudoku-9x9")
    assert (solve.decoding.order, solve.decoding.budget) == ("margin", "one")
    data = parse("data", "sudoku", "--count", "10", "--out", "f.csv")
    assert (data.count, data.out) == (10, Path("f.csv"))
    compare = parse("compare", "p.csv", "--model", "m", "--strategies", "margin", "med")
    assert isinstance(compare, Compare)
    assert compare.strategies == ("margin", "med")
    train = parse("train", "config.yaml", "--from", "elsewhere", "--minutes", "0.5")
    assert isinstance(train, Train)
    assert (train.config, train.start_from, train.minutes) == ("config.yaml", Path("elsewhere"), 0.5)
    assert parse("view", "t.jsonl", "-o", "page.html") == View(Path("t.jsonl"), Path("page.html"))
    assert parse("experiment", "sudoku-6x6", "--scale", "smoke").scale == "smoke"
    assert parse("bench", "decode", "--repeats", "2").repeats == 2
    assert parse("demo", "--threads", "2").machine.batch_size == 64


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "name a command first"),
        (["slove"], "unknown command 'slove'; did you mean solve?"),
        (["bench", "decod"], "unknown command 'decod'; did you mean decode?"),
        (["--bogus"], "unknown option --bogus"),
        (["solve", "f", "--mode", "m"], "unknown option --mode; did you mean --model?"),
        (["solve", "f", "--batchsize=3", "--model", "m"], "unknown option --batchsize; did you mean --batch-size?"),
        (["solve", "f", "--model", "m", "-z"], "unknown option -z"),
        (["solve", "f", "g", "--model", "m"], "unexpected argument 'g'"),
        (["solve", "f"], "missing: --model STR"),
        (["solve", "f", "--model"], "--model needs a value"),
        (["solve", "f", "--model", "m", "--seed", "x"], "--seed: 'x' is not a whole number"),
        (["solve", "f", "--model", "m", "--temperature", "x"], "--temperature: 'x' is not a number"),
        (["solve", "f", "--model", "m", "--temperature", "nan"], "--temperature must be at least 0"),
        (["solve", "f", "--model", "m", "--limit", "0"], "--limit must be at least 1, not 0"),
        (["solve", "f", "--model", "m", "--strategy", "med", "--order", "margin"], "drop --order"),
        (["compare", "f", "--model", "m", "--strategies"], "--strategies"),
        (["compare", "f", "--model", "m", "--strategies", "med", "med"], "names 'med' twice"),
        (["data", "zebras", "--count", "1", "--out", "f.csv"], "zebra"),
        (["data", "sudoku", "--count", "1", "--out", "f.doc"], "must end in .npz, .csv or .txt"),
        (["experiment", "sudoku-6x6", "--scale", "huge"], "huge"),
    ],
)
def test_a_bad_command_line_is_one_clear_line(argv: list[str], message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(*argv)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not set("│╭╰─") & set(str(refused.value))


@pytest.mark.parametrize("path", [path for path, _ in leaves()], ids="-".join)
def test_every_command_has_help(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr()
    assert f"anyorder {' '.join(path)}" in shown.out
    assert shown.err == ""


@pytest.mark.parametrize("command", [command for _, command in leaves()], ids=lambda command: command.__name__)
def test_every_option_of_the_help_is_known(command: type, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = (path for path, leaf in leaves() if leaf is command)
    main([*path, "--help"])
    shown = capsys.readouterr().out
    named = [line for line in shown.splitlines() if re.match(r"\W+-", line)]
    listed = {option for line in named for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", line)}
    assert listed == {option for option in arguments.known_options(command) if option.startswith("--")}


def test_the_list_of_commands_says_what_each_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert name in shown
        if not isinstance(command, dict):
            assert " ".join(command.__doc__.splitlines()[0].split()[:3]) in shown


def test_the_exit_code_of_a_refusal_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", "--modle", "x"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("anyorder: error: ")
    assert shown.err.count("\n") == 1


words = st.one_of(
    st.sampled_from(["solve", "data", "sudoku", "view", "bench", "decode", "experiment", "compare", "train", "demo"]),
    st.sampled_from(["--model", "--seed", "--count", "--out", "--limit", "--order", "-o", "--", "-", "--no", "-1"]),
    st.text(alphabet=string.printable, max_size=8),
)


@given(st.lists(words, max_size=7))
def test_no_command_line_breaks_the_parser(argv: list[str]) -> None:
    try:
        parsed = parse(*argv)
    except UserError as refused:
        assert str(refused).strip()  # noqa: PT017 - either outcome is right, a traceback is not
    except SystemExit as stopped:
        assert not stopped.code  # noqa: PT017 - help was asked for
    else:
        assert callable(parsed.run)
