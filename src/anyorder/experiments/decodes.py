"""Puzzles decoded with an eye on the order: when each cell was filled, how surely, and what else stood open then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.canvas import Canvas
from anyorder.core.randomness import row_seeds
from anyorder.decoding.decoder import stream
from anyorder.evaluation.batching import batches
from anyorder.experiments.puzzles import box_of
from anyorder.tasks.sudoku import Puzzles, generate
from anyorder.tasks.sudoku.rules import verify_many

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Decoded
    from anyorder.decoding.strategies import Strategy
    from anyorder.experiments.puzzles import PuzzleSet
    from anyorder.models.transformer import Transformer

TORN, SURE = 0.5, 0.9
"""A cell is torn where the margin is below TORN, and sure where it is above SURE."""


def logic_puzzles(model: Transformer, count: int, seed: int) -> Puzzles:
    """New puzzles that logic finishes, of the box shape that a Sudoku model was made for.

    Raises:
        UserError: the model is no Sudoku model.
    """
    box = box_of(model)
    # Small boxes have few puzzles that are no symmetric copies of each other.
    return generate(box, count, seed, grade="logic", distinct="symmetry" if box.size >= 9 else "puzzle")


@dataclass(frozen=True, eq=False)
class Decodes:
    """What a strategy made of N puzzles; arrays (N, cells) or (N,).

    Attributes:
        filled, solved, nfe: as of `evaluation.PuzzleReport`.
        step_of: the step at which a cell was last filled, -1 at clues.
        margin, log_probability: at that step; NaN at clues.
        promoted: cells that were filled while torn although a sure cell stood open (counted at every step, also where
            a cell is filled again).
    """

    filled: NDArray[np.int64]
    solved: NDArray[np.bool_]
    nfe: NDArray[np.int64]
    step_of: NDArray[np.int64]
    margin: NDArray[np.float64]
    log_probability: NDArray[np.float64]
    promoted: NDArray[np.int64]


def decode_puzzles(
    model: Denoiser,
    puzzles: PuzzleSet,
    strategy: Strategy,
    *,
    seed: int,
    batch_size: int,
    device: torch.device | str,
    progress: Callable[[int, int], None] | None = None,
) -> Decodes:
    """Decode every puzzle under a strategy; row i draws from ``seed`` and i alone."""
    canvas = puzzles.canvas(model.mask_token_id, device)
    seeds = row_seeds(seed, canvas.batch)
    parts: list[tuple[np.ndarray, ...]] = []
    for rows in batches(canvas.batch, batch_size, progress):
        result, promoted = _followed(model, canvas.rows(rows), strategy, seeds[rows].to(device))
        tensors = (result.tokens, result.nfe, result.step_of, result.margin, result.log_probability, promoted)
        parts.append(tuple(tensor.cpu().numpy() for tensor in tensors))
    filled, nfe, step_of, margin, log_probability, promoted = (np.concatenate(one) for one in zip(*parts, strict=True))
    solved = np.asarray(verify_many(puzzles.box, puzzles.puzzles, filled), bool)
    return Decodes(filled, solved, nfe, step_of, margin, log_probability, promoted)


def _followed(model: Denoiser, canvas: Canvas, strategy: Strategy, seeds: torch.Tensor) -> tuple[Decoded, torch.Tensor]:
    """The outcome of one batch, and the promoted cells of each row."""
    promoted = seeds.new_zeros(len(seeds))
    steps = stream(model, canvas, **strategy.parts(), seed=seeds)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value, promoted
        margin = step.statistics.margin  # NaN, and so neither torn nor sure, where nothing was asked
        sure = (step.candidates & (margin > SURE)).any(dim=1, keepdim=True)
        promoted[step.rows] += (step.revealed & (margin < TORN) & sure).sum(dim=1)
