"""A canvas: a batch of sequences in which some positions are known and the others are to be filled.

``unknown`` alone says what is to be filled. It is never read off ``tokens``: a mask token may be part of the given
text, and whatever stands at an unknown position (a solution, say) is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Literal

import torch

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor

    from anyorder.core.denoiser import Session
    from anyorder.core.splicing import Edit, Spliced


class State(IntEnum):
    """What a position of a decoded canvas is."""

    GIVEN = 0
    DECIDED = 1
    UNDECIDED = 2
    PADDING = 3


GIVEN, DECIDED, UNDECIDED, PADDING = State.GIVEN, State.DECIDED, State.UNDECIDED, State.PADDING


@dataclass(frozen=True, eq=False)
class Canvas:
    """Tokens, and which of them are unknown.

    Args:
        tokens: int64, shape (batch, length). Values at unknown positions are ignored.
        unknown: bool, shape (batch, length): the positions to fill.
        attention_mask: bool, shape (batch, length), true at real positions and false at padding; ``None`` where
            there is no padding.
        holes: names of regions, each a bool tensor of shape (batch, length).

    Raises:
        UserError: on a wrong type, dtype, shape or device, or where an unknown position or a hole lies in the padding.
    """

    tokens: Int64[Tensor, "batch length"]
    unknown: Bool[Tensor, "batch length"]
    attention_mask: Bool[Tensor, "batch length"] | None = None
    holes: Mapping[str, Bool[Tensor, "batch length"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check("tokens", self.tokens, torch.int64, None, None)
        shape, device = self.tokens.shape, self.tokens.device
        _check("unknown", self.unknown, torch.bool, shape, device)
        if not isinstance(self.holes, Mapping):
            raise UserError(f"canvas: holes must map names to masks, not {type(self.holes).__name__}")
        object.__setattr__(self, "holes", dict(self.holes))
        for name, hole in self.holes.items():
            if not isinstance(name, str) or not name:
                raise UserError(f"canvas: a hole's name must be a non-empty string, not {name!r}")
            _check(f"holes[{name!r}]", hole, torch.bool, shape, device)
        if self.attention_mask is None:
            return
        _check("attention_mask", self.attention_mask, torch.bool, shape, device)
        for name, mask in {"unknown": self.unknown, **{f"holes[{n!r}]": h for n, h in self.holes.items()}}.items():
            outside = mask & ~self.attention_mask
            if bool(outside.any()):
                row, position = outside.nonzero()[0].tolist()
                raise UserError(
                    f"canvas: {name} marks row {row}, position {position}, which is padding by attention_mask"
                )

    @property
    def batch(self) -> int:
        """Number of rows."""
        return self.tokens.shape[0]

    @property
    def length(self) -> int:
        """Number of positions of a row, padding included."""
        return self.tokens.shape[1]

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.tokens.device

    @property
    def positions(self) -> Int64[Tensor, "batch length"]:
        """Index of every position among the real ones of its row, so that padding on either side changes nothing."""
        if self.attention_mask is None:
            return torch.arange(self.length, device=self.device).expand(self.batch, -1)
        return self.attention_mask.long().cumsum(-1).sub_(1).clamp_(min=0)

    def to(self, device: torch.device | str) -> Canvas:
        """The same canvas on another device."""
        mask = self.attention_mask
        return Canvas(
            self.tokens.to(device),
            self.unknown.to(device),
            None if mask is None else mask.to(device),
            {name: hole.to(device) for name, hole in self.holes.items()},
        )

    def rows(self, index: Tensor | slice) -> Canvas:
        """The canvas of some rows, chosen as a tensor's first axis is indexed."""
        mask = self.attention_mask
        return Canvas(
            self.tokens[index],
            self.unknown[index],
            None if mask is None else mask[index],
            {name: hole[index] for name, hole in self.holes.items()},
        )

    def splice(self, edits: Sequence[Edit], *, sessions: Sequence[Session] = (), pad_token: int = 0) -> Spliced:
        """A canvas with positions inserted or removed, and where each position came from; see `core.splicing`.

        Sessions are told, so that state kept per position follows.
        """
        from anyorder.core.splicing import splice

        return splice(self, edits, sessions=sessions, pad_token=pad_token)

    @staticmethod
    def stack(canvases: Sequence[Canvas], side: Literal["left", "right"] = "right", pad_token: int = 0) -> Canvas:
        """Put canvases under one another, padded to the longest.

        Args:
            canvases: at least one, on one device. A hole that a canvas lacks is empty there.
            side: where the padding goes.
            pad_token: the token written there; the attention mask hides it.

        Raises:
            UserError: on an empty list or an unknown side.
        """
        if not canvases:
            raise UserError("canvas: stack needs at least one canvas")
        if side not in ("left", "right"):
            raise UserError(f"canvas: side must be 'left' or 'right', not {side!r}")
        length = max(canvas.length for canvas in canvases)
        padded = any(canvas.length < length or canvas.attention_mask is not None for canvas in canvases)

        def join(parts: Sequence[Tensor], fill: int | bool) -> Tensor:
            rows = []
            for part in parts:
                gap = length - part.shape[1]
                rows.append(torch.nn.functional.pad(part, (gap, 0) if side == "left" else (0, gap), value=fill))
            return torch.cat(rows)

        masks = [torch.ones_like(c.unknown) if c.attention_mask is None else c.attention_mask for c in canvases]
        names = dict.fromkeys(name for canvas in canvases for name in canvas.holes)
        return Canvas(
            join([canvas.tokens for canvas in canvases], pad_token),
            join([canvas.unknown for canvas in canvases], False),
            join(masks, False) if padded else None,
            {name: join([c.holes.get(name, torch.zeros_like(c.unknown)) for c in canvases], False) for name in names},
        )


def _check(name: str, value: object, dtype: torch.dtype, shape: torch.Size | None, device: torch.device | None) -> None:
    """Raise a `UserError` unless ``value`` is a (batch, length) tensor of this dtype, shape and device."""
    if not isinstance(value, torch.Tensor):
        raise UserError(f"canvas: {name} must be a {dtype} tensor of shape (batch, length), not {type(value).__name__}")
    if value.dim() != 2:
        raise UserError(f"canvas: {name} must have shape (batch, length), not {tuple(value.shape)}")
    if value.dtype != dtype:
        raise UserError(f"canvas: {name} must be {dtype}, not {value.dtype}; convert it with .to({dtype})")
    if shape is not None and value.shape != shape:
        raise UserError(f"canvas: {name} has shape {tuple(value.shape)}, but tokens have {tuple(shape)}")
    if device is not None and value.device != device:
        raise UserError(f"canvas: {name} is on {value.device}, but tokens are on {device}")
