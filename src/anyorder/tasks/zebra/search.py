"""Exhaustive search: how many solutions a puzzle has, and one of them.

Depth first over rules 1 to 4 of :mod:`.deduction`; where they stop, an item with the fewest houses is tried in each.
Complete: with limit ``m`` it returns min(m, number of solutions).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku.bits import lowest, popcount

from .deduction import CONTRADICTION, SOLVED, propagate
from .jit import entry, inner
from .layout import ATTRIBUTES, DECIDED, HOUSES, ITEM, borrowed, workspace
from .rules import KIND, MOST, MOST_CLUES, Puzzle, stacked
from .state import add_clue, load, place, remove


@inner
def search(w, limit, grid):
    """Count solutions of the state at depth 0, up to ``limit``; the first one is written to ``grid`` (6, 6)."""
    found, depth = 0, 0
    while depth >= 0:
        s = w.stack[depth]
        outcome = propagate(w, depth)
        if outcome == CONTRADICTION:
            depth -= 1
        elif outcome == SOLVED:
            if found == 0:
                for a in range(s[ATTRIBUTES]):
                    for v in range(s[HOUSES]):
                        grid[a, lowest(s[ITEM + MOST * a + v])] = v
            found += 1
            if found >= limit:
                return found
            depth -= 1
        else:
            item = _narrowest(s)
            h = lowest(s[ITEM + item])
            # The next level holds the choice, this one what is left without it.
            w.stack[depth + 1] = s
            remove(w, s, item, h, 0, 0)
            depth += 1
            place(w, w.stack[depth], item, h, 0)
    return found


@inner
def _narrowest(s):
    """The open item with the fewest houses."""
    best, chosen = 99, -1
    for a in range(s[ATTRIBUTES]):
        for v in range(s[HOUSES]):
            item = MOST * a + v
            count = popcount(s[ITEM + item])
            if not s[DECIDED] >> item & 1 and count < best:
                best, chosen = count, item
    return chosen


@entry
def _search_rows(work, houses, attributes, clues, limit, counts, grids):
    w = borrowed(work)
    for row in range(clues.shape[0]):
        s = w.stack[0]
        load(w, s, houses[row], attributes[row])
        for c in range(clues.shape[1]):
            if clues[row, c, KIND] >= 0:
                add_clue(w, s, clues[row, c])
        counts[row] = search(w, limit, grids[row])


def search_arrays(
    houses: NDArray, attributes: NDArray, clues: NDArray, limit: int = 2
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """One solution of each puzzle and the number of solutions up to ``limit``; puzzles as `rules.stacked` gives them.

    Returns:
        grids (N, 6, 6) int8, -1 outside a puzzle's size and where there is no solution; counts (N,).

    Raises:
        UserError: the limit is below 1, or a puzzle has too many clues.
    """
    if limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    if clues.shape[1] > MOST_CLUES:
        raise UserError(f"a puzzle has at most {MOST_CLUES} clues, not {clues.shape[1]}")
    counts, grids = np.zeros(len(clues), np.int64), np.full((len(clues), MOST, MOST), -1, np.int8)
    arrays = (houses.astype(np.int64), attributes.astype(np.int64), clues.astype(np.int64))
    _search_rows(workspace(), *arrays, limit, counts, grids)
    return grids, counts


def count_solutions(puzzles: list[Puzzle], limit: int = 2) -> NDArray[np.int64]:
    """(N,): min(limit, number of solutions) of each puzzle. Raises `UserError` where the limit is below 1."""
    return search_arrays(*stacked(puzzles), limit)[1]
