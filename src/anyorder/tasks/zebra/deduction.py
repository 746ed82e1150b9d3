"""The rules of deduction, cheapest first; after each success the solver starts again at the first.

=  ============  ================================================================================================
1  last value    a cell has one value left: fill it
2  last house    a value has one house left: fill that cell
3  one clue      no way to satisfy the clue, its items where they can be, has an item in some house: not there
4  closed set    k values of an attribute have k houses between them: no other value is there
5  two clues     as one clue, for two that share an open item, with values of one attribute in different houses
6  refutation    suppose an item in a house; rules 1 to 4 end in a contradiction: not there
=  ============  ================================================================================================

Filling a cell takes its house from the attribute's other values and the value from its other houses. Rules 1 to 5 are
monotone: what they can find does not depend on the order of steps, and a further clue never finds less.
"""

from __future__ import annotations

from anyorder.tasks.sudoku.bits import lowest, popcount

from .jit import inner
from .layout import (
    ATTRIBUTES,
    BACKWARD,
    BROKEN,
    CELL,
    CLOSED,
    CLUES,
    DECIDED,
    FORWARD,
    HIDDEN,
    HOUSES,
    ITEM,
    LONE,
    MIDDLE,
    OPEN,
    RECORDING,
    SETS,
    STALE,
    USED,
)
from .rules import KIND, NUMBER, X, Y, Z
from .state import place, remove

LAST_VALUE, LAST_HOUSE, ONE_CLUE, CLOSED_SET, TWO_CLUES, REFUTATION = 1, 2, 3, 4, 5, 6
RULES = {
    LAST_VALUE: "last value",
    LAST_HOUSE: "last house",
    ONE_CLUE: "one clue",
    CLOSED_SET: "closed set",
    TWO_CLUES: "two clues",
    REFUTATION: "refutation",
}
"""Names of the rules by id."""

STUCK, SOLVED, CONTRADICTION = 0, 1, 2


