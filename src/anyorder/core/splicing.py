"""Inserting and removing positions of a canvas: a reflection put into a chain of reasoning, a hole made longer.

An edit replaces some positions of one row by new ones. All edits of a call refer to the canvas as it was. The result
is a canvas of its own (rows padded on the right to the longest) and a map from its positions to the old ones, which a
session that keeps state per position needs in order to follow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.core.denoiser import Session


@dataclass(frozen=True)
class Edit:
    """Replace positions ``start`` to ``start + remove`` of a row.

    Args:
        row: of the canvas.
        start: the first position removed, or before which is inserted; the row's length appends.
        remove: how many positions go.
        insert: tokens that come in their place.
        unknown: whether the new positions are to be filled; their tokens then say nothing.
        hole: the hole to which the new positions belong, a new name or one of the canvas; none where not given.

    Raises:
        UserError: on a negative number or what is no token.
    """

    row: int
    start: int
    remove: int = 0
    insert: Sequence[int] = ()
    unknown: bool = False
    hole: str | None = None

    def __post_init__(self) -> None:
        for name in ("row", "start", "remove"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise UserError(f"splice: {name} must be a whole number of 0 or more, not {value!r}")
        object.__setattr__(self, "insert", tuple(self.insert))
        for token in self.insert:
            if isinstance(token, bool) or not isinstance(token, int) or token < 0:
                raise UserError(f"splice: a token to insert must be a whole number of 0 or more, not {token!r}")


class Spliced(NamedTuple):
    """A canvas after edits.

    Attributes:
        canvas: the new canvas.
        source: int64 (batch, length): the old position of every position, -1 at what is new and at padding.
    """

    canvas: Canvas
    source: Int64[Tensor, "batch length"]


def splice(canvas: Canvas, edits: Sequence[Edit], *, sessions: Sequence[Session] = (), pad_token: int = 0) -> Spliced:
    """Insert and remove positions.

    Args:
        canvas: left as it is.
        edits: at most one for each place; those of one row must not overlap.
        sessions: told of the new positions through their ``splice(source)``.
        pad_token: written at the padding.

    Raises:
        UserError: a row or position that the canvas lacks (padding is not there), overlapping edits, or a session
            that keeps state and cannot follow (open a new one).
    """
    for session in sessions:
        if not hasattr(session, "splice"):
            raise UserError(
                f"splice: {type(session).__name__} cannot follow inserted or removed positions; open a new session"
            )
    plans = _plans(canvas, edits)
    length = max((len(plan) for plan in plans), default=0)
    source = torch.full((canvas.batch, length), -1, dtype=torch.int64)
    tokens = torch.full((canvas.batch, length), pad_token, dtype=torch.int64)
    unknown = torch.zeros(canvas.batch, length, dtype=torch.bool)
    real = torch.zeros_like(unknown)
    names = dict.fromkeys([*canvas.holes, *(edit.hole for edit in edits if edit.hole is not None)])
    holes = {name: torch.zeros_like(unknown) for name in names}
    for row, plan in enumerate(plans):
        real[row, : len(plan)] = True
        for position, (old, edit, token) in enumerate(plan):
            source[row, position] = old
            if edit is not None:
                tokens[row, position], unknown[row, position] = token, edit.unknown
                if edit.hole is not None:
                    holes[edit.hole][row, position] = True
    device = canvas.device
    source = source.to(device)
    old = source.clamp(min=0)
    kept = source >= 0
    if canvas.length:
        tokens = torch.where(kept, canvas.tokens.gather(1, old), tokens.to(device))
        unknown = torch.where(kept, canvas.unknown.gather(1, old), unknown.to(device))
    for name, hole in holes.items():
        before = canvas.holes.get(name)
        now = hole.to(device)
        holes[name] = now if before is None or not canvas.length else now | (before.gather(1, old) & kept)
    padded = not bool(real.all())
    made = Canvas(tokens.to(device), unknown.to(device), real.to(device) if padded else None, holes)
    for session in sessions:
        session.splice(source)  # type: ignore[attr-defined]
    return Spliced(made, source)


_Place = tuple[int, "Edit | None", int]
"""An old position, or -1 with the edit and the token that stand there now."""


def _plans(canvas: Canvas, edits: Sequence[Edit]) -> list[list[_Place]]:
    """What stands at every real position of every new row."""
    real = torch.ones_like(canvas.unknown) if canvas.attention_mask is None else canvas.attention_mask
    rows = [row.nonzero().squeeze(1).tolist() for row in real]
    by_row: dict[int, list[Edit]] = {}
    for edit in edits:
        if edit.row >= canvas.batch:
            raise UserError(f"splice: there is no row {edit.row}; the canvas has {canvas.batch}")
        by_row.setdefault(edit.row, []).append(edit)
    plans: list[list[_Place]] = []
    for number, positions in enumerate(rows):
        plan: list[_Place] = []
        end = positions[-1] + 1 if positions else 0
        at = positions[0] if positions else 0
        last = -1
        for edit in sorted(by_row.get(number, ()), key=lambda edit: edit.start):
            if edit.start == last or edit.start < at:
                where = "lies in the padding" if last < 0 else "overlaps another edit"
                raise UserError(f"splice: the edit at position {edit.start} of row {number} {where}")
            if edit.start + edit.remove > end:
                raise UserError(f"splice: the edit at position {edit.start} of row {number} goes beyond its end, {end}")
            plan.extend((old, None, 0) for old in positions if at <= old < edit.start)
            plan.extend((-1, edit, token) for token in edit.insert)
            at, last = edit.start + edit.remove, edit.start
        plan.extend((old, None, 0) for old in positions if old >= at)
        plans.append(plan)
    return plans
