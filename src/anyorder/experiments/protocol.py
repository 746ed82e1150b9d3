"""The protocol of tables 2, 3 and 5: three networks at equal compute, the ways of decoding them, and the claims.

Published are 50 reverse steps with tokens drawn and 0.5 Gumbel noise; beside them stand the same orders one position
at a time with arg-max tokens, the sampler as the published code has it, and the entropy-bounded decoders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.decoding.strategies import Strategy, strategies
from anyorder.experiments.contest import Comparison, Marks, Network, Way
from anyorder.planning.budgets import EntropyBelow, EntropyBound, Schedule
from anyorder.planning.orders import Entropy, Margin, Noisy, Order, Random, TopProbability
from anyorder.planning.remasking import MaskPredict
from anyorder.planning.samplers import Greedy, Temperature
from anyorder.training import load_settings
from anyorder.training.settings import TrainSettings

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Settings
    from anyorder.models.transformer import Transformer

UNORDERED, ORDERED, MASKED = "arm-fixed", "arm-solver", "mdm"
LABELS = {UNORDERED: "ARM, cell order", ORDERED: "ARM, solver's order", MASKED: "MDM"}
FOLLOWED = ("margin", "top probability", "random")
SAMPLERS = (
    "*Steps* is the published sampler: that many reverse steps, tokens drawn, 0.5 Gumbel noise annealed; *as coded*: "
    "mask-predict, arg-max tokens, the noise on the log of the score."
)
"""What the rows' names mean, for the notes of a table."""
Solve = Callable[["Transformer", "Settings"], Marks]


@dataclass(frozen=True)
class Size:
    """What a scale means.

    Attributes:
        arm, mdm: shipped training configurations.
        compute: operations of training, of each network; 0 for the configurations' own steps.
        train: training puzzles.
        held_out: puzzles (of each grade) that are decoded, and of those the ones followed along training.
        followed: see ``held_out``.
        points: evaluations along training.
        steps: reverse steps of the published sampler.
        beams: of beam search.
        batch_size: of training; 0 for the configurations' own.
        recipes: configurations whose optimiser, schedule, objective and positions replace those of ``arm`` and ``mdm``.
    """

    arm: str
    mdm: str
    compute: float
    train: int
    held_out: int
    followed: int
    points: int
    steps: int
    beams: int
    batch_size: int = 0
    recipes: tuple[str, str] | None = None


def networks(size: Size, folder: Path, settings: Settings, held_out: str, **evaluation: Any) -> list[Network]:
    """The three runs, unordered and ordered ARM and MDM, at equal compute (as published where ``compute`` is 0).

    They learn from ``training.npz`` in ``folder`` and are followed on its file ``held_out``, under the further
    ``evaluation`` settings.
    """
    arm, mdm = load_settings(size.arm), load_settings(size.mdm)
    if size.recipes is not None:
        arm, mdm = (short_recipe(*pair) for pair in zip((arm, mdm), map(load_settings, size.recipes), strict=True))
    fixed = dataclasses.replace(arm, task=dataclasses.replace(arm.task, order="fixed"))
    made = []
    for key, training in ((UNORDERED, fixed), (ORDERED, arm), (MASKED, mdm)):
        training = dataclasses.replace(training, name=key, seed=settings.seed)
        if settings.scale == "smoke":
            training = _small(training)
        if size.batch_size:
            training = dataclasses.replace(training, batch_size=size.batch_size)
        network = Network(key, LABELS[key], training)
        if size.compute:
            network = network.at_compute(size.compute)
            training = network.training
            every = -(-training.steps // size.points)
            rules = dataclasses.replace(
                training.evaluation,
                every_steps=every,
                puzzles=size.followed,
                paths={"held-out": str(folder / held_out)},
                batch_size=settings.batch_size,
                **evaluation,
            )
            data = dataclasses.replace(training.data, path=str(folder / "training.npz"), count=size.train)
            warmup = min(training.schedule.warmup_steps, training.steps // 10)
            schedule = dataclasses.replace(training.schedule, warmup_steps=warmup)
            training = dataclasses.replace(training, evaluation=rules, data=data, schedule=schedule)
            if key == MASKED:
                points = (*range(every, training.steps, every), training.steps)
                kept = dataclasses.replace(training.checkpoint, keep_steps=points)
                training = dataclasses.replace(training, checkpoint=kept)
            network = dataclasses.replace(network, training=training)
        made.append(network)
    return made


def _small(training: TrainSettings) -> TrainSettings:
    model: dict[str, Any] = {**training.model, "layers": 1, "width": 16, "mlp_width": 16}
    schedule = dataclasses.replace(training.schedule, warmup_steps=1)
    return dataclasses.replace(training, model=model, batch_size=4, schedule=schedule)


def ways(
    size: Size,
    published: Mapping[str, float],
    fill: Callable[[Strategy], Solve],
    write: Callable[[int], Solve],
) -> list[Way]:
    """The rows of a table, the masked model's first; ``published`` holds the paper's shares by way.

    ``fill`` gives how the masked model fills grids under a strategy, ``write`` how the autoregressive ones write
    sequences by beam search of a width (0 is greedy).
    """
    masked = [
        Way(MASKED, name, fill(strategy), published_share(name, published), id=repr(strategy.as_text()))
        for name, strategy in decoders(size.steps).items()
    ]
    written = [
        Way(key, arm_name(beams), write(beams), None if beams else published.get(key))
        for key in (UNORDERED, ORDERED)
        for beams in (0, size.beams)
    ]
    return masked + written


def followed(size: Size, fill: Callable[[Strategy], Solve], puzzles: str) -> list[Way]:
    """The ways of the masked model that are followed along training: three orders, one at a time and as published.

    ``fill`` gives how it fills the puzzles that are followed, whose fingerprint is ``puzzles``.
    """
    ways = decoders(size.steps)
    names = [f"{order}, {how}" for how in ("one at a time", f"{size.steps} steps") for order in FOLLOWED]
    return [Way(MASKED, name, fill(ways[name]), id=f"{ways[name].as_text()} {puzzles}") for name in names]


def arm_name(beams: int) -> str:
    """How a way of decoding an autoregressive model is called; 0 is greedy."""
    return f"beam search, {beams}" if beams else "greedy"


def rows_together(settings: Settings, beams: int) -> int:
    """Puzzles of a batch when each has this many beams (0 is greedy)."""
    return max(1, settings.batch_size // max(1, beams))


def short_recipe(training: TrainSettings, recipe: TrainSettings) -> TrainSettings:
    """The published network with a smaller scale's recipe and a longer warm-up, compiled blocks, no dropout.

    The published optimiser's rates want 300 epochs; a few thousand steps of them would say nothing of the networks.
    """
    taken = ("positions", "relation_bias", "same_token_bias")
    positions = {name: recipe.model[name] for name in taken if name in recipe.model}
    return dataclasses.replace(
        training,
        model={**training.model, **positions, "dropout": 0.0},
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        schedule=dataclasses.replace(recipe.schedule, warmup_steps=100),
        compile=True,
    )


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
