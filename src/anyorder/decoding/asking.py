"""Further evaluations inside a step: a part asks about states that the decode is not in. Every answer is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, check_logits, open_session
from anyorder.planning.board import Gathered

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor

    from anyorder.decoding.rows import Rows
    from anyorder.planning.statistics import Cut


class Asked:
    """Further evaluations for a part that asks about other states, and how many each row had at this step."""

    def __init__(self, model: Denoiser, rows: Rows, cut: Cut, per_call: int) -> None:
        self._model, self._rows, self._cut, self._per_call = model, rows, cut, per_call
        self.count = torch.zeros_like(rows.index)

    def __call__(
        self,
        rows: Int64[Tensor, " states"],
        tokens: Int64[Tensor, "states length"],
        at: Bool[Tensor, "states length"],
    ) -> Gathered:
        attention = self._rows.attention_mask
        canvas = Canvas(
            tokens,
            self._rows.unknown[rows],
            None if attention is None else attention[rows],
            {name: hole[rows] for name, hole in self._rows.holes.items()},
        )
        # A session of their own: what the decode's session keeps belongs to the states that the decode is in.
        logits = open_session(self._model, canvas)(tokens, attention_mask=canvas.attention_mask, at=at)
        flat = at.flatten().nonzero().squeeze(1)
        check_logits(logits, len(flat), self._cut.vocab_size)
        self.count = self.count.index_add(0, rows, torch.full_like(rows, self._per_call))
        return Gathered(logits, flat, self._cut, (at.shape[0], at.shape[1]))
