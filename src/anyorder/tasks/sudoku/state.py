"""The solver's state of knowledge: candidates of every cell and places of every digit, kept in step.

The candidates of an open cell are a mask of digits (digit d + 1 is bit d), empty once the cell is filled. The places of
a digit in a unit are a mask of positions, empty once the unit has the digit. Each elimination updates one cell mask and
three place masks, and these updates themselves notice

- a *lone single*: a cell with one candidate;
- a *hidden single*: a digit with one place in a unit;
- a *contradiction*: a cell without candidate, or a missing digit without place,

and queue the singles as bits, so finding the next one takes a constant time, whatever the size of the grid. The arrays
``s``, ``info`` and ``t`` are described in :mod:`.layout`.
"""

from __future__ import annotations

from numba import njit

from .bits import lowest
from .jit import inner
from .layout import (
    BROKEN,
    CAND,
    CHANGED,
    MISSING,
    OPEN,
    PEER_COUNT,
    PEERS,
    PLACE,
    PLACE_IN,
    SIDE,
    SINGLE_CELLS,
    SINGLE_DIGITS,
    SINGLE_UNITS,
    UNIT_OF,
    UNITS,
    VALUE,
)


@inner
def load(s, info, t, puzzle):
    """Set the state to the candidates that the clues of ``puzzle`` leave; contradictory clues mark it broken."""
    n = int(t[SIDE])
    info[:] = 0
    info[CHANGED] = (1 << 3 * n) - 1
    for unit in range(3 * n):
        s[MISSING + unit] = (1 << n) - 1
        s[SINGLE_DIGITS + unit] = 0
        for d in range(n):
            s[PLACE + 16 * unit + d] = 0
    for cell in range(n * n):
        digit = int(puzzle[cell])
        s[VALUE + cell] = digit
        s[CAND + cell] = 0
        if digit > 0:
            bit = 1 << (digit - 1)
            for kind in range(3):
                unit = t[UNIT_OF + 4 * cell + kind]
                if not s[MISSING + unit] & bit:
                    info[BROKEN] = 1
                s[MISSING + unit] &= ~bit
    for cell in range(n * n):
        if s[VALUE + cell] > 0:
            continue
        info[OPEN] += 1
        row, column, box = t[UNIT_OF + 4 * cell], t[UNIT_OF + 4 * cell + 1], t[UNIT_OF + 4 * cell + 2]
        in_row, in_column = 1 << t[PLACE_IN + 4 * cell], 1 << t[PLACE_IN + 4 * cell + 1]
        in_box = 1 << t[PLACE_IN + 4 * cell + 2]
        mask = int(s[MISSING + row] & s[MISSING + column] & s[MISSING + box])
        s[CAND + cell] = mask
        if mask == 0:
            info[BROKEN] = 1
        elif mask & (mask - 1) == 0:
            info[SINGLE_CELLS + (cell >> 6)] |= 1 << (cell & 63)
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            s[PLACE + 16 * row + d] |= in_row
            s[PLACE + 16 * column + d] |= in_column
            s[PLACE + 16 * box + d] |= in_box
    for unit in range(3 * n):
        mask = int(s[MISSING + unit])
        while mask:
            d = lowest(mask)
            mask &= mask - 1
            _placed(s, info, unit, d, int(s[PLACE + 16 * unit + d]))


@njit(inline="always")
def _placed(s, info, unit, d, places):
    """Notice what it means that a missing digit ``d`` has ``places`` in a unit."""
    if places & (places - 1) == 0:
        if places == 0:
            info[BROKEN] = 1
        else:
            s[SINGLE_DIGITS + unit] |= 1 << d
            info[SINGLE_UNITS] |= 1 << unit


@inner
def eliminate(s, info, t, cell, d):
    """Remove candidate ``d`` (from 0) of an open cell that has it, and notice what follows at once."""
    bit = 1 << d
    left = int(s[CAND + cell]) & ~bit
    s[CAND + cell] = left
    if left & (left - 1) == 0:
        if left == 0:
            info[BROKEN] = 1
        else:
            info[SINGLE_CELLS + (cell >> 6)] |= 1 << (cell & 63)
    for kind in range(3):
        unit = t[UNIT_OF + 4 * cell + kind]
        info[CHANGED] |= 1 << unit
        places = int(s[PLACE + 16 * unit + d]) & ~(1 << t[PLACE_IN + 4 * cell + kind])
        s[PLACE + 16 * unit + d] = places
        if s[MISSING + unit] & bit:
            _placed(s, info, unit, d, places)


@inner
def assign(s, info, t, cell, d):
    """Put digit ``d`` (from 0) into an open cell that has it as a candidate."""
    bit = 1 << d
    others = int(s[CAND + cell]) & ~bit
    s[VALUE + cell] = d + 1
    s[CAND + cell] = 0
    info[OPEN] -= 1
    info[SINGLE_CELLS + (cell >> 6)] &= ~(1 << (cell & 63))
    for kind in range(3):
        unit = t[UNIT_OF + 4 * cell + kind]
        here = ~(1 << t[PLACE_IN + 4 * cell + kind])
        info[CHANGED] |= 1 << unit
        s[MISSING + unit] &= ~bit
        s[PLACE + 16 * unit + d] = 0
        singles = int(s[SINGLE_DIGITS + unit]) & ~bit
        s[SINGLE_DIGITS + unit] = singles
        if singles == 0:
            info[SINGLE_UNITS] &= ~(1 << unit)
        mask = others
        while mask:
            e = lowest(mask)
            mask &= mask - 1
            places = int(s[PLACE + 16 * unit + e]) & here
            s[PLACE + 16 * unit + e] = places
            _placed(s, info, unit, e, places)
    for index in range(PEERS + 48 * cell, PEERS + 48 * cell + t[PEER_COUNT]):
        peer = int(t[index])
        if s[CAND + peer] & bit:
            eliminate(s, info, t, peer, d)


@inner
def lone_single(info):
    """The lowest open cell with a single candidate, or -1."""
    for word in range(4):
        mask = info[SINGLE_CELLS + word]
        if mask != 0:
            return 64 * word + lowest(mask)
    return -1


@inner
def hidden_single(s, info):
    """The first hidden single as ``16 unit + d`` (lowest unit, then lowest digit), or -1."""
    units = info[SINGLE_UNITS]
    if units == 0:
        return -1
    unit = lowest(units)
    return 16 * unit + lowest(int(s[SINGLE_DIGITS + unit]))


@inner
def single_place(s, t, found):
    """The cell of a hidden single ``16 unit + d``."""
    return int(t[UNITS + 16 * (found >> 4) + lowest(int(s[PLACE + found]))])


@inner
def propagate(s, info, t):
    """Fill all lone and hidden singles; False after a contradiction."""
    while info[BROKEN] == 0:
        cell = lone_single(info)
        if cell >= 0:
            assign(s, info, t, cell, lowest(int(s[CAND + cell])))
            continue
        found = hidden_single(s, info)
        if found < 0:
            return True
        assign(s, info, t, single_place(s, t, found), found & 15)
    return False
