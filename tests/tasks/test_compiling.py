"""Every task's compiled code is keyed by all the sources that it is made of."""

from __future__ import annotations

from pathlib import Path

from anyorder.tasks.jit import folder_digest
from anyorder.tasks.sudoku import jit as sudoku
from anyorder.tasks.zebra import jit as zebra


def test_zebra_follows_sudoku_s_bit_tricks() -> None:
    assert sudoku.sources_digest() in zebra.sources_digest()
    assert folder_digest(Path(zebra.__file__).parent) in zebra.sources_digest()
    assert folder_digest(Path(sudoku.__file__).parent) == sudoku.sources_digest()


def test_compiled_sources_are_found() -> None:
    for module in (sudoku, zebra):
        folder = Path(module.__file__).parent
        for path in folder.glob("*.py"):
            if "@inner" in path.read_text("utf-8") or "@entry" in path.read_text("utf-8"):
                assert "from .jit import" in path.read_text("utf-8"), path
