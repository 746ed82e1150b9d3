"""Puzzles that an autoregressive model writes as sequences of triples, and their marks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import PuzzleReport
from anyorder.evaluation.filling import fill_rows
from anyorder.tasks.sudoku.rules import Box, as_grids
from anyorder.tasks.sudoku.sequences import Triples

if TYPE_CHECKING:
    import torch

    from anyorder.core.denoiser import Denoiser


def solve_sequences(
    model: Denoiser,
    box: Box,
    puzzles: np.ndarray,
    solutions: np.ndarray | None = None,
    *,
    beams: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> PuzzleReport:
    """Let an autoregressive model write the answers of ``puzzles`` (N, cells) as triples, and mark them strictly.

    A cell named twice, a triple at a clue or one that is none leaves the puzzle unsolved; ``filled`` holds what can be
    read. Greedy from the left, or by beam search where ``beams`` is above 0.

    Raises:
        UserError: arrays that do not fit the box, or a model of another vocabulary.
    """
    format = Triples(box)
    if model.vocab_size != format.vocab_size or model.mask_token_id != format.mask_token_id:
        raise UserError(
            f"a model that writes {box.name} puzzles as triples has {format.vocab_size} tokens and the mask "
            f"{format.mask_token_id}, but this one has {model.vocab_size} tokens and the mask {model.mask_token_id}"
        )
    given = as_grids(box, puzzles)
    known = None if solutions is None else as_grids(box, solutions, "solution")
    if known is not None and known.shape != given.shape:
        raise UserError(f"{len(given)} puzzles came with {len(known)} solutions")
    canvas = format.canvas(given)
    made = fill_rows(model, canvas, beams=beams, batch_size=batch_size, device=device, progress=progress)
    solved, reading = format.verify(given, made.tokens), format.read(given, made.tokens)
    exact = None if known is None else (reading.filled == known).all(axis=1) & (reading.fault == 0)
    return PuzzleReport(reading.filled, np.asarray(solved, bool), exact, made.nfe)
