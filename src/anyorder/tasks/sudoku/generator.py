"""Seeded puzzles with one solution.

A random solution grid is dug: its cells are visited in random order, and a clue goes where the rest still has one
solution. Every attempt has a number and draws from a stream of its own, so the puzzles are the same for any number of
workers. Workers are threads: the compiled code holds no lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .bits import shuffle, start
from .data import Puzzles
from .grids import Source, draw, source
from .layout import CAND, borrowed
from .rules import Box
from .search import search
from .state import eliminate, load

BLOCK = 256
"""Attempts per unit of work."""


@njit(cache=True, nogil=True)
def _dig(w, solution, puzzle):
    """Take clues from ``puzzle`` (at first the whole ``solution``) while it keeps a single solution."""
    order = np.arange(puzzle.shape[0])
    shuffle(w.stream, order)
    s, info = w.stack[0], w.infos[0]
    none = np.empty((0, puzzle.shape[0]), np.uint8)
    for cell in order:
        puzzle[cell] = 0
        load(s, info, w.t, puzzle)
        # A second solution must differ here.
        d = int(solution[cell]) - 1
        if s[CAND + cell] != 1 << d:
            eliminate(s, info, w.t, cell, d)
            if search(w.stack, w.infos, w.t, 1, none) > 0:
                puzzle[cell] = solution[cell]


@njit(cache=True, nogil=True)
def _make(work, given, seed, first, puzzles, solutions):
    w = borrowed(work)
    for row in range(puzzles.shape[0]):
        start(w.stream, seed, np.uint64(first + row))
        draw(w, given, solutions[row])
        puzzles[row] = solutions[row]
        _dig(w, solutions[row], puzzles[row])


def _block(box: Box, given: Source, seed: int, first: int, size: int) -> tuple[NDArray, NDArray]:
    puzzles, solutions = np.zeros((size, box.cells), np.uint8), np.zeros((size, box.cells), np.uint8)
    _make(box.workspace(), given, np.uint64(seed), first, puzzles, solutions)
    return puzzles, solutions


def generate(
    box: Box,
    count: int,
    seed: int,
    *,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Puzzles:
    """``count`` puzzles with exactly one solution, none equal to another.

    Args:
        box: the box shape.
        count: how many.
        seed: a whole number of at least 0; the puzzles depend on it and on the settings, not on ``workers``.
        workers: threads that work at once.
        progress: called with (puzzles made, count).

    Raises:
        UserError: a count, seed or number of workers out of range.
    """
    if count < 1 or seed < 0 or workers < 1:
        raise UserError(f"count and workers must be at least 1, seed at least 0, not {count}, {workers}, {seed}")
    given = source(box)
    seen: set[bytes] = set()
    kept: list[tuple[NDArray, NDArray]] = []
    for puzzles, solutions in _blocks(box, given, seed, workers):
        for puzzle, solution in zip(puzzles, solutions, strict=True):
            name = puzzle.tobytes()
            if name not in seen and len(kept) < count:
                seen.add(name)
                kept.append((puzzle, solution))
        if progress is not None:
            progress(len(kept), count)
        if len(kept) == count:
            break
    return Puzzles(
        box, np.array([p for p, _ in kept]), np.array([s for _, s in kept]), origin=f"generated, seed {seed}"
    )


def _blocks(box: Box, given: Source, seed: int, workers: int) -> Iterator[tuple[NDArray, NDArray]]:
    """Blocks of attempts in order, ``workers`` of them under way at once."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[tuple[NDArray, NDArray]]] = []
        first = 0
        try:
            while True:
                while len(waiting) < workers + 1:
                    waiting.append(pool.submit(_block, box, given, seed, first, BLOCK))
                    first += BLOCK
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()
