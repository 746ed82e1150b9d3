"""Mending a trace: find where it was least sure, open it again from there, and put a reflection in.

A weak trace, one with a low score, is not thrown away: the span that was decided with the least certainty is opened
again, with or without what follows it, and decoded anew; a reflection (some text such as ``wait``, or free positions)
may be inserted in front of it, which moves the rest of the row to the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.core.splicing import Edit, Spliced
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor

    from anyorder.decoding.result import Decoded


@dataclass(frozen=True, eq=False)
class WeakSpan:
    """A span of each row: positions ``start`` to ``end`` (exclusive), and the mean log-probability within; (rows,)."""

    start: Int64[Tensor, " rows"]
    end: Int64[Tensor, " rows"]
    mean: Tensor

    def mask(self, length: int) -> Bool[Tensor, "rows length"]:
        """True inside the span."""
        place = torch.arange(length, device=self.start.device)
        return (place >= self.start[:, None]) & (place < self.end[:, None])


def weakest_span(result: Decoded, hole: Bool[Tensor, "rows length"], size: int) -> WeakSpan:
    """The window of ``size`` positions of a hole that was decided with the lowest mean log-probability.

    Only decided positions count; a row with fewer than ``size`` of them in the hole gives them all, one with none an
    empty span at 0. The leftmost of equal windows is taken.

    Args:
        result: of a decode.
        hole: bool (rows, length), the reasoning hole; its positions follow one another.
        size: positions of the window.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise UserError(f"weakest_span: size must be a whole number of at least 1, not {size!r}")
    decided = hole & ~result.log_probability.isnan()
    length = hole.shape[1]
    values = torch.where(decided, result.log_probability, 0.0)
    zero = values.new_zeros(len(values), 1)
    sums = torch.cat((zero, values.cumsum(dim=1)), dim=1)
    counts = torch.cat((zero.long(), decided.long().cumsum(dim=1)), dim=1)
    # Positions of the hole may be decided with gaps: a window ends after `size` decided ones, wherever they are.
    total = counts[:, -1:]
    want = torch.minimum(counts[:, :-1] + size, total)
    end = torch.searchsorted(counts, want)
    fits = decided & (counts[:, :-1] + torch.minimum(total, torch.full_like(total, size)) <= total)
    mean = (sums.gather(1, end) - sums[:, :-1]) / (counts.gather(1, end) - counts[:, :-1]).clamp(min=1)
    best = torch.where(fits, mean, torch.inf).min(dim=1)
    found = fits.any(dim=1)
    start = torch.where(found, best.indices, 0)
    stop = torch.where(found, end.gather(1, best.indices[:, None]).squeeze(1), 0)
    assert stop.numel() == 0 or int(stop.max()) <= length
    return WeakSpan(start, stop, torch.where(found, best.values, torch.nan))


def reopen(
    canvas: Canvas,
    tokens: Int64[Tensor, "rows length"],
    span: Bool[Tensor, "rows length"],
    *,
    rest: bool = False,
    holes: Sequence[str] = ("answer",),
) -> Canvas:
    """A canvas on which a decode goes on from a part of an earlier one.

    Args:
        canvas: that was decoded.
        tokens: its decode. Positions that are still undecided stay unknown only if they are opened here.
        span: bool (rows, length), what to open; given positions stay given.
        rest: open what stands right of the span's first position as well, in the same hole or not.
        holes: holes to open whole (the answer depends on the trace).

    Raises:
        UserError: no such hole.
    """
    opened = span.clone()
    if rest:
        opened = span.cumsum(dim=1) > 0
    for name in holes:
        opened = opened | hole_of(canvas, name, "reopen")
    unknown = opened & canvas.unknown
    return Canvas(torch.where(unknown, canvas.tokens, tokens), unknown, canvas.attention_mask, canvas.holes)


def insert_reflection(
    canvas: Canvas,
    tokens: Sequence[int],
    at: Int64[Tensor, " rows"],
    *,
    free: int = 0,
    hole: str = "reasoning",
    mask_token_id: int = 0,
    pad_token: int = 0,
) -> Spliced:
    """Put a text and free positions in front of a position of each row; what follows moves to the right.

    Args:
        canvas: see `reopen`.
        tokens: the text's tokens; given positions of the new canvas.
        at: int64 (rows,), where to insert; -1 leaves a row as it is.
        free: unknown positions to insert behind the text.
        hole: the hole to which all of it belongs.
        mask_token_id: written at the free positions.
        pad_token: pads the rows to one length.

    Returns:
        The new canvas and where each of its positions came from.

    Raises:
        UserError: a negative count, or a position outside of the row.
    """
    if isinstance(free, bool) or not isinstance(free, int) or free < 0:
        raise UserError(f"insert_reflection: free must be a whole number of 0 or more, not {free!r}")
    edits, openings = [], []
    for row, place in enumerate(at.tolist()):
        if place < 0 or not (tokens or free):
            continue
        edits.append(Edit(row, place, insert=[*tokens, *[mask_token_id] * free], hole=hole))
        openings.append((row, place))
    made = canvas.splice(edits, pad_token=pad_token)
    if not free:
        return made
    unknown = made.canvas.unknown.clone()
    for row, place in openings:
        start = place + len(tokens)
        unknown[row, start : start + free] = True
    new = made.canvas
    return Spliced(Canvas(new.tokens, unknown, new.attention_mask, new.holes), made.source)
