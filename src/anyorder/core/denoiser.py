"""What a denoiser is: the conditional laws p(x^i | x_t) of a masked diffusion model, at chosen positions only.

A plain function object that has ``vocab_size`` and ``mask_token_id`` is a denoiser; no base class is asked for. Four
things are optional:

- ``open(canvas) -> session`` for a denoiser that keeps state over one decode (a key-value cache, guidance). All state
  lives in the session, so nothing of one request reaches the next.
- ``splice(source)`` on a session: positions were inserted or removed; ``source`` (rows, length) is the old position of
  each, -1 at new ones. A session without it cannot follow and is opened anew.
- ``reads_left`` on a session (false where absent): logits rest on what stands left of them alone (a causal network and
  its cache), so the loop, decoding from the left, asks for no more than it is about to decide.
- ``evaluations_per_call`` (int, 1 where absent) for a denoiser that runs its network more than once a call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas


@runtime_checkable
class Denoiser(Protocol):
    """Logits of p(x^i | x_t) at chosen positions.

    Attributes:
        vocab_size: number of tokens, mask token included. Logit columns beyond it are padding and never chosen.
        mask_token_id: the mask token.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def mask_token_id(self) -> int: ...

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        """Logits for the n true positions of ``at``, in row-major order.

        Args:
            tokens: the canvas, with the mask token at undecided positions.
            attention_mask: true at real positions; ``None`` where there is no padding.
            at: where logits are wanted.
        """
        ...


class FromConditionals(ABC):
    """A denoiser by its conditional laws: its logits are their logarithms."""

    @abstractmethod
    def conditionals(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float64[Tensor, "n vocab"]:
        """P(x^i = v | evidence) in float64, for the positions of ``at``, row-major."""

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        """Log-probabilities in float32 at the positions of ``at``, row-major."""
        return self.conditionals(tokens, attention_mask=attention_mask, at=at).log().float()


@runtime_checkable
class Session(Protocol):
    """A denoiser for one decode, with the state it keeps. Called like the denoiser, on the rows still held."""

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]: ...

    def keep(self, rows: Int64[Tensor, " kept"]) -> None:
        """Keep these rows of the rows now held, in this order; the others are finished."""
        ...


@dataclass(frozen=True)
class StatelessSession:
    """The session of a denoiser without state."""

    denoiser: Denoiser

    def __call__(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"],
    ) -> Float32[Tensor, "n vocab"]:
        return self.denoiser(tokens, attention_mask=attention_mask, at=at)

    def keep(self, rows: Int64[Tensor, " kept"]) -> None:
        """Nothing is held."""

    def splice(self, source: Int64[Tensor, "rows length"]) -> None:
        """Nothing is held."""


def open_session(denoiser: Denoiser, canvas: Canvas) -> Session:
    """The denoiser's own session for this canvas, or a thin one where it keeps no state.

    Raises:
        UserError: where ``denoiser`` is not a denoiser.
    """
    check_denoiser(denoiser)
    opener = getattr(denoiser, "open", None)
    return StatelessSession(denoiser) if opener is None else opener(canvas)


def check_denoiser(denoiser: object) -> None:
    """Raise a `UserError` unless ``denoiser`` can be called and states its vocabulary and mask token."""
    if not callable(denoiser):
        raise UserError(f"denoiser: {type(denoiser).__name__} cannot be called")
    for name in ("vocab_size", "mask_token_id"):
        value = getattr(denoiser, name, None)
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"denoiser: {type(denoiser).__name__}.{name} must be an int, not {value!r}")
    size, mask = denoiser.vocab_size, denoiser.mask_token_id  # type: ignore[attr-defined]
    if size < 2 or not 0 <= mask < size:
        raise UserError(f"denoiser: mask_token_id {mask} must lie in a vocabulary of at least 2 tokens, not of {size}")


def check_logits(logits: object, wanted: int, vocab_size: int) -> None:
    """Raise a `UserError` unless ``logits`` are floating, of ``wanted`` rows and ``vocab_size`` columns or more."""
    if not isinstance(logits, torch.Tensor) or not logits.is_floating_point() or logits.dim() != 2:
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"denoiser: logits must be a floating tensor of shape (n, vocab_size), not {found}")
    if logits.shape[0] != wanted or logits.shape[1] < vocab_size:
        raise UserError(
            f"denoiser: logits have shape {tuple(logits.shape)}, but {wanted} positions were asked for "
            f"and the vocabulary has {vocab_size} tokens"
        )
