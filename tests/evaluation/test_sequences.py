"""Puzzles answered as sequences: a writer that knows the answer solves them, one that slips does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.evaluation.filling import fill_rows
from anyorder.evaluation.sequences import solve_sequences
from anyorder.tasks.sudoku import Box, generate, solve_many
from anyorder.tasks.sudoku.sequences import Triples

BOX = Box(2, 2)


class Writer:
    """Knows each puzzle's answer by its clues, and writes it; ``slips`` maps puzzle numbers to a wrong first triple."""

    def __init__(self, tokens: np.ndarray, unknown: np.ndarray, slips: dict[int, list[int]] | None = None) -> None:
        format = Triples(BOX)
        self.vocab_size, self.mask_token_id = format.vocab_size, format.mask_token_id
        self.answers = {}
        for row in range(len(tokens)):
            start = int(unknown[row].argmax())
            answer = torch.from_numpy(tokens[row]).clone()
            if slips and row in slips:
                answer[start : start + 3] = torch.tensor(slips[row])
            self.answers[tuple(tokens[row, :start].tolist())] = answer

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        separator = 3 * BOX.size + 1
        rows = [self.answers[tuple(row[: row.index(separator) + 1])] for row in tokens.tolist()]
        return torch.nn.functional.one_hot(torch.stack(rows), self.vocab_size).float()[at] * 20


@pytest.fixture(scope="module")
def made():
    return generate(BOX, 7, 2, grade="any", distinct="puzzle")


@pytest.mark.parametrize("beams", [0, 3])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_answers_are_marked_strictly(made, beams: int, batch_size: int) -> None:
    format = Triples(BOX)
    tokens, unknown = format.encode(made.puzzles, made.solutions, solve_many(BOX, made.puzzles).order)
    second = int(unknown[1].argmax()) + 3
    slips = {1: tokens[1, second : second + 3].tolist(), 2: tokens[2, :3].tolist(), 3: [13, 13, 13]}
    told: list[tuple[int, int]] = []
    report = solve_sequences(
        Writer(tokens, unknown, slips),
        BOX,
        made.puzzles,
        made.solutions,
        beams=beams,
        batch_size=batch_size,
        progress=lambda done, total: told.append((done, total)),
    )
    assert report.solved.tolist() == [True, False, False, False, True, True, True]
    assert report.exact is not None
    assert report.exact.tolist() == report.solved.tolist()
    assert np.array_equal(report.filled[4:], made.solutions[4:])
    blanks = 3 * (made.puzzles == 0).sum(1)
    if beams:  # the first token has one filling to go on from, the others as many as beams
        assert report.nfe.tolist() == (1 + beams * (blanks - 1)).tolist()
    else:
        assert report.nfe.tolist() == blanks.tolist()
    assert told[-1] == (7, 7)


def test_models_and_batches_that_do_not_fit_are_refused(made) -> None:
    format = Triples(BOX)
    tokens, unknown = format.encode(made.puzzles, made.solutions)
    with pytest.raises(UserError, match="14 tokens"):
        solve_sequences(Writer(tokens, unknown), Box(2, 3), np.zeros((1, 36), np.uint8))
    with pytest.raises(UserError, match="batch size"):
        fill_rows(Writer(tokens, unknown), format.canvas(made.puzzles), batch_size=0)
    with pytest.raises(UserError, match="7 puzzles came with 3 solutions"):
        solve_sequences(Writer(tokens, unknown), BOX, made.puzzles, made.solutions[:3])
