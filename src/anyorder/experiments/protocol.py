"""The protocol of tables 2, 3 and 5: three networks, the ways of decoding the masked one, and the claims.

Published are 50 reverse steps with tokens drawn and 0.5 Gumbel noise; beside them stand the same orders one position
at a time with arg-max tokens, the sampler as the published code has it, and the entropy-bounded decoders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from anyorder.decoding.strategies import Strategy, strategies
from anyorder.experiments.contest import Comparison
from anyorder.planning.budgets import EntropyBelow, EntropyBound, Schedule
from anyorder.planning.orders import Entropy, Margin, Noisy, Order, Random, TopProbability
from anyorder.planning.remasking import MaskPredict
from anyorder.planning.samplers import Greedy, Temperature
from anyorder.training.settings import AdamWSettings, MuonSettings, OptimizerSettings, ScheduleSettings, TrainSettings

UNORDERED, ORDERED, MASKED = "arm-fixed", "arm-solver", "mdm"
LABELS = {UNORDERED: "ARM, cell order", ORDERED: "ARM, solver's order", MASKED: "MDM"}


def short_recipe(training: TrainSettings) -> TrainSettings:
    """The published network with the recipe of the smaller scales: Muon at a flat rate, compiled blocks, no dropout.

    The published optimiser's rates want 300 epochs; a few thousand steps of them would say nothing of the networks.
    """
    optimizer = OptimizerSettings(AdamWSettings(rate=3e-3, beta1=0.9, beta2=0.95), MuonSettings())
    schedule = ScheduleSettings("flat-then-linear", warmup_steps=100, decay_share=0.5)
    model = {**training.model, "dropout": 0.0}
    return dataclasses.replace(training, model=model, optimizer=optimizer, schedule=schedule, compile=True)


def decoders(steps: int) -> dict[str, Strategy]:
    """The ways of decoding the masked model, the headline first; ``steps`` reverse steps where they are several."""
    orders: dict[str, Order] = {"margin": Margin(), "top probability": TopProbability(), "entropy": Entropy()}
    logged: dict[str, Order] = {"margin": Margin(log=True), "top probability": TopProbability(log=True)}
    ways = {f"{name}, one at a time": Strategy(order, sampler=Greedy()) for name, order in orders.items()}
    ways["random, one at a time"] = strategies["random"]
    ways |= {
        f"{name}, {steps} steps": Strategy(Noisy(order, gumbel=0.5), Schedule(steps), Temperature(1.0))
        for name, order in orders.items()
    }
    ways[f"random, {steps} steps"] = Strategy(Random(), Schedule(steps), Temperature(1.0))
    ways |= {
        f"{name}, {steps} steps as coded": Strategy(Noisy(order, gumbel=0.5), remask=MaskPredict(steps))
        for name, order in logged.items()
    }
    ways["MED"] = Strategy(Entropy(), EntropyBelow(0.2, most=8))
    ways["EB"] = Strategy(Entropy(), EntropyBound(0.1))
    return ways


def published_share(name: str, published: Mapping[str, float]) -> float | None:
    """The paper's share of a way to decode the masked model: that of its order, for the published sampler."""
    order, _, budget = name.removesuffix(" as coded").rpartition(", ")
    return published.get(f"{MASKED}: {order}") if budget.endswith("steps") else None


def comparisons(steps: int) -> list[Comparison]:
    """What the tables claim, each as a pair of ways."""
    first, top = f"{MASKED}: margin, one at a time", f"{MASKED}: top probability, one at a time"
    return [
        Comparison("solver's order over cell order", f"{ORDERED}: greedy", f"{UNORDERED}: greedy"),
        Comparison("MDM with margin over ordered ARM", first, f"{ORDERED}: greedy"),
        Comparison("margin over top probability", first, top),
        Comparison("margin over random order", first, f"{MASKED}: random, one at a time"),
        Comparison(
            "margin over top probability, as published",
            f"{MASKED}: margin, {steps} steps",
            f"{MASKED}: top probability, {steps} steps",
        ),
        Comparison("entropy-bounded over margin", f"{MASKED}: EB", first),
    ]
