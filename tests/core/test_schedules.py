"""Noise schedules: their ends, derivatives, weights and inverses, and that no digits are lost near the ends."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.core.schedules import Cosine, Geometric, Linear, LogLinear, NoiseSchedule, Polynomial

FALLING_TO_ZERO = [Linear(), Cosine(), Polynomial(0.5), Polynomial(), Polynomial(5), Geometric(), Geometric(0.01, 8)]
SCHEDULES = [*FALLING_TO_ZERO, LogLinear(), LogLinear(0.2)]
INSIDE = torch.linspace(0, 1, 41, dtype=torch.float64)[1:-1]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_is_a_noise_schedule_in_float64(schedule: NoiseSchedule) -> None:
    assert isinstance(schedule, NoiseSchedule)
    for method in (schedule.alpha, schedule.masked, schedule.alpha_prime, schedule.weight):
        assert method(0.5).dtype == torch.float64
        assert method(INSIDE.float()).shape == INSIDE.shape
        assert method(INSIDE.float()).dtype == torch.float64


@pytest.mark.parametrize("schedule", FALLING_TO_ZERO, ids=repr)
def test_ends_are_exact(schedule: NoiseSchedule) -> None:
    assert float(schedule.alpha(0.0)) == 1
    assert float(schedule.alpha(1.0)) == 0
    assert float(schedule.masked(0.0)) == 0
    assert float(schedule.masked(1.0)) == 1
    assert float(schedule.inverse(1.0)) == 0
    assert float(schedule.inverse(0.0)) == pytest.approx(1, abs=1e-15)
    assert float(schedule.weight(0.0)) == math.inf


def test_log_linear_stops_at_its_epsilon_and_says_so() -> None:
    schedule = LogLinear(0.01)
    assert float(schedule.alpha(1.0)) == 0.01
    assert float(schedule.alpha(0.0)) == 1
    # the total noise -log alpha is the log-linear one
    assert torch.allclose(-schedule.alpha(INSIDE).log(), -torch.log1p(-0.99 * INSIDE))
    with pytest.raises(UserError, match=r"never falls below its epsilon, 0\.01"):
        schedule.inverse(0.005)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_derivative_and_weight_fit_alpha(schedule: NoiseSchedule) -> None:
    h = 1e-6
    slope = (schedule.alpha(INSIDE + h) - schedule.alpha(INSIDE - h)) / (2 * h)
    assert torch.allclose(schedule.alpha_prime(INSIDE), slope, rtol=1e-6, atol=1e-7)
    assert torch.allclose(schedule.alpha(INSIDE) + schedule.masked(INSIDE), torch.ones_like(INSIDE), atol=1e-14)
    quotient = -schedule.alpha_prime(INSIDE) / schedule.masked(INSIDE)
    assert torch.allclose(schedule.weight(INSIDE), quotient, rtol=1e-12, atol=0)
    assert bool((schedule.alpha_prime(INSIDE) < 0).all())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@given(t=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_inverse_undoes_alpha(schedule: NoiseSchedule, t: float) -> None:
    alpha = schedule.alpha(t)
    back = schedule.inverse(alpha)
    # as exact as alpha can tell two times apart there
    slope = abs(float(schedule.alpha_prime(t)))
    assert abs(float(back) - t) <= 1e-12 + 1e-14 / max(slope, 1e-14)
    assert torch.allclose(schedule.alpha(back), alpha, atol=1e-14)


@pytest.mark.parametrize(
    "schedule, t, masked",
    [
        (Linear(), 1e-18, 1e-18),
        (Cosine(), 1e-18, math.pi / 2 * 1e-18),
        (Polynomial(2), 1e-10, 1e-20),
        # 1 - alpha = sigma_min (ratio^t - 1) to first order
        (Geometric(1e-5, 20), 1e-16, 1e-5 * math.log(2e6) * 1e-16),
        (LogLinear(0.5), 1e-18, 0.5e-18),
    ],
    ids=repr,
)
def test_masked_share_keeps_its_digits_near_the_clean_end(schedule: NoiseSchedule, t: float, masked: float) -> None:
    assert float(schedule.masked(t)) == pytest.approx(masked, rel=1e-8)
    # the weight tends to power / t, whatever the schedule
    assert float(schedule.weight(t)) * t == pytest.approx(2 if isinstance(schedule, Polynomial) else 1, rel=1e-8)


def test_alpha_keeps_its_digits_near_the_masked_end() -> None:
    t = 1 - 2.0**-40  # exact in float64
    gap = 2.0**-40
    assert float(Cosine().alpha(t)) == pytest.approx(math.pi**2 / 8 * gap**2, rel=1e-8)
    assert float(Polynomial(3).alpha(t)) == pytest.approx(3 * gap, rel=1e-8)
    slope = 20 * math.log(2e6) * math.exp(-20)
    assert float(Geometric(1e-5, 20).alpha(t)) == pytest.approx(slope * gap, rel=1e-4)


def test_geometric_is_the_published_one_up_to_its_ends() -> None:
    published = np.exp(-(1e-5 ** (1 - INSIDE.numpy())) * 20 ** INSIDE.numpy())
    assert np.abs(Geometric(1e-5, 20).alpha(INSIDE).numpy() - published).max() < 1.1e-5


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("t", [-0.01, 1.01, math.nan])
def test_times_outside_the_unit_interval_are_refused(schedule: NoiseSchedule, t: float) -> None:
    for method in (schedule.alpha, schedule.masked, schedule.alpha_prime, schedule.weight, schedule.inverse):
        with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
            method(t)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Polynomial(0),
        lambda: Polynomial(math.inf),
        lambda: Geometric(0, 1),
        lambda: Geometric(2, 1),
        lambda: Geometric(1, math.inf),
        lambda: LogLinear(1),
        lambda: LogLinear(-0.1),
    ],
)
def test_parameters_are_validated(make) -> None:
    with pytest.raises(UserError, match="schedule"):
        make()
