"""One random puzzle: draw a grid, add true clues until the solver finishes, drop what is superfluous.

Clues are drawn by kind, then by items, and taken if they hold in the grid and say more than what is already deduced.
Then each, in random order, is dropped if the solver finishes without it. Its rules are monotone, so one pass leaves a
puzzle of which no clue can go.
"""

from __future__ import annotations

import numpy as np

from anyorder.tasks.sudoku.bits import below, lowest, mixed, shuffle

from .deduction import CLOSED_SET, SOLVED, deduce, satisfies
from .jit import inner
from .layout import CLUES, FORWARD, HOUSES, ITEM, MIDDLE, RECORDING
from .rules import KIND, MOST, MOST_CLUES, NUMBER, Kind, X, Y, Z
from .state import add_clue, load

_DRAWS, _TRIES = 2000, 64
"""Clues drawn for one puzzle, and items drawn for a clue, before they are given up."""
_FOUND_AT, _NOT_AT, _AT_END = int(Kind.FOUND_AT), int(Kind.NOT_AT), int(Kind.AT_END)
_SAME, _DIFFERENT, _NEXT = int(Kind.SAME_HOUSE), int(Kind.DIFFERENT_HOUSE), int(Kind.NEXT_TO)
_JUST_LEFT, _JUST_RIGHT = int(Kind.JUST_LEFT_OF), int(Kind.JUST_RIGHT_OF)
_LEFT, _RIGHT = int(Kind.LEFT_OF), int(Kind.RIGHT_OF)
_N_BETWEEN, _BETWEEN = int(Kind.N_BETWEEN), int(Kind.BETWEEN)


@inner
def draw_puzzle(w, houses, attributes, weights, hardest, place, out):
    """Draw a puzzle of which no clue can go; ``weights`` (15,) int64 are those of the kinds.

    ``place`` (36,) is left with the house of every item and ``out`` (62, 5) with the clues, -1 behind them.

    Returns:
        the number of clues, or 0 where the draw was given up.
    """
    w.notes[RECORDING] = 0
    row = w.scratch[5]
    for a in range(attributes):
        for h in range(houses):
            row[h] = h
        shuffle(w.stream, row[:houses])
        for h in range(houses):
            place[MOST * a + row[h]] = h
    s = w.stack[0]
    load(w, s, houses, attributes)
    if not _add_until_solved(w, s, houses, attributes, weights, place):
        return 0
    count = w.notes[CLUES]
    out[:] = -1
    out[:count] = w.clues[:count]
    return _drop_superfluous(w, houses, attributes, hardest, out, count)


@inner
def _add_until_solved(w, s, houses, attributes, weights, place):
    total = 0
    for kind in range(weights.shape[0]):
        total += weights[kind]
    clue = w.scratch[6]
    found = False
    for _ in range(_DRAWS):
        if w.notes[CLUES] == MOST_CLUES:
            return False
        ticket, kind = below(w.stream, total), 0
        while ticket >= weights[kind]:
            ticket -= weights[kind]
            kind += 1
        # The kind first, then items for which it holds: else the kinds that hold oftener would be drawn oftener.
        for _ in range(_TRIES):
            found = _draw_items(w, houses, attributes, kind, place, clue)
            if found:
                break
        if not found or not _says_more(w, s, clue):
            continue
        add_clue(w, s, clue[:5])
        # The costlier rules come in when clues are dropped.
        if deduce(w, 0, CLOSED_SET) == SOLVED:
            return True
    return False


@inner
def _draw_items(w, houses, attributes, kind, place, clue):
    """Draw the items of a clue; False where it does not hold, or is none."""
    arity = 1 if kind <= _AT_END else 3 if kind >= _BETWEEN else 2
    clue[KIND], clue[X], clue[Y], clue[Z], clue[NUMBER] = kind, -1, -1, -1, -1
    for k in range(1, arity + 1):
        clue[k] = MOST * below(w.stream, attributes) + below(w.stream, houses)
        for j in range(1, k):
            if clue[j] == clue[k]:
                return False
    if kind == _FOUND_AT:
        clue[NUMBER] = place[clue[X]]
        return True
    if kind == _NOT_AT:
        clue[NUMBER] = below(w.stream, houses)
    elif kind == _N_BETWEEN:
        clue[NUMBER] = abs(place[clue[X]] - place[clue[Y]]) - 1
        return clue[NUMBER] >= 2
    elif kind in (_SAME, _DIFFERENT) and clue[X] // MOST == clue[Y] // MOST:
        return False
    w.clues[MOST_CLUES] = clue[:5]
    y = place[clue[Y]] if arity >= 2 else 0
    z = place[clue[Z]] if arity == 3 else 0
    return satisfies(w, w.stack[0], MOST_CLUES, place[clue[X]], y, z)


