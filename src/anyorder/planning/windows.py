"""Windows: where decoding may look.

A window gives every unknown position a stage. A row works on the lowest stage that has undecided positions, and goes
on to the next when all of them are decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.planning.settings import check_count, shown

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.planning.board import Progress


@runtime_checkable
class Window(Protocol):
    """Puts the unknown positions in stages."""

    def stages(self, canvas: Canvas) -> Int64[Tensor, "batch length"]:
        """Stage of every unknown position, 0 or more; other positions' values are not read."""
        ...


@dataclass(frozen=True)
class Whole:
    """The whole canvas at once."""

    def stages(self, canvas: Canvas) -> Int64[Tensor, "batch length"]:
        return torch.zeros_like(canvas.tokens)


@dataclass(frozen=True)
class Blocks:
    """Blocks of ``size`` positions from left to right, counted from the first unknown position of each row.

    Semi-autoregressive decoding. Given positions between unknown ones count towards a block's size. ``aligned`` blocks
    are counted from the row's first position, as a block-causal network of that block size counts its own.
    """

    size: int
    aligned: bool = False

    def __post_init__(self) -> None:
        check_count(self, "size", self.size)

    def stages(self, canvas: Canvas) -> Int64[Tensor, "batch length"]:
        if not canvas.length:
            return torch.zeros_like(canvas.tokens)
        positions = canvas.positions
        if self.aligned:
            return positions // self.size
        first = positions.masked_fill(~canvas.unknown, torch.iinfo(torch.int64).max).amin(dim=1, keepdim=True)
        return (positions - first).clamp_(min=0) // self.size


@dataclass(frozen=True)
class Dilated:
    """Blocks from left to right, and inside a block positions far apart first, then those between them.

    Stage j of a block of ``size`` positions holds those whose place in it is a multiple of floor(size / base^j), j = 1,
    2, ..., and which no earlier stage holds: log_base(size) stages, in each of which neighbours are as far apart as can
    be. With ``Schedule(1)``, one step for a stage, this is the dilated schedule. Blocks are counted as by `Blocks`.

    Source: Luxembourg et al., "Plan for Speed: Dilated Scheduling for Masked Diffusion Language Models" (2506.19037).
    """

    size: int
    base: int = 2

    def __post_init__(self) -> None:
        check_count(self, "size", self.size)
        check_count(self, "base", self.base, 2)

    def stages(self, canvas: Canvas) -> Int64[Tensor, "batch length"]:
        if not canvas.length:
            return torch.zeros_like(canvas.tokens)
        positions = canvas.positions
        first = positions.masked_fill(~canvas.unknown, torch.iinfo(torch.int64).max).amin(dim=1, keepdim=True)
        offset = (positions - first).clamp_(min=0)
        place = offset % self.size
        level, spacings = torch.full_like(place, -1), []
        spacing = self.size
        while spacing > 1:
            spacing //= self.base
            spacings.append(max(spacing, 1))
        for index, gap in enumerate(spacings or [1]):
            level = torch.where((level < 0) & (place % gap == 0), index, level)
        return offset // self.size * max(len(spacings), 1) + level


@dataclass(frozen=True, init=False, repr=False)
class Holes:
    """Named holes in the stated order, then whatever else is unknown.

    Args:
        names: names of the canvas's holes. A position that lies in several belongs to the first named.
        inside: the window within each hole, for example ``Blocks(32)``.

    Raises:
        UserError: where no name is given or one is given twice, and, on use, where the canvas has no such hole.
    """

    names: tuple[str, ...]
    inside: Window

    def __init__(self, *names: str, inside: Window | None = None) -> None:
        if not names or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            raise UserError(f"Holes: names must be one or more different strings, not {names!r}")
        if inside is not None:
            check_window(inside)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "inside", Whole() if inside is None else inside)

    def __repr__(self) -> str:
        return f"Holes({', '.join(map(repr, self.names))}, inside={self.inside!r})"

    def stages(self, canvas: Canvas) -> Int64[Tensor, "batch length"]:
        stages = torch.zeros_like(canvas.tokens)
        left = canvas.unknown
        start = 0
        for name in (*self.names, None):
            hole = left if name is None else hole_of(canvas, name, "Holes") & left
            part = Canvas(canvas.tokens, hole, canvas.attention_mask)
            inner = self.inside.stages(part)
            stages = torch.where(hole, inner + start, stages)
            # As wide as a row could need, so that a row's stages do not depend on its batch.
            start += canvas.length
            left = left & ~hole
        return stages


def hole_of(canvas: Canvas | Progress, name: str, part: str) -> Tensor:
    """The named hole, bool (batch, length); a `UserError` where the canvas has none of that name."""
    if name not in canvas.holes:
        known = ", ".join(map(repr, canvas.holes)) or "none"
        raise UserError(f"{part}: the canvas has no hole {name!r}; it has {known}")
    return canvas.holes[name]


def check_window(window: object) -> None:
    """Refuse what is not a window; a class instead of an instance is the usual slip."""
    if isinstance(window, type) or not isinstance(window, Window):
        raise UserError(f"window: must be a window such as Whole() or Blocks(32), not {shown(window)}")
