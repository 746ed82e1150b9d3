"""The one statistical test of the laws: Pearson's chi-square of observed outcomes against an enumerated law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

from scipy.stats import chi2

LEAST_EXPECTED = 5.0


def p_value(observed: Iterable[Hashable], law: Mapping[Hashable, float]) -> float:
    """P-value of the observed outcomes under ``law``; 0 where an impossible outcome occurred.

    Outcomes with fewer than five expected are pooled, the rarest first, until the pool has five.
    """
    counts = Counter(observed)
    if any(law.get(outcome, 0.0) <= 0 for outcome in counts):
        return 0.0
    total = sum(counts.values())
    cells = sorted((total * p, counts[outcome]) for outcome, p in law.items() if p > 0)
    pooled: list[tuple[float, float]] = [(0.0, 0.0)]
    for expected, seen in cells:
        if pooled[0][0] < LEAST_EXPECTED:
            pooled[0] = (pooled[0][0] + expected, pooled[0][1] + seen)
        else:
            pooled.append((expected, float(seen)))
    if pooled[0][0] < LEAST_EXPECTED and len(pooled) > 1:
        pooled[1] = (pooled[1][0] + pooled[0][0], pooled[1][1] + pooled[0][1])
        pooled = pooled[1:]
    if len(pooled) == 1:
        return 1.0
    statistic = sum((seen - expected) ** 2 / expected for expected, seen in pooled)
    return float(chi2.sf(statistic, len(pooled) - 1))
