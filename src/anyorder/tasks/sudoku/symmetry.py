"""The symmetries of Sudoku: maps that send every solution grid to a solution grid.

A symmetry relabels the digits, permutes the bands, the stacks, the rows inside each band and the columns inside each
stack, and for square boxes may transpose. For 9x9 these are 9! * 2 * 6^8 = 1,218,998,108,160 maps (Russell and Jarvis,
"Mathematics of Sudoku II", 2006). Applied to a puzzle and its solution alike, they keep validity, uniqueness, and
which puzzles the seven strategies solve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .rules import Box


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
    return (outer[:, :, None] * per_group + np.take_along_axis(inner, outer[:, :, None], axis=1)).reshape(count, -1)


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
