"""Exactly uniform 9x9 solution grids, by rejection with exact completion counts.

Number the boxes 1..9 in reading order and relabel so that box 1 reads 1..9. Then

- the first band has 56 * 6^6 fillings: each row of box 2 takes three digits that the same row of box 1 lacks (56
  patterns), box 3 takes the rest, and the three digits of a row of a box stand in any order;
- the first stack likewise, independently of the band.

What is left, boxes 5, 6, 8 and 9, can be *counted*. Box 5 is fixed by the triples of digits in its rows and the
triples in its columns, and exists just when every row triple meets every column triple in one digit (the two
partitions are *orthogonal*). Given box 4, the row triples of boxes 5 and 6 follow from one of 56 patterns ``a``; given
box 7, those of 8 and 9 from a pattern ``d``; given boxes 2 and 3, the columns of 5 and 8 from ``b`` and those of 6 and
9 from ``c``. Hence

    completions = sum over a, d of  #{b : 5 and 8 exist} * #{c : 6 and 9 exist},

3,136 pairs of popcounts over 56-bit masks: microseconds. A band and a stack drawn uniformly are kept with probability
completions / MOST, one of the completions is drawn uniformly, and the digits are shuffled: every grid has the same
probability. ``MOST`` is the largest count that occurs (a test finds it again by exhaustion, and finds the known total
of 6,670,903,752,021,072,936,960 grids by summing the counts).

Source of the total: Felgenhauer and Jarvis, "Mathematics of Sudoku I", 2006; the sampler is this project's own.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations, permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .bits import below, lowest, popcount, shuffle
from .jit import inner

MOST = 11664
"""The largest number of completions of a band and a stack that share box 1."""


class Patterns(NamedTuple):
    """Triples of nine digits, as masks, against the canonical triples T = {0,1,2}, {3,4,5}, {6,7,8}.

    ``masks`` (56, 3): the ordered partitions whose j-th triple is disjoint from T_j; ``rest`` (56, 3): the digits that
    both leave, the j-th again disjoint from T_j. ``rank`` (512,): number of a 3-subset among the 84. ``partition``
    (84, 84): number (of 280) of the unordered partition that two disjoint triples begin. ``meets`` and ``meets_rest``
    (280,): for each partition the 56-bit mask of patterns ``b`` whose ``masks[b]`` (``rest[b]``) is orthogonal to it.
    """

    masks: NDArray[np.int64]
    rest: NDArray[np.int64]
    rank: NDArray[np.int64]
    partition: NDArray[np.int64]
    meets: NDArray[np.int64]
    meets_rest: NDArray[np.int64]


@lru_cache(maxsize=1)
def patterns() -> Patterns:
    """The constant tables (a few milliseconds, once)."""
    triples = [sum(1 << d for d in triple) for triple in combinations(range(9), 3)]
    rank = np.full(512, -1, np.int64)
    rank[triples] = np.arange(84)
    partition = np.full((84, 84), -1, np.int64)
    partitions: list[tuple[int, int, int]] = []
    for first in triples:
        for second in triples:
            third = 511 & ~(first | second)
            if first & 1 and not first & second and second < third:
                for x, y in permutations((first, second, third), 2):
                    partition[rank[x], rank[y]] = len(partitions)
                partitions.append((first, second, third))
    canonical = (0o7, 0o70, 0o700)
    masks = [
        (x, y, 511 & ~(x | y))
        for x in triples
        for y in triples
        if not (x & y or x & canonical[0] or y & canonical[1] or ~(x | y) & canonical[2])
    ]
    rest = [tuple(511 & ~(t | k) for t, k in zip(canonical, triple, strict=True)) for triple in masks]

    def orthogonal(columns: list[tuple[int, ...]]) -> NDArray[np.int64]:
        bits = [
            sum(
                1 << b
                for b, column in enumerate(columns)
                if all((x & y).bit_count() == 1 for x in rows for y in column)
            )
            for rows in partitions
        ]
        return np.array(bits, np.int64)

    meets, meets_rest = orthogonal(list(masks)), orthogonal(rest)
    return Patterns(np.array(masks), np.array(rest), rank, partition, meets, meets_rest)


@inner
def image(mask, digit):
    """The image of a set of three digits under the map ``digit``."""
    out = 1 << digit[lowest(mask)]
    mask &= mask - 1
    out |= 1 << digit[lowest(mask)]
    mask &= mask - 1
    return out | 1 << digit[lowest(mask)]


@inner
def orthogonality(table, meets, triples, digit, out):
    """``out[a]``: the patterns orthogonal to the image of ``triples[a]`` under ``digit``, as 56-bit masks."""
    for a in range(56):
        first = table.rank[image(triples[a, 0], digit)]
        second = table.rank[image(triples[a, 1], digit)]
        out[a] = meets[table.partition[first, second]]


@inner
def completions(table, columns, rows, joint):
    """Completions of boxes 5, 6, 8, 9.

    ``columns`` (2, 9): digits of boxes 2 and 3 listed column by column; ``rows`` (2, 9): boxes 4 and 7 row by row.
    ``joint`` (4, 56) receives the orthogonality masks: boxes 5 and 6 over ``a``, 8 and 9 over ``d``.
    """
    digit = np.empty(9, np.int64)
    position = np.empty(9, np.int64)
    for stack in range(2):
        for index in range(9):
            position[columns[stack, index]] = index
        for band in range(2):
            for index in range(9):
                digit[index] = position[rows[band, index]]
            meets = table.meets if band == 0 else table.meets_rest
            triples = table.masks if stack == 0 else table.rest
            orthogonality(table, meets, triples, digit, joint[2 * band + stack])
    total = 0
    for a in range(56):
        for d in range(56):
            total += popcount(joint[0, a] & joint[2, d]) * popcount(joint[1, a] & joint[3, d])
    return total


@inner
def draw_side(stream, table, side, lines):
    """Two boxes beside box 1, uniformly: ``lines[k, i, :]`` is line ``i`` of the k-th box in random order.

    Box 1 holds 0..8 row by row; its lines are rows on ``side`` 0 (boxes 2 and 3), columns on side 1 (boxes 4 and 7).
    """
    pattern = below(stream, 56)
    for box in range(2):
        for line in range(3):
            mask = table.masks[pattern, line] if box == 0 else table.rest[pattern, line]
            for index in range(3):
                d = lowest(mask)
                mask &= mask - 1
                lines[box, line, index] = 3 * (d % 3) + d // 3 if side else d
            shuffle(stream, lines[box, line])


@inner
def nth_bit(mask, index):
    """Position of the ``index``-th (from 0) set bit."""
    for _ in range(index):
        mask &= mask - 1
    return lowest(mask)


@inner
def draw_nine(stream, table, grid):
    """Write a uniformly random 9x9 solution grid (81,) to ``grid``; returns the number of proposals it took."""
    beside = np.empty((2, 3, 3), np.int64)  # boxes 2 and 3: [box, row, column]
    below_it = np.empty((2, 3, 3), np.int64)  # boxes 4 and 7: [box, column, row]
    columns = np.empty((2, 9), np.int64)
    rows = np.empty((2, 9), np.int64)
    joint = np.empty((4, 56), np.int64)
    proposals = 0
    while True:
        proposals += 1
        draw_side(stream, table, 0, beside)
        draw_side(stream, table, 1, below_it)
        for box in range(2):
            for line in range(3):
                for index in range(3):
                    columns[box, 3 * line + index] = beside[box, index, line]
                    rows[box, 3 * line + index] = below_it[box, index, line]
        chosen = below(stream, MOST)
        if chosen < completions(table, columns, rows, joint):
            break
    # Walk to the chosen completion: pattern pair (a, d), then b, then c.
    a, d, first, second = 0, 0, 0, 0
    for pair in range(56 * 56):
        a, d = pair // 56, pair % 56
        first, second = joint[0, a] & joint[2, d], joint[1, a] & joint[3, d]
        ways = popcount(first) * popcount(second)
        if chosen < ways:
            break
        chosen -= ways
    across = popcount(second)
    chosen_columns = (nth_bit(first, chosen // across), nth_bit(second, chosen % across))
    label = np.arange(9)
    shuffle(stream, label)
    for i in range(3):
        for j in range(3):
            grid[9 * i + j] = label[3 * i + j] + 1
            for box in range(2):
                grid[9 * i + 3 + 3 * box + j] = label[beside[box, i, j]] + 1
                grid[9 * (3 + 3 * box + i) + j] = label[below_it[box, j, i]] + 1
            for band in range(2):
                row_pattern = a if band == 0 else d
                for stack in range(2):
                    row_mask = table.masks[row_pattern, i] if stack == 0 else table.rest[row_pattern, i]
                    pattern = chosen_columns[stack]
                    column_mask = table.masks[pattern, j] if band == 0 else table.rest[pattern, j]
                    value = lowest(image(row_mask, rows[band]) & image(column_mask, columns[stack]))
                    grid[9 * (3 + 3 * band + i) + 3 + 3 * stack + j] = label[value] + 1
    return proposals