@inner
def propagate(w, depth):
    """Apply rules 1 to 4 to the state at ``depth`` of the stack until none succeeds.

    Returns:
        STUCK, SOLVED or CONTRADICTION.
    """
    s = w.stack[depth]
    while True:
        if s[BROKEN]:
            return CONTRADICTION
        if s[LONE]:
            cell = lowest(s[LONE])
            place(w, s, 6 * (cell // 6) + lowest(s[CELL + cell]), cell % 6, LAST_VALUE)
        elif s[HIDDEN]:
            item = lowest(s[HIDDEN])
            place(w, s, item, lowest(s[ITEM + item]), LAST_HOUSE)
        elif not _one_clue(w, s):
            if s[OPEN] == 0:
                return SOLVED
            if not _closed_set(w, s):
                return STUCK


@inner
def deduce(w, depth, hardest):
    """Apply the rules up to ``hardest`` (at least 4) to the state at ``depth`` of the stack until none succeeds.

    Returns:
        STUCK, SOLVED or CONTRADICTION.
    """
    while True:
        outcome = propagate(w, depth)
        if outcome != STUCK or hardest < TWO_CLUES:
            return outcome
        if not _two_clues(w, w.stack[depth]) and (hardest < REFUTATION or not _refutation(w, depth)):
            return STUCK


@inner
def _one_clue(w, s):
    """Rule 3, at the first clue that gives something."""
    while s[STALE]:
        c = lowest(s[STALE])
        s[STALE] &= s[STALE] - 1
        before = s[ITEM + w.clues[c, X]]
        second, third = w.clues[c, Y], w.clues[c, Z]
        kept_x, kept_y, kept_z = supported(w, s, c)
        gone = before != kept_x
        if second >= 0:
            gone |= s[ITEM + second] != kept_y
        if third >= 0:
            gone |= s[ITEM + third] != kept_z
        if gone:
            _keep(w, s, w.clues[c, X], kept_x, ONE_CLUE, 1 << c)
            if second >= 0:
                _keep(w, s, second, kept_y, ONE_CLUE, 1 << c)
            if third >= 0:
                _keep(w, s, third, kept_z, ONE_CLUE, 1 << c)
            # The clue was used up: what it says of these masks has been drawn.
            s[STALE] &= ~(1 << c)
            return True
    return False


@inner
def _keep(w, s, item, kept, rule, clues):
    """Take every house outside ``kept`` from an item."""
    gone = s[ITEM + item] & ~kept
    while gone:
        remove(w, s, item, lowest(gone), rule, clues)
        gone &= gone - 1


@inner
def supported(w, s, c):
    """The houses of the three items of clue ``c`` that some way to satisfy it uses (0 for items it has not)."""
    clue = w.clues[c]
    kind, number = clue[KIND], max(0, clue[NUMBER])
    x = s[ITEM + clue[X]]
    if clue[Y] < 0:
        return x & w.t[FORWARD, s[HOUSES], kind, number, 0], 0, 0
    y = s[ITEM + clue[Y]]
    kept_x, kept_y, kept_z = 0, 0, 0
    if clue[Z] < 0:
        forward, backward = w.t[FORWARD, s[HOUSES], kind, number], w.t[BACKWARD, s[HOUSES], kind, number]
        rest = x
        while rest:
            kept_y |= forward[lowest(rest)]
            rest &= rest - 1
        rest = y
        while rest:
            kept_x |= backward[lowest(rest)]
            rest &= rest - 1
        return x & kept_x, y & kept_y, 0
    middle, z = w.t[MIDDLE, s[HOUSES], kind, number], s[ITEM + clue[Z]]
    some_y = y
    while some_y:
        hy = lowest(some_y)
        some_y &= some_y - 1
        some_z = z
        while some_z:
            hz = lowest(some_z)
            some_z &= some_z - 1
            fitting = x & middle[6 * hy + hz]
            if fitting:
                kept_x |= fitting
                kept_y |= 1 << hy
                kept_z |= 1 << hz
    return kept_x, kept_y, kept_z


@inner
def _closed_set(w, s):
    """Rule 4, at the first attribute and the smallest set that gives something; ties at the lowest values."""
    houses = s[HOUSES]
    while s[SETS]:
        a = lowest(s[SETS])
        values = 0
        for v in range(houses):
            if not s[DECIDED] >> (6 * a + v) & 1:
                values |= 1 << v
        for size in range(2, popcount(values)):
            chosen = (1 << size) - 1
            while chosen < 1 << houses:
                if chosen & ~values == 0 and _closes(w, s, a, chosen, values, size):
                    return True
                # The next larger number with as many bits.
                low = chosen & -chosen
                ripple = chosen + low
                chosen = ripple | ((chosen ^ ripple) // low >> 2)
        s[SETS] &= s[SETS] - 1
    return False


@inner
def _closes(w, s, a, chosen, values, size):
    """Whether the set ``chosen`` of values is closed and takes a house from another of ``values``; it does so."""
    union, rest = 0, chosen
    while rest:
        union |= s[ITEM + 6 * a + lowest(rest)]
        rest &= rest - 1
    if popcount(union) < size:
        s[BROKEN] = 1
        return True
    if popcount(union) > size:
        return False
    gone, rest = False, values & ~chosen
    while rest:
        item = 6 * a + lowest(rest)
        rest &= rest - 1
        if s[ITEM + item] & union:
            gone = True
            w.notes[CLOSED] = chosen << 6 * a
            _keep(w, s, item, ~union, CLOSED_SET, 0)
    w.notes[CLOSED] = 0
    return gone


@inner
def _two_clues(w, s):
    """Rule 5, at the first two clues that give something."""
    for d in range(1, w.notes[CLUES]):
        sharing = 0
        for k in range(1, 4):
            item = w.clues[d, k]
            if item >= 0 and not s[DECIDED] >> item & 1:
                sharing |= w.touch[item]
        sharing &= (1 << d) - 1
        while sharing:
            c = lowest(sharing)
            sharing &= sharing - 1
            if _joint(w, s, c, d):
                return True
    return False


@inner
def satisfies(w, s, c, x, y, z):
    """Whether clue ``c`` holds with its items in the houses x, y and z."""
    kind, number = w.clues[c, KIND], max(0, w.clues[c, NUMBER])
    if w.clues[c, Y] < 0:
        return w.t[FORWARD, s[HOUSES], kind, number, 0] >> x & 1
    if w.clues[c, Z] < 0:
        return w.t[FORWARD, s[HOUSES], kind, number, x] >> y & 1
    return w.t[MIDDLE, s[HOUSES], kind, number, 6 * y + z] >> x & 1


@inner
def _joint(w, s, c, d):
    """Draw what clues ``c`` and ``d`` say together, by trying every place of their items depth first."""
    items, slot, kept, at, left = w.scratch[0], w.scratch[1], w.scratch[2], w.scratch[3], w.scratch[4]
    count = 0
    for k in range(1, 4):
        if w.clues[c, k] >= 0:
            items[count] = w.clues[c, k]
            count += 1
    first = count
    for k in range(1, 4):
        slot[k] = 0
        item = w.clues[d, k]
        if item < 0:
            continue
        for i in range(count):
            if items[i] == item:
                slot[k] = i
                break
        else:
            slot[k] = count
            items[count] = item
            count += 1
    for i in range(count):
        kept[i] = 0
    level = 0
    left[0] = s[ITEM + items[0]]
    while level >= 0:
        if left[level] == 0:
            level -= 1
            continue
        h = lowest(left[level])
        left[level] &= left[level] - 1
        at[level] = h
        if _taken(items, at, level, h):
            continue
        if level == first - 1 and not satisfies(w, s, c, at[0], at[1], at[2]):
            continue
        if level < count - 1:
            level += 1
            left[level] = s[ITEM + items[level]]
            continue
        if satisfies(w, s, d, at[slot[1]], at[slot[2]], at[slot[3]]):
            news = 0
            for i in range(count):
                kept[i] |= 1 << at[i]
                news |= s[ITEM + items[i]] & ~kept[i]
            if news == 0:
                return False
    gone = False
    for i in range(count):
        if s[ITEM + items[i]] & ~kept[i]:
            gone = True
            _keep(w, s, items[i], kept[i], TWO_CLUES, 1 << c | 1 << d)
    return gone


@inner
def _taken(items, at, level, h):
    """Whether an earlier item of the same attribute is in house ``h``."""
    a = items[level] // 6
    taken = False
    for i in range(level):
        taken |= at[i] == h and items[i] // 6 == a
    return taken


@inner
def _refutation(w, depth):
    """Rule 6, at the first item and house that can be refuted."""
    s, trial = w.stack[depth], w.stack[depth + 1]
    recording, used = w.notes[RECORDING], w.notes[USED]
    w.notes[RECORDING] = 0
    for a in range(s[ATTRIBUTES]):
        for v in range(s[HOUSES]):
            item = 6 * a + v
            if s[DECIDED] >> item & 1:
                continue
            rest = s[ITEM + item]
            while rest:
                h = lowest(rest)
                rest &= rest - 1
                trial[:] = s
                w.notes[USED] = 0
                place(w, trial, item, h, REFUTATION)
                if propagate(w, depth + 1) == CONTRADICTION:
                    clues = w.notes[USED]
                    w.notes[RECORDING], w.notes[USED] = recording, used
                    remove(w, s, item, h, REFUTATION, clues)
                    return True
    w.notes[RECORDING], w.notes[USED] = recording, used
    return False
