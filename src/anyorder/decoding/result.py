"""What a decode gives back: the outcome, and for every position when and how surely it was decided."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import State

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int8, Int64
    from torch import Tensor

    from anyorder.planning.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Decoded:
    """The outcome of a decode.

    Attributes:
        tokens: int64 (batch, length). Undecided positions hold the mask token.
        state: int8 (batch, length), values of `State`.
        step_of: int64 (batch, length), the step at which a position was last decided, -1 where it was not. Steps count
            from 0 and each is one call of the denoiser for the row; an order that looks ahead adds calls of its own.
        nfe: int64 (batch,), network evaluations of each row.
        finish_reason: for each row ``complete``, the reason of the stop rule that ended something in it, or
            ``evaluation_limit`` where the cap of a remask rule made the last evaluation decide all that was left.
        log_probability: float64 (batch, length), log-probability of the decided token under the network's law when it
            was decided; NaN where nothing was.
        margin: float64 (batch, length), difference of the two highest probabilities then.
        entropy: float64 (batch, length), entropy in nats then.
    """

    tokens: Int64[Tensor, "batch length"]
    state: Int8[Tensor, "batch length"]
    step_of: Int64[Tensor, "batch length"]
    nfe: Int64[Tensor, " batch"]
    finish_reason: tuple[str, ...]
    log_probability: Float64[Tensor, "batch length"]
    margin: Float64[Tensor, "batch length"]
    entropy: Float64[Tensor, "batch length"]


@dataclass(frozen=True, eq=False)
class Step:
    """One step of the loop, after it was taken. First axes are the rows that took part in it.

    Attributes:
        index: the step, counted from 0.
        rows: int64 (rows,), which rows of the canvas took part.
        tokens: int64 (rows, length), after the step.
        unknown: bool (rows, length), what was to be filled.
        missing: bool (rows, length), what is undecided after the step.
        attention_mask: bool (rows, length), or ``None``.
        open: bool (rows, length), what was undecided before the step.
        candidates: bool (rows, length), what could be decided, for the first time or again.
        revealed: bool (rows, length), what was decided, again or for the first time.
        remasked: bool (rows, length), what was taken back. Disjoint from ``revealed``.
        log_probability, margin, entropy: float64 (rows, length), of every decided token under the network's law when it
            was decided, as in `Decoded`; NaN where nothing is.
        statistics: statistics (rows, length) of the network's law before the step, at the positions asked for.
        nfe: int64 (rows,), network evaluations of each of these rows so far, this step included.
    """

    index: int
    rows: Int64[Tensor, " rows"]
    tokens: Int64[Tensor, "rows length"]
    unknown: Bool[Tensor, "rows length"]
    missing: Bool[Tensor, "rows length"]
    attention_mask: Bool[Tensor, "rows length"] | None
    open: Bool[Tensor, "rows length"]
    candidates: Bool[Tensor, "rows length"]
    revealed: Bool[Tensor, "rows length"]
    remasked: Bool[Tensor, "rows length"]
    log_probability: Float64[Tensor, "rows length"]
    margin: Float64[Tensor, "rows length"]
    entropy: Float64[Tensor, "rows length"]
    statistics: Statistics
    nfe: Int64[Tensor, " rows"]

    @cached_property
    def state(self) -> Int8[Tensor, "rows length"]:
        """`State` of every position after the step."""
        return states(self.unknown, self.missing, self.attention_mask)

    @cached_property
    def undecided(self) -> Int64[Tensor, " rows"]:
        """Number of undecided positions of each row after the step."""
        return self.missing.sum(dim=1)


def states(
    unknown: Bool[Tensor, "rows length"],
    missing: Bool[Tensor, "rows length"],
    attention_mask: Bool[Tensor, "rows length"] | None,
) -> Int8[Tensor, "rows length"]:
    """`State` of every position, from what was unknown and what is still missing."""
    state = unknown.to(torch.int8) * int(State.DECIDED)
    state.masked_fill_(missing, int(State.UNDECIDED))
    return state if attention_mask is None else state.masked_fill_(~attention_mask, int(State.PADDING))
