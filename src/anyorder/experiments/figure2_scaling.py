"""Loss against compute for networks that learn text along one fixed order, and for masked diffusion.

A pi-learner is a causal network on sequences permuted by one pi: the identity (an autoregressive model), orders a few
random transpositions away from it (sqrt(L), then L / 10), and uniformly random ones. Every order has the same total to
reach, the entropy of the text; how fast a network gets there depends on how near the order is to that of the text.
Masked diffusion learns all orders at once.

For each budget C of floating-point operations, networks of several sizes N (weights of the blocks, embeddings and head
not counted) are trained on D = C / (6 N) tokens and the lowest validation loss is kept (an IsoFLOP sweep); a power law
goes through the minima. All networks have learned positions: rotary phases would favour orders near the identity by
construction, and the training refuses them for pi-learners.

The smaller budgets are repeated with three draws of the order (for the identity and masked diffusion: of the weights
and batches), which gives intervals. A run is done once, kept, and never repeated.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.2, figure 2 (left), appendix C.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS, MARKERS
from anyorder.experiments.power_law import PowerLaw, fit_power_law, mean_interval
from anyorder.experiments.text_runs import Clock, Corpus, open_corpus, text_settings, trained
from anyorder.tasks.text.permutations import PERMUTATIONS
from anyorder.training import TrainSettings
from anyorder.training.build import make_model

MASKED = "masked diffusion"
LEARNERS = (*PERMUTATIONS, MASKED)


@dataclass(frozen=True)
class Size:
    """A network: layers, width, heads. ``weights`` are those of its blocks, 12 layers width^2."""

    layers: int
    width: int
    heads: int

    @property
    def weights(self) -> int:
        """N: the matrices of the blocks and their norms' gains."""
        return self.layers * (12 * self.width**2 + 2 * self.width)


