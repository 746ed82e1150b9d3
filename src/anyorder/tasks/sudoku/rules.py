"""The rules of Sudoku for any box shape, and a strict verifier.

With boxes of ``r`` rows by ``c`` columns the grid is ``n x n`` with ``n = r c``, cut into ``c`` bands of ``r`` rows and
``r`` stacks of ``c`` columns. Every row, column and box (a *unit*) holds each of the digits 1..n once. A grid is a flat
row-major array of ``n * n`` digits; 0 is a blank.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .layout import Workspace, peer_cells, unit_cells, workspace

_ROWS_AT_ONCE = 8192
MAX_SIZE = 16
"""Candidates are kept in 16-bit masks, so a grid has at most 16 digits."""


@dataclass(frozen=True)
class Box:
    """The shape of one box: ``box_rows`` x ``box_columns`` cells.

    Raises:
        UserError: a side is below 1, the grid has fewer than 2 or more than 16 digits.
    """

    box_rows: int
    box_columns: int

    def __post_init__(self) -> None:
        for side in (self.box_rows, self.box_columns):
            if isinstance(side, bool) or not isinstance(side, (int, np.integer)) or side < 1:
                raise UserError(f"box sides must be whole numbers of at least 1, not {side!r}")
        if not 2 <= self.size <= MAX_SIZE:
            raise UserError(
                f"a {self.box_rows}x{self.box_columns} box gives {self.size} digits; from 2 to {MAX_SIZE} are supported"
            )

    @classmethod
    def for_cells(cls, cells: int) -> Box:
        """The usual shape for a grid of ``cells`` cells: the most nearly square box, never taller than wide.

        Raises:
            UserError: no supported shape has that many cells.
        """
        shapes = {4 * 4: (2, 2), 6 * 6: (2, 3), 8 * 8: (2, 4), 9 * 9: (3, 3), 10 * 10: (2, 5), 12 * 12: (3, 4)}
        shapes |= {14 * 14: (2, 7), 15 * 15: (3, 5), 16 * 16: (4, 4)}
        if cells not in shapes:
            raise UserError(f"{cells} cells make no Sudoku grid; expected one of {', '.join(map(str, shapes))}")
        return cls(*shapes[cells])

    @property
    def size(self) -> int:
        """The number of digits ``n``, also the side of the grid."""
        return int(self.box_rows) * int(self.box_columns)

    @property
    def cells(self) -> int:
        """The number of cells, ``n * n``."""
        return self.size * self.size

    @property
    def units(self) -> NDArray[np.int64]:
        """(3n, n): the cells of every row, then column, then box."""
        return unit_cells(int(self.box_rows), int(self.box_columns))

    @property
    def peers(self) -> NDArray[np.int64]:
        """(cells, p): the other cells of each cell's row, column and box, ascending."""
        return peer_cells(int(self.box_rows), int(self.box_columns))

    def workspace(self, *, recording: bool = False) -> Workspace:
        """Fresh arrays for the compiled code (:mod:`.layout`)."""
        return workspace(int(self.box_rows), int(self.box_columns), recording=recording)

    @cached_property
    def name(self) -> str:
        """The grid's name, as in ``9x9``."""
        return f"{self.size}x{self.size}"


def as_grids(box: Box, grids: ArrayLike, what: str = "puzzle") -> NDArray[np.uint8]:
    """Grids as a contiguous uint8 array (N, cells); one flat grid becomes (1, cells).

    Raises:
        UserError: the values are no whole numbers in 0..n, or the shape does not fit the box.
    """
    array = np.asarray(grids)
    if array.dtype == bool or not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"a {what} must hold whole numbers, not {array.dtype}")
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != box.cells:
        raise UserError(f"a {box.name} {what} has {box.cells} cells, but the array has shape {np.shape(grids)}")
    if array.size and (array.min() < 0 or array.max() > box.size):
        raise UserError(f"a {box.name} {what} holds 0 (blank) to {box.size}, not {array.min()}..{array.max()}")
    return np.ascontiguousarray(array, dtype=np.uint8)


def units_valid(box: Box, grids: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,): no unit of the grid holds a digit twice. Blanks are ignored. ``grids`` (N, cells), values in 0..n."""
    bit = np.left_shift(1, np.arange(box.size + 1, dtype=np.int32)) & ~1  # a blank has none
    valid = np.ones(len(grids), bool)
    for start in range(0, len(grids), _ROWS_AT_ONCE):
        held = bit[grids[start : start + _ROWS_AT_ONCE, box.units]]  # (rows, 3n, n)
        # A sum of powers of two is their union just when they all differ.
        distinct = held.sum(-1) == np.bitwise_or.reduce(held, axis=-1)
        valid[start : start + _ROWS_AT_ONCE] = distinct.all(-1)
    return valid


def first_conflict(box: Box, grid: NDArray[np.uint8]) -> str | None:
    """The first unit of a grid (cells,) that holds a digit twice, in words; None if there is none."""
    for unit, cells in enumerate(box.units):
        times = np.bincount(grid[cells], minlength=box.size + 1)
        times[0] = 0
        if times.max() > 1:
            kind = ("row", "column", "box")[unit // box.size]
            return f"{int(times.argmax())} stands twice in {kind} {unit % box.size + 1}"
    return None


def verify_many(box: Box, puzzles: ArrayLike, filled: ArrayLike) -> NDArray[np.bool_]:
    """(N,): which of ``filled`` solve their puzzle: complete, valid, and equal to the puzzle at *every* clue.

    A filled grid may hold anything (a decoder's output): a value outside 1..n simply fails.

    Args:
        box: the box shape.
        puzzles: (N, cells) whole numbers 0..n, 0 = blank.
        filled: (N, cells) whole numbers.

    Raises:
        UserError: the shapes do not fit the box or each other, or a puzzle holds a value outside 0..n.
    """
    puzzle = as_grids(box, puzzles)
    values = np.asarray(filled)
    if values.dtype == bool or not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"a filled grid must hold whole numbers, not {values.dtype}")
    if values.ndim == 1:
        values = values[None]
    if values.shape != puzzle.shape:
        raise UserError(f"filled grids of shape {values.shape} do not fit {len(puzzle)} puzzles of {box.cells} cells")
    inside = (values >= 1) & (values <= box.size)
    agrees = (puzzle == 0) | (values == puzzle)
    valid = units_valid(box, np.where(inside, values, 0).astype(np.uint8))
    return np.asarray(inside.all(-1) & agrees.all(-1) & valid)


def verify(box: Box, puzzle: ArrayLike, filled: ArrayLike) -> bool:
    """Whether one filled grid solves one puzzle; the strict rule of :func:`verify_many`."""
    return bool(verify_many(box, puzzle, filled)[0])
