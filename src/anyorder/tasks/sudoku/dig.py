"""Digging: which clues of a full grid can go.

Cells are visited in random order, and a clue goes where the rest is still a puzzle. Two notions of "still a puzzle":

- :func:`dig_unique`: one solution. The result is *minimal*: taking any clue leaves several solutions (one clue's
  removal never becomes possible by removing others, so one pass is enough).
- :func:`dig_logic`: one solution, and the seven strategies find it. The result is *locally minimal under the seven
  strategies*: without any one clue they no longer finish. Since a clue can break a unique rectangle, a single pass is
  no proof; clues are tried again until each has failed against exactly the clues that are left.

What makes the second fast, without changing its outcome:

- Many clues go at once while singles alone finish (singles need no more when there are more clues).
- A test stops when the cell just emptied is filled again: from there the solver knows all it knew before. What the
  strategies find is common to all solutions (:mod:`.strategies`), so the solution stays unique.
- A clue without which there are several solutions can never go, whatever else does, and is not tried again. The search
  that finds a second one is faster than the strategies are to give up.
- The puzzle that results is solved once from the start, as a proof; an attempt that fails it is dropped.
"""

from __future__ import annotations

import numpy as np

from .bits import shuffle
from .jit import inner
from .layout import BROKEN, CAND, OPEN, VALUE
from .search import search
from .state import eliminate, load, propagate
from .strategies import BRANCHES, run

FILLED_AGAIN, SEVERAL, STUCK = 0, 1, 2
FOR_EVER = 1 << 30
FIRST_CHUNK = 32
"""Clues (of a 9x9 grid) that are first taken at once; larger and smaller grids in proportion."""


@inner
def _other_solution(w, cell, digit):
    """Look for a solution of the state at depth 0 in which the open ``cell`` is not ``digit``.

    Returns:
        1 if there is one, 0 if there is none, -1 if the search was given up.
    """
    d = int(digit) - 1
    if w.stack[0, CAND + cell] == 1 << d:
        return 0
    w.stack[1] = w.stack[0]
    w.infos[1] = w.infos[0]
    eliminate(w.stack[1], w.infos[1], w.t, cell, d)
    return search(w.stack[1:], w.infos[1:], w.t, 1, int(BRANCHES), w.no_grids)


@inner
def _without(w, puzzle, cell, digit):
    """What becomes of ``cell`` (its solution is ``digit``), now blank in ``puzzle``."""
    s, info = w.stack[0], w.infos[0]
    load(s, info, w.t, puzzle)
    propagate(s, info, w.t)
    if s[VALUE + cell] > 0:
        return FILLED_AGAIN
    if _other_solution(w, cell, digit) == 1:
        return SEVERAL
    run(w, cell)
    return FILLED_AGAIN if s[VALUE + cell] > 0 else STUCK


@inner
def strategies_finish(w, puzzle):
    """Whether the seven strategies fill all of ``puzzle``."""
    load(w.stack[0], w.infos[0], w.t, puzzle)
    run(w, (-1))
    return w.infos[0, OPEN] == 0 and w.infos[0, BROKEN] == 0


@inner
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


@inner
def dig_unique(w, solution, puzzle):
    """Turn ``puzzle`` (cells,) into a minimal puzzle of ``solution``."""
    order = np.arange(puzzle.shape[0])
    shuffle(w.stream, order)
    puzzle[:] = solution
    for at in range(_take_while_single(w, order, solution, puzzle), order.shape[0]):
        cell = order[at]
        puzzle[cell] = 0
        load(w.stack[0], w.infos[0], w.t, puzzle)
        if _other_solution(w, cell, solution[cell]) != 0:
            puzzle[cell] = solution[cell]


@inner
def dig_logic(w, solution, puzzle):
    """Turn ``puzzle`` (cells,) into one of ``solution`` that the seven strategies finish and that is locally minimal
    under them; False where the attempt has to be dropped."""
    cells = puzzle.shape[0]
    order = np.arange(cells)
    shuffle(w.stream, order)
    puzzle[:] = solution
    # Of a kept clue: how many had gone when the strategies last failed without it.
    failed_at = np.full(cells, -1)
    gone = _take_while_single(w, order, solution, puzzle)
    for at in range(gone, cells):
        cell = order[at]
        puzzle[cell] = 0
        verdict = _without(w, puzzle, cell, solution[cell])
        if verdict == FILLED_AGAIN:
            gone += 1
        else:
            puzzle[cell] = solution[cell]
            failed_at[cell] = gone if verdict == STUCK else FOR_EVER
    if not strategies_finish(w, puzzle):
        return False
    while True:
        before = gone
        for at in range(cells):
            cell = order[at]
            if puzzle[cell] == 0 or failed_at[cell] >= gone:
                continue
            puzzle[cell] = 0
            if strategies_finish(w, puzzle):
                gone += 1
            else:
                puzzle[cell] = solution[cell]
                failed_at[cell] = gone
        if gone == before:
            return True
