"""The solver's state of knowledge: the houses of every item and the values of every cell, kept in step.

Item (a, v) can be in house h just where cell (a, h) can have value v. Each removal updates both masks and notices a
cell with one value left, an item with one house left, and a contradiction: an item without a house or a cell without a
value. A removal also marks the clues that speak of the item, and its attribute, to be looked at again.
"""

from __future__ import annotations

from anyorder.tasks.sudoku.bits import lowest

from .jit import inner
from .layout import (
    ATTRIBUTES,
    BROKEN,
    CELL,
    CLOSED,
    CLUES,
    DECIDED,
    EVENTS,
    FILLED,
    HIDDEN,
    HOUSES,
    ITEM,
    LONE,
    OPEN,
    PLACED,
    RECORDING,
    REMOVED,
    SETS,
    STALE,
    USED,
)


@inner
def load(w, s, houses, attributes):
    """Set ``s`` to what is known before any clue."""
    s[:] = 0
    s[HOUSES], s[ATTRIBUTES], s[OPEN] = houses, attributes, houses * attributes
    for a in range(attributes):
        for v in range(houses):
            s[ITEM + 6 * a + v] = (1 << houses) - 1
            s[CELL + 6 * a + v] = (1 << houses) - 1
    w.notes[EVENTS] = 0
    w.notes[CLOSED] = 0
    w.notes[USED] = 0
    w.notes[CLUES] = 0
    w.touch[:] = 0
    if w.notes[RECORDING]:
        w.why[:] = 0


@inner
def add_clue(w, s, clue):
    """Put a clue (5,) behind the others, to be looked at."""
    c = w.notes[CLUES]
    w.clues[c] = clue
    for k in range(1, 4):
        if clue[k] >= 0:
            w.touch[clue[k]] |= 1 << c
    w.notes[CLUES] = c + 1
    s[STALE] |= 1 << c


@inner
def remove(w, s, item, h, rule, clues):
    """Take house ``h`` from an item that has it, for the reason (rule, clues), or 0 where a filled cell excludes it."""
    a = item // 6
    v, cell = item - 6 * a, 6 * a + h
    houses = s[ITEM + item] & ~(1 << h)
    s[ITEM + item] = houses
    if houses & (houses - 1) == 0:
        if houses == 0:
            s[BROKEN] = 1
        elif not s[DECIDED] >> item & 1:
            s[HIDDEN] |= 1 << item
    values = s[CELL + cell] & ~(1 << v)
    s[CELL + cell] = values
    if values & (values - 1) == 0:
        if values == 0:
            s[BROKEN] = 1
        elif not s[FILLED] >> cell & 1:
            s[LONE] |= 1 << cell
    s[STALE] |= w.touch[item]
    s[SETS] |= 1 << a
    w.notes[USED] |= clues
    if w.notes[RECORDING] and rule:
        w.why[0, item, h], w.why[1, item, h] = rule, clues
        _write(w, rule, REMOVED, item, h, clues)


@inner
def place(w, s, item, h, rule):
    """Fill house ``h`` with an item that can be there."""
    a = item // 6
    v, cell = item - 6 * a, 6 * a + h
    s[DECIDED] |= 1 << item
    s[FILLED] |= 1 << cell
    s[HIDDEN] &= ~(1 << item)
    s[LONE] &= ~(1 << cell)
    s[OPEN] -= 1
    if w.notes[RECORDING]:
        _write(w, rule, PLACED, item, h, 0)
    others = s[ITEM + item] & ~(1 << h)
    while others:
        remove(w, s, item, lowest(others), 0, 0)
        others &= others - 1
    others = s[CELL + cell] & ~(1 << v)
    while others:
        remove(w, s, 6 * a + lowest(others), h, 0, 0)
        others &= others - 1


@inner
def _write(w, rule, what, item, h, clues):
    event = w.events[w.notes[EVENTS]]
    event[0], event[1], event[2], event[3], event[4], event[5] = rule, what, item, h, clues, w.notes[CLOSED]
    w.notes[EVENTS] += 1
