"""The one statistical test of the laws: Pearson's chi-square of observed outcomes against an enumerated law."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping

from scipy.stats import chi2

LEAST_EXPECTED = 5.0


def p_value(observed: Iterable[Hashable], law: Mapping[Hashable, float]) -> float:
    """P-value of the observed outcomes under ``law``; 0 where an impossible outcome occurred.

    Outcomes with fewer than five expected are pooled, from the rarest up, in groups of at least five.
    """
    counts = Counter(observed)
    if any(law.get(outcome, 0.0) <= 0 for outcome in counts):
        return 0.0
    total = sum(counts.values())
    # by what is expected alone: groups that depended on what was seen would spoil the statistic
    rising = sorted((p, index, outcome) for index, (outcome, p) in enumerate(law.items()) if p > 0)
    cells = [(total * p, counts[outcome]) for p, _, outcome in rising]
    pooled: list[list[float]] = []
    for expected, seen in cells:
        if pooled and pooled[-1][0] < LEAST_EXPECTED:
            pooled[-1] = [pooled[-1][0] + expected, pooled[-1][1] + seen]
        else:
            pooled.append([expected, seen])
    if len(pooled) > 1 and pooled[-1][0] < LEAST_EXPECTED:
        expected, seen = pooled.pop()
        pooled[-1] = [pooled[-1][0] + expected, pooled[-1][1] + seen]
    if len(pooled) == 1:
        return 1.0
    statistic = sum((seen - expected) ** 2 / expected for expected, seen in pooled)
    return float(chi2.sf(statistic, len(pooled) - 1))
