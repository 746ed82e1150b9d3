"""The solver: every step justified by an independent checker, its orders, and search against a SAT solver."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tasks.zebra.cases import SIZES, SatZebra, made

from anyorder.core.errors import UserError
from anyorder.tasks.zebra import (
    Clue,
    Fill,
    Kind,
    Puzzle,
    Removal,
    Size,
    count_solutions,
    solve,
    solve_arrays,
    solve_many,
)
from anyorder.tasks.zebra.checker import Unjustified, check_solution
from anyorder.tasks.zebra.rules import stacked, verify
from anyorder.tasks.zebra.search import search_arrays

SMALL = (Size(2, 3), Size(3, 3), Size(4, 4), Size(5, 3), Size(4, 6), Size(5, 5))


def fewer(count: int, keep: float, seed: int = 0) -> list[Puzzle]:
    """Puzzles with some of their clues: several solutions, and harder deductions."""
    puzzles, rng = made(SMALL, count), np.random.default_rng(seed)
    out = []
    for row in range(count):
        puzzle = puzzles.puzzle(row)
        out.append(replace(puzzle, clues=tuple(clue for clue in puzzle.clues if rng.random() < keep)))
    return out


def test_every_step_of_generated_puzzles_is_justified() -> None:
    puzzles = made(SMALL, 200)
    rules = set()
    for row in range(len(puzzles)):
        puzzle = puzzles.puzzle(row)
        solution = solve(puzzle)
        check_solution(puzzle, solution)
        assert solution.solved
        assert (solution.grid == puzzles.solution(row)).all()
        rules |= {step.rule for step in solution.steps}
    assert {1, 3, 4, 5} <= rules


def test_every_refutation_is_justified() -> None:
    puzzles = made((Size(3, 4), Size(4, 3), Size(4, 4)), 60, 3, hardest=6)
    refuted = 0
    for row in range(len(puzzles)):
        solution = solve(puzzles.puzzle(row))
        check_solution(puzzles.puzzle(row), solution)
        assert solution.solved
        refuted += any(step.rule == 6 for step in solution.steps)
    assert refuted >= 5


@pytest.mark.parametrize("keep", [0.9, 0.6])
def test_steps_of_puzzles_with_several_solutions_are_justified(keep: float) -> None:
    for puzzle in fewer(40, keep):
        if puzzle.size.cells <= 16:
            check_solution(puzzle, solve(puzzle))


def test_contradictory_clues_are_found_out() -> None:
    puzzles, found = made(SMALL, 60), 0
    for row in range(60):
        puzzle = puzzles.puzzle(row)
        grid = puzzles.solution(row)
        wrong = Clue(Kind.FOUND_AT, ((0, int(grid[0, 0])),), 1)
        broken = replace(puzzle, clues=(*puzzle.clues, wrong))
        solution = solve(broken)
        assert solution.contradiction
        assert not solution.solved
        check_solution(broken, solution)
        found += len(solution.steps) > 0
    assert found == 60


def test_a_wrong_step_is_found_out() -> None:
    puzzle = made(SMALL, 60).puzzle(5)
    solution = solve(puzzle)
    at = next(i for i, step in enumerate(solution.steps) if isinstance(step, Removal) and step.rule == 3)
    removal = solution.steps[at]
    assert isinstance(removal, Removal)
    fill_at, fill = next((i, step) for i, step in enumerate(solution.steps) if isinstance(step, Fill))
    (item, _), *others = removal.removed
    right = int(np.flatnonzero(solution.grid[item[0]] == item[1])[0])
    wrong = {
        "another clue": (at, removal._replace(clues=((removal.clues[0] + 1) % len(puzzle.clues),))),
        "no clue": (at, removal._replace(clues=())),
        "what is true": (at, removal._replace(removed=((item, right), *others))),
        "twice": (at, removal._replace(removed=(*removal.removed, removal.removed[0]))),
        "nothing": (at, removal._replace(removed=())),
        "another rule": (at, removal._replace(rule=5)),
        "unknown rule": (at, removal._replace(rule=9)),
        "another house": (fill_at, fill._replace(house=(fill.house + 1) % puzzle.size.houses)),
        "another support": (fill_at, fill._replace(support=(1, 2, 3, 6))),
        "other clues": (fill_at, fill._replace(clues=(*fill.clues, 99))),
    }
    for name, (place, step) in wrong.items():
        steps = (*solution.steps[:place], step, *solution.steps[place + 1 :])
        with pytest.raises(Unjustified) as caught:
            check_solution(puzzle, replace(solution, steps=steps))
        assert "\n" not in str(caught.value), name
    for cut in (1, len(solution.steps) // 2, len(solution.steps) - 1):
        with pytest.raises(Unjustified):
            check_solution(puzzle, replace(solution, steps=solution.steps[:cut]))
    with pytest.raises(Unjustified):
        check_solution(puzzle, replace(solution, grid=solution.grid[:, ::-1]))


def test_many_agree_with_one() -> None:
    puzzles = made(SMALL, 60)
    many = solve_arrays(puzzles.houses, puzzles.attributes, puzzles.clues)
    for row in range(60):
        one = solve(puzzles.puzzle(row))
        a, h = one.grid.shape
        assert (many.grids[row, :a, :h] == one.grid).all()
        assert (many.grids[row, a:] == -1).all()
        assert (many.grids[row, :, h:] == -1).all()
        for turn, fill in enumerate(one.fills):
            cell = fill.item[0], fill.house
            assert many.order[row][cell] == turn
            assert many.rule[row][cell] == fill.support[-1]
        assert many.used[row] == sum(1 << rule for rule in {step.rule for step in one.steps})


def test_more_rules_find_more() -> None:
    puzzles = fewer(60, 0.8, 1)
    found = [(solve_many(puzzles, hardest=rule).grids >= 0) for rule in (4, 5, 6)]
    assert (found[0] <= found[1]).all()
    assert (found[1] <= found[2]).all()
    assert found[0].sum() < found[2].sum()


def test_what_is_found_does_not_depend_on_the_order_of_clues() -> None:
    rng = np.random.default_rng(0)
    for puzzle in fewer(40, 0.8, 2):
        shuffled = replace(puzzle, clues=tuple(puzzle.clues[i] for i in rng.permutation(len(puzzle.clues))))
        assert (solve(puzzle, hardest=5).grid == solve(shuffled, hardest=5).grid).all()


def test_search_counts_as_the_sat_solver() -> None:
    puzzles = fewer(120, 0.85, 3)
    expected = [SatZebra(puzzle).count(4) for puzzle in puzzles]
    assert count_solutions(puzzles, 4).tolist() == expected
    assert len(set(expected)) >= 3
    grids, counts = search_arrays(*stacked(puzzles))
    for puzzle, grid, count in zip(puzzles, grids, counts, strict=True):
        assert count == min(2, SatZebra(puzzle).count(2))
        assert SatZebra(puzzle).count(1) == 0 or _solves(puzzle, grid)


def _solves(puzzle: Puzzle, grid: np.ndarray) -> bool:
    return verify(puzzle, grid[: puzzle.size.attributes, : puzzle.size.houses])


def test_no_clues_at_all() -> None:
    puzzle = Puzzle(Size(3, 2), ())
    assert solve(puzzle).steps == ()
    assert count_solutions([puzzle], 100).tolist() == [36]
    single = Puzzle(Size(2, 1), (Clue(Kind.FOUND_AT, ((0, 1),), 0),))
    assert solve(single).grid.tolist() == [[1, 0]]


def test_refused() -> None:
    puzzle = Puzzle(Size(3, 2), ())
    for hardest in (3, 7):
        with pytest.raises(UserError, match="hardest"):
            solve(puzzle, hardest=hardest)
    with pytest.raises(UserError, match="limit"):
        count_solutions([puzzle], 0)
    with pytest.raises(UserError, match="clues"):
        solve_arrays(np.array([3]), np.array([3]), np.full((1, 63, 5), -1))
    with pytest.raises(UserError, match="clues"):
        search_arrays(np.array([3]), np.array([3]), np.full((1, 63, 5), -1))


def test_largest_sizes_are_solved() -> None:
    puzzles = made(SIZES, 60)
    solved = solve_arrays(puzzles.houses, puzzles.attributes, puzzles.clues, hardest=5)
    assert solved.solved.all()
