"""Noise schedules: how the share of positions that stay falls with time.

A schedule is a smooth, falling function ``alpha`` on the unit interval with ``alpha(0) = 1`` (clean) and
``alpha(1) = 0`` (all masked). At time t a position stays with probability ``alpha(t)``, else it is the mask. The
weight of the continuous-time objective is

    weight(t) = -alpha'(t) / (1 - alpha(t)),

and the objective itself depends on no schedule: a change of the variable t cancels in ``weight(t) dt``. What a
schedule does change is the spread of an estimate that samples t, and the pace of a decode that follows it.

Every quantity near an end is computed without cancellation: ``masked(t)`` is 1 - alpha(t) exact near t = 0, where
``1 - alpha(t)`` would lose its digits, and ``alpha(t)`` is exact near t = 1. All results are float64.

Sources: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 2; Shi et al., "Simplified and
Generalized Masked Diffusion" (2406.04329), table 4, for the polynomial, cosine and geometric members; Lou et al.,
"Discrete Diffusion Modeling by Estimating the Ratios of the Data Distribution" (2310.16834) for log-linear noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from anyorder.core.errors import UserError

Time = Tensor | float
"""Times (or, for ``inverse``, values of alpha) in [0, 1]: a number or a tensor of any shape."""


@runtime_checkable
class NoiseSchedule(Protocol):
    """A falling ``alpha`` with alpha(0) = 1 and alpha(1) = 0. Every method is elementwise and returns float64."""

    def alpha(self, t: Time) -> Tensor:
        """Probability that a position stays at time t."""
        ...

    def masked(self, t: Time) -> Tensor:
        """1 - alpha(t), without cancellation near t = 0."""
        ...

    def alpha_prime(self, t: Time) -> Tensor:
        """Derivative of alpha, never positive."""
        ...

    def weight(self, t: Time) -> Tensor:
        """-alpha'(t) / (1 - alpha(t)); infinite at t = 0."""
        ...

    def inverse(self, alpha: Time) -> Tensor:
        """The time at which a share ``alpha`` stays."""
        ...


def _unit(value: Time, name: str) -> Tensor:
    """``value`` as a float64 tensor in [0, 1]. Tensors on an accelerator are trusted: a check would wait for them."""
    x = torch.as_tensor(value, dtype=torch.float64)
    if x.device.type == "cpu" and not bool(((x >= 0) & (x <= 1)).all()):
        raise UserError(f"{name} must lie in [0, 1]")
    return x


@dataclass(frozen=True)
class Linear:
    """alpha(t) = 1 - t, weight(t) = 1 / t."""

    def alpha(self, t: Time) -> Tensor:
        return 1 - _unit(t, "t")

    def masked(self, t: Time) -> Tensor:
        return _unit(t, "t").clone()

    def alpha_prime(self, t: Time) -> Tensor:
        return torch.full_like(_unit(t, "t"), -1.0)

    def weight(self, t: Time) -> Tensor:
        return 1 / _unit(t, "t")

    def inverse(self, alpha: Time) -> Tensor:
        return 1 - _unit(alpha, "alpha")


@dataclass(frozen=True)
class Cosine:
    """alpha(t) = 1 - sin(pi t / 2), weight(t) = (pi / 2) cot(pi t / 2): few positions are masked late in time."""

    def alpha(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        # 1 - sin(a) = 2 sin^2((pi / 2 - a) / 2): exact near t = 1, as the plain form is near t = 0
        return torch.where(t < 0.5, 1 - torch.sin(math.pi / 2 * t), 2 * torch.sin(math.pi / 4 * (1 - t)) ** 2)

    def masked(self, t: Time) -> Tensor:
        return torch.sin(math.pi / 2 * _unit(t, "t"))

    def alpha_prime(self, t: Time) -> Tensor:
        return -math.pi / 2 * torch.sin(math.pi / 2 * (1 - _unit(t, "t")))

    def weight(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        return math.pi / 2 * torch.sin(math.pi / 2 * (1 - t)) / torch.sin(math.pi / 2 * t)

    def inverse(self, alpha: Time) -> Tensor:
        alpha = _unit(alpha, "alpha")
        # as in alpha(t): each form is exact at its own end, however an arc sine is rounded on this machine
        early, late = torch.asin(1 - alpha), torch.asin(torch.sqrt(alpha / 2))
        return torch.where(alpha > 0.5, 2 / math.pi * early, 1 - 4 / math.pi * late)


@dataclass(frozen=True)
class Polynomial:
    """alpha(t) = 1 - t**power, weight(t) = power / t. ``power`` is positive; 1 is the linear schedule."""

    power: float = 2.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.power) and self.power > 0):
            raise UserError(f"the power of a polynomial schedule must be a positive number, not {self.power}")

    def alpha(self, t: Time) -> Tensor:
        return -torch.expm1(self.power * torch.log(_unit(t, "t")))

    def masked(self, t: Time) -> Tensor:
        return _unit(t, "t") ** self.power

    def alpha_prime(self, t: Time) -> Tensor:
        return -self.power * _unit(t, "t") ** (self.power - 1)

    def weight(self, t: Time) -> Tensor:
        return self.power / _unit(t, "t")

    def inverse(self, alpha: Time) -> Tensor:
        return torch.exp(torch.log1p(-_unit(alpha, "alpha")) / self.power)


