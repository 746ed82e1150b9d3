"""How deep a cell lies: the round in which it can be filled when every round fills all that follows at once.

The solver's fill order is one of many: where several cells follow, it takes the first it finds. The depth leaves that
choice out. In a round all lone and hidden singles of the grid are filled together; a round without any fills the one
cell that the seven strategies fill next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .rules import Box, as_grids
from .solver import solve_many

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def fill_depth(box: Box, puzzles: ArrayLike) -> NDArray[np.int64]:
    """(N, cells): the round of each blank, from 0; -1 at clues and where the strategies get stuck before.

    Raises:
        UserError: the puzzles do not fit the box.
    """
    known = as_grids(box, puzzles).copy()
    depth = np.full(known.shape, -1, np.int64)
    open_rows = np.flatnonzero((known == 0).any(1))
    round = 0
    while len(open_rows):
        digit = singles(box, known[open_rows])
        stuck = np.flatnonzero(~digit.any(1))
        if len(stuck):
            found = solve_many(box, known[open_rows[stuck]])
            digit[stuck] = np.where(found.order == 0, found.grids, 0)
        known[open_rows] += digit
        depth[open_rows] = np.where(digit > 0, round, depth[open_rows])
        open_rows = open_rows[digit.any(1) & (known[open_rows] == 0).any(1)]
        round += 1
    return depth


def singles(box: Box, grids: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, cells): the digit of every blank that is a lone or a hidden single of its grid, 0 elsewhere."""
    n = box.size
    member = np.zeros((3 * n, box.cells), np.float32)
    member[np.arange(3 * n)[:, None], box.units] = 1
    held = (grids[:, :, None] == np.arange(1, n + 1)).astype(np.float32)
    seen = member.T @ (member @ held) > 0
    candidate = (grids[:, :, None] == 0) & ~seen
    places = member @ candidate.astype(np.float32)
    hidden = candidate & (member.T @ (places == 1).astype(np.float32) > 0)
    single = hidden | (candidate & (candidate.sum(2, keepdims=True) == 1))
    return np.where(single.any(2), single.argmax(2) + 1, 0).astype(np.uint8)
