"""Where the compiled solver keeps what: flat arrays with fixed offsets, laid out for the largest puzzle.

An item is numbered ``6 a + v`` and a cell ``6 a + h`` (:data:`.rules.MOST`), so that sets of items, of cells and of
clues are 64-bit masks.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anyorder.tasks.sudoku.bits import borrow

from .jit import inner
from .rules import MOST, MOST_CLUES, Kind, holds

ITEM, CELL, OPEN, BROKEN, STALE, SETS, LONE = 0, 36, 72, 73, 74, 75, 76
HIDDEN, DECIDED, FILLED, HOUSES, ATTRIBUTES, S_SIZE = 77, 78, 79, 80, 81, 82
"""A state ``s``, int64: at ITEM + i the houses where item i can be; at CELL + c the values that cell c can have; cells
still open; 1 after a contradiction; clues to look at again; attributes whose closed sets to look at again; open cells
with one value left; open items with one house left; items decided; cells filled; the puzzle's size."""

EVENTS, RECORDING, USED, CLUES, CLOSED, NOTES_SIZE = 0, 1, 2, 3, 4, 5
"""``notes``, int64: number of events; whether to write a log; clues used since it was cleared; number of clues; the
items of the closed set at work, as a mask."""

REMOVED, PLACED = 0, 1
RULE, WHAT, EVENT_ITEM, HOUSE, NAMED, SET, EVENT_SIZE = 0, 1, 2, 3, 4, 5, 6
"""Columns of ``events``: rule, REMOVED or PLACED, item, house, the clues that the rule used, the closed set."""

FORWARD, BACKWARD, MIDDLE = 0, 1, 2
"""Parts of the table ``t``; see `relations`."""


class Workspace(NamedTuple):
    """The arrays that one thread works in; allocated by Python, borrowed by the compiled code.

    ``t``: `relations`. ``stack`` (depth, S_SIZE): states, one for each depth of a search. ``clues`` (62, 5) and
    ``touch`` (36,): the puzzle's clues, and which of them speak of an item. ``why`` (2, 36, 6): the rule and the clues
    that removed a house from an item, 0 where the rules of filling did. ``events`` (m, 6): the log, written while
    ``notes[RECORDING]``. ``scratch`` (8, 64). ``stream`` (1,) uint64: the random stream.
    """

    t: NDArray[np.int64]
    stack: NDArray[np.int64]
    clues: NDArray[np.int64]
    touch: NDArray[np.int64]
    why: NDArray[np.int64]
    events: NDArray[np.int64]
    notes: NDArray[np.int64]
    scratch: NDArray[np.int64]
    stream: NDArray[np.uint64]


def workspace() -> Workspace:
    """Fresh arrays."""
    cells = MOST * MOST
    return Workspace(
        relations(),
        np.zeros((cells + 2, S_SIZE), np.int64),
        np.zeros((MOST_CLUES + 1, 5), np.int64),
        np.zeros(cells, np.int64),
        np.zeros((2, cells, MOST), np.int64),
        np.zeros((cells * (MOST + 1), EVENT_SIZE), np.int64),
        np.zeros(NOTES_SIZE, np.int64),
        np.zeros((8, 64), np.int64),
        np.zeros(1, np.uint64),
    )


@inner
def borrowed(work):
    """A :class:`Workspace` of borrowed arrays; ``work`` must come from Python, which holds the memory."""
    return Workspace(
        borrow(work.t),
        borrow(work.stack),
        borrow(work.clues),
        borrow(work.touch),
        borrow(work.why),
        borrow(work.events),
        borrow(work.notes),
        borrow(work.scratch),
        borrow(work.stream),
    )


@cache
def relations() -> NDArray[np.int64]:
    """(3, 7, 15, 8, 36) masks of houses, by part, houses in the row, kind, number and place.

    FORWARD of a kind with one item: at place 0 the houses that it allows. With two items: at place h, where the second
    item can be when the first is in house h; BACKWARD: the first when the second is in h. MIDDLE of a kind with three:
    at 6 y + z, where the first can be when the others are in y and z.
    """
    table = np.zeros((3, MOST + 1, len(Kind), 8, MOST * MOST), np.int64)
    for houses in range(2, MOST + 1):
        bit = np.left_shift(1, np.arange(houses))
        first, second, third = np.ogrid[:houses, :houses, :houses]
        for kind in Kind:
            for number in range(8):
                allowed = np.broadcast_to(holds(kind, number, houses, first, second, third), (houses,) * 3)
                if kind.arity == 1:
                    table[FORWARD, houses, kind, number, 0] = bit[allowed[:, 0, 0]].sum()
                elif kind.arity == 2:
                    table[FORWARD, houses, kind, number, :houses] = allowed[:, :, 0] @ bit
                    table[BACKWARD, houses, kind, number, :houses] = allowed[:, :, 0].T @ bit
                else:
                    whole = table[MIDDLE, houses, kind, number].reshape(MOST, MOST)
                    whole[:houses, :houses] = np.moveaxis(allowed, 0, -1) @ bit
    table.setflags(write=False)
    return table
