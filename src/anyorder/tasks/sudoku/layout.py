"""Where the compiled solver keeps what: flat arrays with fixed offsets.

The solver's inner functions pass three arrays around, and every field has one place in them, laid out for the largest
grid (16 digits, 256 cells, 48 units): constant offsets cost nothing, and no view is made inside a loop.

- ``s``, int32: the candidates (:mod:`.state`). Copying it copies the whole state of knowledge.
- ``info``, int64: counters and bit sets of the same state.
- ``t``, int16: the index tables of a box shape; read only.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import borrow
from .jit import inner

VALUE, CAND, PLACE, MISSING, SINGLE_DIGITS, S_SIZE = 0, 256, 512, 1280, 1328, 1376
"""``s``: digit of each cell (0 open); candidates of each cell; at PLACE + 16 unit + d the places of digit d; digits not
yet in each unit; digits with a single place in each unit."""

OPEN, BROKEN, SINGLE_UNITS, SINGLE_CELLS, CHANGED, PAIRS, TRIPLETS, INFO_SIZE = 0, 1, 2, 3, 7, 8, 9, 10
"""``info``: cells still open; 1 after a contradiction; units with a digit in a single place; 4 words of cells with a
single candidate; units in which a candidate went since CHANGED was cleared; units to examine for pairs; for triplets.
"""

SIDE, BOX_ROWS, BOX_COLUMNS, PEER_COUNT, UNITS, UNIT_OF, PLACE_IN, PEERS, T_SIZE = 0, 1, 2, 3, 4, 772, 1796, 2820, 15108
"""``t``: n; the box's sides; peers of a cell; at UNITS + 16 unit + i its i-th cell; at UNIT_OF + 4 cell the cell's row,
column and box unit, at PLACE_IN + 4 cell its position in them; at PEERS + 48 cell its peers, ascending."""


EVENTS, FILLS, RECORDING, REMOVED_BY, ORDER, SUPPORT, NOTES_SIZE = 0, 1, 2, 3, 4099, 4355, 4611
"""``notes``, int16: number of events and of fills; whether to write a log; at REMOVED_BY + 16 cell + d the strategy
that removed a candidate (0 for none); when each cell was filled (-1: never); bit ``s`` set where a cell's fill rests
on strategy ``s``."""


class Workspace(NamedTuple):
    """The arrays that one thread works in; allocated by Python, borrowed by the compiled code.

    ``t``: the box's tables. ``stack`` (depth, S_SIZE) int32 and ``infos`` (depth, INFO_SIZE) int64: states ``s`` and
    ``info`` for each depth of a search; every branch fills a cell, so cells + 1 are enough. ``events`` (m, 4) int16:
    the log, rows of strategy, kind, cell, digit (from 1; 0 for a pattern cell) in order of time, written while
    ``notes[RECORDING]``. ``notes`` (NOTES_SIZE,) int16. ``scratch`` (3, 256) int64. ``stream`` (1,) uint64: the random
    stream. ``no_grids`` (0, cells) uint8: for searches that only count.
    """

    t: NDArray[np.int16]
    stack: NDArray[np.int32]
    infos: NDArray[np.int64]
    events: NDArray[np.int16]
    notes: NDArray[np.int16]
    scratch: NDArray[np.int64]
    stream: NDArray[np.uint64]
    no_grids: NDArray[np.uint8]


def workspace(box_rows: int, box_columns: int, *, recording: bool = False) -> Workspace:
    """Fresh arrays for a box shape, with room for a log where ``recording``."""
    n = box_rows * box_columns
    # Every removal is one event and brings at most n pattern cells.
    room = n * n * (n * (n + 1) + 1) if recording else 0
    notes = np.zeros(NOTES_SIZE, np.int16)
    notes[RECORDING] = recording
    return Workspace(
        flat_tables(box_rows, box_columns),
        np.zeros((n * n + 1, S_SIZE), np.int32),
        np.zeros((n * n + 1, INFO_SIZE), np.int64),
        np.zeros((room, 4), np.int16),
        notes,
        np.zeros((3, 256), np.int64),
        np.zeros(1, np.uint64),
        np.zeros((0, n * n), np.uint8),
    )


@inner
def borrowed(work):
    """A :class:`Workspace` of borrowed arrays; ``work`` must come from Python, which holds the memory."""
    return Workspace(
        borrow(work.t),
        borrow(work.stack),
        borrow(work.infos),
        borrow(work.events),
        borrow(work.notes),
        borrow(work.scratch),
        borrow(work.stream),
        borrow(work.no_grids),
    )


@cache
def unit_cells(box_rows: int, box_columns: int) -> NDArray[np.int64]:
    """(3n, n): the cells of every row, then column, then box."""
    n = box_rows * box_columns
    cell = np.arange(n * n).reshape(n, n)
    boxes = cell.reshape(box_columns, box_rows, box_rows, box_columns).swapaxes(1, 2).reshape(n, n)
    units = np.concatenate([cell, cell.T, boxes]).astype(np.int64)
    units.setflags(write=False)
    return units


@cache
def peer_cells(box_rows: int, box_columns: int) -> NDArray[np.int64]:
    """(cells, p): the other cells of each cell's row, column and box, ascending."""
    units = unit_cells(box_rows, box_columns)
    n = box_rows * box_columns
    shares = np.zeros((n * n, n * n), bool)
    for unit in units:
        shares[np.ix_(unit, unit)] = True
    np.fill_diagonal(shares, False)
    peers = np.nonzero(shares)[1].reshape(n * n, -1)
    peers.setflags(write=False)
    return peers


@cache
def flat_tables(box_rows: int, box_columns: int) -> NDArray[np.int16]:
    """The array ``t`` of a box shape."""
    units, peers = unit_cells(box_rows, box_columns), peer_cells(box_rows, box_columns)
    n = box_rows * box_columns
    t = np.zeros(T_SIZE, np.int16)
    t[:UNITS] = n, box_rows, box_columns, peers.shape[1]
    t[UNITS:UNIT_OF].reshape(48, 16)[: 3 * n, :n] = units
    unit_of, place_in = t[UNIT_OF:PLACE_IN].reshape(256, 4), t[PLACE_IN:PEERS].reshape(256, 4)
    for unit, cells in enumerate(units):
        unit_of[cells, unit // n] = unit
        place_in[cells, unit // n] = np.arange(n)
    t[PEERS:].reshape(256, 48)[: n * n, : peers.shape[1]] = peers
    t.setflags(write=False)
    return t
