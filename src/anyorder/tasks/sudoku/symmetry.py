"""The symmetries of Sudoku: maps that send every solution grid to a solution grid.

A symmetry relabels the digits, permutes the bands, the stacks, the rows inside each band and the columns inside each
stack, and for square boxes may transpose. For 9x9 these are 9! * 2 * 6^8 = 1,218,998,108,160 maps (Russell and Jarvis,
"Mathematics of Sudoku II", 2006). Applied to a puzzle and its solution alike, they keep validity, uniqueness, and
which puzzles the seven strategies solve.

:func:`symmetry_keys` gives a puzzle a 64-bit key that no symmetry changes. It is colour refinement (Weisfeiler and
Leman, 1968) on clues, lines, bands, boxes and digits: each is coloured by the colours of what it touches, over and
over. Copies always share a key, so keeping one puzzle per key never counts a copy; two puzzles that are no copies
share one only if refinement cannot tell them apart or the hash collides, and then one too many is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .bits import mixed
from .jit import entry, inner
from .layout import BOX_COLUMNS, BOX_ROWS, SIDE, UNIT_OF, borrowed
from .rules import Box, as_grids


@dataclass(frozen=True, eq=False)
class Symmetries:
    """A batch of symmetries of one box shape.

    ``source`` (N, cells) int64: cell ``i`` of the image takes what the grid holds at ``source[:, i]``.
    ``label`` (N, n + 1) uint8: the new name of each digit; a blank stays a blank.
    """

    source: NDArray[np.int64]
    label: NDArray[np.uint8]

    def apply(self, grids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images of ``grids`` (N, cells): digits are renamed, blanks stay blank."""
        moved = np.take_along_axis(grids, self.source, axis=1)
        return np.take_along_axis(self.label, moved.astype(np.intp), axis=1)

    def move(self, marks: NDArray) -> NDArray:
        """The images of values that are not digits (a fill order, a mask), (N, cells): moved, not renamed."""
        return np.take_along_axis(marks, self.source, axis=1)


def _orders(count: int, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, size): uniformly random permutations."""
    return rng.random((count, size)).argsort(axis=1)


def _lines(count: int, groups: int, per_group: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(count, groups * per_group): random order of the lines that keeps each group of neighbours together."""
    inner = _orders(count * groups, per_group, rng).reshape(count, groups, per_group)
    outer = _orders(count, groups, rng)
    return (outer[:, :, None] * per_group + np.take_along_axis(inner, outer[:, :, None], axis=1)).reshape(
        count, groups * per_group
    )


def random_symmetries(box: Box, count: int, rng: np.random.Generator) -> Symmetries:
    """``count`` independent symmetries, each uniform over the whole group of ``box``.

    Raises:
        UserError: the count is negative.
    """
    if count < 0:
        raise UserError(f"the number of symmetries must not be negative, not {count}")
    n = box.size
    rows = _lines(count, box.box_columns, box.box_rows, rng)
    columns = _lines(count, box.box_rows, box.box_columns, rng)
    source = rows[:, :, None] * n + columns[:, None, :]
    if box.box_rows == box.box_columns:
        turned = rng.random(count) < 0.5
        source[turned] = source[turned].swapaxes(1, 2)
    label = np.zeros((count, n + 1), np.uint8)
    label[:, 1:] = _orders(count, n, rng) + 1
    return Symmetries(source.reshape(count, n * n), label)


def augment(
    box: Box, puzzles: NDArray[np.uint8], solutions: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Each puzzle and its solution under one random symmetry of its own; both (N, cells).

    Raises:
        UserError: puzzles and solutions differ in shape, or do not fit the box.
    """
    if puzzles.shape != solutions.shape or puzzles.ndim != 2 or puzzles.shape[1] != box.cells:
        raise UserError(
            f"puzzles {puzzles.shape} and solutions {solutions.shape} must both be (N, {box.cells}) for {box.name}"
        )
    symmetries = random_symmetries(box, len(puzzles), rng)
    return symmetries.apply(puzzles), symmetries.apply(solutions)


ROUNDS = 5
"""Rounds of colour refinement."""


@inner
def symmetry_key(t, puzzle):
    """The key of one puzzle (cells,), uint64; ``t`` are the tables of its box."""
    n, box_rows, box_columns = int(t[SIDE]), int(t[BOX_ROWS]), int(t[BOX_COLUMNS])
    one = np.uint64(1)
    # Rows and columns change places under a transposition only if the box is square.
    column_salt = np.uint64(0) if box_rows == box_columns else np.uint64(0x9E3779B97F4A7C15)
    color = np.full(n * n, one)
    unit, group, digit = np.empty(3 * n, np.uint64), np.empty(2 * n, np.uint64), np.empty(n + 1, np.uint64)
    for _ in range(ROUNDS):
        unit[:] = 0
        group[:] = 0
        digit[:] = 0
        for cell in range(n * n):
            if puzzle[cell] > 0:
                shade = mixed(color[cell])
                for kind in range(3):
                    unit[t[UNIT_OF + 4 * cell + kind]] += shade
                digit[puzzle[cell]] += shade
        for line in range(2 * n):
            per_group = box_rows if line < n else box_columns
            group[line // n * n + line % n // per_group] += mixed(unit[line])
        for cell in range(n * n):
            if puzzle[cell] > 0:
                row, column = t[UNIT_OF + 4 * cell], t[UNIT_OF + 4 * cell + 1]
                across = mixed(mixed(unit[row] + one) + group[row // box_rows])
                down = mixed(mixed(unit[column] + one) + group[n + (column - n) // box_columns] + column_salt)
                box = mixed(unit[t[UNIT_OF + 4 * cell + 2]] + np.uint64(2))
                color[cell] = mixed(across + down) + box + mixed(digit[puzzle[cell]] + np.uint64(3))
    key = np.uint64(0)
    for cell in range(n * n):
        if puzzle[cell] > 0:
            key += mixed(color[cell])
    return mixed(key)


@entry
def _symmetry_keys(work, puzzles, keys):
    w = borrowed(work)
    for row in range(puzzles.shape[0]):
        keys[row] = symmetry_key(w.t, puzzles[row])


def symmetry_keys(box: Box, puzzles: ArrayLike) -> NDArray[np.uint64]:
    """(N,): keys that are equal for symmetric copies, and (but for chance) for them alone. ``puzzles`` (N, cells).

    Raises:
        UserError: the puzzles do not fit the box.
    """
    grids = as_grids(box, puzzles)
    keys = np.zeros(len(grids), np.uint64)
    _symmetry_keys(box.workspace(), grids, keys)
    return keys


def puzzle_keys(box: Box, puzzles: ArrayLike, distinct: Literal["symmetry", "puzzle"]) -> NDArray:
    """(N,): what tells ``puzzles`` (N, cells) apart, equal for equal ones or ("symmetry") for symmetric copies.

    Raises:
        UserError: puzzles that do not fit the box.
    """
    if distinct == "symmetry":
        return symmetry_keys(box, puzzles)
    return np.ascontiguousarray(as_grids(box, puzzles)).view(f"S{box.cells}")[:, 0]
