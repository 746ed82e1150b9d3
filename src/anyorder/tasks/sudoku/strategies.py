"""The seven strategies, in order, with a record of every step.

From the easiest; after each success the search starts again at the first:

====  ================  =============================================================================================
id    strategy          what it concludes
====  ================  =============================================================================================
2     lone single       an open cell has one candidate: fill it (lowest cell first)
3     hidden single     a digit has one place in a unit: fill it (lowest unit, then lowest digit)
4     naked pair        two cells of a unit hold the same two candidates: no other cell of the unit has them
5     naked triplet     three cells of a unit hold three candidates between them: likewise
6     locked candidate  a box has a digit only within one line: it leaves the rest of the line (pointing, tried first);
                        a line has a digit only within one box: it leaves the rest of the box (claiming)
7     XY-wing           a pivot {x, y} sees pincers {x, z} and {y, z}: cells that see both pincers lose z
8     unique rectangle  three corners of a rectangle over two rows, two columns and two boxes hold the same two
                        candidates and the fourth holds both and more: the fourth loses both (type 1)
====  ================  =============================================================================================

Rows come before columns before boxes, cells in reading order. One success is one pattern with everything that it
removes. Strategies 2 to 7 are sound for any puzzle. The unique rectangle argues from uniqueness (four open cells that
could be swapped would give a second solution), so on a puzzle with several solutions it could remove a right
candidate. Here it is never wrong: before the first rectangle an exhaustive search makes sure that there is one solution
only, and on a puzzle with several the rectangle is not used. Strategies 2 to 7 reach the same end in whatever order
they are tried, and more clues never make them stop earlier; with the rectangle neither is certain, since a clue can
break one. Ids, names and order: Shah, Dikkala, Wang and Panigrahy, arXiv 2409.10502 (id 0 marks a clue).
"""

from __future__ import annotations

from .bits import lowest, popcount
from .jit import inner
from .layout import (
    BOX_COLUMNS,
    BOX_ROWS,
    BROKEN,
    CAND,
    CHANGED,
    OPEN,
    PAIRS,
    PEER_COUNT,
    PEERS,
    PLACE,
    RECORDING,
    SIDE,
    TRIPLETS,
    UNIT_OF,
    UNITS,
    VALUE,
)
from .log import PATTERN, note, remove, write_fill
from .search import search
from .state import assign, hidden_single, lone_single, single_place

LONE_SINGLE, HIDDEN_SINGLE, NAKED_PAIR, NAKED_TRIPLET, LOCKED_CANDIDATE, XY_WING, UNIQUE_RECTANGLE = range(2, 9)
STRATEGIES = {
    LONE_SINGLE: "lone single",
    HIDDEN_SINGLE: "hidden single",
    NAKED_PAIR: "naked pair",
    NAKED_TRIPLET: "naked triplet",
    LOCKED_CANDIDATE: "locked candidate",
    XY_WING: "XY-wing",
    UNIQUE_RECTANGLE: "unique rectangle",
}
"""Strategy names by id."""

BRANCHES = 100_000
"""A search for a second solution that takes more branches is given up. No 9x9 puzzle comes near."""


@inner
def _narrow_cells(s, t, unit, most, at, masks):
    """List the cells ``at`` and candidates ``masks`` of a unit's cells with two to ``most`` candidates; returns how
    many there are."""
    count = 0
    for index in range(UNITS + 16 * unit, UNITS + 16 * unit + t[SIDE]):
        mask = int(s[CAND + t[index]])
        size = popcount(mask)
        if 2 <= size <= most:
            at[count] = t[index]
            masks[count] = mask
            count += 1
    return count


@inner
def _naked(s, info, t, events, notes, strategy, unit, i, j, k, mask):
    """Remove ``mask`` from the cells of a unit but i, j and k; False where there is nothing to remove."""
    found = False
    for index in range(UNITS + 16 * unit, UNITS + 16 * unit + t[SIDE]):
        cell = int(t[index])
        rest = s[CAND + cell] & mask
        if rest == 0 or cell in (i, j, k):
            continue
        if not found:
            found = True
            note(events, notes, strategy, PATTERN, i, 0)
            note(events, notes, strategy, PATTERN, j, 0)
            if k != j:
                note(events, notes, strategy, PATTERN, k, 0)
        remove(s, info, t, events, notes, strategy, cell, rest)
    return found


@inner
def _naked_pair(s, info, t, events, notes, at, masks, restart):
    found = False
    while info[PAIRS]:
        unit = lowest(info[PAIRS])
        count = _narrow_cells(s, t, unit, 2, at, masks)
        for x in range(count - 1):
            for y in range(x + 1, count):
                if masks[x] != masks[y]:
                    continue
                if _naked(s, info, t, events, notes, int(NAKED_PAIR), unit, at[x], at[y], at[y], masks[x]):
                    found = True
                    if restart:
                        return True
        info[PAIRS] &= info[PAIRS] - 1
    return found


