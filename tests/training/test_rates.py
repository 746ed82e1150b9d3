"""The learning-rate multiplier."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.training.rates import decay_start, multiplier
from anyorder.training.settings import ScheduleSettings

SHAPES = ("constant", "cosine", "linear", "flat-then-linear")


def curve(steps: int, **settings: object) -> list[float]:
    rates = ScheduleSettings(**settings)  # pyright: ignore[reportArgumentType]
    return [multiplier(rates, step, steps) for step in range(steps)]


def test_values_written_out() -> None:
    assert curve(4, shape="constant", warmup_steps=2) == [0.5, 1.0, 1.0, 1.0]
    assert curve(5, shape="linear", warmup_steps=1, floor=0.2) == pytest.approx([1.0, 1.0, 0.8, 0.6, 0.4])
    assert curve(6, shape="cosine", warmup_steps=2) == pytest.approx([0.5, 1.0, 1.0, 0.8535534, 0.5, 0.1464466])
    flat = curve(10, shape="flat-then-linear", warmup_steps=2, decay_share=0.4)
    assert flat == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@given(st.sampled_from(SHAPES), st.integers(1, 60), st.integers(0, 80), st.floats(0.01, 1.0), st.floats(0, 1))
def test_bounds_and_monotone_parts(shape: str, steps: int, warmup: int, share: float, floor: float) -> None:
    rates = ScheduleSettings(shape=shape, warmup_steps=warmup, decay_share=share, floor=floor)  # pyright: ignore
    values = [multiplier(rates, step, steps) for step in range(steps)]
    assert all(0 < value <= 1 or (floor == 0 and value >= 0) for value in values)
    rising, falling = values[:warmup], values[warmup:]
    assert rising == sorted(rising)
    assert falling == sorted(falling, reverse=True)
    assert all(value >= floor - 1e-12 for value in falling)
    start = decay_start(rates, steps)
    assert all(value == 1.0 for value in values[warmup : start + 1])


@given(st.integers(20, 60), st.integers(0, 40))
def test_a_flat_run_can_be_made_longer(steps: int, more: int) -> None:
    rates = ScheduleSettings(warmup_steps=5)
    start = decay_start(rates, steps)
    assert decay_start(rates, steps + more) >= start
    for step in range(start):
        assert multiplier(rates, step, steps) == multiplier(rates, step, steps + more)
