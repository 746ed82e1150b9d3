"""Random solution grids of any box shape.

- Up to 6x6 the grids with first row 1..n are few (12 for 4x4, 39,168 for 6x6): all are listed once, one is drawn, and
  the digits are shuffled. Uniform.
- 9x9: rejection with exact counts (:mod:`.grids9`). Uniform.
- Otherwise (8x8, 10x10, 12x12 and larger): a randomised search fills the grid.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .bits import below, lowest, shuffle, start
from .grids9 import Patterns, draw_nine, patterns
from .rules import Box, Tables
from .search import choose, level, new_stack, search
from .state import OPEN, assign, copy_state, eliminate, load, propagate


class Source(NamedTuple):
    """What the compiled sampler of one box shape needs: its tables, the 9x9 patterns, and the listed grids."""

    tables: Tables
    patterns: Patterns
    listed: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _list_grids(tables, first_row, out):
    n = tables.shape[0]
    stack = new_stack(n)
    puzzle = np.zeros(n * n, np.uint8)
    puzzle[:n] = first_row
    load(level(stack, 0), tables, puzzle)
    return search(stack, tables, np.int64(1) << 40, out)


def list_grids(box: Box) -> NDArray[np.uint8]:
    """(N, cells): every solution grid whose first row reads 1..n, for boxes of at most 6 digits.

    Raises:
        UserError: the box is larger, where listing is out of reach.
    """
    if box.size > 6:
        raise UserError(f"{box.name} has too many grids to list; at most 6x6 can be")
    return _listed(box)


@lru_cache(maxsize=None)
def _listed(box: Box) -> NDArray[np.uint8]:
    first = np.arange(1, box.size + 1, dtype=np.uint8)
    count = _list_grids(box.tables, first, np.empty((0, box.cells), np.uint8))
    grids = np.empty((count, box.cells), np.uint8)
    _list_grids(box.tables, first, grids)
    grids.setflags(write=False)
    return grids


def source(box: Box) -> Source:
    """The constant data that :func:`draw` needs for ``box``."""
    listed = _listed(box) if box.size <= 6 else np.empty((0, box.cells), np.uint8)
    return Source(box.tables, patterns(), listed)


@njit(cache=True, nogil=True)
def _fill(stream, stack, tables, grid):
    """A random grid by depth-first search that tries the branch digit of a random cell among the tightest."""
    n = tables.shape[0]
    first = np.arange(1, n + 1).astype(np.uint8)
    shuffle(stream, first)
    grid[:] = 0
    grid[:n] = first
    load(level(stack, 0), tables, grid)
    depth = 0
    while depth >= 0:
        state = level(stack, depth)
        if not propagate(state, tables):
            depth -= 1
            continue
        if state.info[OPEN] == 0:
            grid[:] = state.value
            return
        cell = choose(state, tables) >> 4
        mask = np.int64(state.cand[cell])
        for _ in range(below(stream, n)):
            mask &= mask - 1
            if mask == 0:
                mask = np.int64(state.cand[cell])
        d = lowest(mask)
        following = level(stack, depth + 1)
        copy_state(following, state)
        eliminate(state, tables, cell, d)
        assign(following, tables, cell, d)
        depth += 1


@njit(cache=True, nogil=True)
def draw(stream, stack, given, grid):
    """Write a random solution grid (cells,) to ``grid``. ``given`` is a :class:`Source`."""
    n = given.tables.shape[0]
    if given.listed.shape[0] > 0:
        chosen = given.listed[below(stream, given.listed.shape[0])]
        label = np.arange(1, n + 1)
        shuffle(stream, label)
        for cell in range(n * n):
            grid[cell] = label[chosen[cell] - 1]
    elif n == 9 and given.tables.shape[1] == 3:
        draw_nine(stream, given.patterns, grid)
    else:
        _fill(stream, stack, given.tables, grid)


@njit(cache=True, nogil=True)
def _draw_many(given, seed, grids):
    stack = new_stack(given.tables.shape[0])
    stream = np.zeros(1, np.uint64)
    for row in range(grids.shape[0]):
        start(stream, seed, np.uint64(row))
        draw(stream, stack, given, grids[row])


def random_grids(box: Box, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, cells): independent random solution grids; grid ``i`` depends on ``(seed, i)`` alone.

    Raises:
        UserError: the count or the seed is negative.
    """
    if count < 0 or seed < 0:
        raise UserError(f"count and seed must not be negative, not {count} and {seed}")
    grids = np.zeros((count, box.cells), np.uint8)
    _draw_many(source(box), np.uint64(seed), grids)
    return grids