@inner
def _naked_triplet(s, info, t, events, notes, at, masks, restart):
    found = False
    while info[TRIPLETS]:
        unit = lowest(info[TRIPLETS])
        count = _narrow_cells(s, t, unit, 3, at, masks)
        for x in range(count - 2):
            for y in range(x + 1, count - 1):
                both = masks[x] | masks[y]
                if popcount(both) > 3:
                    continue
                for z in range(y + 1, count):
                    mask = both | masks[z]
                    if popcount(mask) != 3:
                        continue
                    if _naked(s, info, t, events, notes, int(NAKED_TRIPLET), unit, at[x], at[y], at[z], mask):
                        found = True
                        if restart:
                            return True
        info[TRIPLETS] &= info[TRIPLETS] - 1
    return found


@inner
def _confine(s, info, t, events, notes, source, kind, target, d):
    """Digit ``d`` of unit ``source`` (of ``kind`` 0 row, 1 column, 2 box) lies within unit ``target``: remove it from
    the rest of ``target``, which has it."""
    held = int(s[PLACE + 16 * source + d])
    while held:
        note(events, notes, LOCKED_CANDIDATE, PATTERN, t[UNITS + 16 * source + lowest(held)], 0)
        held &= held - 1
    places = int(s[PLACE + 16 * target + d])
    while places:
        cell = int(t[UNITS + 16 * target + lowest(places)])
        places &= places - 1
        if t[UNIT_OF + 4 * cell + kind] != source:
            remove(s, info, t, events, notes, int(LOCKED_CANDIDATE), cell, 1 << d)


@inner
def _segments(s, t, across, down):
    """The digits that each row (column) may still place in each of its segments, a segment being the cells that it
    shares with one box: ``across[row * box_rows + part]``, ``down[column * box_columns + part]``."""
    n, box_rows, box_columns = int(t[SIDE]), int(t[BOX_ROWS]), int(t[BOX_COLUMNS])
    for at in range(n * box_rows):
        mask = 0
        for cell in range(at * box_columns, (at + 1) * box_columns):
            mask |= s[CAND + cell]
        across[at] = mask
    for column in range(n):
        for part in range(box_columns):
            mask = 0
            first = part * box_rows * n + column
            for index in range(box_rows):
                mask |= s[CAND + first + index * n]
            down[column * box_columns + part] = mask


@inner
def _locked_candidate(s, info, t, events, notes, across, down, restart):
    """Of a line's segments, and of a box's, a digit found in one alone is locked there; comparing the segments of a
    line with those of a box gives all digits of an intersection at once."""
    n = int(t[SIDE])
    found = False
    _segments(s, t, across, down)
    for pointing in (True, False):
        for kind in range(2):
            segments = across if kind == 0 else down
            parts = int(t[BOX_ROWS + kind])
            for first_line in range(0, n, parts):
                for line in range(first_line, first_line + parts):
                    for part in range(parts):
                        here = segments[line * parts + part]
                        if here == 0:
                            continue
                        along, beside = 0, 0
                        for other in range(parts):
                            if other != part:
                                along |= segments[line * parts + other]
                            if first_line + other != line:
                                beside |= segments[(first_line + other) * parts + part]
                        locked = here & along & ~beside if pointing else here & beside & ~along
                        while locked:
                            d = lowest(locked)
                            locked &= locked - 1
                            unit = kind * n + line
                            width = n // parts
                            box = t[UNIT_OF + 4 * t[UNITS + 16 * unit + width * part] + 2]
                            if pointing:
                                _confine(s, info, t, events, notes, box, 2, unit, d)
                            else:
                                _confine(s, info, t, events, notes, unit, kind, box, d)
                            found = True
                            if restart:
                                return True
    return found


@inner
def _bivalue(s, t, pairs, masks):
    """List the cells with two candidates in ``pairs`` and their candidates in ``masks``; returns how many."""
    count = 0
    for cell in range(t[SIDE] * t[SIDE]):
        mask = int(s[CAND + cell])
        if popcount(mask) == 2:
            pairs[count] = cell
            masks[count] = mask
            count += 1
    return count


@inner
def _see(t, a, b):
    """Whether two different cells share a unit."""
    a, b = UNIT_OF + 4 * a, UNIT_OF + 4 * b
    return a != b and (t[a] == t[b] or t[a + 1] == t[b + 1] or t[a + 2] == t[b + 2])


@inner
def _xy_wing(s, info, t, events, notes, pairs, masks, count, pincers, restart):
    """``pincers`` is scratch: the pivot's partners, as indices into ``pairs``."""
    any_found = False
    for i in range(count):
        pivot, xy = pairs[i], masks[i]
        seen = 0
        for j in range(count):
            if popcount(masks[j] & xy) == 1 and _see(t, pivot, pairs[j]):
                pincers[seen] = j
                seen += 1
        for j in range(seen - 1):
            first, xz = pairs[pincers[j]], masks[pincers[j]]
            z = xz & ~xy
            yz = xy & ~xz | z
            for k in range(j + 1, seen):
                if masks[pincers[k]] != yz:
                    continue
                second = pairs[pincers[k]]
                found = False
                for index in range(PEERS + 48 * first, PEERS + 48 * first + t[PEER_COUNT]):
                    cell = int(t[index])
                    if s[CAND + cell] & z and _see(t, second, cell):
                        if not found:
                            found = True
                            note(events, notes, XY_WING, PATTERN, pivot, 0)
                            note(events, notes, XY_WING, PATTERN, first, 0)
                            note(events, notes, XY_WING, PATTERN, second, 0)
                        remove(s, info, t, events, notes, int(XY_WING), cell, z)
                any_found |= found
                if found and restart:
                    return True
    return any_found


