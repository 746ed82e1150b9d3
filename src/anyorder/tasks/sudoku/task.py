"""Sudoku as a task: one token per cell, the digit itself; 0 is the mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .data import SudokuData
from .generator import generate
from .rules import Box, verify_many

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Sudoku:
    """The task of filling a grid with boxes of a given shape: tokens 0..n, mask 0, one position per cell."""

    box: Box

    @property
    def name(self) -> str:
        return f"sudoku-{self.box.name}"

    @property
    def vocab_size(self) -> int:
        return self.box.size + 1

    @property
    def mask_token_id(self) -> int:
        return 0

    @property
    def length(self) -> int:
        return self.box.cells

    def data(self, count: int, *, seed: int, workers: int = 1) -> SudokuData:
        """``count`` fresh minimal puzzles of any grade, augmented by symmetries as they are drawn.

        Raises:
            UserError: as :func:`.generator.generate`.
        """
        made = generate(self.box, count, seed, grade="any", distinct="puzzle", workers=workers)
        return SudokuData(made.puzzles, made.solutions, self.box)

    def verify(self, given: ArrayLike, filled: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which filled grids are complete, valid and agree with every clue (:func:`.rules.verify_many`)."""
        return verify_many(self.box, given, filled)
