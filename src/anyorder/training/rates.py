"""The learning-rate multiplier f(s) of optimiser step s = 0, 1, ..., S - 1.

    warm-up        f(s) = (s + 1) / W                        for s < W
    constant       f(s) = 1
    cosine         f(s) = floor + (1 - floor) (1 + cos(pi p)) / 2,   p = (s - W) / (S - W)
    linear         f(s) = floor + (1 - floor) (1 - p)
    flat-then-linear   1 until D = S - round(share S), then linear with p = (s - D) / (S - D)

While a "flat-then-linear" run has not reached D, nothing done so far depends on S: the run can be made longer.
"""

from __future__ import annotations

import math

from anyorder.training.settings import ScheduleSettings


def decay_start(settings: ScheduleSettings, steps: int) -> int:
    """The first step whose multiplier is below 1 by the decay, D above (``steps`` for a constant rate)."""
    match settings.shape:
        case "constant":
            return steps
        case "flat-then-linear":
            return max(min(settings.warmup_steps, steps), steps - round(settings.decay_share * steps))
        case _:
            return min(settings.warmup_steps, steps)


def multiplier(settings: ScheduleSettings, step: int, steps: int) -> float:
    """f(step) for a run of ``steps`` steps; at least ``floor`` once the warm-up is over."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    start = decay_start(settings, steps)
    if step < start or steps <= start:
        return 1.0
    progress = min((step - start) / (steps - start), 1.0)
    share = (1 + math.cos(math.pi * progress)) / 2 if settings.shape == "cosine" else 1 - progress
    return settings.floor + (1 - settings.floor) * share