@inner
def _find_rectangle(s, t, pairs, masks, count, corners):
    """Look for a unique rectangle; ``corners`` receives the elbow, its row's and its column's corner, the fourth."""
    n = int(t[SIDE])
    for i in range(count):
        elbow, mask = pairs[i], masks[i]
        row, column, box = t[UNIT_OF + 4 * elbow], t[UNIT_OF + 4 * elbow + 1], t[UNIT_OF + 4 * elbow + 2]
        for j in range(count):
            across = pairs[j]
            if masks[j] != mask or j == i or t[UNIT_OF + 4 * across] != row:
                continue
            for k in range(count):
                down = pairs[k]
                if masks[k] != mask or k == i or t[UNIT_OF + 4 * down + 1] != column:
                    continue
                if (t[UNIT_OF + 4 * across + 2] == box) == (t[UNIT_OF + 4 * down + 2] == box):
                    continue  # the rectangle must lie in exactly two boxes
                fourth = t[UNIT_OF + 4 * down] * n + t[UNIT_OF + 4 * across + 1] - n
                held = s[CAND + fourth]
                if held & mask == mask and held != mask:
                    corners[0], corners[1], corners[2], corners[3] = elbow, across, down, fourth
                    return True
    return False


@inner
def _has_one_solution(w):
    """Whether the state at depth 0 has exactly one solution; False also where the search is given up."""
    w.stack[1] = w.stack[0]
    w.infos[1] = w.infos[0]
    return search(w.stack[1:], w.infos[1:], w.t, 2, int(BRANCHES), w.no_grids) == 1


@inner
def run(w, target):
    """Apply the strategies to the state at depth 0 until the grid is full, nothing applies, or a contradiction shows.

    Args:
        w: a borrowed workspace; ``w.stack[0]`` and ``w.infos[0]`` are loaded with a puzzle. While recording, steps are
            written to ``w.events`` and ``w.notes``, and the search starts again at the first strategy after each
            success. Otherwise strategies 4 to 7 take all that they find in one sweep, which leads to the same end.
        target: stop as soon as this cell is filled; -1 to go on to the end.

    Returns:
        a mask with bit ``s`` set for every strategy ``s`` that succeeded.
    """
    s, info, t, events, notes = w.stack[0], w.infos[0], w.t, w.events, w.notes
    pairs, masks, others = w.scratch[0], w.scratch[1], w.scratch[2]
    used, unique, restart = 0, False, notes[RECORDING] != 0
    while info[OPEN] > 0 and info[BROKEN] == 0:
        if target >= 0 and s[VALUE + target] > 0:
            break
        cell = lone_single(info)
        if cell >= 0:
            d = lowest(int(s[CAND + cell]))
            if restart:
                write_fill(s, t, events, notes, int(LONE_SINGLE), (-1), cell, d)
            assign(s, info, t, cell, d)
            used |= 1 << LONE_SINGLE
            continue
        found = hidden_single(s, info)
        if found >= 0:
            cell, d = single_place(s, t, found), found & 15
            if restart:
                write_fill(s, t, events, notes, int(HIDDEN_SINGLE), found >> 4, cell, d)
            assign(s, info, t, cell, d)
            used |= 1 << HIDDEN_SINGLE
            continue
        # A unit in which nothing changed since it was last examined has no new pair or triplet to offer.
        info[PAIRS] |= info[CHANGED]
        info[TRIPLETS] |= info[CHANGED]
        info[CHANGED] = 0
        if _naked_pair(s, info, t, events, notes, pairs, masks, restart):
            used |= 1 << NAKED_PAIR
            continue
        if _naked_triplet(s, info, t, events, notes, pairs, masks, restart):
            used |= 1 << NAKED_TRIPLET
            continue
        if _locked_candidate(s, info, t, events, notes, pairs, masks, restart):
            used |= 1 << LOCKED_CANDIDATE
            continue
        count = _bivalue(s, t, pairs, masks)
        if _xy_wing(s, info, t, events, notes, pairs, masks, count, others, restart):
            used |= 1 << XY_WING
            continue
        if not _find_rectangle(s, t, pairs, masks, count, others):
            break
        if not unique and not _has_one_solution(w):
            break
        unique = True
        used |= 1 << UNIQUE_RECTANGLE
        for corner in range(4):
            note(events, notes, UNIQUE_RECTANGLE, PATTERN, others[corner], 0)
        remove(s, info, t, events, notes, int(UNIQUE_RECTANGLE), others[3], int(s[CAND + others[0]]))
    return used