@dataclass(frozen=True)
class Geometric:
    """Geometric noise: alpha is exp(-sigma(t)), moved and scaled to reach 1 and 0, with

        sigma(t) = sigma_min**(1 - t) * sigma_max**t.

    The published form stops at exp(-sigma_min) and exp(-sigma_max), so that a little of the objective is lost and a
    decode could end with masks left; here (exp(-sigma) - exp(-sigma_max)) / (exp(-sigma_min) - exp(-sigma_max)) is
    used. At the usual ends the two differ by 1e-5. Then weight(t) = sigma'(t) / (exp(sigma(t) - sigma_min) - 1).
    """

    sigma_min: float = 1e-5
    sigma_max: float = 20.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma_max) and 0 < self.sigma_min < self.sigma_max):
            ends = f"{self.sigma_min} and {self.sigma_max}"
            raise UserError(f"a geometric schedule needs 0 < sigma_min < sigma_max, not {ends}")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def _sigma(self, t: Tensor) -> Tensor:
        return self.sigma_min * torch.exp(self._log_ratio * t)

    def _rise(self, t: Tensor) -> Tensor:
        """sigma(t) - sigma_min."""
        return self.sigma_min * torch.expm1(self._log_ratio * t)

    def _scale(self) -> float:
        """(exp(-sigma_min) - exp(-sigma_max)) * exp(sigma_min)."""
        return -math.expm1(self.sigma_min - self.sigma_max)

    def alpha(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        fall = -self.sigma_max * torch.expm1(-self._log_ratio * (1 - t))  # sigma_max - sigma(t)
        return torch.expm1(fall) * math.exp(self.sigma_min - self.sigma_max) / self._scale()

    def masked(self, t: Time) -> Tensor:
        return -torch.expm1(-self._rise(_unit(t, "t"))) / self._scale()

    def alpha_prime(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        return -self._log_ratio * self._sigma(t) * torch.exp(-self._rise(t)) / self._scale()

    def weight(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        return self._log_ratio * self._sigma(t) / torch.expm1(self._rise(t))

    def inverse(self, alpha: Time) -> Tensor:
        rise = -torch.log1p((_unit(alpha, "alpha") - 1) * self._scale())
        return (torch.log1p(rise / self.sigma_min) / self._log_ratio).clamp(0, 1)


@dataclass(frozen=True)
class LogLinear:
    """Log-linear noise: total noise -log alpha(t) = -log(1 - (1 - epsilon) t), that is alpha(t) = 1 - (1 - epsilon) t.

    The linear schedule cut short: alpha(1) = ``epsilon``, not 0, which keeps the total noise finite. It is here for
    work that was trained with it. What lies beyond its end, at most ``epsilon`` of the masked share, is missing
    from an objective that samples its times; a decode loses nothing, as alpha(0) = 1.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < 1:
            raise UserError(f"the epsilon of a log-linear schedule must lie in [0, 1), not {self.epsilon}")

    def alpha(self, t: Time) -> Tensor:
        t = _unit(t, "t")
        return (1 - t) + self.epsilon * t

    def masked(self, t: Time) -> Tensor:
        return (1 - self.epsilon) * _unit(t, "t")

    def alpha_prime(self, t: Time) -> Tensor:
        return torch.full_like(_unit(t, "t"), self.epsilon - 1)

    def weight(self, t: Time) -> Tensor:
        return 1 / _unit(t, "t")

    def inverse(self, alpha: Time) -> Tensor:
        alpha = _unit(alpha, "alpha")
        if alpha.device.type == "cpu" and bool((alpha < self.epsilon).any()):
            raise UserError(f"a log-linear schedule never falls below its epsilon, {self.epsilon}")
        return ((1 - alpha) / (1 - self.epsilon)).clamp(0, 1)
