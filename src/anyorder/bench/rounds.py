"""What the benchmarks of puzzles share: speeds of the things done in a round, and their ratio to the peer's."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

Progress = Callable[[str, int, int], None]
"""Called with (name, rounds done, rounds)."""
PEER = "Glucose 4 (python-sat)"
R = TypeVar("R")


def timed(work: Callable[[], R], count: int) -> tuple[R, float]:
    """What ``work`` gives, and how many of ``count`` things it did a second."""
    started = time.perf_counter()
    result = work()
    return result, count / (time.perf_counter() - started)


def times_peer(rounds: Iterable[Mapping[str, float]], name: str) -> float | None:
    """How many times the peer's speed, the median of the rounds; None for what the peer does not do."""
    if name not in ("search", PEER):
        return None
    return statistics.median(one[name] / one[PEER] for one in rounds)
