"""Random solution grids of any box shape.

- Up to 6x6 the grids with first row 1..n are few (12 for 4x4, 39,168 for 6x6): all are listed once, one is drawn, and
  the digits are shuffled. Uniform.
- 9x9: rejection with exact counts (:mod:`.grids9`). Uniform.
- Other shapes (8x8, 10x10, 12x12 and larger): a randomised search fills a grid, and a Markov chain mixes it. Each move
  splits part of the grid into cycles that can be swapped independently of each other and swaps each with probability
  1/2: for two digits, the groups of their cells linked by shared units; for two rows of a band (two columns of a
  stack), the cycles of columns (rows) in which the two lines hold the same digits. A move draws uniformly from a set
  of grids that is the same seen from each of its members, so the uniform law is stationary; that the chain reaches
  every grid is not proven. Its law is checked against exact ones on 6x6 and 9x9 in the tests.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .bits import below, lowest, shuffle, start
from .grids9 import Patterns, draw_nine, patterns
from .jit import entry, inner
from .layout import BOX_ROWS, CAND, OPEN, SIDE, UNIT_OF, UNITS, borrowed
from .rules import Box
from .search import choose, search
from .state import assign, eliminate, load, propagate

MOVES_PER_CELL = 2
"""Length of the chain, in moves of each type per cell."""


class Source(NamedTuple):
    """What the sampler of one box shape reads: the 9x9 patterns, and the listed grids of a small box."""

    patterns: Patterns
    listed: NDArray[np.uint8]


@entry
def _list_grids(work, puzzle, out):
    w = borrowed(work)
    load(w.stack[0], w.infos[0], w.t, puzzle)
    return search(w.stack, w.infos, w.t, 1 << 40, 0, out)


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
    listed.setflags(write=False)  # one type for the compiled code
    return Source(patterns(), listed)


@inner
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


@inner
def _swap_digits(w, grid):
    """Move of the chain: swap two random digits in a random half of the groups of cells that they link."""
    n, t = int(w.t[SIDE]), w.t
    a = below(w.stream, n) + 1
    b = below(w.stream, n - 1) + 1
    b += b >= a
    # Each unit holds one of each digit, so from an ``a`` every unit leads to one ``b``, and back.
    mark, queue = w.scratch[0], w.scratch[1]
    mark[: n * n] = 0
    for first in range(n * n):
        if grid[first] != a or mark[first]:
            continue
        swap = below(w.stream, 2)
        size, at = 1, 0
        queue[0] = first
        mark[first] = 1
        while at < size:
            cell = queue[at]
            at += 1
            for kind in range(3):
                unit = int(t[UNIT_OF + 4 * cell + kind])
                for index in range(UNITS + 16 * unit, UNITS + 16 * unit + n):
                    other = int(t[index])
                    if mark[other] == 0 and (grid[other] == a or grid[other] == b):
                        mark[other] = 1
                        queue[size] = other
                        size += 1
        if swap:
            for at in range(size):
                grid[queue[at]] = a + b - grid[queue[at]]


@inner
def _swap_lines(w, grid, kind):
    """Move of the chain: swap two rows of a band (``kind`` 0; columns of a stack, 1) in a random half of the cycles of
    positions over which they hold the same digits."""
    n, t = int(w.t[SIDE]), w.t
    group = int(t[BOX_ROWS + kind])
    if group < 2:
        return
    first = below(w.stream, n // group) * group
    one = below(w.stream, group)
    two = below(w.stream, group - 1)
    two += two >= one
    one, two = UNITS + 16 * (kind * n + first + one), UNITS + 16 * (kind * n + first + two)
    where, done = w.scratch[0], w.scratch[1]
    for position in range(n):
        where[grid[t[one + position]]] = position
        done[position] = 0
    for begin in range(n):
        if done[begin]:
            continue
        swap = below(w.stream, 2)
        position = begin
        while not done[position]:
            done[position] = 1
            upper, lower = int(t[one + position]), int(t[two + position])
            position = where[grid[lower]]
            if swap:
                grid[upper], grid[lower] = grid[lower], grid[upper]


@inner
def mix(w, grid, moves):
    """Run the chain for ``moves`` moves of each of the three types."""
    for _ in range(moves):
        _swap_digits(w, grid)
        _swap_lines(w, grid, 0)
        _swap_lines(w, grid, 1)


@inner
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
        mix(w, grid, MOVES_PER_CELL * n * n)


@entry
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
