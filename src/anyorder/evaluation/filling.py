"""Canvases filled in batches, by the decoding loop or by beam search.

Rows of unequal difficulty share a batch without touching each other, so the batch size changes memory and time only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.canvas import Canvas
from anyorder.core.randomness import row_seeds
from anyorder.decoding.beam import beam_search
from anyorder.decoding.decoder import decode
from anyorder.evaluation.batching import batches
from anyorder.planning.orders import LeftToRight

if TYPE_CHECKING:
    import torch

    from anyorder.core.denoiser import Denoiser

LEFT_TO_RIGHT: Mapping[str, Any] = {"order": LeftToRight()}
"""How an autoregressive model is decoded: one token at a time from the left, the most probable."""


@dataclass(frozen=True, eq=False)
class Filled:
    """Filled sequences: ``tokens`` (N, length) int64 and ``nfe`` (N,), network evaluations of each."""

    tokens: np.ndarray
    nfe: np.ndarray


def fill_rows(
    model: Denoiser,
    canvas: Canvas,
    *,
    beams: int = 0,
    parts: Mapping[str, Any] = LEFT_TO_RIGHT,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Fill the rows of a canvas, ``batch_size`` at a time.

    Args:
        model: a denoiser on ``device``.
        canvas: on any device.
        beams: of a beam search; 0 decodes with ``parts`` instead.
        parts: arguments of `anyorder.decode`; those that are None take their defaults.
        seed: row i draws from it and i alone.
        progress: called with (rows done, rows) after every batch.

    Raises:
        UserError: a batch size below 1, or parts that do not fit.
    """
    chosen = {name: part for name, part in parts.items() if part is not None}
    seeds = row_seeds(seed, canvas.batch)
    tokens, nfe = canvas.tokens.cpu().numpy().copy(), np.zeros(canvas.batch, np.int64)
    for rows in batches(canvas.batch, batch_size, progress):
        part = canvas.rows(rows).to(device)
        if beams:
            found = beam_search(model, part, beams)
            filled, calls = found.best, found.nfe
        else:
            result = decode(model, part, seed=seeds[rows].to(device), **chosen)
            filled, calls = result.tokens, result.nfe
        tokens[rows], nfe[rows] = filled.cpu().numpy(), calls.cpu().numpy()
    return Filled(tokens, nfe)
