"""What the README shows works as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import anyorder as ao
from anyorder.cli.app import COMMANDS
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig
from anyorder.tasks.sudoku import Box, verify

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_example_solves_its_puzzle(capsys: pytest.CaptureFixture[str]) -> None:
    example = EXAMPLES[0]
    names: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), names)
    result = names["result"]
    given = np.array([int(digit) for digit in str(names["puzzle"])])
    assert verify(Box(3, 3), given, result.tokens[0].numpy())  # pyright: ignore[reportAttributeAccessIssue]
    steps = capsys.readouterr().out.splitlines()
    assert len(steps) == (given == 0).sum()  # margin order reveals one cell a step


def test_the_text_example_fills_its_holes() -> None:
    tokenizer, model = ao.ByteTokenizer(), Transformer(TransformerConfig(259, 258, 1, 2, 16, 16, positions="rotary"))
    example = (
        EXAMPLES[1].replace("ao.load_tokenizer(folder)", "tokenizer").replace("ao.from_pretrained(folder)", "model")
    )
    names: dict[str, object] = {"ao": ao, "tokenizer": tokenizer, "model": model.eval()}
    exec(compile(example, "README.md", "exec"), names)
    (holes,) = ao.read_holes(tokenizer, names["canvas"], names["result"].tokens)  # pyright: ignore
    assert holes.keys() == {"reasoning", "answer"}


def test_the_list_of_commands_is_complete() -> None:
    listed = re.findall(r"^anyorder (\w+)", README, re.MULTILINE)
    assert sorted(set(listed)) == sorted(COMMANDS)


def test_every_picture_and_file_that_is_named_is_there() -> None:
    named = re.findall(r"\]\(([\w./-]+)\)", README)
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []
