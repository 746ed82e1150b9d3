"""The solver's state: candidates of every cell and places of every digit, kept in step.

``cand[cell]`` is the mask of digits that an open cell may still hold (0 once filled). ``place[unit, d]`` is the mask
of positions in a unit where digit ``d`` (counted from 0) may still go; it is empty where the unit already has ``d``.
Each elimination updates one cell mask and three place masks, and these updates themselves notice

- a *lone single*: a cell with one candidate, queued in ``single_cells``;
- a *hidden single*: a digit with one place in a unit, queued in ``single_digits`` / ``single_units``;
- a *contradiction*: a cell without candidate, or a missing digit without place,

so finding the next single costs a constant, whatever the size of the grid.

Source: the propagation is the usual one for Sudoku as exact cover; both views of it are kept as bit masks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .bits import lowest

OPEN, BROKEN, SINGLE_UNITS, BASE = 0, 1, 2, 3
"""``info``: cells still open; 1 after a contradiction; units with a queued hidden single; first of the cell words."""
WORDS = 8
"""``info[BASE + w]``: queued lone singles among cells 32 w .. 32 w + 31 (at most 256 cells)."""


class State(NamedTuple):
    """Solver state; arrays are changed in place.

    ``value`` (cells,) uint8: digit or 0. ``cand`` (cells,) uint16. ``place`` (3n, n) uint16.
    ``missing`` (3n,) uint16: digits not yet placed in the unit. ``single_digits`` (3n,) uint16. ``info`` int64.
    """

    value: NDArray[np.uint8]
    cand: NDArray[np.uint16]
    place: NDArray[np.uint16]
    missing: NDArray[np.uint16]
    single_digits: NDArray[np.uint16]
    info: NDArray[np.int64]


@njit(cache=True, nogil=True)
def new_state(n):
    """An uninitialised state for a grid of ``n`` digits; :func:`load` fills it."""
    return State(
        np.zeros(n * n, np.uint8),
        np.zeros(n * n, np.uint16),
        np.zeros((3 * n, n), np.uint16),
        np.zeros(3 * n, np.uint16),
        np.zeros(3 * n, np.uint16),
        np.zeros(BASE + WORDS, np.int64),
    )


@njit(cache=True, nogil=True)
def copy_state(target, source):
    """Overwrite ``target`` with ``source``."""
    target.value[:] = source.value
    target.cand[:] = source.cand
    target.place[:] = source.place
    target.missing[:] = source.missing
    target.single_digits[:] = source.single_digits
    target.info[:] = source.info


@njit(cache=True, nogil=True)
def load(state, tables, puzzle):
    """Set ``state`` to the candidates that the clues of ``puzzle`` leave; contradictory clues mark it broken."""
    n = tables.shape[0]
    cells = n * n
    info = state.info
    info[:] = 0
    full = (1 << n) - 1
    state.missing[:] = full
    state.single_digits[:] = 0
    for unit in range(3 * n):
        for d in range(n):
            state.place[unit, d] = 0
    for cell in range(cells):
        digit = puzzle[cell]
        state.value[cell] = digit
        if digit > 0:
            bit = 1 << (np.int64(digit) - 1)
            for kind in range(3):
                unit = tables.unit_of[cell, kind]
                if not state.missing[unit] & bit:
                    info[BROKEN] = 1
                state.missing[unit] &= ~bit
    for cell in range(cells):
        if state.value[cell] > 0:
            state.cand[cell] = 0
            continue
        info[OPEN] += 1
        row, column, box = tables.unit_of[cell, 0], tables.unit_of[cell, 1], tables.unit_of[cell, 2]
        mask = np.int64(state.missing[row] & state.missing[column] & state.missing[box])
        state.cand[cell] = mask
        if mask == 0:
            info[BROKEN] = 1
        elif mask & (mask - 1) == 0:
            info[BASE + (cell >> 5)] |= 1 << (cell & 31)
        in_row, in_column, in_box = 1 << tables.place_in[cell, 0], 1 << tables.place_in[cell, 1], 1 << tables.place_in[cell, 2]
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            state.place[row, d] |= in_row
            state.place[column, d] |= in_column
            state.place[box, d] |= in_box
    for unit in range(3 * n):
        mask = np.int64(state.missing[unit])
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            places = np.int64(state.place[unit, d])
            if places == 0:
                info[BROKEN] = 1
            elif places & (places - 1) == 0:
                state.single_digits[unit] |= 1 << d
                info[SINGLE_UNITS] |= 1 << unit


@njit(cache=True, nogil=True)
def eliminate(state, tables, cell, d):
    """Remove candidate ``d`` (from 0) of an open cell that has it, and notice what follows at once."""
    info = state.info
    bit = 1 << d
    left = np.int64(state.cand[cell]) & ~bit
    state.cand[cell] = left
    if left == 0:
        info[BROKEN] = 1
    elif left & (left - 1) == 0:
        info[BASE + (cell >> 5)] |= 1 << (cell & 31)
    for kind in range(3):
        unit = tables.unit_of[cell, kind]
        places = np.int64(state.place[unit, d]) & ~(1 << tables.place_in[cell, kind])
        state.place[unit, d] = places
        if places & (places - 1) == 0 and state.missing[unit] & bit:
            if places == 0:
                info[BROKEN] = 1
            else:
                state.single_digits[unit] |= bit
                info[SINGLE_UNITS] |= 1 << unit


@njit(cache=True, nogil=True)
def assign(state, tables, cell, d):
    """Put digit ``d`` (from 0) into an open cell that has it as a candidate."""
    info = state.info
    bit = 1 << d
    others = np.int64(state.cand[cell]) & ~bit
    state.value[cell] = d + 1
    state.cand[cell] = 0
    info[OPEN] -= 1
    info[BASE + (cell >> 5)] &= ~(1 << (cell & 31))
    for kind in range(3):
        unit = tables.unit_of[cell, kind]
        here = ~(1 << tables.place_in[cell, kind])
        state.missing[unit] &= ~bit
        state.place[unit, d] = 0
        state.single_digits[unit] &= ~bit
        if state.single_digits[unit] == 0:
            info[SINGLE_UNITS] &= ~(1 << unit)
        mask = others
        while mask:
            e = lowest(mask)
            mask &= mask - 1
            places = np.int64(state.place[unit, e]) & here
            state.place[unit, e] = places
            if places & (places - 1) == 0:
                if places == 0:
                    info[BROKEN] = 1
                else:
                    state.single_digits[unit] |= 1 << e
                    info[SINGLE_UNITS] |= 1 << unit
    for index in range(tables.peers.shape[1]):
        peer = tables.peers[cell, index]
        if state.cand[peer] & bit:
            eliminate(state, tables, peer, d)


@njit(cache=True, nogil=True)
def lone_single(state):
    """The lowest open cell with a single candidate, or -1."""
    for word in range(WORDS):
        mask = state.info[BASE + word]
        if mask:
            return 32 * word + lowest(mask)
    return -1


@njit(cache=True, nogil=True)
def hidden_single(state):
    """The first hidden single as ``unit * 16 + d`` (lowest unit, then lowest digit), or -1."""
    units = state.info[SINGLE_UNITS]
    if units == 0:
        return -1
    unit = lowest(units)
    return unit * 16 + lowest(np.int64(state.single_digits[unit]))


@njit(cache=True, nogil=True)
def propagate(state, tables):
    """Fill all lone and hidden singles; False after a contradiction."""
    while state.info[BROKEN] == 0:
        cell = lone_single(state)
        if cell >= 0:
            assign(state, tables, cell, lowest(np.int64(state.cand[cell])))
            continue
        found = hidden_single(state)
        if found < 0:
            return True
        unit, d = found >> 4, found & 15
        assign(state, tables, tables.units[unit, lowest(np.int64(state.place[unit, d]))], d)
    return False
