"""A power law through a few points, with an honest interval: L = a (C / C_0)^(-b), by least squares of the logarithms.

The interval of the exponent b is Student's t with n - 2 degrees of freedom; for small samples of a mean, with n - 1.
Student's quantile is found by bisection on the integral of the density, so that nothing beyond the standard library is
needed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from anyorder.core.errors import UserError


@lru_cache(maxsize=64)
def student_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t distribution, for a probability in [0.5, 1); good to six digits.

    Raises:
        UserError: no degrees of freedom, or another probability.
    """
    if degrees < 1 or not 0.5 <= probability < 1:
        raise UserError(f"Student's t needs degrees >= 1 and 0.5 <= probability < 1, not {degrees}, {probability}")
    log_norm = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)

    def above_half(t: float) -> float:
        # with t = sqrt(degrees) tan(angle) the density is bounded on a bounded interval; Simpson's rule
        nodes, end = 2000, math.atan(t / math.sqrt(degrees))
        step = end / nodes
        values = [math.cos(step * k) ** (degrees - 1) for k in range(nodes + 1)]
        total = values[0] + values[-1] + 4 * sum(values[1:-1:2]) + 2 * sum(values[2:-1:2])
        return math.exp(log_norm) * math.sqrt(degrees) * total * step / 3

    low, high = 0.0, 1.0
    while above_half(high) < probability - 0.5:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if above_half(middle) < probability - 0.5 else (low, middle)
    return (low + high) / 2


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of a few repeated measurements; None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
    half = student_quantile((1 + level) / 2, count - 1) * spread
    return mean - half, mean + half


@dataclass(frozen=True)
class PowerLaw:
    """``loss(compute)`` = ``at_scale`` (compute / ``scale``)^-``exponent``; ``low`` and ``high`` bound the exponent."""

    at_scale: float
    scale: float
    exponent: float
    low: float
    high: float

    def loss(self, compute: float) -> float:
        """The fitted loss."""
        return self.at_scale * (compute / self.scale) ** -self.exponent


def fit_power_law(compute: Sequence[float], loss: Sequence[float], level: float = 0.95) -> PowerLaw:
    """Least squares of log loss on log compute, with ``scale`` the geometric mean of the computes.

    Raises:
        UserError: fewer than three points or one value of compute only, or a number that has no logarithm.
    """
    if len(compute) != len(loss) or len(compute) < 3 or len(set(compute)) < 2:
        raise UserError("a power law with an interval needs three points or more, at two computes or more")
    if min(*compute, *loss) <= 0:
        raise UserError("a power law needs positive numbers")
    x, y = [math.log(value) for value in compute], [math.log(value) for value in loss]
    count = len(x)
    centre, middle = math.fsum(x) / count, math.fsum(y) / count
    square = math.fsum((value - centre) ** 2 for value in x)
    slope = math.fsum((a - centre) * (b - middle) for a, b in zip(x, y, strict=True)) / square
    residual = math.fsum((b - middle - slope * (a - centre)) ** 2 for a, b in zip(x, y, strict=True))
    half = student_quantile((1 + level) / 2, count - 2) * math.sqrt(residual / (count - 2) / square)
    return PowerLaw(math.exp(middle), math.exp(centre), -slope, -slope - half, -slope + half)
