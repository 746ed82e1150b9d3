"""Rows a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from anyorder.core.errors import UserError


def batches(rows: int, batch_size: int, progress: Callable[[int, int], None] | None = None) -> Iterator[slice]:
    """Slices of at most ``batch_size`` that cover 0 .. ``rows``, in order.

    Args:
        rows: how many there are.
        batch_size: at least 1.
        progress: called with (rows done, rows) when a slice is done, which is when the next one is asked for.

    Raises:
        UserError: a batch size below 1.
    """
    if batch_size < 1:
        raise UserError(f"the batch size must be at least 1, not {batch_size}")
    for start in range(0, rows, batch_size):
        stop = min(start + batch_size, rows)
        yield slice(start, stop)
        if progress is not None:
            progress(stop, rows)
