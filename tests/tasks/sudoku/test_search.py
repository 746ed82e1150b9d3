"""Counts of solutions against brute force on 4x4 and against a SAT solver on larger boxes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pysat.solvers import Solver

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, count_solutions, random_grids, solve_exhaustively, verify_many
from anyorder.tasks.sudoku.grids import list_grids
from anyorder.tasks.sudoku.search import has_solution


def sat_count(box: Box, puzzle: np.ndarray, limit: int) -> int:
    """min(limit, number of solutions), by a SAT solver: each model found is forbidden in turn."""
    n = box.size
    with Solver("cadical153") as solver:
        for cell in range(box.cells):
            solver.add_clause([cell * n + d + 1 for d in range(n)])
            for d, e in combinations(range(n), 2):
                solver.add_clause([-(cell * n + d + 1), -(cell * n + e + 1)])
        for unit in box.units.tolist():
            for d in range(n):
                for x, y in combinations(unit, 2):
                    solver.add_clause([-(x * n + d + 1), -(y * n + d + 1)])
        for cell in np.flatnonzero(puzzle).tolist():
            solver.add_clause([cell * n + int(puzzle[cell])])
        found = 0
        while found < limit and solver.solve():
            found += 1
            solver.add_clause([-literal for literal in solver.get_model() or [] if literal > 0])
        return found


def all_small_grids() -> np.ndarray:
    """(288, 16): every 4x4 grid, found cell by cell with nothing but the rules."""
    rows: list[list[int]] = [[]]
    for cell in range(16):
        r, c = divmod(cell, 4)
        near = [k for k in range(cell) if k // 4 == r or k % 4 == c or (k // 8, k % 4 // 2) == (r // 2, c // 2)]
        rows = [[*held, d] for held in rows for d in range(1, 5) if all(held[k] != d for k in near)]
    return np.array(rows)


def test_4x4_counts_are_those_of_brute_force() -> None:
    grids = all_small_grids()
    assert len(grids) == 288
    rng = np.random.default_rng(0)
    whole = grids[rng.integers(0, 288, 1500)]
    puzzles = np.where(rng.random(whole.shape) < rng.random((1500, 1)), whole, 0)
    spoilt = rng.random(1500) < 0.4
    puzzles[spoilt, rng.integers(0, 16, spoilt.sum())] = rng.integers(1, 5, spoilt.sum())
    puzzles[0] = 0
    fits = ((puzzles[:, None] == 0) | (puzzles[:, None] == grids)).all(-1).sum(-1)
    assert {0, 1, 2, 3} <= set(fits.tolist())
    for limit in (1, 2, 3, 1000):
        assert np.array_equal(count_solutions(Box(2, 2), puzzles, limit), np.minimum(fits, limit))
    solutions, counts = solve_exhaustively(Box(2, 2), puzzles)
    assert np.array_equal(counts, np.minimum(fits, 2))
    assert verify_many(Box(2, 2), puzzles, solutions)[fits > 0].all()
    assert (solutions[fits == 0] == 0).all()
    assert np.array_equal(has_solution(Box(2, 2), puzzles), fits > 0)


@pytest.mark.parametrize(
    ("box", "clues", "count"),
    [(Box(2, 3), (6, 14), 40), (Box(3, 2), (6, 14), 40), (Box(3, 3), (20, 32), 60), (Box(3, 4), (56, 80), 12)],
    ids=["2x3", "3x2", "3x3", "3x4"],
)
def test_counts_agree_with_a_sat_solver(box: Box, clues: tuple[int, int], count: int) -> None:
    rng = np.random.default_rng(1)
    whole = random_grids(box, count, seed=9).astype(np.int64)
    keep = rng.random(whole.shape).argsort(1).argsort(1) < rng.integers(*clues, (count, 1))
    puzzles = np.where(keep, whole, 0)
    # A third of them get one more clue, of a digit that no unit of the cell holds yet: often no solution is left.
    for row in range(0, count, 3):
        for cell in rng.permutation(np.flatnonzero(puzzles[row] == 0)):
            free = np.setdiff1d(np.arange(1, box.size + 1), [*puzzles[row, box.peers[cell]], whole[row, cell]])
            if len(free):
                puzzles[row, cell] = rng.choice(free)
                break
    limit = 5
    expected = np.array([sat_count(box, puzzle, limit) for puzzle in puzzles])
    assert np.array_equal(count_solutions(box, puzzles, limit), expected)
    solutions, counts = solve_exhaustively(box, puzzles)
    assert np.array_equal(counts, np.minimum(expected, 2))
    assert np.array_equal(verify_many(box, puzzles, solutions), expected > 0)
    if box == Box(3, 3):
        assert {0, 1} < set(expected.tolist())


def test_6x6_count_is_the_published_one() -> None:
    """28,200,960 grids of 6x6 (both ways to lay the boxes), so 39,168 with a given first row."""
    puzzle = np.zeros(36, np.int64)
    puzzle[:6] = 1, 2, 3, 4, 5, 6
    for box in (Box(2, 3), Box(3, 2)):
        assert count_solutions(box, puzzle, 10**6)[0] * 720 == 28_200_960
        assert len(list_grids(box)) * 720 == 28_200_960


def test_clues_that_clash_leave_no_solution() -> None:
    puzzle = np.zeros((2, 81), np.int64)
    puzzle[0, [0, 80]] = 5, 5
    puzzle[1, [0, 8]] = 5, 5
    assert count_solutions(Box(3, 3), puzzle).tolist() == [2, 0]
    assert has_solution(Box(3, 3), puzzle).tolist() == [True, False]


def test_nothing_in_nothing_out_and_refusals() -> None:
    assert count_solutions(Box(3, 3), np.zeros((0, 81), int)).shape == (0,)
    with pytest.raises(UserError, match="limit"):
        count_solutions(Box(2, 2), np.zeros(16, int), 0)
    for call in (count_solutions, has_solution, solve_exhaustively):
        with pytest.raises(UserError, match="cells"):
            call(Box(2, 2), np.zeros(15, int))
        with pytest.raises(UserError, match="holds 0"):
            call(Box(2, 2), np.full(16, 5))