@dataclass(frozen=True)
class Budget:
    """Floating-point operations by 6 N D, the sizes tried, and the draws of every order."""

    compute: float
    sizes: tuple[Size, ...]
    draws: int


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale."""

    length: int
    batch_size: int
    rate: float
    sequences: int
    budgets: tuple[Budget, ...]
    block: int = 1 << 14


A, B, C, D, E = Size(2, 32, 2), Size(2, 48, 2), Size(3, 64, 2), Size(4, 96, 3), Size(4, 128, 4)
G = [Size(4, 256, 4), Size(6, 384, 6), Size(8, 512, 8), Size(12, 768, 12), Size(16, 1024, 16)]
SCALES = {
    "smoke": Scale(
        144,
        4,
        3e-3,
        4,
        (
            Budget(5e8, (Size(1, 32, 2), Size(2, 32, 2)), 1),
            Budget(1e9, (Size(1, 32, 2),), 2),
            Budget(2e9, (Size(2, 32, 2),), 1),
        ),
        block=1152,
    ),
    "cpu": Scale(
        1024,
        4,
        3e-3,
        64,
        (
            Budget(2.5e11, (A, B, C), 3),
            Budget(6.3e11, (A, B, C), 3),
            Budget(1.6e12, (B, C, D), 1),
            Budget(4e12, (C, D, E), 1),
        ),
    ),
    # One to some twenty steps of every network of the gpu scale.
    "rehearsal": Scale(
        2048,
        1,
        4e-4,
        2,
        (Budget(5e11, (G[0], G[1]), 1), Budget(1e12, (G[1], G[2]), 1), Budget(2e12, (G[3], G[4]), 1)),
    ),
    # Beyond some ten passes over the novels the causal networks would learn them by heart.
    "gpu": Scale(
        2048,
        16,
        4e-4,
        256,
        (
            Budget(1e15, (G[0], G[1], G[2]), 3),
            Budget(2.5e15, (G[0], G[1], G[2]), 3),
            Budget(6.3e15, (G[1], G[2], G[3]), 1),
            Budget(1.6e16, (G[2], G[3], G[4]), 1),
        ),
    ),
}


@dataclass(frozen=True)
class Cell:
    """One training of the sweep."""

    learner: str
    budget: Budget
    size: Size
    draw: int

    @property
    def name(self) -> str:
        """Of its file."""
        size = f"{self.size.layers}x{self.size.width}"
        return f"{self.learner.replace(' ', '-')}-{self.budget.compute:.3g}-{size}-{self.draw}"


def cells(scale: Scale) -> Iterator[Cell]:
    """Every training, the cheap ones first."""
    for budget in scale.budgets:
        for draw, learner, size in itertools.product(range(budget.draws), LEARNERS, budget.sizes):
            yield Cell(learner, budget, size, draw)


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train what is missing, one network after the other; then minima, intervals and fits."""
    since, clock, scale = time.time(), Clock(settings.minutes), SCALES[settings.scale]
    corpus = open_corpus(settings, vocab_size=None, block=scale.block)
    facts = {"length": scale.length, "batch": scale.batch_size, "rate": scale.rate, "data": corpus.facts}
    folder = folder_of(settings, "figure2-scaling", facts)
    every = list(cells(scale))
    legs = [Leg(cell.name, partial(_train, cell, scale, corpus, settings, folder, clock)) for cell in every]
    left = dataclasses.replace(settings, minutes=clock.minutes)
    found = run_legs(legs, folder / "points", left, progress, "networks")
    points = [found[cell.name] for cell in every]
    rows = [row for learner in LEARNERS for row in _minima(learner, scale, points)]
    fits = {learner: _fit([row for row in rows if row["learner"] == learner], points) for learner in LEARNERS}
    rankings = {f"{budget.compute:.3g}": _ranking(rows, budget) for budget in scale.budgets}
    published = list(PERMUTATIONS)
    return records.Record(
        name="figure2-scaling",
        scale=settings.scale,
        title=f"Loss against compute along four orders and for masked diffusion, {scale.length} tokens of text",
        summary={
            "exponents": {
                name: {"exponent": fit.exponent, "interval_of_exponent": [fit.low, fit.high]}
                for name, fit in fits.items()
            },
            "ranking": rankings,
            "published_ranking": published,
            "budgets_as_published": sum(ranking == published for ranking in rankings.values()),
            "budgets": len(scale.budgets),
        },
        columns=["learner", "compute", "weights", "tokens", "draws", "nats_per_token", "nats_low", "nats_high"],
        rows=rows,
        notes=[
            "The lowest validation loss over the sizes tried at each budget, in nats per token; the mean over draws "
            "and its 95 % interval (Student) where there are several. Masked diffusion: the bound.",
            "Power laws L ~ C^-b through the minima: "
            + "; ".join(f"{name} b = {fit.exponent:.3f} [{fit.low:.3f}, {fit.high:.3f}]" for name, fit in fits.items())
            + ".",
            "Ranking by loss at each budget: "
            + "; ".join(f"{compute}: {' < '.join(ranking)}" for compute, ranking in rankings.items())
            + f". Published, at every budget: {' < '.join(published)}.",
        ],
        details={
            "points": points,
            "fits": {name: dataclasses.asdict(fit) for name, fit in fits.items()},
            "training": _training(every[0], scale, corpus, settings).to_dict(),
        },
        run=records.run_facts(seed=settings.seed, device=settings.device, since=since, data=corpus.facts),
    )


