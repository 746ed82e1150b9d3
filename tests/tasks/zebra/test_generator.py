"""The generator: one solution by a SAT solver's count, no clue that can go, no copies, and a function of its seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.tasks.zebra.cases import SIZES, SatZebra, made

from anyorder.core.errors import UserError
from anyorder.tasks.zebra import ALL, CLASSIC, Kind, Puzzle, Puzzles, Recipe, Size, generate, solve_many, symmetry_keys
from anyorder.tasks.zebra.symmetry import augment


def test_puzzles_have_one_solution() -> None:
    for puzzles in (made(SIZES, 60), made((Size(4, 4),), 40, 2, 6, True)):
        for row in range(len(puzzles)):
            assert SatZebra(puzzles.puzzle(row)).count() == 1


@pytest.mark.parametrize("hardest", [4, 5, 6])
def test_no_clue_can_go(hardest: int) -> None:
    puzzles = made((Size(3, 3), Size(4, 4)), 25, 4, hardest)
    for row in range(len(puzzles)):
        puzzle = puzzles.puzzle(row)
        reduced = [
            replace(puzzle, clues=tuple(clue for clue in puzzle.clues if clue is not left)) for left in puzzle.clues
        ]
        assert solve_many([puzzle], hardest=hardest).solved.all()
        assert not solve_many(reduced, hardest=hardest).solved.any()


def test_same_seed_same_puzzles_on_any_number_of_workers() -> None:
    recipe = Recipe((Size(3, 3), Size(4, 3)))
    first = generate(recipe, 30, 7)
    assert generate(recipe, 30, 7, workers=3).fingerprint == first.fingerprint
    longer = generate(recipe, 50, 7)
    most = first.clues.shape[1]
    assert (longer.clues[:30, :most] == first.clues).all()
    assert (longer.solutions[:30] == first.solutions).all()
    assert generate(recipe, 30, 8).fingerprint != first.fingerprint


def test_no_puzzle_twice_nor_a_copy() -> None:
    puzzles = generate(Recipe((Size(3, 2),), CLASSIC), 60, 0)
    assert len(np.unique(symmetry_keys(puzzles))) == 60
    others = generate(Recipe((Size(3, 2),), CLASSIC), 40, 0, avoid=puzzles)
    assert not np.isin(symmetry_keys(others), symmetry_keys(puzzles)).any()


def test_symmetric_puzzles_share_their_key_and_no_others_do() -> None:
    puzzles = made(SIZES, 60)
    keys = symmetry_keys(puzzles)
    for seed in range(5):
        copies = augment(puzzles, np.random.default_rng(seed))
        assert (copies.clues != puzzles.clues).any()
        assert (symmetry_keys(copies) == keys).all()
    assert len(np.unique(keys)) == 60
    shorter = Puzzles.of(
        [replace(puzzles.puzzle(row), clues=puzzles.puzzle(row).clues[1:]) for row in range(60)],
        [puzzles.solution(row) for row in range(60)],
    )
    assert not np.isin(symmetry_keys(shorter), keys).any()


def test_the_other_wording_is_no_other_puzzle() -> None:
    puzzles = made((Size(4, 4),), 60, 5)
    turned = {Kind.LEFT_OF: Kind.RIGHT_OF, Kind.JUST_LEFT_OF: Kind.JUST_RIGHT_OF}
    turned |= {after: before for before, after in turned.items()}
    reworded = []
    for row in range(60):
        puzzle = puzzles.puzzle(row)
        clues = (
            replace(clue, kind=turned[clue.kind], items=clue.items[::-1]) if clue.kind in turned else clue
            for clue in puzzle.clues
        )
        reworded.append(Puzzle(puzzle.size, tuple(clues)))
    other = Puzzles.of(reworded, [puzzles.solution(row) for row in range(60)])
    assert (symmetry_keys(other) == symmetry_keys(puzzles)).all()


def test_kinds_are_those_asked_for() -> None:
    assert {k for k, n in made((Size(5, 5),), 100).histogram().items() if n} == {kind.title for kind in ALL}
    classic = made((Size(4, 4),), 40, 2, 6, True).histogram()
    assert {k for k, n in classic.items() if n} <= {kind.title for kind in CLASSIC}
    mixed = made((Size(3, 3), Size(5, 5)), 20, 1)
    assert set(zip(mixed.houses.tolist(), mixed.attributes.tolist(), strict=True)) == {(3, 3), (5, 5)}


def test_the_order_is_the_solvers() -> None:
    puzzles = made(SIZES, 60)
    again = solve_many([puzzles.puzzle(row) for row in range(60)], hardest=5)
    assert puzzles.order is not None
    assert puzzles.rule is not None
    assert (again.order == puzzles.order).all()
    assert (again.rule == puzzles.rule).all()
    inside = puzzles.solutions >= 0
    assert ((puzzles.order >= 0) == inside).all()
    assert ((puzzles.rule > 0) == inside).all()


def test_refused() -> None:
    recipe = Recipe((Size(3, 3),))
    for count, seed, workers in ((0, 0, 1), (1, -1, 1), (1, 0, 0), (1, 2**63, 1)):
        with pytest.raises(UserError):
            generate(recipe, count, seed, workers=workers)
    with pytest.raises(UserError, match="size"):
        Recipe(())
    with pytest.raises(UserError, match="left from right"):
        Recipe((Size(3, 3),), (Kind.NEXT_TO, Kind.SAME_HOUSE))
    with pytest.raises(UserError, match="hardest"):
        Recipe((Size(3, 3),), hardest=3)
    with pytest.raises(UserError, match="found only"):
        generate(Recipe((Size(2, 1),)), 50, 0)


def test_progress_ends_at_the_count() -> None:
    seen: list[tuple[int, int]] = []
    generate(Recipe((Size(3, 3),)), 40, 0, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (40, 40)
    assert all(total == 40 for _, total in seen)
