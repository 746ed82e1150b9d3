"""The solver is never wrong, its forms agree, and its record says what it filled."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, generate, random_grids
from anyorder.tasks.sudoku.formats import read_puzzles
from anyorder.tasks.sudoku.rules import units_valid
from anyorder.tasks.sudoku.solver import Elimination, solve, solve_many

BOXES = [Box(2, 2), Box(2, 3), Box(3, 2), Box(3, 3)]


def all_grids_of_four() -> np.ndarray:
    """(288, 16): every 4x4 grid, by trying all rows."""
    rows = list(permutations(range(1, 5)))
    grids = np.array(list(product(rows, repeat=4)), np.uint8).reshape(-1, 16)
    return grids[units_valid(Box(2, 2), grids)]


@pytest.mark.parametrize("grade", ["logic", "hard", "any"])
@pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box}")
def test_every_fill_is_that_of_the_only_solution(box: Box, grade: str) -> None:
    if grade == "hard" and box.size < 9:
        pytest.skip("small boxes have hardly a hard puzzle")
    puzzles = generate(box, 200, 8, distinct="puzzle", grade=grade)  # pyright: ignore[reportArgumentType]
    result = solve_many(box, puzzles.puzzles)
    assert not result.contradiction.any()
    assert ((result.grids == puzzles.solutions) | (result.grids == 0)).all()
    assert np.array_equal(result.solved, (result.grids > 0).all(1))
    if grade != "any":
        assert (result.solved == (grade == "logic")).all()


def test_fills_are_common_to_all_solutions_whatever_the_clues() -> None:
    grids = all_grids_of_four()
    assert len(grids) == 288
    rng = np.random.default_rng(2)
    clues = np.where(rng.random((3000, 16)) < rng.uniform(0.2, 0.9, (3000, 1)), 0, grids[rng.integers(288, size=3000)])
    clues[::3] = np.where(rng.random((1000, 16)) < 0.75, 0, rng.integers(1, 5, (1000, 16)))  # often without a solution
    result = solve_many(Box(2, 2), clues)
    fits = ((clues[:, None] == 0) | (clues[:, None] == grids)).all(-1)  # (3000, 288)
    count = fits.sum(1)
    assert (count[result.solved] == 1).all()
    assert (count[result.contradiction] == 0).all()
    assert min((count == 0).sum(), (count == 1).sum(), (count > 1).sum(), result.contradiction.sum()) > 100
    for row in np.flatnonzero(count):
        filled = result.grids[row] > 0
        assert (grids[fits[row]][:, filled] == result.grids[row][filled]).all()


@pytest.mark.parametrize("box", [*BOXES, Box(4, 4)], ids=lambda box: f"{box}")
def test_one_and_many_agree_with_the_record(box: Box) -> None:
    rng = np.random.default_rng(3)
    grids = random_grids(box, 20, 3)
    clues = np.where(rng.random(grids.shape) < rng.uniform(0.3, 0.8, (20, 1)), 0, grids)
    many = solve_many(box, clues)
    for row, puzzle in enumerate(clues):
        one = solve(box, puzzle)
        assert np.array_equal(one.grid, many.grids[row])
        assert (one.solved, one.contradiction) == (many.solved[row], many.contradiction[row])
        order, strategy = np.full(box.cells, -1), np.zeros(box.cells, int)
        for turn, fill in enumerate(one.fills):
            order[fill.cell], strategy[fill.cell] = turn, fill.strategy
            assert one.grid[fill.cell] == fill.digit
        assert np.array_equal(order, many.order[row])
        assert np.array_equal(strategy, many.strategy[row])
        used = {fill.rule for fill in one.fills} | {s.strategy for s in one.steps if isinstance(s, Elimination)}
        assert many.used[row] == sum(1 << s for s in used)


def test_a_full_and_an_empty_grid() -> None:
    grid = random_grids(Box(3, 3), 1, 0)[0]
    full, empty = solve(Box(3, 3), grid), solve(Box(3, 3), np.zeros(81, int))
    assert full.solved
    assert full.steps == empty.steps == ()
    assert not empty.solved
    assert not empty.contradiction
    assert solve_many(Box(3, 3), np.zeros((0, 81), int)).grids.shape == (0, 81)


def test_equal_clues_in_a_unit_are_a_contradiction() -> None:
    puzzle = np.zeros(81, int)
    puzzle[[0, 8]] = 5
    assert solve(Box(3, 3), puzzle).contradiction
    grid = random_grids(Box(3, 3), 1, 0)[0]
    grid[0] = grid[0] % 9 + 1
    assert solve(Box(3, 3), grid).contradiction


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="one puzzle, not 2"):
        solve(Box(2, 2), np.zeros((2, 16), int))
    with pytest.raises(UserError, match="16 cells"):
        solve_many(Box(2, 2), np.zeros((2, 15), int))
    with pytest.raises(UserError, match=r"0 \(blank\) to 4"):
        solve(Box(2, 2), np.full(16, 5))
    with pytest.raises(UserError, match="whole numbers"):
        solve(Box(2, 2), np.zeros(16))


@pytest.mark.data
def test_never_wrong_on_the_development_data(data_folder: Path) -> None:
    seen = 0
    for path in sorted((data_folder / "sudoku").glob("*.csv")):
        file = read_puzzles(path)
        assert file.solutions is not None
        result = solve_many(file.box, file.puzzles)
        filled = result.grids > 0
        assert np.array_equal(result.grids[filled], file.solutions[filled])
        assert not result.contradiction.any()
        assert np.array_equal(result.solved, filled.all(1))
        seen += len(file.puzzles)
    assert seen == 24_500
