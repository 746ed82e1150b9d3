"""How good a trace is, at any point of its decoding.

The trace score asks how probable the right answer a* is given what is revealed of the trace r so far and the prompt c,
with the answer masked again whatever was decided there:

    score = sum over j of log p(a*_j | r so far, c),        and its mean over the answer's positions.

Undecided positions of the trace stay masked, so a score exists at every step; it costs one evaluation. Its rival is
the plain likelihood of the sequence, the sum (or mean) of the log-probabilities with which its tokens were decided,
which costs nothing.

A trace that was sampled with its answer given makes the answer likely whatever it says, so the trace score cannot see a
false step in it. `reasked_score` can: it hides the answer and asks again for the trace's own tokens, a few at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, open_session
from anyorder.core.errors import UserError
from anyorder.core.objectives import cross_entropy
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

    from anyorder.decoding.result import Decoded


@dataclass(frozen=True, eq=False)
class TraceScore:
    """Log-probabilities (nats) of each row's right answer; float64 (rows,) each. ``count`` is the positions scored."""

    sum: Float64[Tensor, " rows"]
    count: Int64[Tensor, " rows"]

    @property
    def mean(self) -> Float64[Tensor, " rows"]:
        """Per position."""
        return self.sum / self.count


@torch.no_grad()
def trace_score(
    model: Denoiser,
    canvas: Canvas,
    answers: Int64[Tensor, "rows length"],
    *,
    hole: str = "answer",
    tokens: Int64[Tensor, "rows length"] | None = None,
    padding: int | None = None,
) -> TraceScore:
    """Score the traces of a canvas by the answers they are to lead to. One evaluation.

    Args:
        model: a denoiser.
        canvas: says where the answer is, what is padding, and what is given.
        answers: int64 (rows, length), the right answers at the positions of the hole; elsewhere they are not read.
        hole: the answer's name.
        tokens: the canvas as decoded so far, the mask token where undecided; the canvas's own tokens with its
            unknown positions masked where not given.
        padding: answer positions that hold this token are not scored (what follows the end of an answer).

    Raises:
        UserError: no such hole, a row without an answer to score, or shapes that differ.
    """
    inside = hole_of(canvas, hole, "trace_score")
    if answers.shape != canvas.tokens.shape:
        raise UserError(f"trace_score: answers have shape {tuple(answers.shape)}, not {tuple(canvas.tokens.shape)}")
    mask = model.mask_token_id
    if tokens is None:
        tokens = canvas.tokens.masked_fill(canvas.unknown, mask)
    hidden = tokens.masked_fill(inside, mask)
    scored = inside if padding is None else inside & (answers != padding)
    count = scored.sum(dim=1)
    if not bool((count > 0).all()):
        raise UserError(f"trace_score: row {int((count == 0).nonzero()[0])} has no answer to score")
    return TraceScore(_log_probability(model, canvas, hidden, answers, scored), count)


@torch.no_grad()
def reasked_score(
    model: Denoiser,
    canvas: Canvas,
    tokens: Int64[Tensor, "rows length"],
    *,
    hole: str = "reasoning",
    answer: str = "answer",
    groups: int = 4,
) -> Float64[Tensor, " rows"]:
    """How likely a trace's tokens are given each other, with the answer hidden; nats, float64 (rows,).

    The hole's positions are dealt out to ``groups`` groups in turn. Each group is masked by itself and its tokens are
    scored given all others: a sum of log-probabilities in the manner of a pseudo-likelihood. One evaluation for each
    group.

    Args:
        model: a denoiser.
        canvas: says where trace and answer are, what is padding, and what is given.
        tokens: the finished canvas; its answer is not read.
        hole, answer: their names.
        groups: how many; fewer mask more at once.

    Raises:
        UserError: no such hole, shapes that differ, an undecided position in the trace, or no group.
    """
    trace, hidden = (hole_of(canvas, name, "reasked_score") for name in (hole, answer))
    if tokens.shape != canvas.tokens.shape:
        raise UserError(f"reasked_score: tokens have shape {tuple(tokens.shape)}, not {tuple(canvas.tokens.shape)}")
    if groups < 1:
        raise UserError(f"reasked_score: groups must be at least 1, not {groups}")
    mask = model.mask_token_id
    if bool((trace & (tokens == mask)).any()):
        raise UserError("reasked_score: the trace has undecided positions; score it when it is finished")
    seen = tokens.masked_fill(hidden, mask)
    place = trace.cumsum(dim=1) - 1
    total = torch.zeros(len(tokens), dtype=torch.float64, device=tokens.device)
    for group in range(groups):
        asked = trace & (place % groups == group)
        total += _log_probability(model, canvas, seen.masked_fill(asked, mask), tokens, asked)
    return total


def _log_probability(model: Denoiser, canvas: Canvas, seen: Tensor, targets: Tensor, at: Tensor) -> Tensor:
    """Each row's sum of log p(target) at the positions ``at``, given ``seen``; one evaluation."""
    mask = model.mask_token_id
    session = open_session(model, Canvas(seen, seen == mask, canvas.attention_mask, canvas.holes))
    logits = session(seen, attention_mask=canvas.attention_mask, at=at)
    losses = cross_entropy(logits[:, : model.vocab_size], targets[at], mask_token_id=mask).double()
    total = torch.zeros(len(seen), dtype=torch.float64, device=seen.device)
    return total.index_add_(0, at.nonzero()[:, 0], -losses)


def sequence_likelihood(
    result: Decoded, where: Bool[Tensor, "rows length"] | None = None, *, mean: bool = False
) -> Float64[Tensor, " rows"]:
    """The log-probability with which a decode drew its tokens: the sum over the decided positions, or their mean.

    Args:
        result: of a decode.
        where: bool (rows, length), the positions that count; all decided ones where not given.
        mean: per position; 0 where none counts.
    """
    decided = ~result.log_probability.isnan()
    chosen = decided if where is None else decided & where
    total = torch.where(chosen, result.log_probability, 0.0).sum(dim=1)
    return total / chosen.sum(dim=1).clamp(min=1) if mean else total
