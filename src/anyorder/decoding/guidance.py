"""Guidance: a denoiser around a denoiser.

Classifier-free guidance moves logits away from what the model would say without the conditioning text:

    l = (1 + w) l(x | condition) - w l(x | condition masked)

with w the scale. The network runs twice a call, and both are counted. For masked models the condition is dropped by
masking it. A guided denoiser is a denoiser: it decodes, and a likelihood evaluated with it is the guided one.

Sources: Ho and Salimans, "Classifier-Free Diffusion Guidance" (2207.12598); Nie et al., "Scaling up Masked Diffusion
Models on Text" (2410.18514) for dropping the condition by masking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, Session, check_denoiser, open_session
from anyorder.core.errors import UserError
from anyorder.planning.settings import check_number
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClassifierFree:
    """Classifier-free guidance.

    Args:
        denoiser: the denoiser to guide.
        scale: w, 0 or more; 0 is the denoiser itself at twice the price.
        condition: what is masked for the second run. A name: the given positions of that hole. ``None``: all given
            positions. Both are read off the canvas when a decode opens its session. A bool tensor of shape (length,):
            these positions of every row (padding not counted, false beyond its end), which serves outside of a decode
            as well, where there is no canvas.

    Raises:
        UserError: on a bad setting; on a call outside of a decode without a tensor condition.
    """

    denoiser: Denoiser
    scale: float
    condition: Bool[Tensor, " length"] | str | None = None

    def __post_init__(self) -> None:
        check_denoiser(self.denoiser)
        check_number(self, "scale", self.scale, 0)
        condition = self.condition
        if condition is None or (isinstance(condition, str) and condition):
            return
        if not isinstance(condition, torch.Tensor) or condition.dtype != torch.bool or condition.dim() != 1:
            raise UserError("ClassifierFree: condition must be a hole's name or a bool tensor of shape (length,)")

    @property
    def vocab_size(self) -> int:
        return self.denoiser.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.denoiser.mask_token_id

    @property
    def evaluations_per_call(self) -> int:
        return 2 * getattr(self.denoiser, "evaluations_per_call", 1)

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        if not isinstance(self.condition, torch.Tensor):
            raise UserError(
                "ClassifierFree: outside of a decode the condition must be a bool tensor of shape (length,)"
            )
        hidden = self._hidden(Canvas(tokens, torch.zeros_like(at), attention_mask))
        return self._guide(self.denoiser, self.denoiser, tokens, hidden, attention_mask, at)

    def open(self, canvas: Canvas) -> Session:
        """A session that holds what is masked, and a session of the denoiser for each of the two runs."""
        hidden = self._hidden(canvas)
        without = Canvas(
            canvas.tokens.masked_fill(hidden, self.mask_token_id), canvas.unknown, canvas.attention_mask, canvas.holes
        )
        return _GuidedSession(self, open_session(self.denoiser, canvas), open_session(self.denoiser, without), hidden)

    def _hidden(self, canvas: Canvas) -> Bool[Tensor, "batch length"]:
        """The positions that the second run does not see."""
        given = ~canvas.unknown
        if canvas.attention_mask is not None:
            given = given & canvas.attention_mask
        condition = self.condition
        if condition is None:
            return given
        if isinstance(condition, str):
            return given & hole_of(canvas, condition, "ClassifierFree")
        positions = canvas.positions
        table = torch.cat((condition, condition.new_zeros(1))).to(positions.device)
        return given & table[positions.clamp(max=len(condition))]

    def _guide(
        self,
        conditional: Denoiser | Session,
        unconditional: Denoiser | Session,
        tokens: Tensor,
        hidden: Tensor,
        attention_mask: Tensor | None,
        at: Tensor,
    ) -> Tensor:
        told = conditional(tokens, attention_mask=attention_mask, at=at).float()
        untold = unconditional(tokens.masked_fill(hidden, self.mask_token_id), attention_mask=attention_mask, at=at)
        # What the condition rules out stays ruled out, whatever it is without the condition.
        return torch.where(told == -torch.inf, told, told + self.scale * (told - untold.float()))


class _GuidedSession:
    """A session of each run, and which positions the second does not see."""

    def __init__(
        self,
        guidance: ClassifierFree,
        conditional: Session,
        unconditional: Session,
        hidden: Bool[Tensor, "batch length"],
    ) -> None:
        self._guidance, self._hidden = guidance, hidden
        self._conditional, self._unconditional = conditional, unconditional
        self.sees_right = getattr(conditional, "sees_right", True)

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        return self._guidance._guide(self._conditional, self._unconditional, tokens, self._hidden, attention_mask, at)

    def keep(self, rows: Int64[Tensor, " kept"]) -> None:
        self._hidden = self._hidden[rows]
        self._conditional.keep(rows)
        self._unconditional.keep(rows)
