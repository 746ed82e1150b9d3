"""How uncertain the answer still is, at every step, at no extra call.

With a_j the undecided positions of the answer hole and everything decided so far as the condition,

    H_UB = sum over j of H(p(a_j | decided))  >=  H(answer | decided)        (nats)

because the entropy of a joint law is at most the sum of the entropies of its parts. The logits of the answer come from
the same forward pass that decides other positions. Where a window keeps the loop away from the answer, the hole has
to be *watched*, which the stop rule `anyorder.planning.stopping.AnswerEntropy` does; its early exit is this bound
below a limit.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from anyorder.core.errors import UserError
from anyorder.decoding.decoder import stream
from anyorder.planning.stopping import AnswerEntropy, Stops
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Decoded, Step


class Uncertain(NamedTuple):
    """A step, and the bound for each of its rows before the step was taken, in nats; 0 where the answer is decided."""

    step: Step
    bound: Float64[Tensor, " rows"]


def answer_bound(step: Step, hole: Bool[Tensor, "rows length"]) -> Float64[Tensor, " rows"]:
    """H_UB of each row on the evaluation of a step.

    Args:
        step: as a stream yields it.
        hole: the answer's positions, for the rows of the step: ``canvas.holes["answer"][step.rows]``.

    Raises:
        UserError: the network was not asked at an undecided answer position, because a window kept it away and no
            part watches the answer.
    """
    open_positions = hole & step.open
    entropy = step.statistics.entropy
    if bool((open_positions & entropy.isnan()).any()):
        raise UserError("answer_bound: the step has no logits of the answer; decode with a part that watches its hole")
    return torch.where(open_positions, entropy, 0.0).sum(dim=1)


def follow_answer(
    model: Denoiser, canvas: Canvas, *, hole: str = "answer", **parts: Any
) -> Generator[Uncertain, None, Decoded]:
    """`anyorder.stream`, with the bound on the answer's entropy at every step; returns the `Decoded`.

    Costs no extra evaluation. ``parts`` are the arguments of `anyorder.stream`.

    Raises:
        UserError: the canvas has no such hole.
    """
    inside = hole_of(canvas, hole, "follow_answer")
    # A limit of 0 watches the hole and never stops.
    watch = AnswerEntropy(0.0, hole)
    stop = parts.pop("stop", None)
    steps = stream(model, canvas, stop=watch if stop is None else Stops(stop, watch), **parts)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        yield Uncertain(step, answer_bound(step, inside[step.rows]))
