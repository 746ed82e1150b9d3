"""Traces sampled from a model: given the question (prior), or given the answer too (posterior).

Pinning the answer, that is filling its hole with the known text and decoding the rest, samples r ~ p(r | c, a): the
same network, the same loop, another canvas. It is exact as far as the network's conditionals are consistent with one
another, and for one position at a time at temperature 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.core.randomness import fold, row_seeds
from anyorder.decoding.decoder import decode
from anyorder.planning.samplers import Temperature
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Decoded


def pin(canvas: Canvas, tokens: Int64[Tensor, "batch length"], hole: str = "answer") -> Canvas:
    """The canvas with a hole known: ``tokens`` (batch, length) stand in it. Elsewhere they are not read.

    Raises:
        UserError: no such hole, or another shape.
    """
    inside = hole_of(canvas, hole, "pin")
    if tokens.shape != canvas.tokens.shape:
        raise UserError(f"pin: tokens have shape {tuple(tokens.shape)}, not {tuple(canvas.tokens.shape)}")
    return Canvas(
        torch.where(inside, tokens, canvas.tokens), canvas.unknown & ~inside, canvas.attention_mask, canvas.holes
    )


@dataclass(frozen=True, eq=False)
class Samples:
    """Several decodes of each row of a canvas.

    Attributes:
        canvas: the rows that were decoded, the samples of one row next to each other.
        result: their decode.
        row: int64 (samples,), the row of the original canvas.
    """

    canvas: Canvas
    result: Decoded
    row: Int64[Tensor, " samples"]


def sample_traces(model: Denoiser, canvas: Canvas, count: int, *, seed: int = 0, **parts: Any) -> Samples:
    """``count`` samples of every row of a canvas.

    Sample k of row i draws from ``fold(row seed i, k)``, so more samples leave the first ones as they were, and the
    prior and posterior samples of a row are coupled.

    Args:
        model: a denoiser.
        canvas: with the answer pinned for posterior traces, unknown for prior ones.
        count: samples of each row.
        seed: an int.
        parts: of `anyorder.decode`; tokens are drawn at temperature 1 unless a sampler is given.

    Raises:
        UserError: a count below 1.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserError(f"sample_traces: count must be a whole number of at least 1, not {count!r}")
    row = torch.arange(canvas.batch, device=canvas.device).repeat_interleave(count)
    number = torch.arange(count, device=canvas.device).repeat(canvas.batch)
    seeds = fold(row_seeds(seed, canvas.batch, canvas.device)[row], number)
    repeated = canvas.rows(row)
    parts.setdefault("sampler", Temperature(1.0))
    return Samples(repeated, decode(model, repeated, seed=seeds, **parts), row)


def keep_best(
    scores: Float64[Tensor, " n"], groups: Int64[Tensor, " n"], count: int = 1, *, least: float = -torch.inf
) -> Bool[Tensor, " n"]:
    """Which samples to keep: the ``count`` best of each group whose score is at least ``least``; ties to the first.

    Args:
        scores: (n,), higher is better; NaN is never kept.
        groups: (n,), which samples belong together (``Samples.row``).
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise UserError(f"keep_best: count must be a whole number of at least 1, not {count!r}")
    usable = scores >= least
    order = torch.argsort(scores.masked_fill(~usable, -torch.inf), descending=True, stable=True)
    order = order[torch.argsort(groups[order], stable=True)]
    ordered = groups[order]
    first = torch.searchsorted(ordered, ordered, right=False)
    rank = torch.arange(len(order), device=order.device) - first
    kept = torch.zeros_like(usable)
    kept[order] = rank < count
    return kept & usable
