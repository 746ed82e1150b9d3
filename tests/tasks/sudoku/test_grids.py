"""Random solution grids against exact laws. Seeds are fixed; each test's error rate is 1e-3 over all it compares."""

from __future__ import annotations

from functools import cache
from itertools import combinations, permutations, product
from typing import NamedTuple

import numpy as np
import pytest
from numba import njit
from scipy.stats import chisquare

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, count_solutions, random_grids, verify_many
from anyorder.tasks.sudoku.bits import start
from anyorder.tasks.sudoku.grids import MOVES_PER_CELL, _fill, list_grids, mix
from anyorder.tasks.sudoku.grids9 import MOST, completions, patterns
from anyorder.tasks.sudoku.layout import borrowed

NINE = Box(3, 3)
GRIDS_OF_NINE = 6_670_903_752_021_072_936_960
"""Felgenhauer and Jarvis, 2006."""
ERROR = 1e-3


def test_all_288_grids_of_4x4_are_equally_likely() -> None:
    grids = random_grids(Box(2, 2), 28_800, seed=1)
    assert verify_many(Box(2, 2), np.zeros_like(grids), grids).all()
    kinds, times = np.unique(grids, axis=0, return_counts=True)
    assert len(kinds) == 288
    assert chisquare(times).pvalue > ERROR


@pytest.mark.parametrize("box", [Box(2, 3), Box(3, 2)], ids=["2x3", "3x2"])
def test_all_39168_grids_of_6x6_are_equally_likely_and_so_are_the_720_namings(box: Box) -> None:
    grids = random_grids(box, 400_000, seed=2)
    assert verify_many(box, np.zeros_like(grids[:1000]), grids[:1000]).all()
    known = number_of(list_grids(box))
    assert len(np.unique(known)) == 39_168
    held = number_of(named_by_first_row(grids, 6))
    assert np.isin(held, known).all()
    order = np.searchsorted(np.sort(known), held)
    assert chisquare(np.bincount(order, minlength=39_168)).pvalue > ERROR / 2
    times = np.unique(grids[:, :6], axis=0, return_counts=True)[1]
    assert len(times) == 720
    assert chisquare(times).pvalue > ERROR / 2


def named_by_first_row(grids: np.ndarray, n: int) -> np.ndarray:
    """The same grids with digits renamed so that the first row reads 1..n."""
    name = np.zeros((len(grids), n + 1), np.uint8)
    np.put_along_axis(name, grids[:, :n].astype(np.intp), np.arange(1, n + 1, dtype=np.uint8)[None], axis=1)
    return np.take_along_axis(name, grids.astype(np.intp), axis=1)


def number_of(grids: np.ndarray) -> np.ndarray:
    """6x6 grids whose first row is known, as one number each: rows 2 to 5 leave no choice for the last."""
    return grids[:, 6:30].astype(np.uint64) @ (np.uint64(6) ** np.arange(24, dtype=np.uint64))


@njit
def mixed_grids(work, seed, moves, grids):
    """What larger boxes get: a random fill, then the chain."""
    w = borrowed(work)
    for row in range(grids.shape[0]):
        start(w.stream, seed, np.uint64(row))
        _fill(w, grids[row])
        mix(w, grids[row], moves)


def chain(box: Box, count: int, seed: int) -> np.ndarray:
    grids = np.zeros((count, box.cells), np.uint8)
    mixed_grids(box.workspace(), np.uint64(seed), MOVES_PER_CELL * box.cells, grids)
    return grids


@pytest.mark.slow
def test_the_chain_has_the_exact_law_on_6x6() -> None:
    """Rows 2 and 3 after naming by the first, against their exact counts among all grids."""
    kinds, ways = np.unique(list_grids(Box(2, 3))[:, 6:18], axis=0, return_counts=True)
    held = named_by_first_row(chain(Box(2, 3), 100_000, seed=3), 6)[:, 6:18]
    both = np.unique(np.concatenate([kinds, held]), axis=0, return_inverse=True)[1].ravel()[len(kinds) :]
    times = np.bincount(both, minlength=len(kinds))
    assert len(times) == len(kinds)
    expected = ways / ways.sum() * len(held)
    assert expected.min() > 5
    assert chisquare(times, expected).pvalue > ERROR


