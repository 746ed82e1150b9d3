"""Exhaustive search: how many solutions a puzzle has, and one of them.

Depth first over singles propagation. Where singles stop, it branches on a cell with fewest candidates, or on a digit
with fewer places in some unit; two choices are the common case, and each doubles the knowledge. Complete: with limit
``m`` it returns min(m, number of solutions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .bits import lowest, popcount
from .jit import entry, inner
from .layout import CAND, MISSING, OPEN, PLACE, SIDE, UNITS, borrowed
from .rules import Box, as_grids
from .state import assign, eliminate, load, propagate


@inner
def choose(s, t):
    """A candidate to branch on, as ``16 cell + d``: from the smallest choice of digits for a cell or of places for a
    digit."""
    n = int(t[SIDE])
    best, chosen = 99, -1
    for cell in range(n * n):
        mask = int(s[CAND + cell])
        if mask:
            count = popcount(mask)
            if count < best:
                best, chosen = count, 16 * cell + lowest(mask)
                if best == 2:
                    return chosen
    for unit in range(3 * n):
        mask = int(s[MISSING + unit])
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            places = int(s[PLACE + 16 * unit + d])
            count = popcount(places)
            if count < best:
                best, chosen = count, 16 * int(t[UNITS + 16 * unit + lowest(places)]) + d
                if best == 2:
                    return chosen
    return chosen


@inner
def search(stack, infos, t, limit, branches, solutions):
    """Count solutions of the state at depth 0 of ``stack``, up to ``limit``.

    The first ones are written to the rows of ``solutions`` (m, cells), as far as they go. After ``branches`` branches
    (0: no bound) the search gives up and returns -1.
    """
    cells = int(t[SIDE]) * int(t[SIDE])
    found, depth, taken = 0, 0, 0
    while depth >= 0:
        s, info = stack[depth], infos[depth]
        if not propagate(s, info, t):
            depth -= 1
            continue
        if info[OPEN] == 0:
            if found < solutions.shape[0]:
                solutions[found] = s[:cells]
            found += 1
            if found >= limit:
                return found
            depth -= 1
            continue
        branch = choose(s, t)
        cell, d = branch >> 4, branch & 15
        # The next level holds the choice, this one what is left without it.
        depth += 1
        taken += 1
        if taken == branches:
            return -1
        stack[depth] = s
        infos[depth] = info
        eliminate(s, info, t, cell, d)
        assign(stack[depth], infos[depth], t, cell, d)
    return found


@entry
def _count_many(work, puzzles, limit, branches, counts, solutions):
    w = borrowed(work)
    for row in range(puzzles.shape[0]):
        load(w.stack[0], w.infos[0], w.t, puzzles[row])
        counts[row] = search(w.stack, w.infos, w.t, limit, branches, solutions[row : row + 1])


def count_solutions(box: Box, puzzles: ArrayLike, limit: int = 2) -> NDArray[np.int64]:
    """(N,): min(limit, number of solutions) of each puzzle. ``puzzles`` (N, cells), 0 = blank.

    Raises:
        UserError: the puzzles do not fit the box, or the limit is below 1.
    """
    if limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    grids = as_grids(box, puzzles)
    counts = np.zeros(len(grids), np.int64)
    _count_many(box.workspace(), grids, limit, 0, counts, np.zeros_like(grids))
    return counts


def has_solution(box: Box, puzzles: ArrayLike, branches: int = 100_000) -> NDArray[np.bool_]:
    """(N,): False where a puzzle is shown to have no solution within ``branches`` branches of search.

    Raises:
        UserError: the puzzles do not fit the box.
    """
    grids = as_grids(box, puzzles)
    counts = np.zeros(len(grids), np.int64)
    _count_many(box.workspace(), grids, 1, branches, counts, np.zeros_like(grids))
    return counts != 0


def solve_exhaustively(box: Box, puzzles: ArrayLike) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """One solution of each puzzle (zeros where there is none), and the number of solutions up to 2.

    Returns:
        solutions (N, cells) and counts (N,); a puzzle is proper where its count is 1.

    Raises:
        UserError: the puzzles do not fit the box.
    """
    grids = as_grids(box, puzzles)
    counts = np.zeros(len(grids), np.int64)
    solutions = np.zeros_like(grids)
    _count_many(box.workspace(), grids, 2, 0, counts, solutions)
    return solutions, counts
