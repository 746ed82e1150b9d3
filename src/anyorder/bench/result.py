"""What a benchmark gives back: figures, and which of them its table shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class BenchResult:
    """Figures of one benchmark, plain JSON values.

    Attributes:
        name: of the benchmark.
        title: heading of its table.
        summary: the headline figures.
        columns: keys of ``rows`` that the table shows, in order; one that ends in ``_share`` is shown as a percentage.
        rows: one mapping per thing measured, the baseline among them.
        notes: sentences under the table.
        details: further figures that no table shows (the single repeats, say).
        data: name, count and fingerprint of the data, where there are some.
    """

    name: str
    title: str
    summary: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] | None = None