class BandLaw(NamedTuple):
    """The exact law of a 9x9 grid's band. Each box of a band parts the digits into the triples of its columns.

    ``number`` (512 * 512,): number of a partition, from its two smallest masks. ``home`` (280, 280): the images of all
    partitions under a map that sends the given one to {123|456|789}. ``kind`` (280, 280): orbit of the other two boxes'
    partitions once the first has been sent there. ``share`` (orbits, 2): probability of the orbit, with box rows
    mixed (0) or pure (1: the boxes have the same triples in their rows). ``total``: number of all grids.
    """

    number: np.ndarray
    home: np.ndarray
    kind: np.ndarray
    share: np.ndarray
    total: int


@cache
def band_law() -> BandLaw:
    """From first principles, band by band (the sampler counts by boxes, another way).

    A band is fixed by the triples in the rows and columns of its boxes. So the bands with given column triples can be
    counted, and a band's completions are the sums, over the column triples that a second band may have, of the number
    of second bands times the number of third bands, whose column triples are what is left.
    """
    triples = [sum(1 << d for d in chosen) for chosen in combinations(range(9), 3)]
    parts = [(x, y, 511 & ~(x | y)) for x in triples for y in triples if not x & y and x < y < 511 & ~(x | y)]
    masks = np.array(parts)
    number = np.full(512 * 512, -1)
    number[masks[:, 0] * 512 + masks[:, 1]] = np.arange(280)
    where = {frozenset(part): i for i, part in enumerate(parts)}
    first = where[frozenset((7, 56, 448))]
    meets = np.array([[all((x & y).bit_count() == 1 for x in p for y in q) for q in parts] for p in parts])

    def images(digits: np.ndarray) -> np.ndarray:
        """(maps, 280): images of all partitions under the maps ``digits`` (maps, 9)."""
        bits = (masks[:, :, None] >> np.arange(9)) & 1
        moved = np.sort((bits[None] << digits[:, None, None, :]).sum(-1), axis=-1)
        return number[moved[..., 0] * 512 + moved[..., 1]]

    def others(part: tuple[int, ...]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The 56 ways to give each triple another, disjoint from it, and what both leave."""
        ways = []
        for x, y in product(triples, triples):
            z = 511 & ~(x | y)
            if not (x & y or x & part[0] or y & part[1] or z & part[2]):
                ways.append(((x, y, z), tuple(511 & ~(p | q) for p, q in zip(part, (x, y, z), strict=True))))
        return ways

    ways = [others(part) for part in parts]
    second = np.array([[where[frozenset(one)] for one, _ in way] for way in ways])
    third = np.array([[where[frozenset(two)] for _, two in way] for way in ways])
    rows = np.flatnonzero(meets[first])
    assert len(rows) == 36
    assert second.shape == (280, 56)
    # bands[q, r]: bands with these ordered column triples; 6 orders of the three rows.
    left, right = second[rows].ravel(), third[rows].ravel()
    bands = 6 * meets[left].astype(int).T @ meets[right].astype(int)
    pure = np.repeat(rows, 56) == left
    pure_bands = 6 * meets[left[pure]].astype(int).T @ meets[right[pure]].astype(int)
    assert 1680 * 36 * bands.sum() == 362_880 * 56 * 6**6

    to_first = np.zeros((280, 9), int)
    for i, part in enumerate(parts):
        to_first[i, [d for mask in part for d in range(9) if mask >> d & 1]] = np.arange(9)
    home = images(to_first)
    blocks = [
        [3 * b + d for b, inside in zip(outer, insides, strict=True) for d in inside]
        for outer in permutations(range(3))
        for insides in product(permutations(range(3)), repeat=3)
    ]
    stay = images(np.array(blocks))
    kind = np.full((280, 280), -1)
    complete = np.zeros((280, 280), int)
    orbits = 0
    for q, r in product(range(280), range(280)):
        if kind[q, r] >= 0 or not bands[q, r]:
            continue
        count = 0
        for x, rest in zip(second[first], third[first], strict=True):
            above = bands[np.ix_(home[x][second[q]], home[x][second[r]])]
            count += (above * bands[np.ix_(home[rest][third[q]], home[rest][third[r]])]).sum()
        for one, two in ((stay[:, q], stay[:, r]), (stay[:, r], stay[:, q])):
            kind[one, two] = orbits
            complete[one, two] = count
        orbits += 1
    there = bands > 0
    weight = np.stack([(bands - pure_bands) * complete, pure_bands * complete])[:, there]
    share = np.stack([np.bincount(kind[there], w, minlength=orbits) for w in weight.astype(float)], axis=1)
    return BandLaw(number, home, kind, share / share.sum(), 1680 * 36 * int(weight.sum()))


def band_kinds(grids: np.ndarray, band: int) -> np.ndarray:
    """(N,): orbit of the band and whether its rows are pure, as ``2 orbit + pure``."""
    law = band_law()
    bit = 1 << (grids.reshape(-1, 3, 3, 3, 3)[:, band].astype(int) - 1)  # (N, row, box, column)
    columns = np.sort(bit.sum(1), axis=-1)
    part = law.number[columns[..., 0] * 512 + columns[..., 1]]
    rows = np.sort(bit.sum(-1), axis=1)  # (N, row, box)
    pure = (rows[:, :, 0] == rows[:, :, 1]).all(1)
    home = law.home[part[:, 0]]
    place = np.arange(len(grids))
    return 2 * law.kind[home[place, part[:, 1]], home[place, part[:, 2]]] + pure


def pvalue(kinds: np.ndarray, share: np.ndarray) -> float:
    """Chi-square of kinds against their shares; kinds expected fewer than 8 times are taken together."""
    expected = share * len(kinds)
    times = np.bincount(kinds, minlength=len(share)).astype(float)
    assert times[share == 0].sum() == 0
    rare = expected < 8
    pooled = [np.append(values[~rare], values[rare].sum()) for values in (times, expected)]
    keep = pooled[1] > 0
    return float(chisquare(pooled[0][keep], pooled[1][keep]).pvalue)


def check_nine(grids: np.ndarray) -> None:
    """All three bands and stacks, by orbit and purity, and the digits of each cell: 6 + 81 comparisons."""
    assert verify_many(NINE, np.zeros_like(grids), grids).all()
    turned = np.ascontiguousarray(grids.reshape(-1, 9, 9).swapaxes(1, 2))
    share = band_law().share.ravel()
    values = [pvalue(band_kinds(held, band), share) for held in (grids, turned) for band in range(3)]
    values += [float(chisquare(np.bincount(cell, minlength=10)[1:]).pvalue) for cell in grids.T]
    assert len(values) == 87
    assert min(values) > ERROR / len(values)


def test_the_band_law_counts_all_grids() -> None:
    law = band_law()
    assert law.total == GRIDS_OF_NINE
    assert 0.01 < law.share[:, 1].sum() < 0.1  # 2 of 56 row patterns are pure


def test_9x9_bands_and_stacks_have_the_exact_law() -> None:
    check_nine(random_grids(NINE, 12_000, seed=4))


def test_the_band_law_would_notice_bias() -> None:
    """Pure rows twice as often, or one orbit half as often: digits in cells could not show it, this does."""
    grids = random_grids(NINE, 12_000, seed=5)
    kinds = band_kinds(grids, 0)
    share = band_law().share.ravel()
    more = np.concatenate([kinds, kinds[kinds % 2 == 1]])
    assert pvalue(more, share) < 1e-6
    common = int(np.bincount(kinds).argmax())
    fewer = np.delete(kinds, np.flatnonzero(kinds == common)[::2])
    assert pvalue(fewer, share) < 1e-6


@pytest.mark.slow
def test_the_chain_has_the_exact_band_law_on_9x9() -> None:
    check_nine(chain(NINE, 12_000, seed=6))


def lines_around(grid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grid named so that box 1 reads 1..9, with boxes 2 and 3 column by column and 4 and 7 row by row, from 0."""
    square = grid.reshape(9, 9).astype(int)
    name = np.zeros(10, int)
    name[square[:3, :3].ravel()] = np.arange(9)
    square = name[square]
    columns = np.stack([square[:3, 3:6].T.ravel(), square[:3, 6:].T.ravel()])
    rows = np.stack([square[3:6, :3].ravel(), square[6:, :3].ravel()])
    return square, columns, rows


def test_completions_of_a_band_and_a_stack_are_those_of_a_search() -> None:
    squares, counts = [], []
    for grid in random_grids(NINE, 12, seed=7):
        square, columns, rows = lines_around(grid)
        counts.append(completions(patterns(), columns, rows, np.empty((4, 56), np.int64)))
        square = square + 1
        square[3:, 3:] = 0
        squares.append(square.ravel())
    assert np.array_equal(count_solutions(NINE, np.array(squares), 10**6), counts)
    assert 0 < min(counts) <= max(counts) <= MOST


@njit
def sum_and_most(table, columns, rows, weight):
    """Over all pairs: the weighted sum of the completions, and the largest."""
    joint = np.empty((4, 56), np.int64)
    total, most = 0, 0
    for band in range(columns.shape[0]):
        for stack in range(rows.shape[0]):
            count = completions(table, columns[band], rows[stack], joint)
            total += weight[band] * count
            most = max(most, count)
    return total, most


@pytest.mark.slow
def test_most_is_the_largest_count_and_the_counts_sum_to_all_grids() -> None:
    """All bands against all stacks, up to the order of lines in boxes 2, 3, 4, 7 and the symmetries of box 1."""
    table = patterns()
    orders = list(product(permutations(range(3)), repeat=2))
    bands: dict[tuple, int] = {}
    lists = [[[d for d in range(9) if mask >> d & 1] for mask in row] for row in [*table.masks, *table.rest]]
    for pattern in range(56):
        boxes = []
        for triples in (lists[pattern], lists[56 + pattern]):
            boxes.append(
                {
                    tuple(
                        sorted(
                            tuple(sorted(column))
                            for column in zip(
                                triples[0], [triples[1][k] for k in a], [triples[2][k] for k in b], strict=True
                            )
                        )
                    )
                    for a, b in orders
                }
            )
        for pair in product(*boxes):
            bands[pair] = bands.get(pair, 0) + 36
    assert sum(bands.values()) == 56 * 6**6
    maps = [[3 * a[d // 3] + b[d % 3] for d in range(9)] for a, b in orders]
    sides: dict[tuple, int] = {}
    for pair in bands:
        images = []
        for digit in maps:
            moved = tuple(tuple(sorted(tuple(sorted(digit[d] for d in column)) for column in part)) for part in pair)
            images += [moved, moved[::-1]]
        least = min(images)
        sides[least] = sides.get(least, 0) + bands[pair]
    columns = np.array(list(sides)).reshape(-1, 2, 9)
    weight = np.array(list(sides.values()))
    turn = np.array([3 * (d % 3) + d // 3 for d in range(9)])
    stacks = turn[np.array(list(bands)).reshape(-1, 2, 9)]
    times = list(bands.values())
    total, most = 0, 0
    for value in sorted(set(times)):
        chosen = stacks[np.array(times) == value]
        part, largest = sum_and_most(table, columns, chosen, weight)
        total += value * int(part)
        most = max(most, int(largest))
    assert most == MOST
    assert 362_880 * total == GRIDS_OF_NINE


@pytest.mark.parametrize("box", [Box(2, 4), Box(3, 4), Box(4, 4), Box(1, 7), Box(7, 1), Box(2, 8)], ids=str)
def test_larger_boxes_give_valid_and_different_grids(box: Box) -> None:
    grids = random_grids(box, 6, seed=8)
    assert verify_many(box, np.zeros_like(grids), grids).all()
    assert len(np.unique(grids, axis=0)) == 6


@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), NINE, Box(2, 4)], ids=lambda box: box.name)
def test_a_grid_depends_on_seed_and_number_alone(box: Box) -> None:
    grids = random_grids(box, 20, seed=9)
    assert np.array_equal(random_grids(box, 7, seed=9), grids[:7])
    assert not np.array_equal(random_grids(box, 20, seed=10), grids)
    assert random_grids(box, 0, seed=9).shape == (0, box.cells)


def test_refusals() -> None:
    for count, seed in ((-1, 0), (1, -1)):
        with pytest.raises(UserError, match="negative"):
            random_grids(NINE, count, seed)
    with pytest.raises(UserError, match="list"):
        list_grids(NINE)
