"""The record of a solve: what was filled or removed, when, and by which strategy.

Events go to ``w.events`` and notes to ``w.notes`` of a :class:`.layout.Workspace`. A row of ``events`` is strategy,
kind, cell, digit (from 1; 0 for a pattern cell), in order of time; an elimination is its pattern, then its removals.
While ``notes[RECORDING]`` is 0 nothing is written.
"""

from __future__ import annotations

from .bits import lowest
from .jit import inner
from .layout import EVENTS, FILLS, MISSING, ORDER, RECORDING, REMOVED_BY, SIDE, SUPPORT, UNIT_OF, UNITS, VALUE
from .state import eliminate

FILLED, PATTERN, REMOVED = 0, 1, 2
"""Kinds of events: a cell filled; a cell of the pattern that a removal rests on; a candidate removed."""


@inner
def clear_log(notes):
    """Forget what was written."""
    recording = notes[RECORDING]
    notes[:] = 0
    notes[RECORDING] = recording
    notes[ORDER:SUPPORT] = -1


@inner
def note(events, notes, strategy, kind, cell, digit):
    """Write down one event."""
    if notes[RECORDING]:
        at = notes[EVENTS]
        events[at, 0] = strategy
        events[at, 1] = kind
        events[at, 2] = cell
        events[at, 3] = digit
        notes[EVENTS] = at + 1


@inner
def remove(s, info, t, events, notes, strategy, cell, mask):
    """Remove the candidates ``mask`` of a cell."""
    while mask:
        d = lowest(mask)
        mask &= mask - 1
        eliminate(s, info, t, cell, d)
        if notes[RECORDING]:
            note(events, notes, strategy, REMOVED, cell, d + 1)
            notes[REMOVED_BY + 16 * cell + d] = strategy


@inner
def _excluded(s, t, cell, d):
    """Whether some unit of the cell already has digit ``d``."""
    at = UNIT_OF + 4 * cell
    return not (s[MISSING + t[at]] & s[MISSING + t[at + 1]] & s[MISSING + t[at + 2]]) >> d & 1


@inner
def write_fill(s, t, events, notes, rule, unit, cell, d):
    """Write down a fill by strategy ``rule`` and what it rests on; ``unit`` is a hidden single's, -1 for a lone one."""
    n = int(t[SIDE])
    support = 1 << rule
    if unit < 0:
        for e in range(n):
            if e != d and not _excluded(s, t, cell, e):
                support |= 1 << notes[REMOVED_BY + 16 * cell + e]
    else:
        for index in range(n):
            other = int(t[UNITS + 16 * unit + index])
            if other != cell and s[VALUE + other] == 0 and not _excluded(s, t, other, d):
                support |= 1 << notes[REMOVED_BY + 16 * other + d]
    notes[SUPPORT + cell] = support
    notes[ORDER + cell] = notes[FILLS]
    notes[FILLS] += 1
    note(events, notes, rule, FILLED, cell, d + 1)
