"""The order in which reasoning reveals a puzzle's cells: the states that decoding in a good order meets.

The seven strategies go first. Where they are stuck, one blank cell, drawn at random, is given away, and they go on: a
hard puzzle is so cut into what follows by logic and the few cells that nothing simple decides. A network trained on
the last n cells of this order, masked, sees the grids that an adaptive order arrives at, and no grid in which chance
revealed what the puzzle turns on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .solver import solve_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Puzzles
    from .rules import Box


def reveal_order(box: Box, puzzles: Puzzles, *, seed: int = 0) -> NDArray[np.int16]:
    """(N, cells) int16: the rank of every blank, 0 for the first revealed; -1 at clues.

    A cell given away is drawn from ``seed`` and ranks before what follows from it. Each puzzle has one solution.
    """
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(seed)))
    order = np.full(puzzles.puzzles.shape, -1, np.int16)
    open_rows, known = np.arange(len(puzzles)), puzzles.puzzles.copy()
    next_rank = np.zeros(len(puzzles), np.int16)
    while len(open_rows):
        result = solve_many(box, known[open_rows])
        filled = result.order >= 0
        order[open_rows] = np.where(filled, result.order + next_rank[open_rows, None], order[open_rows])
        next_rank[open_rows] += filled.sum(1).astype(np.int16)
        known[open_rows] = result.grids
        open_rows = open_rows[~result.solved]
        blank = known[open_rows] == 0
        cell = np.where(blank, rng.random(blank.shape), 2.0).argmin(1)
        known[open_rows, cell] = puzzles.solutions[open_rows, cell]
        order[open_rows, cell] = next_rank[open_rows]
        next_rank[open_rows] += 1
    return order
