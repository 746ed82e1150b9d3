"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from anyorder.cli.app import COMMANDS
from anyorder.tasks.sudoku import Box, verify

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_example_solves_its_puzzle(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    result = names["result"]
    given = np.array([int(digit) for digit in str(names["puzzle"])])
    assert verify(Box(3, 3), given, result.tokens[0].numpy())  # pyright: ignore[reportAttributeAccessIssue]
    steps = capsys.readouterr().out.splitlines()
    assert len(steps) == (given == 0).sum()  # margin order reveals one cell a step


def test_the_list_of_commands_is_complete() -> None:
    listed = re.findall(r"^anyorder (\w+)", README, re.MULTILINE)
    assert sorted(set(listed)) == sorted(COMMANDS)


def test_every_picture_and_file_that_is_named_is_there() -> None:
    named = re.findall(r"\]\(([\w./-]+)\)", README)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
