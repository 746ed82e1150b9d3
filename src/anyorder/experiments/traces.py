"""Traces of puzzles: how a strategy filled them, with the solution beside it where it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from anyorder.decoding.trace import Trace, trace_decode

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.decoding.strategies import Strategy
    from anyorder.experiments.puzzles import PuzzleSet
    from anyorder.models.transformer import Transformer


def trace_puzzles(
    model: Transformer,
    model_name: str,
    puzzles: PuzzleSet,
    name: str,
    strategy: Strategy,
    *,
    seed: int | Int64[Tensor, " n"],
) -> Trace:
    """Decode ``puzzles`` under a strategy and keep every step.

    ``seed`` is that of `anyorder.decode`: with the seeds that `solve_puzzles` gave the same puzzles, the decode is the
    same.
    """
    device = next(model.parameters()).device
    solutions = None if puzzles.solutions is None else torch.from_numpy(puzzles.solutions.astype(np.int64))
    return trace_decode(
        model,
        puzzles.canvas(model.mask_token_id, device),
        strategy,
        seed=seed,
        name=name,
        model_name=model_name,
        solutions=solutions,
        task={"name": "sudoku", "box_rows": puzzles.box.box_rows, "box_columns": puzzles.box.box_columns},
    )
