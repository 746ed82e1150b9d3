"""The checker accepts what the solver does, and nothing that was tampered with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, Puzzles, generate, random_grids
from anyorder.tasks.sudoku.checker import RULES, Board, Unjustified, check
from anyorder.tasks.sudoku.formats import read_puzzles
from anyorder.tasks.sudoku.solver import Elimination, Fill, Solution, Step, solve

S = TypeVar("S", Fill, Elimination)
NINE = Box(3, 3)
FILES = ("exchange_20000.csv", "exchange_levels_2000.csv", "radcliffe_2500.csv")


@pytest.fixture(scope="module")
def easy() -> Puzzles:
    return generate(NINE, 100, 5, distinct="puzzle")


@pytest.fixture(scope="module")
def solved(easy: Puzzles) -> list[Solution]:
    return [solve(NINE, puzzle) for puzzle in easy.puzzles]


def refused(box: Box, puzzle: np.ndarray, solution: Solution) -> str:
    """The reason why a solution is not accepted."""
    with pytest.raises(Unjustified) as error:
        check(box, puzzle, solution)
    assert "\n" not in str(error.value)
    return str(error.value)


def tampered(solution: Solution, at: int, *steps: Step) -> Solution:
    """The solution with other steps in place of as many from step ``at`` on."""
    return replace(solution, steps=solution.steps[:at] + steps + solution.steps[at + len(steps) :])


def every(solved: list[Solution], kind: type[S]) -> Iterator[tuple[int, int, S]]:
    """Puzzle, place and step for the steps of one kind."""
    for row, solution in enumerate(solved):
        for at, step in enumerate(solution.steps):
            if isinstance(step, kind):
                yield row, at, step


@pytest.mark.parametrize("grade", ["logic", "any"])
@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), Box(3, 2), NINE], ids=lambda box: f"{box}")
def test_every_step_of_the_solver_is_justified(box: Box, grade: str) -> None:
    puzzles = generate(box, 100, 5, distinct="puzzle", grade=grade)  # pyright: ignore[reportArgumentType]
    for puzzle in puzzles.puzzles:
        check(box, puzzle, solve(box, puzzle))


@pytest.mark.parametrize("box", [Box(1, 5), Box(2, 5), Box(3, 4), Box(4, 4)], ids=lambda box: f"{box}")
def test_other_shapes_and_puzzles_with_several_solutions(box: Box) -> None:
    rng = np.random.default_rng(1)
    for grid in random_grids(box, 6, 1):
        puzzle = np.where(rng.random(box.cells) < rng.uniform(0.4, 0.7), 0, grid)
        check(box, puzzle, solve(box, puzzle))


def test_the_sample_has_every_strategy(solved: list[Solution]) -> None:
    used = Counter(step.strategy for solution in solved for step in solution.steps if isinstance(step, Elimination))
    used += Counter(fill.rule for solution in solved for fill in solution.fills)
    assert set(used) == {2, 3, 4, 5, 6, 7, 8}


def test_a_wrong_digit_rule_strategy_or_support_is_refused(easy: Puzzles, solved: list[Solution]) -> None:
    fills = list(every(solved, Fill))
    chosen = fills[::400] + [fill for fill in fills if fill[2].strategy > 3][::20]
    for row, at, fill in chosen:
        others = tuple(s for s in range(2, 9) if s not in fill.support)
        fakes = [
            fill._replace(digit=fill.digit % 9 + 1),
            fill._replace(digit=0),
            fill._replace(cell=(fill.cell + 1) % 81),
            fill._replace(cell=-1),
            fill._replace(rule=5 - fill.rule),
            fill._replace(rule=4),
            fill._replace(strategy=others[0]),
            fill._replace(strategy=fill.rule) if fill.strategy > 3 else fill._replace(strategy=4),
            fill._replace(support=(*fill.support, 9)),
            fill._replace(support=fill.support[1:]),
        ]
        for fake in fakes:
            reason = refused(NINE, easy.puzzles[row], tampered(solved[row], at, fake))
            assert reason.startswith(f"step {at + 1}: "), (fake, reason)


def test_a_removal_that_does_not_follow_is_refused(easy: Puzzles, solved: list[Solution]) -> None:
    steps = sorted(every(solved, Elimination), key=lambda found: found[2].strategy)
    chosen = steps[::12] + steps[-3:]
    assert {step.strategy for _, _, step in chosen} == {4, 5, 6, 7, 8}
    for row, at, step in chosen:
        puzzle, solution = easy.puzzles[row], solved[row]
        before = {fill.cell for fill in solution.steps[:at] if isinstance(fill, Fill)}
        loser = next(c for c in range(81) if not puzzle[c] and c not in before and c not in step.pattern)
        right = (loser, int(easy.solutions[row][loser]))
        fakes = [
            step._replace(removed=(*step.removed, right)),  # the right digit never goes
            step._replace(removed=(right,)),
            step._replace(removed=()),
            step._replace(removed=step.removed[1:]),
            step._replace(removed=step.removed + step.removed[:1]),
            step._replace(pattern=step.pattern[1:]),
            step._replace(pattern=(*step.pattern, loser)),
            step._replace(pattern=(step.pattern[0],) * len(step.pattern)),
            step._replace(pattern=(*step.pattern[1:], 81)),
        ]
        fakes += [step._replace(strategy=other) for other in range(2, 10) if other != step.strategy]
        for fake in fakes:
            reason = refused(NINE, puzzle, tampered(solution, at, fake))
            assert reason.startswith(f"step {at + 1}: "), (fake, reason)


def test_a_wing_and_a_rectangle_name_their_cells_in_order(easy: Puzzles, solved: list[Solution]) -> None:
    seen = set()
    for row, at, step in every(solved, Elimination):
        if step.strategy >= 7:
            seen.add(step.strategy)
            moved = step._replace(pattern=step.pattern[1:] + step.pattern[:1])
            assert "no such pattern" in refused(NINE, easy.puzzles[row], tampered(solved[row], at, moved))
    assert seen == {7, 8}


def test_steps_in_another_order_are_refused(easy: Puzzles, solved: list[Solution]) -> None:
    """Fill and fill, fill and removal, a removal and the fill that rests on it; two removals may well commute."""
    kinds = Counter()
    for row, solution in enumerate(solved[:12]):
        for at, (first, second) in enumerate(zip(solution.steps, solution.steps[1:], strict=False)):
            kind = (type(first), type(second))
            kinds[kind] += 1
            if kind != (Elimination, Elimination) and (kind != (Fill, Fill) or at % 8 == 0):
                reason = refused(NINE, easy.puzzles[row], tampered(solution, at, second, first))
                assert reason.startswith(f"step {at + 1}: ")
    assert len(kinds) == 4


def test_something_harder_than_needed_is_refused(easy: Puzzles, solved: list[Solution]) -> None:
    """A removal put off until a harder one was made."""
    tried = 0
    for row, at, step in every(solved, Elimination):
        after = solved[row].steps[at + 1] if at + 1 < len(solved[row].steps) else step
        if isinstance(after, Elimination) and after.strategy > step.strategy:
            tried += 1
            refused(NINE, easy.puzzles[row], tampered(solved[row], at, after, step))
    assert tried


def test_a_wrong_outcome_is_refused(easy: Puzzles, solved: list[Solution]) -> None:
    puzzle, solution = easy.puzzles[0], solved[0]
    last = solution.fills[-1]
    short = solution.grid.copy()
    short[last.cell] = 0
    assert "the grid is not" in refused(NINE, puzzle, replace(solution, grid=short))
    assert "solved must be True" in refused(NINE, puzzle, replace(solution, solved=False))
    assert "contradiction must be False" in refused(NINE, puzzle, replace(solution, contradiction=True))
    early = replace(solution, grid=short, steps=solution.steps[:-1])
    assert "solved must be False" in refused(NINE, puzzle, early)
    assert "a single was left" in refused(NINE, puzzle, replace(early, solved=False))


def test_giving_up_before_an_elimination_is_refused(easy: Puzzles, solved: list[Solution]) -> None:
    seen = set()
    for row, at, step in every(solved, Elimination):
        steps = solved[row].steps[:at]
        grid = easy.puzzles[row].copy()
        for fill in steps:
            if isinstance(fill, Fill):
                grid[fill.cell] = fill.digit
        seen.add(step.strategy)
        assert "was left" in refused(NINE, easy.puzzles[row], Solution(grid, False, False, steps))
    assert seen == {4, 5, 6, 7, 8}


def test_a_contradiction_must_be_seen() -> None:
    puzzle = np.zeros(16, np.uint8)
    puzzle[[0, 1, 2, 7]] = 1, 2, 3, 4  # the last cell of the first row has no candidate
    solution = solve(Box(2, 2), puzzle)
    assert solution.contradiction
    check(Box(2, 2), puzzle, solution)
    assert "contradiction must be True" in refused(Box(2, 2), puzzle, replace(solution, contradiction=False))
    fill = Fill(4, 2, 2, 2, (2,))
    assert "a contradiction already" in refused(Box(2, 2), puzzle, replace(solution, steps=(fill,)))


def test_a_rectangle_proves_nothing_where_there_are_several_solutions() -> None:
    seen = 0
    for puzzle in generate(NINE, 60, 3, distinct="puzzle", grade="any").puzzles:
        several = puzzle.copy()
        several[np.flatnonzero(several)[:2]] = 0  # no clue of these puzzles can go
        solution = solve(NINE, several)
        check(NINE, several, solution)
        board = Board(NINE, several.tolist())
        for step in solution.steps:
            if isinstance(step, Fill):
                board.fill(step.cell, step.digit)
            else:
                for cell, digit in step.removed:
                    board.candidates[cell].remove(digit)
        for pattern in RULES[-1].patterns(board):
            for removal in RULES[-1].follows(board, pattern):
                seen += 1
                step = Elimination(8, pattern, tuple(sorted(removal)))
                reason = refused(NINE, several, replace(solution, steps=(*solution.steps, step)))
                assert "not exactly one solution" in reason
    assert seen


@pytest.mark.parametrize("puzzle", [np.zeros(80, int), np.zeros((1, 81), int), np.full(81, 10)])
def test_a_puzzle_that_does_not_fit_is_refused(puzzle: np.ndarray, solved: list[Solution]) -> None:
    with pytest.raises(UserError, match="81 cells"):
        check(NINE, puzzle, solved[0])


def check_spread(folder: Path, count: int) -> None:
    for name in FILES:
        file = read_puzzles(folder / "sudoku" / name)
        for row in np.linspace(0, len(file.puzzles) - 1, count // len(FILES)).astype(int):
            check(file.box, file.puzzles[row], solve(file.box, file.puzzles[row]))


@pytest.mark.data
def test_steps_on_the_development_data(data_folder: Path) -> None:
    check_spread(data_folder, 150)


@pytest.mark.data
@pytest.mark.slow
def test_steps_on_much_of_the_development_data(data_folder: Path) -> None:
    check_spread(data_folder, 3000)
