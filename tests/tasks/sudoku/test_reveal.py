from __future__ import annotations

import numpy as np
import pytest

from anyorder.tasks.sudoku import Box, Puzzles, SudokuData, generate
from anyorder.tasks.sudoku.reveal import reveal_order
from anyorder.tasks.sudoku.solver import solve_many

NINE = Box(3, 3)


@pytest.fixture(scope="module")
def logic() -> Puzzles:
    return generate(NINE, 40, 5, grade="logic")


@pytest.fixture(scope="module")
def hard() -> Puzzles:
    return generate(NINE, 40, 5, grade="hard")


def test_a_logic_puzzle_is_revealed_as_the_strategies_fill_it(logic: Puzzles) -> None:
    assert np.array_equal(reveal_order(NINE, logic), solve_many(NINE, logic.puzzles).order)


def test_every_blank_of_a_hard_puzzle_has_a_rank_of_its_own(hard: Puzzles) -> None:
    order = reveal_order(NINE, hard)
    for ranks, puzzle in zip(order, hard.puzzles, strict=True):
        blanks = (puzzle == 0).sum()
        assert np.array_equal(np.sort(ranks[puzzle == 0]), np.arange(blanks))
        assert (ranks[puzzle > 0] == -1).all()


def test_a_hard_puzzle_keeps_the_prefix_of_the_strategies_and_continues_from_what_is_given_away(hard: Puzzles) -> None:
    order, first = reveal_order(NINE, hard), solve_many(NINE, hard.puzzles)
    for row in range(len(hard)):
        filled = first.order[row] >= 0
        assert np.array_equal(order[row][filled], first.order[row][filled])
        stuck = filled.sum()
        given = hard.puzzles[row].copy()
        known = (order[row] >= 0) & (order[row] <= stuck)  # one cell more than logic finds
        given[known] = hard.solutions[row][known]
        after = solve_many(NINE, given)
        follows = after.order[0] >= 0
        assert np.array_equal(order[row][follows] - stuck - 1, after.order[0][follows])


def test_the_draw_is_seeded(hard: Puzzles) -> None:
    assert np.array_equal(reveal_order(NINE, hard, seed=3), reveal_order(NINE, hard, seed=3))
    assert not np.array_equal(reveal_order(NINE, hard, seed=3), reveal_order(NINE, hard, seed=4))


def test_batches_move_the_order_with_the_cells(logic: Puzzles) -> None:
    order = reveal_order(NINE, logic)
    data = SudokuData(logic.puzzles, logic.solutions, NINE).ordered_by(order)
    batch = data.batch(1, 0, 16)
    assert batch.order is not None
    assert ((batch.order >= 0) == batch.unknown).all()
    tokens, given = batch.tokens.numpy(), np.where(batch.unknown, 0, batch.tokens)
    # The strategies fill the image in another sequence, but from the same states: each prefix leads to the next cell.
    for row in range(4):
        ranks = batch.order[row].numpy()
        half = ranks.max() // 2
        shown = np.where(ranks <= half, tokens[row], 0)
        solved = solve_many(NINE, shown)
        assert solved.solved[0]
        assert np.array_equal(solved.grids[0], tokens[row])
        assert (given[row][ranks < 0] == tokens[row][ranks < 0]).all()
