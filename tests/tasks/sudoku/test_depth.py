"""Depth: rounds of all singles at once, against a slow reading of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from anyorder.tasks.sudoku import Box, generate, solve_many
from anyorder.tasks.sudoku.depth import fill_depth, singles


def by_hand(box: Box, grid: np.ndarray) -> dict[int, int]:
    """Lone and hidden singles of one grid, from the rules alone."""
    units = [set(unit.tolist()) for unit in box.units]
    candidates = {
        cell: {d for d in range(1, box.size + 1) if not any(grid[o] == d for u in units if cell in u for o in u)}
        for cell in np.flatnonzero(grid == 0).tolist()
    }
    found = {cell: next(iter(digits)) for cell, digits in candidates.items() if len(digits) == 1}
    for unit in units:
        for d in range(1, box.size + 1):
            places = [cell for cell in unit if d in candidates.get(cell, ())]
            if len(places) == 1:
                found[places[0]] = d
    return found


@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), Box(3, 3)], ids=lambda box: box.name)
def test_singles_are_those_of_the_rules(box: Box) -> None:
    made = generate(box, 8, 1, grade="any", distinct="puzzle")
    found = singles(box, made.puzzles)
    for row in range(8):
        want = by_hand(box, made.puzzles[row])
        assert {cell: int(found[row, cell]) for cell in np.flatnonzero(found[row]).tolist()} == want


def test_rounds_fill_the_solution_and_hard_puzzles_stay_open() -> None:
    logic = generate(Box(3, 3), 12, 3, grade="logic")
    depth = fill_depth(logic.box, logic.puzzles)
    assert ((depth >= 0) == (logic.puzzles == 0)).all()
    assert (depth[logic.puzzles == 0] == 0).any()
    for row in range(12):  # every round fills something, and what it fills follows from the rounds before
        assert set(depth[row].tolist()) - {-1} == set(range(int(depth[row].max()) + 1))
        for round in range(int(depth[row].max()) + 1):
            known = np.where(depth[row] < round, logic.solutions[row], 0).astype(np.uint8)
            found = singles(logic.box, known[None])[0]
            cells = depth[row] == round
            if found.any():
                assert np.array_equal(found, np.where(cells, logic.solutions[row], 0))
            else:
                assert cells.sum() == 1
    hard = generate(Box(3, 3), 3, 3, grade="hard")
    stuck = fill_depth(hard.box, hard.puzzles) < 0
    assert np.array_equal(
        stuck & (hard.puzzles == 0), (hard.puzzles == 0) & (solve_many(hard.box, hard.puzzles).order < 0)
    )
