"""How this package compiles: as :mod:`anyorder.tasks.jit` says.

Its functions also call Sudoku's bit tricks, so the key covers both folders.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from anyorder.tasks.jit import Function, folder_digest, inner, keyed_entry
from anyorder.tasks.sudoku.jit import sources_digest as sudoku_digest

__all__ = ["entry", "inner", "sources_digest"]


@cache
def sources_digest() -> str:
    """A digest of the sources that are compiled."""
    return folder_digest(Path(__file__).parent) + sudoku_digest()


def entry(function: Function) -> Function:
    """Compile an entry point and keep it on disk as long as no source changes."""
    return keyed_entry(function, sources_digest())
