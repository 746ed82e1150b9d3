"""The power law against a known one, and Student's quantiles against tables."""

from __future__ import annotations

import math
import random

import pytest

from anyorder.core.errors import UserError
from anyorder.experiments.power_law import PowerLaw, fit_power_law, mean_interval, student_quantile


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (10, 2.22814), (120, 1.97993)],
)
def test_students_quantile(degrees: int, quantile: float) -> None:
    assert student_quantile(0.975, degrees) == pytest.approx(quantile, rel=1e-5)
    assert student_quantile(0.5, degrees) == pytest.approx(0, abs=1e-6)


def test_a_power_law_is_found_again() -> None:
    compute = [1e12, 3e12, 1e13, 4e13]
    fit = fit_power_law(compute, [5.0 * (c / 1e12) ** -0.07 for c in compute])
    assert fit.exponent == pytest.approx(0.07)
    assert fit.high - fit.low == pytest.approx(0, abs=1e-9)
    assert fit.loss(1e14) == pytest.approx(5.0 * 100**-0.07)


def test_the_interval_of_the_exponent_covers() -> None:
    rng = random.Random(3)
    compute = [10.0**k for k in (11, 11, 12, 13, 14)]
    covered = 0
    for _ in range(300):
        fit = fit_power_law(compute, [3 * (c / 1e11) ** -0.05 * math.exp(rng.gauss(0, 0.02)) for c in compute])
        covered += fit.low <= 0.05 <= fit.high
    assert 0.89 < covered / 300 < 0.99  # 95 % are expected; fails once in 10,000 seeds


def test_intervals_of_few_numbers() -> None:
    assert mean_interval([1.0]) is None
    low, high = mean_interval([1.0, 2.0, 3.0]) or (0, 0)
    assert (low + high) / 2 == pytest.approx(2)
    assert high - low == pytest.approx(2 * 4.30265 / math.sqrt(3), rel=1e-5)


def test_bad_input_is_refused() -> None:
    for compute, loss in (([1, 2], [1, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [1, 2])):
        with pytest.raises(UserError, match="three points or more"):
            fit_power_law(compute, loss)
    with pytest.raises(UserError, match="positive"):
        fit_power_law([1, 2, 3], [1, 0, 1])
    with pytest.raises(UserError, match="Student's t needs"):
        student_quantile(0.2, 3)
    assert PowerLaw(2.0, 1e12, 0.1, 0.0, 0.2).loss(1e12) == 2.0
