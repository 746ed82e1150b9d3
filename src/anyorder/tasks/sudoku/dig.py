"""Digging: which clues of a full grid can go.

Cells are visited in random order, and a clue goes where the rest is still a puzzle. Two notions of "still a puzzle":

- :func:`dig_unique`: one solution. The result is *minimal*: taking any clue leaves several solutions (one clue's
  removal never becomes possible by removing others, so one pass is enough).
- :func:`dig_logic`: one solution, and the seven strategies find it. The result is *locally minimal under the seven
  strategies*: without any one clue they no longer finish. Since a clue can break a unique rectangle, a single pass is
  no proof; clues are tried again until each has failed against exactly the clues that are left.

What makes the second fast, without changing its outcome:

- Many clues go at once while singles alone finish (singles need no more when there are more clues).
- A test stops when the cell just emptied is filled again: from there the solver knows all it knew before.
- What the strategies find is common to all solutions (:mod:`.strategies`), so emptying a cell that they fill again
  keeps the solution unique.
- The puzzle that results is solved once from the start, as a proof; an attempt that fails it is dropped.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .bits import shuffle
from .layout import BROKEN, CAND, OPEN, VALUE
from .search import search
from .state import eliminate, load, propagate
from .strategies import BRANCHES, run

FIRST_CHUNK = 32
"""Clues (of a 9x9 grid) that are first taken at once; larger and smaller grids in proportion."""

@njit(cache=True, nogil=True)
def other_solution(w, puzzle, cell, digit):
    """Whether ``puzzle`` has a solution in which ``cell``, now blank, is not ``digit``; also True where the search was
    given up."""
    s, info = w.stack[0], w.infos[0]
    load(s, info, w.t, puzzle)
    d = int(digit) - 1
    if s[CAND + cell] == 1 << d:
        return False
    eliminate(s, info, w.t, cell, d)
    return search(w.stack, w.infos, w.t, 1, BRANCHES, w.no_grids) != 0


@njit(cache=True, nogil=True)
def strategies_fill(w, puzzle, target):
    """Whether the strategies fill the cell ``target`` of ``puzzle``, or all of it (-1)."""
    s, info = w.stack[0], w.infos[0]
    load(s, info, w.t, puzzle)
    run(w, target, False)
    if info[BROKEN]:
        return False
    return info[OPEN] == 0 if target < 0 else s[VALUE + target] > 0


@njit(cache=True, nogil=True)
def _take_while_single(w, order, solution, puzzle):
    """Empty cells along ``order``, many at once, as far as singles alone still finish; returns how many."""
    s, info = w.stack[0], w.infos[0]
    cells = puzzle.shape[0]
    taken, size = 0, FIRST_CHUNK * cells // 81
    while taken < cells and size > 0:
        size = min(size, cells - taken)
        for at in range(taken, taken + size):
            puzzle[order[at]] = 0
        load(s, info, w.t, puzzle)
        if propagate(s, info, w.t) and info[OPEN] == 0:
            taken += size
        else:
            for at in range(taken, taken + size):
                puzzle[order[at]] = solution[order[at]]
            size //= 2
    return taken


@njit(cache=True, nogil=True)
def dig_unique(w, solution, puzzle):
    """Turn ``puzzle`` (cells,) into a minimal puzzle of ``solution``."""
    order = np.arange(puzzle.shape[0])
    shuffle(w.stream, order)
    puzzle[:] = solution
    for at in range(_take_while_single(w, order, solution, puzzle), order.shape[0]):
        cell = order[at]
        puzzle[cell] = 0
        if other_solution(w, puzzle, cell, solution[cell]):
            puzzle[cell] = solution[cell]


@njit(cache=True, nogil=True)
def dig_logic(w, solution, puzzle):
    """Turn ``puzzle`` (cells,) into one of ``solution`` that the seven strategies finish and that is locally minimal
    under them; False where the attempt has to be dropped."""
    cells = puzzle.shape[0]
    order = np.arange(cells)
    shuffle(w.stream, order)
    puzzle[:] = solution
    # A kept clue's number: how many had gone when the strategies last failed without it.
    failed_at = np.full(cells, -1)
    gone = _take_while_single(w, order, solution, puzzle)
    for at in range(gone, cells):
        cell = order[at]
        puzzle[cell] = 0
        if strategies_fill(w, puzzle, cell):
            gone += 1
        else:
            puzzle[cell] = solution[cell]
            failed_at[cell] = gone
    if not strategies_fill(w, puzzle, -1):
        return False
    while True:
        before = gone
        for at in range(cells):
            cell = order[at]
            if puzzle[cell] == 0 or failed_at[cell] == gone:
                continue
            puzzle[cell] = 0
            if strategies_fill(w, puzzle, -1):
                gone += 1
            else:
                puzzle[cell] = solution[cell]
                failed_at[cell] = gone
        if gone == before:
            return True
