"""Symmetries keep solutions, uniqueness and keys; each kind of map occurs, as often as it should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, augment, count_solutions, random_grids, random_symmetries, verify_many
from anyorder.tasks.sudoku.symmetry import symmetry_keys

BOXES = [Box(2, 2), Box(2, 3), Box(3, 2), Box(3, 3), Box(3, 4)]


def some(box: Box, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    solutions = random_grids(box, count, int(rng.integers(1 << 40)))
    return np.where(rng.random(solutions.shape) < 0.5, solutions, 0).astype(np.uint8), solutions


@settings(max_examples=40)
@given(st.sampled_from(BOXES), st.integers(0, 2**32 - 1))
def test_solutions_stay_solutions_and_counts_stay(box: Box, seed: int) -> None:
    rng = np.random.default_rng(seed)
    puzzles, solutions = some(box, 6, rng)
    maps = random_symmetries(box, 6, rng)
    moved, solved = maps.apply(puzzles), maps.apply(solutions)
    assert verify_many(box, moved, solved).all()
    assert np.array_equal(count_solutions(box, moved, 4), count_solutions(box, puzzles, 4))
    # Clues stay clues, wherever they go, and marks travel along with them.
    assert np.array_equal(moved > 0, maps.move(puzzles > 0))
    assert np.array_equal(moved, np.where(moved > 0, solved, 0))
    assert np.array_equal(symmetry_keys(box, moved), symmetry_keys(box, puzzles))


@settings(max_examples=30)
@given(st.sampled_from(BOXES), st.integers(0, 2**32 - 1))
def test_each_map_is_bands_stacks_rows_columns_digits_and_maybe_a_turn(box: Box, seed: int) -> None:
    n = box.size
    maps = random_symmetries(box, 8, np.random.default_rng(seed))
    assert (np.sort(maps.source, 1) == np.arange(n * n)).all()
    assert (maps.label[:, 0] == 0).all()
    assert (np.sort(maps.label[:, 1:], 1) == np.arange(1, n + 1)).all()
    for source in maps.source.reshape(8, n, n):
        turned = source[0, 0] // n != source[0, 1] // n
        assert not turned or box.box_rows == box.box_columns
        square = source.T if turned else source
        rows, columns = square[:, 0] // n, square[0] % n
        assert np.array_equal(square, rows[:, None] * n + columns)
        for lines, size in ((rows, box.box_rows), (columns, box.box_columns)):
            together = (lines // size).reshape(-1, size)
            assert (together == together[:, :1]).all()


def test_all_of_the_group_occurs_and_evenly() -> None:
    """4x4 without digits: 2 * 8 * 8 = 128 maps, each as often as the others (error rate 1e-4, fixed seed)."""
    maps = random_symmetries(Box(2, 2), 12_800, np.random.default_rng(3))
    kinds, times = np.unique(maps.source, axis=0, return_counts=True)
    assert len(kinds) == 128
    assert chisquare(times).pvalue > 1e-4
    labels, times = np.unique(maps.label, axis=0, return_counts=True)
    assert len(labels) == 24
    assert chisquare(times).pvalue > 1e-4
    # Digits and places are drawn apart: no map goes with a name more than with another.
    pairs = maps.source[:, 0] * 4 + maps.label[:, 1] - 1
    assert chisquare(np.bincount(pairs, minlength=64)).pvalue > 1e-4


@pytest.mark.parametrize(("box", "bands", "inside"), [(Box(2, 3), 6, 2), (Box(3, 2), 2, 6), (Box(3, 3), 6, 6)])
def test_every_kind_of_map_occurs(box: Box, bands: int, inside: int) -> None:
    n = box.size
    source = random_symmetries(box, 3000, np.random.default_rng(4)).source.reshape(-1, n, n)
    turned = source[:, 0, 0] // n != source[:, 0, 1] // n
    if box.box_rows == box.box_columns:
        assert abs(turned.mean() - 0.5) < 0.04  # more than four standard errors
    else:
        assert not turned.any()
    straight = source[~turned]
    rows, columns = straight[:, :, 0] // n, straight[:, 0] % n
    assert len(np.unique(rows[:, :: box.box_rows] // box.box_rows, axis=0)) == bands
    assert len(np.unique(rows[:, : box.box_rows] % box.box_rows, axis=0)) == inside
    # Stacks and their columns are as many as the bands and rows of the box on its side.
    assert len(np.unique(columns[:, :: box.box_columns] // box.box_columns, axis=0)) == inside
    assert len(np.unique(columns[:, : box.box_columns] % box.box_columns, axis=0)) == bands


@pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box.box_rows}x{box.box_columns}")
def test_different_puzzles_have_different_keys(box: Box) -> None:
    """Over two puzzles, taking one clue away, or giving a cell another digit, changes the key; so do other grids."""
    rng = np.random.default_rng(6)
    puzzles, _ = some(box, 40, rng)
    fewer = puzzles.copy()
    for row in fewer:
        row[rng.choice(np.flatnonzero(row))] = 0
    assert (symmetry_keys(box, fewer) != symmetry_keys(box, puzzles)).all()
    if box.size >= 6:
        assert len(np.unique(symmetry_keys(box, puzzles))) == len(puzzles)
    assert len(np.unique(symmetry_keys(box, np.zeros((3, box.cells), np.uint8)))) == 1


def test_keys_part_4x4_puzzles_as_the_group_does() -> None:
    """Orbits of the whole group, 128 * 24 maps written out, against keys, on puzzles of every number of clues."""
    rng = np.random.default_rng(8)
    solutions = random_grids(Box(2, 2), 150, 5)
    puzzles = np.where(rng.random(solutions.shape) < rng.random((150, 1)), solutions, 0).astype(np.uint8)
    places = np.unique(random_symmetries(Box(2, 2), 12_800, rng).source, axis=0)
    assert len(places) == 128

    def smallest(puzzle: np.ndarray) -> bytes:
        """The first of all images: digits named in order of appearance make the relabelling canonical."""
        images = []
        for image in puzzle[places].tolist():
            names: dict[int, int] = {0: 0}
            images.append(bytes(names.setdefault(digit, len(names)) for digit in image))
        return min(images)

    orbit = np.unique([smallest(puzzle) for puzzle in puzzles], return_inverse=True)[1]
    key = np.unique(symmetry_keys(Box(2, 2), puzzles), return_inverse=True)[1]
    assert orbit.max() > 30
    # Copies always share a key; a key may name two orbits where refinement cannot tell them apart, but rarely does.
    pairs = np.unique(np.stack([orbit, key], axis=1), axis=0)
    assert len(pairs) == orbit.max() + 1
    assert key.max() + 1 >= 0.97 * (orbit.max() + 1)


def test_a_turned_puzzle_has_the_key_of_the_first_only_in_square_boxes() -> None:
    rng = np.random.default_rng(2)
    puzzles, _ = some(Box(3, 3), 20, rng)
    turned = puzzles.reshape(-1, 9, 9).swapaxes(1, 2).reshape(-1, 81)
    assert np.array_equal(symmetry_keys(Box(3, 3), puzzles), symmetry_keys(Box(3, 3), turned))


def test_augment_moves_puzzle_and_solution_alike() -> None:
    rng = np.random.default_rng(5)
    for box in BOXES:
        puzzles, solutions = some(box, 30, rng)
        before = puzzles.copy(), solutions.copy()
        moved, solved = augment(box, puzzles, solutions, np.random.default_rng(1))
        again = augment(box, puzzles, solutions, np.random.default_rng(1))
        assert np.array_equal(moved, again[0])
        assert np.array_equal(solved, again[1])
        assert np.array_equal(puzzles, before[0])
        assert np.array_equal(solutions, before[1])
        assert verify_many(box, moved, solved).all()
        assert np.array_equal((moved > 0).sum(1), (puzzles > 0).sum(1))
        assert (moved != puzzles).any(1).mean() > 0.8
        assert np.array_equal(symmetry_keys(box, moved), symmetry_keys(box, puzzles))


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="negative"):
        random_symmetries(Box(2, 2), -1, rng)
    grids = np.zeros((2, 16), np.uint8)
    for puzzles, solutions in ((grids, grids[:1]), (grids[0], grids[0]), (grids[:, :15], grids[:, :15])):
        with pytest.raises(UserError):
            augment(Box(2, 2), puzzles, solutions, rng)
    with pytest.raises(UserError):
        symmetry_keys(Box(2, 2), np.full((1, 16), 5))


def test_no_puzzles_at_all() -> None:
    rng = np.random.default_rng(0)
    assert random_symmetries(Box(2, 2), 0, rng).source.shape == (0, 16)
    nothing = np.zeros((0, 16), np.uint8)
    assert augment(Box(2, 2), nothing, nothing, rng)[0].shape == (0, 16)
