"""Puzzles as triples: what is written can be read back, and nothing but a whole right answer passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, SudokuData, generate, solve_many
from anyorder.tasks.sudoku.sequences import ANSWER_ORDERS, Fault, SudokuSequences, Triples

BOX = Box(2, 3)


@pytest.fixture(scope="module")
def puzzles():
    return generate(BOX, 24, 5, grade="any", distinct="puzzle")


def spelled(format: Triples, tokens: np.ndarray) -> list[tuple[int, int, int]]:
    """The triples of one sequence by hand: (row, column, value), counted from 1."""
    n = format.box.size
    parts = [int(token) for token in tokens if token != format.separator]
    return [(parts[i], parts[i + 1] - n, parts[i + 2] - 2 * n) for i in range(0, len(parts), 3)]


def test_a_sequence_is_clues_a_separator_and_an_answer(puzzles) -> None:
    format = Triples(BOX)
    tokens, unknown = format.encode(puzzles.puzzles, puzzles.solutions)
    assert tokens.shape == (24, format.length)
    for row, (puzzle, solution) in enumerate(zip(puzzles.puzzles, puzzles.solutions, strict=True)):
        clues = [(i // 6 + 1, i % 6 + 1, int(v)) for i, v in enumerate(puzzle) if v]
        blanks = [(i // 6 + 1, i % 6 + 1, int(solution[i])) for i, v in enumerate(puzzle) if not v]
        assert spelled(format, tokens[row]) == clues + blanks
        assert tokens[row, 3 * len(clues)] == format.separator
        assert (tokens[row] == format.separator).sum() == 1
        assert unknown[row].tolist() == [False] * (3 * len(clues) + 1) + [True] * (3 * len(blanks))
    assert len(set(unknown.sum(1).tolist())) > 1  # answers start at unequal places


def test_the_solvers_order_is_followed_and_unfilled_cells_come_last() -> None:
    made = generate(BOX, 24, 5, grade="any", distinct="puzzle")
    found = solve_many(BOX, made.puzzles)
    format = Triples(BOX)
    tokens, _ = format.encode(made.puzzles, made.solutions, found.order)
    for row in range(len(made)):
        clues = int((made.puzzles[row] > 0).sum())
        cells = [6 * (r - 1) + c - 1 for r, c, _ in spelled(format, tokens[row])[clues:]]
        ranks = found.order[row, cells].tolist()
        filled = [rank for rank in ranks if rank >= 0]
        assert filled == list(range(len(filled)))
        assert all(rank == -1 for rank in ranks[len(filled) :])
        assert cells[len(filled) :] == sorted(cells[len(filled) :])


@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), Box(3, 3)], ids=lambda box: box.name)
def test_what_is_written_is_read_back(box: Box) -> None:
    made = generate(box, 16, 3, grade="any", distinct="puzzle")
    format = Triples(box)
    rng = np.random.default_rng(0)
    rank = rng.permuted(np.tile(np.arange(box.cells), (16, 1)), axis=1)
    tokens, _ = format.encode(made.puzzles, made.solutions, rank)
    reading = format.read(made.puzzles, tokens)
    assert (reading.fault == Fault.NONE).all()
    assert np.array_equal(reading.filled, made.solutions)
    assert np.array_equal(np.sort(reading.cells, axis=1), np.tile(np.arange(box.cells), (16, 1)))
    assert format.verify(made.puzzles, tokens).all()
    assert format.verify(made.puzzles[:0], tokens[:0]).shape == (0,)


def test_each_fault_is_told(puzzles) -> None:
    format = Triples(BOX)
    tokens, unknown = format.encode(puzzles.puzzles[:1], puzzles.solutions[:1])
    start = int(unknown[0].argmax())

    def spoiled(*changes: tuple[int, int]) -> Fault:
        changed = tokens.copy()
        for place, token in changes:
            changed[0, place] = token
        assert not format.verify(puzzles.puzzles[:1], changed)[0]
        return Fault(format.read(puzzles.puzzles[:1], changed).fault[0])

    clue = tokens[0, :2]
    second = tokens[0, start + 3 : start + 5]
    assert spoiled((start, int(clue[0])), (start + 1, int(clue[1]))) == Fault.CLUE
    assert spoiled((start, int(second[0])), (start + 1, int(second[1]))) == Fault.REPEATED
    assert spoiled((start, 0)) == Fault.MALFORMED
    assert spoiled((start + 2, int(tokens[0, start]))) == Fault.MALFORMED
    assert spoiled((start + 1, format.separator)) == Fault.MALFORMED
    assert spoiled((start - 1, 1)) == Fault.CHANGED
    other = tokens[0, start + 2] % 6 + 13  # another value in the right cell: no fault of form, and no solution
    assert spoiled((start + 2, int(other))) == Fault.NONE


def test_the_first_to_name_a_cell_is_kept(puzzles) -> None:
    format = Triples(BOX)
    tokens, unknown = format.encode(puzzles.puzzles[:1], puzzles.solutions[:1])
    start = int(unknown[0].argmax())
    cell = 6 * (tokens[0, start] - 1) + tokens[0, start + 1] - 7
    tokens[0, start + 3 : start + 6] = tokens[0, start], tokens[0, start + 1], tokens[0, start + 2] % 6 + 13
    reading = format.read(puzzles.puzzles[:1], tokens)
    assert reading.fault[0] == Fault.REPEATED
    assert reading.filled[0, cell] == puzzles.solutions[0, cell]


@given(seed=st.integers(0, 10**6))
def test_noise_is_never_taken_for_a_solution(puzzles, seed: int) -> None:
    """Any tokens at all can be read, and the verdict is that of the grid they spell."""
    format = Triples(BOX)
    rng = np.random.default_rng(seed)
    tokens, unknown = format.encode(puzzles.puzzles, puzzles.solutions)
    hit = unknown & (rng.random(tokens.shape) < 0.02)
    tokens = np.where(hit, rng.integers(-3, 30, tokens.shape), tokens)
    verdict = format.verify(puzzles.puzzles, tokens)
    for row in range(len(puzzles)):
        triples = spelled_or_none(format, tokens[row])
        right = {(i // 6 + 1, i % 6 + 1, int(v)) for i, v in enumerate(puzzles.solutions[row])}
        assert verdict[row] == (triples is not None and len(triples) == 36 and set(triples) == right)


def spelled_or_none(format: Triples, tokens: np.ndarray) -> list[tuple[int, int, int]] | None:
    if (tokens == format.separator).sum() != 1:
        return None
    return spelled(format, tokens)


def test_prompts_hide_the_answer(puzzles) -> None:
    format = Triples(BOX)
    canvas = format.canvas(puzzles.puzzles)
    tokens, unknown = format.encode(puzzles.puzzles, puzzles.solutions)
    assert torch.equal(canvas.unknown, torch.from_numpy(unknown))
    assert (canvas.tokens[canvas.unknown] == 0).all()
    assert torch.equal(canvas.tokens[~canvas.unknown], torch.from_numpy(tokens[~unknown]))


def test_wrong_shapes_are_refused(puzzles) -> None:
    format = Triples(BOX)
    with pytest.raises(UserError, match="as many solutions"):
        format.encode(puzzles.puzzles, puzzles.solutions[:3])
    with pytest.raises(UserError, match="shape"):
        format.read(puzzles.puzzles, np.zeros((24, 5), np.int64))
    with pytest.raises(UserError, match="fixed, solver"):
        SudokuSequences(SudokuData(puzzles.puzzles, puzzles.solutions, BOX), "random")  # pyright: ignore


@pytest.mark.parametrize("order", ANSWER_ORDERS)
def test_a_batch_is_a_function_of_its_arguments(puzzles, order) -> None:
    data = SudokuSequences(SudokuData(puzzles.puzzles, puzzles.solutions, BOX), order)
    one, again, other = data.batch(7, 3, 10), data.batch(7, 3, 10), data.batch(7, 4, 10)
    assert torch.equal(one.tokens, again.tokens)
    assert torch.equal(one.unknown, again.unknown)
    assert not torch.equal(one.tokens, other.tokens)
    shown = data.data.batch(7, 3, 10)
    given = np.where(shown.unknown.numpy(), 0, shown.tokens.numpy())
    assert data.format.verify(given, one.tokens.numpy()).all()
    assert len(data) == 24
    assert data.fingerprint != SudokuSequences(data.data, "fixed" if order == "solver" else "solver").fingerprint


def test_the_solvers_order_is_that_of_the_puzzle_shown() -> None:
    """Every answer of a logic puzzle can be filled triple by triple without guessing."""
    made = generate(BOX, 16, 9, grade="logic", distinct="puzzle")
    data = SudokuSequences(SudokuData(made.puzzles, made.solutions, BOX), "solver")
    shown, drawn = data.batch(1, 0, 16), data.data.batch(1, 0, 16)
    given = np.where(drawn.unknown.numpy(), 0, drawn.tokens.numpy())
    cells = data.format.read(given, shown.tokens.numpy()).cells
    order = solve_many(BOX, given).order
    for row in range(16):
        clues = int((given[row] > 0).sum())
        assert order[row, cells[row, clues:]].tolist() == list(range(36 - clues))
