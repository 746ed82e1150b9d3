"""The rules: every kind of clue against its English, the verifier against brute force, and what is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.zebra.cases import SIZES, SatZebra, made

from anyorder.core.errors import UserError
from anyorder.tasks.zebra import ALL, Clue, Kind, Puzzle, Size, verify, verify_many
from anyorder.tasks.zebra.rules import holds, stacked


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.title)
def test_meaning_of_every_kind(kind: Kind) -> None:
    for houses in range(2, 7):
        items = tuple((a, 0) for a in range(kind.arity))
        numbers = range(2, 5) if kind == Kind.N_BETWEEN else range(houses) if kind.numbered else (None,)
        sat = SatZebra(Puzzle(Size(houses, 3), ()))
        for number, at in itertools.product(numbers, itertools.product(range(houses), repeat=kind.arity)):
            x, y, z = (*at, -1, -1)[:3]
            assert holds(kind, -1 if number is None else number, houses, x, y, z) == sat.true(
                Clue(kind, items, number), at
            )


def test_a_known_puzzle() -> None:
    """Two people: the Dane lives left of the Kenyan, the Kenyan drinks tea."""
    left = Clue(Kind.LEFT_OF, ((0, 0), (0, 1)))
    tea = Clue(Kind.SAME_HOUSE, ((0, 1), (1, 0)))
    puzzle = Puzzle(Size(2, 2), (left, tea))
    assert verify(puzzle, [[0, 1], [1, 0]])
    for wrong in ([[0, 1], [0, 1]], [[1, 0], [0, 1]], [[0, 1], [1, 1]], [[0, 1], [1, -1]], [[0, 1], [1, 2]]):
        assert not verify(puzzle, wrong)


def test_verifier_agrees_with_one_clue_at_a_time() -> None:
    puzzles = made(SIZES, 60)
    rng = np.random.default_rng(0)
    grids = puzzles.solutions.copy()
    for row, (h, a) in enumerate(zip(puzzles.houses, puzzles.attributes, strict=True)):
        if row % 3:
            which = rng.integers(a)
            grids[row, which, :h] = rng.permutation(h)
    verdicts = verify_many(puzzles.houses, puzzles.attributes, puzzles.clues, grids)
    for row in range(len(puzzles)):
        puzzle = puzzles.puzzle(row)
        sat = SatZebra(Puzzle(puzzle.size, ()))
        place = {
            (a, int(v)): h for (a, h), v in np.ndenumerate(grids[row, : puzzle.size.attributes, : puzzle.size.houses])
        }
        assert verdicts[row] == all(sat.true(c, tuple(place[i] for i in c.items)) for c in puzzle.clues)
    assert 20 <= verdicts.sum() < 40


@given(st.integers(0, 59), st.integers(0, 5), st.integers(0, 5), st.integers(-128, 127))
def test_one_wrong_value_fails(row: int, a: int, h: int, value: int) -> None:
    puzzles = made(SIZES, 60)
    grid = puzzles.solution(row).copy()
    a, h = a % grid.shape[0], h % grid.shape[1]
    right = grid[a, h]
    grid[a, h] = value
    assert verify(puzzles.puzzle(row), grid) == (value == right)


def test_values_outside_the_size_are_ignored() -> None:
    puzzles = made((Size(3, 3), Size(5, 5)), 20, 1)
    grids = puzzles.solutions.astype(np.int64)
    grids[grids < 0] = 77
    assert verify_many(puzzles.houses, puzzles.attributes, puzzles.clues, grids).all()


def test_arrays_and_puzzles_convert_both_ways() -> None:
    puzzles = made(SIZES, 60)
    listed = [puzzles.puzzle(row) for row in range(len(puzzles))]
    houses, attributes, clues = stacked(listed)
    assert (houses == puzzles.houses).all()
    assert (attributes == puzzles.attributes).all()
    assert (clues == puzzles.clues).all()
    assert all(Clue.of_row(clue.row()) == clue for puzzle in listed for clue in puzzle.clues)
    assert [Puzzle.of_array(p.size, p.array()) for p in listed] == listed


@pytest.mark.parametrize(
    "make",
    [
        lambda: Size(1, 3),
        lambda: Size(7, 3),
        lambda: Size(3, 0),
        lambda: Size(3, 7),
        lambda: Size(True, 3),
        lambda: Size(3.0, 3),  # pyright: ignore[reportArgumentType]
        lambda: Clue(Kind.NEXT_TO, ((0, 0),)),
        lambda: Clue(Kind.NEXT_TO, ((0, 0), (0, 0))),
        lambda: Clue(Kind.BETWEEN, ((0, 0), (1, 1), (0, 0))),
        lambda: Clue(Kind.FOUND_AT, ((0, 0),)),
        lambda: Clue(Kind.AT_END, ((0, 0),), 1),
        lambda: Clue(Kind.N_BETWEEN, ((0, 0), (1, 0)), 1),
        lambda: Clue(Kind.N_BETWEEN, ((0, 0), (1, 0)), 5),
        lambda: Clue(Kind.SAME_HOUSE, ((0, 0), (0, 1))),
        lambda: Clue(Kind.DIFFERENT_HOUSE, ((0, 0), (0, 1))),
        lambda: Clue.of_row([99, 1, 2, -1, -1]),
        lambda: Clue.of_row([3, 1, 2]),
        lambda: Puzzle(Size(3, 3), (Clue(Kind.AT_END, ((3, 0),)),)),
        lambda: Puzzle(Size(3, 3), (Clue(Kind.AT_END, ((0, 3),)),)),
        lambda: Puzzle(Size(3, 3), (Clue(Kind.FOUND_AT, ((0, 0),), 3),)),
        lambda: Puzzle(Size(3, 3), (Clue(Kind.N_BETWEEN, ((0, 0), (1, 0)), 2),)),
        lambda: Puzzle(Size(3, 3), (Clue(Kind.AT_END, ((0, 0),)),) * 63),
        lambda: verify(Puzzle(Size(3, 3), ()), np.zeros((3, 4), int)),
        lambda: verify(Puzzle(Size(3, 3), ()), np.zeros((3, 3))),
        lambda: verify_many([3], [3], np.zeros((1, 1, 4), np.int8), np.zeros((1, 3, 3), int)),
        lambda: verify_many([3], [3], np.full((1, 1, 5), -1, np.int8), np.zeros((1, 2, 3), int)),
        lambda: verify_many([3], [3], np.full((1, 1, 5), -1, np.int8), np.zeros((2, 3, 3), int)),
    ],
)
def test_refused(make) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
