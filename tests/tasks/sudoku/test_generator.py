"""Generated puzzles: one solution, nothing to take away, the right grade, and the same for every number of workers."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import numpy as np
import pytest
from pysat.solvers import Solver

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import (
    GRADES,
    Box,
    Puzzles,
    count_solutions,
    generate,
    random_symmetries,
    solve_exhaustively,
    verify_many,
)
from anyorder.tasks.sudoku.generator import Grade
from anyorder.tasks.sudoku.solver import solve, solve_many
from anyorder.tasks.sudoku.symmetry import symmetry_keys

CASES: list[tuple[Box, Grade, int]] = [
    (Box(2, 2), "logic", 12),
    (Box(2, 3), "logic", 30),
    (Box(3, 2), "any", 30),
    (Box(3, 3), "logic", 40),
    (Box(3, 3), "any", 30),
    (Box(3, 3), "hard", 10),
    (Box(3, 4), "logic", 3),
]
each_case = pytest.mark.parametrize(("box", "grade", "count"), CASES, ids=lambda value: getattr(value, "name", value))


@cache
def made(box: Box, grade: Grade, count: int) -> Puzzles:
    return generate(box, count, seed=5, grade=grade)


def another_solution(box: Box, puzzle: np.ndarray, solution: np.ndarray) -> tuple[bool, bool]:
    """By a SAT solver: whether the solution is one, and whether there is another."""
    n = box.size
    with Solver("cadical153") as solver:
        for cell in range(box.cells):
            solver.add_clause([cell * n + d + 1 for d in range(n)])
        for unit in box.units.tolist():
            for d in range(n):
                for x, y in combinations(unit, 2):
                    solver.add_clause([-(x * n + d + 1), -(y * n + d + 1)])
        for cell in np.flatnonzero(puzzle).tolist():
            solver.add_clause([cell * n + int(puzzle[cell])])
        chosen = [cell * n + int(digit) for cell, digit in enumerate(solution)]
        right = solver.solve(assumptions=chosen)
        solver.add_clause([-literal for literal in chosen])
        return right, solver.solve()


def without_each_clue(puzzle: np.ndarray) -> np.ndarray:
    """(clues, cells): the puzzle without its first clue, without its second, ..."""
    clues = np.flatnonzero(puzzle)
    rest = np.repeat(puzzle[None], len(clues), axis=0)
    rest[np.arange(len(clues)), clues] = 0
    return rest


@each_case
def test_each_puzzle_has_exactly_one_solution(box: Box, grade: Grade, count: int) -> None:
    held = made(box, grade, count)
    assert len(held) == count
    assert held.box == box
    assert verify_many(box, held.puzzles, held.solutions).all()
    solutions, counts = solve_exhaustively(box, held.puzzles)
    assert (counts == 1).all()
    assert np.array_equal(solutions, held.solutions)
    for puzzle, solution in zip(held.puzzles[:8], held.solutions[:8], strict=True):
        assert another_solution(box, puzzle, solution) == (True, False)


@each_case
def test_no_clue_can_go(box: Box, grade: Grade, count: int) -> None:
    for puzzle in made(box, grade, count).puzzles:
        rest = without_each_clue(puzzle)
        assert len(rest) > 0
        if grade == "logic":
            assert not solve_many(box, rest).solved.any()
        else:
            assert (count_solutions(box, rest) == 2).all()


@each_case
def test_grade_order_and_strategy_are_those_of_the_solver(box: Box, grade: Grade, count: int) -> None:
    held = made(box, grade, count)
    found = solve_many(box, held.puzzles)
    assert held.grade is not None
    assert held.order is not None
    assert held.strategy is not None
    assert np.array_equal(held.grade == GRADES.index("logic"), found.solved)
    assert grade == "any" or (held.grade == GRADES.index(grade)).all()
    assert np.array_equal(held.order, found.order)
    assert np.array_equal(held.strategy, found.strategy)
    blank, filled = held.puzzles == 0, held.order >= 0
    assert not (filled & ~blank).any()
    assert np.array_equal(filled, held.strategy > 0)
    assert set(np.unique(held.strategy[filled])) <= set(range(2, 9))
    for row in range(min(count, 6)):
        turns = np.sort(held.order[row][filled[row]])
        assert np.array_equal(turns, np.arange(len(turns)))
        assert (len(turns) == blank[row].sum()) == (held.grade[row] == GRADES.index("logic"))
        steps = solve(box, held.puzzles[row]).fills
        assert [step.cell for step in steps] == np.argsort(np.where(filled[row], held.order[row], 999))[
            : len(turns)
        ].tolist()
        assert [step.digit for step in steps] == [held.solutions[row, step.cell] for step in steps]
        assert [step.strategy for step in steps] == [held.strategy[row, step.cell] for step in steps]


@each_case
def test_no_symmetric_copy_is_counted(box: Box, grade: Grade, count: int) -> None:
    puzzles = made(box, grade, count).puzzles
    keys = symmetry_keys(box, puzzles)
    assert len(np.unique(keys)) == count
    for seed in range(3):
        copies = random_symmetries(box, count, np.random.default_rng(seed)).apply(puzzles)
        assert np.array_equal(symmetry_keys(box, copies), keys)


def test_4x4_puzzles_up_to_symmetry_run_out_and_equal_ones_run_out_later() -> None:
    """36 minimal 4x4 puzzles up to symmetry (13 of 4 clues, 22 of 5, 1 of 6), found by nothing but their kind."""
    held = generate(Box(2, 2), 36, seed=1, grade="any")
    assert np.bincount(held.clues).tolist() == [0, 0, 0, 0, 13, 22, 1]
    assert len(np.unique(symmetry_keys(Box(2, 2), held.puzzles))) == 36
    with pytest.raises(UserError, match="found only 36 any 4x4 puzzles"):
        generate(Box(2, 2), 37, seed=1, grade="any")
    more = generate(Box(2, 2), 500, seed=1, grade="any", distinct="puzzle")
    assert len(np.unique(more.puzzles, axis=0)) == 500
    assert len(np.unique(symmetry_keys(Box(2, 2), more.puzzles))) <= 36


@pytest.mark.parametrize(("box", "grade"), [(Box(3, 3), "logic"), (Box(3, 3), "hard"), (Box(2, 3), "any")])
def test_workers_and_count_change_nothing(box: Box, grade: Grade) -> None:
    long = generate(box, 24, seed=7, grade=grade)
    for count, workers in ((24, 2), (24, 3), (9, 1), (9, 2), (1, 1)):
        other = generate(box, count, seed=7, grade=grade, workers=workers)
        for field in ("puzzles", "solutions", "grade", "order", "strategy"):
            assert np.array_equal(getattr(other, field), getattr(long, field)[:count])
    assert generate(box, 24, seed=7, grade=grade).fingerprint == long.fingerprint
    assert not np.isin(
        symmetry_keys(box, generate(box, 24, seed=8, grade=grade).puzzles), symmetry_keys(box, long.puzzles)
    ).all()


def test_progress_and_origin() -> None:
    told: list[tuple[int, int]] = []
    held = generate(Box(2, 3), 600, seed=2, distinct="puzzle", progress=lambda made, count: told.append((made, count)))
    assert told[-1] == (600, 600)
    assert [made for made, _ in told] == sorted(made for made, _ in told)
    assert all(word in held.origin for word in ("2x3", "seed 2", "logic", "puzzle"))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 0},
        {"count": -3},
        {"workers": 0},
        {"seed": -1},
        {"seed": 2**63},
        {"grade": "easy"},
        {"distinct": "nothing"},
    ],
)
def test_refusals(change: dict) -> None:
    with pytest.raises(UserError):
        generate(**{"box": Box(2, 2), "count": 1, "seed": 0, **change})


def test_a_box_without_hard_puzzles_says_so() -> None:
    with pytest.raises(UserError, match="found only 0 hard 4x4"):
        generate(Box(2, 2), 1, seed=0, grade="hard")