@inner
def _says_more(w, s, clue):
    """Whether some places of the clue's items, among those still possible, break it."""
    kind, number, houses = clue[KIND], max(0, clue[NUMBER]), s[HOUSES]
    x = s[ITEM + clue[X]]
    if clue[Y] < 0:
        return x & ~w.t[FORWARD, houses, kind, number, 0] != 0
    if clue[Z] < 0:
        y = s[ITEM + clue[Y]]
        while x:
            if y & ~w.t[FORWARD, houses, kind, number, lowest(x)]:
                return True
            x &= x - 1
        return False
    some_y = s[ITEM + clue[Y]]
    while some_y:
        some_z = s[ITEM + clue[Z]]
        while some_z:
            if x & ~w.t[MIDDLE, houses, kind, number, 6 * lowest(some_y) + lowest(some_z)]:
                return True
            some_z &= some_z - 1
        some_y &= some_y - 1
    return False


@inner
def _drop_superfluous(w, houses, attributes, hardest, out, count):
    """Drop clues of ``out`` in random order as long as the solver finishes; the rest stay, in random order."""
    shuffle_rows(w.stream, out[:count])
    kept = count
    for c in range(count - 1, -1, -1):
        s = w.stack[0]
        load(w, s, houses, attributes)
        for other in range(kept):
            if other != c:
                add_clue(w, s, out[other])
        if deduce(w, 0, hardest) == SOLVED:
            for other in range(c, kept - 1):
                out[other] = out[other + 1]
            kept -= 1
            out[kept] = -1
    shuffle_rows(w.stream, out[:kept])
    return kept


@inner
def shuffle_rows(stream, rows):
    """Put the rows of a 2-d array into uniformly random order, in place."""
    for last in range(rows.shape[0] - 1, 0, -1):
        other = below(stream, last + 1)
        for k in range(rows.shape[1]):
            held = rows[last, k]
            rows[last, k] = rows[other, k]
            rows[other, k] = held


@inner
def symmetry_key(houses, attributes, clues, count, place):
    """A 64-bit key that symmetric puzzles share: renamed values, exchanged attributes, the row read from the right,
    clues in another order or said in other words (x left of y, y right of x).

    Values are named by their houses; what is left are the orders of the attributes and the mirror, and the key is the
    least of all. ``place`` (36,) holds the house of every item.
    """
    order = np.zeros(MOST, np.int64)
    swaps = np.zeros(MOST, np.int64)
    for a in range(attributes):
        order[a] = a
    least = np.uint64(0xFFFFFFFFFFFFFFFF)
    level = 0
    # Heap's algorithm: every order of the attributes, each by one exchange from the one before.
    while True:
        for mirror in range(2):
            key = np.uint64(64 * houses + attributes)
            for c in range(count):
                key += mixed(np.uint64(_plain_clue(houses, clues[c], place, order, mirror)))
            least = min(least, mixed(key))
        while level < attributes and swaps[level] >= level:
            swaps[level] = 0
            level += 1
        if level >= attributes:
            return least
        other = swaps[level] if level & 1 else 0
        held = order[level]
        order[level] = order[other]
        order[other] = held
        swaps[level] += 1
        level = 0


@inner
def _plain_clue(houses, clue, place, order, mirror):
    """A clue as one number, its items by place, in one of the wordings that say the same."""
    kind, number = clue[KIND], clue[NUMBER]
    x, y, z = -1, -1, -1
    for k in range(1, 4):
        if clue[k] >= 0:
            h = place[clue[k]]
            plain = MOST * order[clue[k] // MOST] + (houses - 1 - h if mirror else h)
            if k == 1:
                x = plain
            elif k == 2:
                y = plain
            else:
                z = plain
    if mirror:
        if kind in (_LEFT, _RIGHT):
            kind = _LEFT + _RIGHT - kind
        elif kind in (_JUST_LEFT, _JUST_RIGHT):
            kind = _JUST_LEFT + _JUST_RIGHT - kind
        elif kind in (_FOUND_AT, _NOT_AT):
            number = houses - 1 - number
    if kind in (_RIGHT, _JUST_RIGHT):
        kind = _LEFT if kind == _RIGHT else _JUST_LEFT
        x, y = y, x
    elif (_SAME <= kind <= _DIFFERENT or _NEXT <= kind <= _N_BETWEEN) and x > y:
        x, y = y, x
    elif kind >= _BETWEEN and y > z:
        y, z = z, y
    return (((kind * 64 + x + 1) * 64 + y + 1) * 64 + z + 1) * 16 + number + 1
