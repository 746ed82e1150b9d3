"""Asking a network about tokens that it can see.

A masked diffusion model is trained on masked positions; at a position whose token it sees, its law means nothing. A
rule that takes tokens back by what the network now thinks of them (`WINO`, `P2`, `MaskPredict`) wants

    p(x_i | everything decided but what is left out with i),

so a position is masked before it is asked for. `LeaveOut` splits the decided positions into ``groups`` by a fixed
pattern that looks random, and runs the network once more for each group, with that group masked. More groups leave more
in sight, and cost more: a call counts as 1 + groups evaluations.

With a shadow block of masks and attention to match, the source of WINO has the law with i alone left out from the same
run. That takes a network whose attention can be shaped; this takes any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, Session, check_denoiser, open_session
from anyorder.core.randomness import Purpose, uniform
from anyorder.planning.settings import check_count

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LeaveOut:
    """A denoiser that answers at visible positions as if it did not see them; see the module.

    Args:
        denoiser: the denoiser to ask.
        groups: how many parts of the visible positions are left out in turn.
    """

    denoiser: Denoiser
    groups: int = 2

    def __post_init__(self) -> None:
        check_denoiser(self.denoiser)
        check_count(self, "groups", self.groups)

    @property
    def vocab_size(self) -> int:
        return self.denoiser.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.denoiser.mask_token_id

    @property
    def evaluations_per_call(self) -> int:
        return (1 + self.groups) * getattr(self.denoiser, "evaluations_per_call", 1)

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        canvas = Canvas(tokens, torch.zeros_like(at), attention_mask)
        return self.open(canvas)(tokens, attention_mask=attention_mask, at=at)

    def open(self, canvas: Canvas) -> Session:
        """A session that holds one of the denoiser's."""
        return _LeaveOutSession(self, canvas)


class _LeaveOutSession:
    """The rows still held, for a session of their own for every group, and the denoiser's session for the rest."""

    def __init__(self, wrapper: LeaveOut, canvas: Canvas) -> None:
        self._wrapper, self._canvas = wrapper, canvas
        self._plain = open_session(wrapper.denoiser, canvas)
        self.sees_right = getattr(self._plain, "sees_right", True)

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        wrapper, canvas = self._wrapper, self._canvas
        logits = self._plain(tokens, attention_mask=attention_mask, at=at).clone()
        seen = at & (tokens != wrapper.mask_token_id)
        # The same pattern in every row and at every call: a position's group depends on its place alone.
        place = uniform(torch.zeros(1, dtype=torch.int64, device=tokens.device), Purpose.REMASK, canvas.positions, 0)
        group = (place * wrapper.groups).long()
        slot = (at.flatten().cumsum(0) - 1).view(at.shape)
        for index in range(wrapper.groups):
            asked = seen & (group == index)
            hidden = tokens.masked_fill(asked, wrapper.mask_token_id)
            state = Canvas(hidden, canvas.unknown, canvas.attention_mask, canvas.holes)
            answer = open_session(wrapper.denoiser, state)(hidden, attention_mask=attention_mask, at=asked)
            logits[slot[asked]] = answer.to(logits.dtype)
        return logits

    def keep(self, rows: Int64[Tensor, " kept"]) -> None:
        self._canvas = self._canvas.rows(rows)
        self._plain.keep(rows)
