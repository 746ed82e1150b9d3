"""Beam search: the most probable fillings, position by position from the left.

With u_1 < u_2 < ... the unknown positions of a row, the score of a partial filling is the chain rule's

    sum over j of log p(x^{u_j} | what is given, x^{u_1}, ..., x^{u_{j-1}}),

and after each position the ``beams`` best of all continuations are kept. All fillings of a row have the same positions
to decide, so nothing is normalised by length. Rows may start and end anywhere: each goes from its own first unknown
position, and a finished row is let go of. A row's result depends on nothing but the row, ties go to the better
parent and then to the lowest token, and with as many beams as there are fillings the search is exhaustive.

This is no member of the decoding loop's five choices: it follows several fillings of a row at once. It asks the same
denoisers through the same sessions, so a causal network keeps its key-value cache (``models.cache``), whose rows are
copied when a filling has several continuations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, check_denoiser, check_logits, open_session
from anyorder.core.errors import UserError
from anyorder.planning.statistics import Cut

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Beams:
    """The fillings found, best first.

    Attributes:
        tokens: int64 (batch, beams, length). Where fewer fillings than beams have a positive probability, what
            follows them has no meaning.
        log_probability: float64 (batch, beams), of the filling given the rest, minus infinity where there is none.
        nfe: int64 (batch,), sequences of this row that the network evaluated.
    """

    tokens: Int64[Tensor, "batch beams length"]
    log_probability: Float64[Tensor, "batch beams"]
    nfe: Int64[Tensor, " batch"]

    @property
    def best(self) -> Int64[Tensor, "batch length"]:
        """The most probable filling found of each row."""
        return self.tokens[:, 0]


@torch.no_grad()
def beam_search(model: Denoiser, canvas: Canvas, beams: int, *, suppress: Sequence[int] = ()) -> Beams:
    """Fill a canvas from the left, keeping the ``beams`` most probable partial fillings of each row.

    Args:
        model: a denoiser, on the canvas's device. Causal ones are what it is for; a masked diffusion model is asked
            with everything to the right masked.
        canvas: what is known and what is to be filled.
        beams: fillings kept, at least 1. One beam is greedy decoding.
        suppress: tokens never to decide on.

    Raises:
        UserError: ``beams`` below 1, or a model that is no denoiser or does not fit the canvas.
    """
    if isinstance(beams, bool) or not isinstance(beams, int) or beams < 1:
        raise UserError(f"beam_search: beams must be a whole number of at least 1, not {beams!r}")
    check_denoiser(model)
    cut = Cut(model.vocab_size, model.mask_token_id, tuple(suppress))
    batch, length, device = canvas.batch, canvas.length, canvas.device
    outcome = Beams(
        canvas.tokens.masked_fill(canvas.unknown, model.mask_token_id)[:, None].repeat(1, beams, 1),
        torch.full((batch, beams), -torch.inf, dtype=torch.float64, device=device),
        torch.zeros(batch, dtype=torch.int64, device=device),
    )
    outcome.log_probability[:, 0] = 0
    index = canvas.unknown.any(1).nonzero()[:, 0]
    if not len(index):
        return outcome
    canvas = canvas.rows(index)
    session = open_session(model, canvas)
    per_call = getattr(model, "evaluations_per_call", 1)
    # Axes: rows still searched, their partial fillings (w of them, best first), positions.
    tokens, left = outcome.tokens[index, :1], canvas.unknown
    attention_mask, score = canvas.attention_mask, outcome.log_probability[index, :1]
    nfe = 0
    while True:
        n, w = score.shape
        column = left.int().argmax(1)
        at = torch.zeros_like(left).scatter_(1, column[:, None], True).repeat_interleave(w, dim=0)
        padding = None if attention_mask is None else attention_mask.repeat_interleave(w, dim=0)
        logits = session(tokens.flatten(0, 1), attention_mask=padding, at=at)
        check_logits(logits, n * w, cut.vocab_size)
        nfe += w * per_call
        total = (score[:, :, None] + _log_probabilities(logits, cut).view(n, w, -1)).flatten(1)
        kept = min(beams, total.shape[1])
        score, best = (part[:, :kept] for part in total.sort(dim=1, descending=True, stable=True))
        parent, token = best // cut.vocab_size, best % cut.vocab_size
        tokens = tokens.gather(1, parent[:, :, None].expand(-1, -1, length))
        tokens = tokens.scatter(2, column[:, None, None].expand(-1, kept, 1), token[:, :, None])
        left = left.scatter(1, column[:, None], False)
        going = left.any(1)
        done = (~going).nonzero()[:, 0]
        outcome.tokens[index[done], :kept] = tokens[done]
        outcome.log_probability[index[done], :kept] = score[done]
        outcome.nfe[index[done]] = nfe
        on = going.nonzero()[:, 0]
        if not len(on):
            return outcome
        session.keep((on[:, None] * w + parent[on]).flatten())
        index, tokens, left, score = index[on], tokens[on], left[on], score[on]
        attention_mask = None if attention_mask is None else attention_mask[on]


def _log_probabilities(logits: Tensor, cut: Cut) -> Tensor:
    """log p of every token, float64, minus infinity where cut."""
    # A lone row would be summed by another algorithm than one among others, and round differently.
    block = logits if len(logits) > 1 else logits.expand(2, -1)
    laws = torch.log_softmax(cut.working_copy(block).double(), dim=1)[: len(logits)]
    if bool(laws.isnan().any()):
        raise UserError("denoiser: a position has no finite largest logit (NaN, infinity, or every token ruled out)")
    return laws
