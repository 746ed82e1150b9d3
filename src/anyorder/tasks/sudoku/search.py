"""Exhaustive search: how many solutions a puzzle has, and one of them.

Depth first over singles propagation. Where singles stop, it branches on a cell with fewest candidates, or on a digit
with fewer places in some unit; two choices are the common case, and each doubles the knowledge. Complete: with limit
``m`` it returns min(m, number of solutions).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .bits import lowest, popcount
from .rules import Box, as_grids
from .state import BASE, OPEN, WORDS, State, assign, copy_state, eliminate, load, new_state, propagate


@njit(cache=True, nogil=True)
def new_stack(n):
    """States for a depth-first search: a branch fills at least one cell, so n * n + 1 levels are enough."""
    cells = n * n
    depth = cells + 1
    return State(
        np.zeros((depth, cells), np.uint8),
        np.zeros((depth, cells), np.uint16),
        np.zeros((depth, 3 * n, n), np.uint16),
        np.zeros((depth, 3 * n), np.uint16),
        np.zeros((depth, 3 * n), np.uint16),
        np.zeros((depth, BASE + WORDS), np.int64),
    )


@njit(cache=True, nogil=True)
def level(stack, depth):
    """The state at one depth of the stack, as views."""
    return State(
        stack.value[depth],
        stack.cand[depth],
        stack.place[depth],
        stack.missing[depth],
        stack.single_digits[depth],
        stack.info[depth],
    )


@njit(cache=True, nogil=True)
def choose(state, tables):
    """A candidate to branch on, as ``cell * 16 + d``: from the smallest choice of digits for a cell or places for a
    digit."""
    n = tables.shape[0]
    best, best_cell, best_digit = 99, -1, -1
    for cell in range(n * n):
        mask = np.int64(state.cand[cell])
        if mask:
            count = popcount(mask)
            if count < best:
                best, best_cell, best_digit = count, cell, lowest(mask)
                if best == 2:
                    return best_cell * 16 + best_digit
    for unit in range(3 * n):
        mask = np.int64(state.missing[unit])
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            places = np.int64(state.place[unit, d])
            count = popcount(places)
            if count < best:
                best, best_cell, best_digit = count, tables.units[unit, lowest(places)], d
                if best == 2:
                    return best_cell * 16 + best_digit
    return best_cell * 16 + best_digit


@njit(cache=True, nogil=True)
def search(stack, tables, limit, solutions):
    """Count solutions of the state at depth 0 of ``stack``, up to ``limit``; the first ones are written to the rows of
    ``solutions`` (m, cells), as far as they go."""
    found = 0
    depth = 0
    while depth >= 0:
        state = level(stack, depth)
        if not propagate(state, tables):
            depth -= 1
            continue
        if state.info[OPEN] == 0:
            if found < solutions.shape[0]:
                solutions[found] = state.value
            found += 1
            if found >= limit:
                return found
            depth -= 1
            continue
        branch = choose(state, tables)
        cell, d = branch >> 4, branch & 15
        # The next level holds the choice, this one what is left without it.
        following = level(stack, depth + 1)
        copy_state(following, state)
        eliminate(state, tables, cell, d)
        assign(following, tables, cell, d)
        depth += 1
    return found


@njit(cache=True, nogil=True)
def _count_many(tables, puzzles, limit, counts, solutions):
    stack = new_stack(tables.shape[0])
    for row in range(puzzles.shape[0]):
        load(level(stack, 0), tables, puzzles[row])
        counts[row] = search(stack, tables, limit, solutions[row : row + 1])


def count_solutions(box: Box, puzzles: ArrayLike, limit: int = 2) -> NDArray[np.int64]:
    """(N,): min(limit, number of solutions) of each puzzle. ``puzzles`` (N, cells), 0 = blank.

    Raises:
        UserError: the puzzles do not fit the box, or the limit is below 1.
    """
    if limit < 1:
        raise UserError(f"limit must be at least 1, not {limit}")
    grids = as_grids(box, puzzles)
    counts = np.zeros(len(grids), np.int64)
    _count_many(box.tables, grids, limit, counts, np.zeros_like(grids))
    return counts


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
    _count_many(box.tables, grids, 2, counts, solutions)
    return solutions, counts