def _training(cell: Cell, scale: Scale, corpus: Corpus, settings: Settings) -> TrainSettings:
    tokens = cell.budget.compute / (6 * cell.size.weights)
    steps = max(1, round(tokens / (scale.batch_size * scale.length)))
    return text_settings(
        cell.name,
        corpus,
        length=scale.length,
        model={
            "layers": cell.size.layers,
            "width": cell.size.width,
            "heads": cell.size.heads,
            "mlp_width": 4 * cell.size.width,
            "positions": "learned",
        },
        steps=steps,
        batch_size=scale.batch_size,
        order=None if cell.learner == MASKED else cell.learner,
        draw=cell.draw,
        seed=settings.seed + 1000 * cell.draw,
        optimizer={"adamw": {"rate": scale.rate, "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1}},
        schedule={"shape": "cosine", "warmup_steps": max(1, steps // 20), "floor": 0.1},
        precision=settings.precision,
        ema=None,
        evaluation={"every_steps": None, "sequences": scale.sequences, "draws": 8, "batch_size": 8},
        checkpoint={"every_minutes": 5},
        log_every_steps=max(1, steps // 10),
    )


def _train(cell: Cell, scale: Scale, corpus: Corpus, settings: Settings, folder: Path, clock: Clock) -> dict[str, Any]:
    """One point of the sweep; its run directory goes once the point is known."""
    plan = _training(cell, scale, corpus, settings)
    weights = sum(parameter.numel() for parameter in make_model(plan).blocks.parameters())
    assert weights == cell.size.weights
    directory = folder / "running" / cell.name
    _, loss = trained(plan, directory, clock)
    shutil.rmtree(directory)
    return {
        "learner": cell.learner,
        "compute": cell.budget.compute,
        "draw": cell.draw,
        "weights": weights,
        "layers": cell.size.layers,
        "width": cell.size.width,
        "tokens": plan.steps * plan.batch_size * scale.length,
        **{name: loss[name] for name in ("nats_per_token", "standard_error")},
    }


def _best(learner: str, budget: Budget, points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The point of the lowest loss for every draw."""
    mine = [point for point in points if (point["learner"], point["compute"]) == (learner, budget.compute)]
    by_draw = [[point for point in mine if point["draw"] == draw] for draw in range(budget.draws)]
    return [min(draws, key=lambda point: point["nats_per_token"]) for draws in by_draw]


def _minima(learner: str, scale: Scale, points: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each budget: the mean of the minima of its draws."""
    for budget in scale.budgets:
        best = _best(learner, budget, points)
        losses = [point["nats_per_token"] for point in best]
        interval = mean_interval(losses)
        yield {
            "learner": learner,
            "compute": f"{budget.compute:.3g}",
            "weights": round(math.exp(sum(math.log(point["weights"]) for point in best) / len(best))),
            "tokens": round(sum(point["tokens"] for point in best) / len(best)),
            "draws": len(best),
            "nats_per_token": sum(losses) / len(losses),
            "nats_low": None if interval is None else interval[0],
            "nats_high": None if interval is None else interval[1],
            "losses": losses,
        }


def _fit(rows: list[dict[str, Any]], points: list[dict[str, Any]]) -> PowerLaw:
    """Through the minima of every draw."""
    pairs = [(float(row["compute"]), loss) for row in rows for loss in row["losses"]]
    return fit_power_law([compute for compute, _ in pairs], [loss for _, loss in pairs])


def _ranking(rows: list[dict[str, Any]], budget: Budget) -> list[str]:
    """The four orders by their mean loss at a budget, the lowest first."""
    here = {row["learner"]: row["nats_per_token"] for row in rows if row["compute"] == f"{budget.compute:.3g}"}
    return sorted(PERMUTATIONS, key=lambda order: here[order])


def plot(record: records.Record, path: Path) -> None:
    """Minima with their intervals and fits; beside them the loss against size at every budget."""
    titles = ["Lowest loss at each compute, and its power law", "The sweep behind it: loss against size"]
    with panels(path, titles, width=6.8, height=4.8) as (left, right):
        for index, learner in enumerate(LEARNERS):
            look: dict[str, Any] = {"color": COLOURS[index], "marker": MARKERS[index]}
            rows = [row for row in record.rows if row["learner"] == learner]
            x = [float(row["compute"]) for row in rows]
            y = [row["nats_per_token"] for row in rows]
            error = [0.0 if row["nats_low"] is None else row["nats_high"] - row["nats_per_token"] for row in rows]
            left.errorbar(x, y, yerr=error, linestyle="none", markersize=6, capsize=3, label=learner, **look)
            fit = PowerLaw(**record.details["fits"][learner])
            left.plot(x, [fit.loss(value) for value in x], color=COLOURS[index], linewidth=1.2)
            for compute in dict.fromkeys(x):
                mine = sorted(
                    (point["weights"], point["nats_per_token"])
                    for point in record.details["points"]
                    if (point["learner"], point["compute"], point["draw"]) == (learner, compute, 0)
                )
                right.plot([size for size, _ in mine], [loss for _, loss in mine], linewidth=1, markersize=4, **look)
        for axes, name in ((left, "compute"), (right, "weights")):
            ticks = sorted({point[name] for point in record.details["points"]})
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
            axes.minorticks_off()
        left.set_xlabel("compute 6 N D (floating-point operations)")
        left.set_ylabel("validation loss (nats per token)")
        left.legend(frameon=False, fontsize=9)
        right.set_xlabel("weights of the blocks, N (one line for each budget)")
        right.set_ylabel("validation loss (nats per token)")


EXPERIMENT = Experiment(name="figure2-scaling", scales=("smoke", "cpu", "rehearsal", "gpu"), run=run, plot=plot)
