"""Sudoku as sequences of (row, column, value) triples, for autoregressive models.

A puzzle with k clues is the k clue triples in cell order, one separator, and a triple for each blank:

    r c v  r c v  ...  |  r c v  r c v  ...

The answer's cells come in cell order ("fixed") or in the order in which the seven-strategy solver fills them
("solver"; cells that it never fills come last, in cell order). In both the position is predicted like the value. All
cells are named once, so every sequence of a box shape has the same length, 3 cells + 1, and needs no padding; the
answers start at unequal places, after the separator.

With n digits, token 0 is the mask, rows are 1..n, columns n+1..2n, values 2n+1..3n, the separator 3n+1.

Source: Shah et al., "Causal Language Modeling Can Elicit Search and Reasoning Capabilities on Logic Puzzles"
(2409.10502); Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), appendix D.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.tasks.task import Batch

from .rules import Box, as_grids, verify_many
from .solver import solve_many

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .data import SudokuData

AnswerOrder = Literal["fixed", "solver"]
ANSWER_ORDERS: tuple[AnswerOrder, ...] = ("fixed", "solver")


class Fault(IntEnum):
    """Why an answer is no filling of its puzzle; the first that applies, in this order."""

    NONE = 0
    CHANGED = 1
    """the clues or the separator are not those of the puzzle"""
    MALFORMED = 2
    """a triple is not a row, a column and a value"""
    CLUE = 3
    """a triple names a cell that holds a clue"""
    REPEATED = 4
    """a cell is named twice"""


@dataclass(frozen=True, eq=False)
class Reading:
    """What N sequences say.

    Attributes:
        filled: (N, cells) uint8, the clues and every well-formed triple that names a blank (the first to name it); 0
            elsewhere.
        fault: (N,) uint8, values of `Fault`. Without a fault every blank is named once.
        cells: (N, cells) int64, the cell that each triple names in the sequence's order, clues first; -1 where
            malformed.
    """

    filled: NDArray[np.uint8]
    fault: NDArray[np.uint8]
    cells: NDArray[np.int64]


@dataclass(frozen=True)
class Triples:
    """The token format of a box shape."""

    box: Box

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the mask included."""
        return 3 * self.box.size + 2

    @property
    def mask_token_id(self) -> int:
        return 0

    @property
    def separator(self) -> int:
        """The token between clues and answer."""
        return 3 * self.box.size + 1

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return 3 * self.box.cells + 1

    def encode(
        self, puzzles: ArrayLike, solutions: ArrayLike, rank: NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Sequences with their answers.

        Args:
            puzzles, solutions: (N, cells), 0 = blank.
            rank: (N, cells), when each blank is filled, -1 for one that comes last; None for cell order. What stands
                at clues is not read.

        Returns:
            tokens (N, length) and which of them are the answer's, (N, length).

        Raises:
            UserError: the arrays do not fit the box or each other.
        """
        given, solved = as_grids(self.box, puzzles), as_grids(self.box, solutions, "solution")
        if given.shape != solved.shape or (rank is not None and rank.shape != given.shape):
            raise UserError(f"sequences: {len(given)} puzzles need as many solutions and fill orders")
        cells, n = self.box.cells, self.box.size
        clue = given > 0
        if rank is None:
            key = np.where(clue, 0, 1).astype(np.int64)
        else:
            late = np.where(rank < 0, cells, rank)
            key = np.where(clue, 0, 1 + late).astype(np.int64)
        cell = key.argsort(axis=1, kind="stable")
        value = np.take_along_axis(solved, cell, axis=1).astype(np.int64)
        parts = np.stack((1 + cell // n, 1 + n + cell % n, 2 * n + value), axis=2).reshape(len(given), 3 * cells)
        tokens = np.full((len(given), self.length), self.separator, np.int64)
        np.put_along_axis(tokens, self._places(clue), parts, axis=1)
        return tokens, np.arange(self.length) > 3 * clue.sum(1, keepdims=True)

    def canvas(self, puzzles: ArrayLike, device: torch.device | str = "cpu") -> Canvas:
        """The puzzles as prompts: clues and separator given, the answer unknown.

        Raises:
            UserError: the puzzles do not fit the box.
        """
        tokens, unknown = self.encode(puzzles, puzzles)
        tokens[unknown] = self.mask_token_id
        return Canvas(torch.from_numpy(tokens), torch.from_numpy(unknown)).to(device)

    def read(self, puzzles: ArrayLike, tokens: ArrayLike) -> Reading:
        """What sequences (N, length) say of their puzzles (N, cells).

        Raises:
            UserError: the arrays do not fit the box or each other.
        """
        given = as_grids(self.box, puzzles)
        said = np.asarray(tokens)
        if said.shape != (len(given), self.length) or not np.issubdtype(said.dtype, np.integer):
            raise UserError(
                f"sequences of {len(given)} {self.box.name} puzzles must be whole numbers of shape "
                f"{(len(given), self.length)}, not {said.dtype} of {said.shape}"
            )
        cells, n = self.box.cells, self.box.size
        clue = given > 0
        prompt, unknown = self.encode(given, given)
        changed = ((said != prompt) & ~unknown).any(1)
        parts = np.take_along_axis(said, self._places(clue), axis=1).reshape(len(given), cells, 3).astype(np.int64)
        row, column, value = parts[..., 0] - 1, parts[..., 1] - 1 - n, parts[..., 2] - 2 * n
        sound = (row >= 0) & (row < n) & (column >= 0) & (column < n) & (value >= 1) & (value <= n)
        cell = np.where(sound, row * n + column, -1)
        answer = np.arange(cells) >= clue.sum(1, keepdims=True)
        on_clue = answer & sound & np.take_along_axis(clue, cell.clip(0), axis=1)
        blank = answer & sound & ~on_clue
        place = np.where(blank, cell, cells)
        turn, row_of = np.arange(cells), np.arange(len(given))[:, None]
        first = np.full((len(given), cells + 1), cells)
        np.minimum.at(first, (row_of, place), turn)
        new = blank & (first[row_of, place] == turn)
        fault = np.select(
            [changed, (answer & ~sound).any(1), on_clue.any(1), (blank & ~new).any(1)],
            [Fault.CHANGED, Fault.MALFORMED, Fault.CLUE, Fault.REPEATED],
            Fault.NONE,
        ).astype(np.uint8)
        filled = np.concatenate((given, np.zeros((len(given), 1), np.uint8)), axis=1)
        np.put_along_axis(filled, np.where(new, cell, cells), value.clip(0, n).astype(np.uint8), axis=1)
        return Reading(np.ascontiguousarray(filled[:, :cells]), fault, cell)

    def verify(self, puzzles: ArrayLike, tokens: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which sequences name every blank once and solve their puzzle."""
        reading = self.read(puzzles, tokens)
        return (reading.fault == Fault.NONE) & verify_many(self.box, puzzles, reading.filled)

    def _places(self, clue: NDArray[np.bool_]) -> NDArray[np.int64]:
        """(N, 3 cells): where each part of a triple stands, the separator left out."""
        part = np.arange(3 * self.box.cells)
        return part + (part >= 3 * clue.sum(1, keepdims=True))


class SudokuSequences:
    """Training sequences from Sudoku data.

    The solver's order is that of the puzzle as it is shown: it is found anew for every (augmented) row, because a
    symmetry changes which of several possible fills the solver makes first.
    """

    def __init__(self, data: SudokuData, order: AnswerOrder) -> None:
        if order not in ANSWER_ORDERS:
            raise UserError(f"the order of an answer is one of {', '.join(ANSWER_ORDERS)}, not {order!r}")
        self.data, self.order = data, order
        self.format = Triples(data.box)

    @property
    def fingerprint(self) -> str:
        """A hash of the puzzles, the format and the order."""
        return sha256(f"triples {self.order} {self.data.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Returns:
            tokens (size, length) int64; unknown (size, length) bool, the answer's tokens.

        Raises:
            UserError: as :meth:`.data.SudokuData.batch`.
        """
        drawn = self.data.batch(seed, step, size)
        solutions = drawn.tokens.numpy()
        puzzles = np.where(drawn.unknown.numpy(), 0, solutions)
        rank = solve_many(self.format.box, puzzles).order if self.order == "solver" else None
        tokens, unknown = self.format.encode(puzzles, solutions, rank)
        return Batch(torch.from_numpy(tokens), torch.from_numpy(unknown))
