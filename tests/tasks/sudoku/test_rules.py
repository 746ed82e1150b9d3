"""The rules for every box shape, and a verifier that lets nothing through."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, random_grids, verify, verify_many
from anyorder.tasks.sudoku.rules import as_grids, first_conflict, units_valid

BOXES = [Box(1, 2), Box(1, 3), Box(2, 2), Box(2, 3), Box(3, 2), Box(3, 3), Box(2, 5), Box(3, 4), Box(4, 4)]
PUZZLE = np.array([*map(int, "530070000600195000098000060800060003400803001700020006060000280000419005000080079")])
SOLUTION = np.array([*map(int, "534678912672195348198342567859761423426853791713924856961537284287419635345286179")])
NINE = Box(3, 3)


def name(box: Box) -> str:
    return f"{box.box_rows}x{box.box_columns}"


def box_of(box: Box, cell: int) -> tuple[int, int]:
    return cell // box.size // box.box_rows, cell % box.size // box.box_columns


def holds_every_digit(box: Box, grid: np.ndarray) -> bool:
    """The rules, said once more and slowly."""
    n = box.size
    square = grid.reshape(n, n).tolist()
    every = set(range(1, n + 1))
    boxes: dict[tuple[int, int], set[int]] = {}
    for cell in range(n * n):
        boxes.setdefault(box_of(box, cell), set()).add(square[cell // n][cell % n])
    columns = [set(column) for column in zip(*square, strict=True)]
    return all(held == every for held in [*map(set, square), *columns, *boxes.values()])


@pytest.mark.parametrize("box", BOXES, ids=name)
def test_units_and_peers(box: Box) -> None:
    n = box.size
    assert box.units.shape == (3 * n, n)
    for i in range(n):
        assert set(box.units[i] // n) == {i}
        assert set(box.units[n + i] % n) == {i}
        assert len({box_of(box, int(cell)) for cell in box.units[2 * n + i]}) == 1
    assert all(sorted(box.units[k : k + n].ravel()) == list(range(n * n)) for k in (0, n, 2 * n))
    for cell in range(n * n):
        near = {
            other
            for other in range(n * n)
            if other != cell
            and (other // n == cell // n or other % n == cell % n or box_of(box, other) == box_of(box, cell))
        }
        assert box.peers[cell].tolist() == sorted(near)


@pytest.mark.parametrize("box", BOXES, ids=name)
def test_a_solved_grid_passes_and_any_single_change_fails(box: Box) -> None:
    grids = random_grids(box, 3, seed=4)
    blank = np.zeros_like(grids)
    assert all(holds_every_digit(box, grid) for grid in grids)
    assert verify_many(box, blank, grids).all()
    rng = np.random.default_rng(0)
    wrong = np.repeat(grids, box.cells, axis=0)
    cell = np.tile(np.arange(box.cells), len(grids))
    row = np.arange(len(wrong))
    wrong[row, cell] = (wrong[row, cell] - 1 + rng.integers(1, box.size, len(wrong))) % box.size + 1
    assert not verify_many(box, np.zeros_like(wrong), wrong).any()
    assert not any(holds_every_digit(box, grid) for grid in wrong[:: box.size])


@pytest.mark.parametrize("kind", ["row", "column", "box"])
def test_each_kind_of_unit_is_checked(kind: str) -> None:
    """Grids that break the rule in one kind of unit alone."""
    grids = {
        "row": np.array([1, 3, 1, 3, 2, 4, 2, 4, 3, 1, 3, 1, 4, 2, 4, 2]),
        "column": np.array([1, 2, 3, 4, 3, 4, 1, 2, 1, 2, 3, 4, 3, 4, 1, 2]),
        "box": np.array([1, 2, 3, 4, 2, 3, 4, 1, 3, 4, 1, 2, 4, 1, 2, 3]),
    }
    box = Box(2, 2)
    grid = grids[kind].astype(np.uint8)
    broken = [sorted(grid[cells]) != [1, 2, 3, 4] for cells in box.units]
    assert [any(broken[:4]), any(broken[4:8]), any(broken[8:])] == [kind == k for k in ("row", "column", "box")]
    assert not verify(box, np.zeros(16, np.uint8), grid)
    conflict = first_conflict(box, grid)
    assert conflict is not None
    assert kind in conflict


def test_peer_defect_18_zero_is_not_nine_and_every_clue_counts() -> None:
    """A check that takes 0 for 9, or asks for *any* clue to agree instead of all of them, passes wrong answers."""
    assert verify(NINE, PUZZLE, SOLUTION)
    zeros = np.where(SOLUTION == 9, 0, SOLUTION)
    assert not verify(NINE, PUZZLE, zeros)
    assert not verify(NINE, np.zeros(81, int), zeros)
    assert not verify(NINE, np.where(PUZZLE == 9, 0, PUZZLE), zeros)
    # Another valid grid that agrees with some clues, but not with all: digits 1 and 2 change places.
    swapped = np.array([0, 2, 1, 3, 4, 5, 6, 7, 8, 9])[SOLUTION]
    agree = swapped[PUZZLE > 0] == PUZZLE[PUZZLE > 0]
    assert agree.any()
    assert not agree.all()
    assert verify(NINE, np.zeros(81, int), swapped)
    assert not verify(NINE, PUZZLE, swapped)
    # One single clue that disagrees is enough.
    for digit in range(1, 9):
        clue = np.zeros(81, int)
        clue[:2] = SOLUTION[:2]
        clue[80] = digit
        assert not verify(NINE, clue, SOLUTION)


@pytest.mark.parametrize("value", [-1, 0, 10, 255, 256 + 5, -(256 - 5), 2**40 + 5])
def test_values_out_of_range_fail_and_do_not_wrap_around(value: int) -> None:
    filled = SOLUTION.astype(np.int64)
    filled[0] = value  # 5 in the solution: 261 and -251 would be 5 again as eight-bit numbers
    blank = np.zeros(81, int)
    assert not verify(NINE, blank, filled)
    assert not verify(NINE, PUZZLE, filled)


@given(st.data())
def test_verify_many_agrees_with_the_slow_rules_row_by_row(data: st.DataObject) -> None:
    box = data.draw(st.sampled_from(BOXES[2:5]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    filled = random_grids(box, 6, int(rng.integers(1 << 30))).astype(np.int64)
    puzzles = np.where(rng.random(filled.shape) < 0.5, filled, 0)
    for row in range(1, 6):
        for cell in rng.integers(0, box.cells, row // 2):
            filled[row, cell] = rng.integers(-1, box.size + 2)
        if row == 5:
            puzzles[row, rng.integers(box.cells)] = rng.integers(1, box.size + 1)
    expected = [
        holds_every_digit(box, grid) and all(p in (0, g) for p, g in zip(puzzle, grid, strict=True))
        for puzzle, grid in zip(puzzles, filled, strict=True)
    ]
    assert verify_many(box, puzzles, filled).tolist() == expected
    assert expected[0] is True
    assert verify(box, puzzles[0], filled[0])


def test_shapes() -> None:
    assert verify_many(NINE, np.stack([PUZZLE] * 3), np.stack([SOLUTION] * 3)).tolist() == [True] * 3
    assert verify_many(NINE, PUZZLE, SOLUTION).tolist() == [True]
    assert verify_many(NINE, np.zeros((0, 81), int), np.zeros((0, 81), int)).shape == (0,)
    assert verify(NINE, PUZZLE.tolist(), SOLUTION.tolist())


@pytest.mark.parametrize(
    ("puzzle", "filled"),
    [
        (PUZZLE[:80], SOLUTION[:80]),
        (PUZZLE, SOLUTION[:80]),
        (np.stack([PUZZLE, PUZZLE]), SOLUTION),
        (PUZZLE.reshape(9, 9), SOLUTION.reshape(9, 9)),
        (PUZZLE.astype(float), SOLUTION),
        (PUZZLE, SOLUTION.astype(float)),
        (PUZZLE > 0, SOLUTION),
        (PUZZLE, SOLUTION > 0),
        (PUZZLE + 1 * (PUZZLE == 9), SOLUTION),
        (PUZZLE - 1, SOLUTION),
    ],
)
def test_what_is_no_grid_is_refused(puzzle: np.ndarray, filled: np.ndarray) -> None:
    with pytest.raises(UserError):
        verify_many(NINE, puzzle, filled)


@pytest.mark.parametrize("sides", [(0, 3), (3, -1), (1, 1), (4, 5), (True, 4), (2.0, 2), ("2", 2), (17, 1)])
def test_box_shapes_out_of_range_are_refused(sides: tuple) -> None:
    with pytest.raises(UserError):
        Box(*sides)


@pytest.mark.parametrize("cells", [16, 36, 64, 81, 100, 144, 196, 225, 256])
def test_the_usual_shape_of_a_grid(cells: int) -> None:
    box = Box.for_cells(cells)
    assert box.cells == cells
    assert box.box_rows <= box.box_columns
    nearer = [r for r in range(box.box_rows + 1, box.size) if box.size % r == 0 and r * r <= box.size]
    assert not nearer


@pytest.mark.parametrize("cells", [0, 1, 80, 82, 25, 49, 121, 400])
def test_cell_counts_without_a_shape_are_refused(cells: int) -> None:
    with pytest.raises(UserError, match="cells"):
        Box.for_cells(cells)


def test_blanks_conflict_with_nothing() -> None:
    grids = as_grids(NINE, np.stack([np.zeros(81, int), PUZZLE, SOLUTION]))
    assert units_valid(NINE, grids).all()
    assert all(first_conflict(NINE, grid) is None for grid in grids)
    twice = grids[1].copy()
    twice[3] = 5
    assert not units_valid(NINE, twice[None])[0]
    assert first_conflict(NINE, twice) == "5 stands twice in row 1"
