"""Rows a batch at a time: everything once, in order, progress after the work."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.evaluation.batching import batches


@given(st.integers(0, 200), st.integers(1, 60))
def test_slices_cover_the_rows_once_and_in_order(rows: int, batch_size: int) -> None:
    seen: list[int] = []
    done: list[tuple[int, int]] = []
    for part in batches(rows, batch_size, lambda now, all_: done.append((now, all_))):
        assert 1 <= part.stop - part.start <= batch_size
        assert not seen or done[-1] == (len(seen), rows)
        seen += range(rows)[part]
    assert seen == list(range(rows))
    assert done == [(stop, rows) for stop in [*range(batch_size, rows, batch_size), rows] if rows]


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size: int) -> None:
    with pytest.raises(UserError, match="at least 1"):
        next(batches(5, batch_size))
