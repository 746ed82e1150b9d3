"""Random solution grids of any box shape.

- Up to 6x6 the grids with first row 1..n are few (12 for 4x4, 39,168 for 6x6): all are listed once, one is drawn, and
  the digits are shuffled. Uniform.
- 9x9: rejection with exact counts (:mod:`.grids9`). Uniform.
- Otherwise (8x8, 10x10, 12x12 and larger): a randomised search fills the grid.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .bits import below, lowest, shuffle, start
from .grids9 import Patterns, draw_nine, patterns
from .layout import BOX_ROWS, CAND, OPEN, SIDE, borrowed
from .rules import Box
from .search import choose, search
from .state import assign, eliminate, load, propagate


class Source(NamedTuple):
    """What the sampler of one box shape reads: the 9x9 patterns, and the listed grids of a small box."""

    patterns: Patterns
    listed: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _list_grids(work, puzzle, out):
    w = borrowed(work)
    load(w.stack[0], w.infos[0], w.t, puzzle)
    return search(w.stack, w.infos, w.t, 1 << 40, out)


def list_grids(box: Box) -> NDArray[np.uint8]:
    """(N, cells): every solution grid whose first row reads 1..n, for boxes of at most 6 digits.

    Raises:
        UserError: the box is larger, where listing is out of reach.
    """
    if box.size > 6:
        raise UserError(f"{box.name} has too many grids to list; at most 6x6 can be")
    return _listed(box)


@cache
def _listed(box: Box) -> NDArray[np.uint8]:
    puzzle = np.zeros(box.cells, np.uint8)
    puzzle[: box.size] = np.arange(1, box.size + 1)
    count = _list_grids(box.workspace(), puzzle, np.empty((0, box.cells), np.uint8))
    grids = np.empty((count, box.cells), np.uint8)
    _list_grids(box.workspace(), puzzle, grids)
    grids.setflags(write=False)
    return grids


def source(box: Box) -> Source:
    """The constant data that :func:`draw` needs for ``box``."""
    listed = _listed(box) if box.size <= 6 else np.empty((0, box.cells), np.uint8)
    return Source(patterns(), listed)


@njit(cache=True, nogil=True)
def _fill(w, grid):
    """A random grid by depth-first search that tries a random digit of a tightest cell."""
    stack, infos, t = w.stack, w.infos, w.t
    n = int(t[SIDE])
    first = np.arange(1, n + 1).astype(np.uint8)
    shuffle(w.stream, first)
    grid[:] = 0
    grid[:n] = first
    load(stack[0], infos[0], t, grid)
    depth = 0
    while depth >= 0:
        s, info = stack[depth], infos[depth]
        if not propagate(s, info, t):
            depth -= 1
            continue
        if info[OPEN] == 0:
            grid[:] = s[: n * n]
            return
        cell = choose(s, t) >> 4
        mask = int(s[CAND + cell])
        for _ in range(below(w.stream, n)):
            mask &= mask - 1
            if mask == 0:
                mask = int(s[CAND + cell])
        d = lowest(mask)
        depth += 1
        stack[depth] = s
        infos[depth] = info
        eliminate(s, info, t, cell, d)
        assign(stack[depth], infos[depth], t, cell, d)


@njit(cache=True, nogil=True)
def draw(w, given, grid):
    """Write a random solution grid (cells,) to ``grid``. ``w`` is a borrowed workspace, ``given`` a :class:`Source`."""
    n = int(w.t[SIDE])
    if given.listed.shape[0] > 0:
        chosen = given.listed[below(w.stream, given.listed.shape[0])]
        label = np.arange(1, n + 1)
        shuffle(w.stream, label)
        for cell in range(n * n):
            grid[cell] = label[chosen[cell] - 1]
    elif n == 9 and w.t[BOX_ROWS] == 3:
        draw_nine(w.stream, given.patterns, grid)
    else:
        _fill(w, grid)


@njit(cache=True, nogil=True)
def _draw_many(work, given, seed, grids):
    w = borrowed(work)
    for row in range(grids.shape[0]):
        start(w.stream, seed, np.uint64(row))
        draw(w, given, grids[row])


def random_grids(box: Box, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, cells): independent random solution grids; grid ``i`` depends on ``(seed, i)`` alone.

    Raises:
        UserError: the count or the seed is negative.
    """
    if count < 0 or seed < 0:
        raise UserError(f"count and seed must not be negative, not {count} and {seed}")
    grids = np.zeros((count, box.cells), np.uint8)
    _draw_many(box.workspace(), source(box), np.uint64(seed), grids)
    return grids
