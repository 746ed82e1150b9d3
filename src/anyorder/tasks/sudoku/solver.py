"""The seven-strategy solver: what it fills, when, and by which strategy.

The strategies, their order and their conditions are in :mod:`.strategies`. A fill is made by a lone or a hidden single;
often it becomes possible only after eliminations. Its recorded ``strategy`` is the hardest one that it *rests on*: the
single's own rule, or a strategy that removed a rival candidate (another digit of the cell for a lone single, another
place of the digit for a hidden one) which no filled cell excludes. So a lone single whose rival digits went by a naked
pair has strategy 4, as in the published data, where a cell carries the strategy, or the list of strategies, that was
needed to fill it; ``support`` is that list.

Every fill equals the solution, if the puzzle has exactly one; with several, it is common to all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .bits import highest
from .jit import entry, inner
from .layout import BROKEN, EVENTS, OPEN, ORDER, SUPPORT, VALUE, borrowed
from .log import FILLED, PATTERN, REMOVED, clear_log
from .rules import Box, as_grids
from .state import load
from .strategies import run


class Fill(NamedTuple):
    """A cell filled. ``rule`` is 2 (lone single) or 3 (hidden single); ``support`` the ids it rests on, ascending;
    ``strategy`` the last of them."""

    cell: int
    digit: int
    strategy: int
    rule: int
    support: tuple[int, ...]


class Elimination(NamedTuple):
    """Candidates removed. ``pattern`` holds the cells of the pair, triplet, locked places, wing (pivot first) or
    rectangle (the elbow, its row's and its column's corner, the corner that loses); ``removed`` (cell, digit) pairs."""

    strategy: int
    pattern: tuple[int, ...]
    removed: tuple[tuple[int, int], ...]


Step = Fill | Elimination


@dataclass(frozen=True, eq=False)
class Solution:
    """What the strategies make of one puzzle.

    ``grid`` (cells,) uint8: the digits found, 0 where none was. ``solved``: every cell is filled without
    contradiction. ``contradiction``: some cell was left without a candidate, or a unit without a place for a digit.
    ``steps``: fills and eliminations in order of time.
    """

    grid: NDArray[np.uint8]
    solved: bool
    contradiction: bool
    steps: tuple[Step, ...]

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The fills in order of time."""
        return tuple(step for step in self.steps if isinstance(step, Fill))


@dataclass(frozen=True, eq=False)
class Solutions:
    """What the strategies make of N puzzles.

    ``grids`` (N, cells) uint8. ``solved``, ``contradiction`` (N,) bool. ``order`` (N, cells) int16: the turn in which
    the cell was filled, from 0; -1 where it was not. ``strategy`` (N, cells) uint8: the hardest strategy that the fill
    rests on (2..8); 0 at clues and cells not filled. ``used`` (N,) uint16: bit ``s`` set where strategy ``s``
    succeeded at least once.
    """

    grids: NDArray[np.uint8]
    solved: NDArray[np.bool_]
    contradiction: NDArray[np.bool_]
    order: NDArray[np.int16]
    strategy: NDArray[np.uint8]
    used: NDArray[np.uint16]


STUCK, SOLVED, CONTRADICTION = 0, 1, 2


@inner
def solve_row(w, puzzle, grid, order, strategy):
    """Solve one puzzle and write down what :class:`Solutions` holds of it; ``w`` is a borrowed, recording workspace.

    Returns:
        STUCK, SOLVED or CONTRADICTION, and the mask of strategies used.
    """
    cells = puzzle.shape[0]
    s, info = w.stack[0], w.infos[0]
    clear_log(w.notes)
    load(s, info, w.t, puzzle)
    used = run(w, (-1))
    grid[:] = s[VALUE : VALUE + cells]
    order[:] = w.notes[ORDER : ORDER + cells]
    for cell in range(cells):
        support = int(w.notes[SUPPORT + cell])
        strategy[cell] = highest(support) if support else 0
    if info[BROKEN]:
        return CONTRADICTION, used
    return SOLVED if info[OPEN] == 0 else STUCK, used


@entry
def _solve_rows(work, puzzles, grids, outcome, order, strategy, used):
    w = borrowed(work)
    for row in range(puzzles.shape[0]):
        outcome[row], used[row] = solve_row(w, puzzles[row], grids[row], order[row], strategy[row])


def solve_many(box: Box, puzzles: ArrayLike) -> Solutions:
    """Apply the seven strategies to each puzzle. ``puzzles`` (N, cells), 0 = blank.

    Raises:
        UserError: the puzzles do not fit the box.
    """
    given = as_grids(box, puzzles)
    shape = given.shape
    grids, outcome = np.zeros(shape, np.uint8), np.zeros(shape[0], np.uint8)
    order, strategy, used = np.full(shape, -1, np.int16), np.zeros(shape, np.uint8), np.zeros(shape[0], np.uint16)
    _solve_rows(box.workspace(recording=True), given, grids, outcome, order, strategy, used)
    return Solutions(grids, outcome == SOLVED, outcome == CONTRADICTION, order, strategy, used)


def solve(box: Box, puzzle: ArrayLike) -> Solution:
    """Apply the seven strategies to one puzzle and keep every step. ``puzzle`` (cells,), 0 = blank.

    Raises:
        UserError: the puzzle does not fit the box, or more than one is given.
    """
    given = as_grids(box, puzzle)
    if len(given) != 1:
        raise UserError(f"solve takes one puzzle, not {len(given)}; use solve_many")
    work, cells = box.workspace(recording=True), box.cells
    grids, outcome = np.zeros((1, cells), np.uint8), np.zeros(1, np.uint8)
    order, strategy, used = np.zeros((1, cells), np.int16), np.zeros((1, cells), np.uint8), np.zeros(1, np.uint16)
    _solve_rows(work, given, grids, outcome, order, strategy, used)
    events, support = work.events[: work.notes[EVENTS]], work.notes[SUPPORT : SUPPORT + cells]
    steps = tuple(_steps(events.tolist(), support.tolist()))
    return Solution(grids[0], outcome[0] == SOLVED, outcome[0] == CONTRADICTION, steps)


def _steps(events: list[list[int]], support: list[int]) -> Iterator[Step]:
    """Group the event log into steps."""
    at = 0
    while at < len(events):
        strategy, kind, cell, digit = events[at]
        if kind == FILLED:
            ids = tuple(s for s in range(16) if support[cell] >> s & 1)
            yield Fill(cell, digit, ids[-1], strategy, ids)
            at += 1
            continue
        pattern: list[int] = []
        removed: list[tuple[int, int]] = []
        while at < len(events) and events[at][1] == PATTERN:
            pattern.append(events[at][2])
            at += 1
        while at < len(events) and events[at][1] == REMOVED:
            removed.append((events[at][2], events[at][3]))
            at += 1
        yield Elimination(strategy, tuple(pattern), tuple(removed))
