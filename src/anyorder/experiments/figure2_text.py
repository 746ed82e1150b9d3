"""How well one masked diffusion model predicts text along different orders, place by place.

A model trained on all masks at once is asked to fill held-out text along the identity, along orders a few random
transpositions away from it (sqrt(L), L / 10), and along uniformly random orders. A perfect model has the same total
along every order, the entropy of the text (chain rule). What differs is what the model has *not* learned: along the
identity everything to the left is there, and the model has learned to use it; along a uniform order the first places
see scattered tokens, from which hardly anything can be told by a model of this size.

Sequences and places are the same for all orders, so the differences are paired.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.3 and figure 2 (right).
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.evaluation.accuracy import paired_bootstrap
from anyorder.evaluation.order_losses import losses_at, places_in_strata
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS, MARKERS
from anyorder.experiments.text_runs import Clock, Corpus, open_corpus, text_settings, trained
from anyorder.tasks.text.data import TextData
from anyorder.tasks.text.permutations import PERMUTATIONS, make_permutation, transpositions
from anyorder.tasks.text.shards import TokenSet

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer
    from anyorder.training import TrainSettings


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale: sequence length, network, training, and how many sequences, strata and draws are measured."""

    length: int
    layers: int
    width: int
    heads: int
    steps: int
    batch_size: int
    sequences: int
    strata: int
    draws: int
    block: int = 1 << 14


SCALES = {
    "smoke": Scale(144, 1, 32, 2, 16, 4, 4, 4, 2, block=1152),
    "cpu": Scale(1024, 3, 128, 4, 2700, 4, 96, 16, 3),
    "rehearsal": Scale(2048, 8, 512, 8, 24, 1, 2, 4, 2),
    "gpu": Scale(2048, 8, 512, 8, 4000, 32, 256, 32, 3),
}


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train the model (or go on training), then measure order by order."""
    since, clock, scale = time.time(), Clock(settings.minutes), SCALES[settings.scale]
    corpus = open_corpus(settings, vocab_size=None, block=scale.block)
    plan = _training(scale, corpus, settings)
    folder = folder_of(settings, "figure2-text", plan.to_dict())
    model, loss = trained(plan, folder / "model", clock)
    model = model.to(settings.device)
    tokens = TextData(TokenSet(corpus.folder, "validation"), scale.length).evenly(scale.sequences).tokens
    tokens = tokens.to(settings.device)
    generator = torch.Generator().manual_seed(settings.seed)
    places = places_in_strata(scale.length, scale.strata, len(tokens), generator)
    draws = {order: 1 if order == "identity" else scale.draws for order in PERMUTATIONS}
    size = max(1, min(settings.batch_size, 2**16 // scale.length))
    legs = [
        Leg(f"{order}-{draw}", partial(_losses, model, tokens, order, draw, places, size))
        for order in PERMUTATIONS
        for draw in range(draws[order])
    ]
    left = dataclasses.replace(settings, minutes=clock.minutes)
    found = run_legs(legs, folder / f"losses-{len(tokens)}-{scale.strata}", left, progress, "orders")
    losses = {
        order: np.mean([found[f"{order}-{draw}"] for draw in range(draws[order])], axis=0) for order in PERMUTATIONS
    }  # (sequences, strata), the mean over the draws of the order
    rows = [_row(order, losses, draws[order], scale) for order in PERMUTATIONS]
    ranking = sorted(PERMUTATIONS, key=lambda order: float(losses[order].mean()))
    return records.Record(
        name="figure2-text",
        scale=settings.scale,
        title=f"Loss of one masked diffusion model along four orders, {scale.length} bytes of text",
        summary={
            "ranking": ranking,
            "published_ranking": list(PERMUTATIONS),
            "as_published": ranking == list(PERMUTATIONS),
            "bound_nats_per_token": loss["nats_per_token"],
        },
        columns=[
            "order",
            "transpositions",
            "draws",
            "nats_per_token",
            "nats_low",
            "nats_high",
            "nats_above",
            "nats_error",
        ],
        rows=rows,
        notes=[
            f"Nats per byte over {len(tokens)} held-out sequences, {scale.strata} places of each, the same for every "
            "order; nats above is the paired difference to the order before, nats error half its 95 % interval.",
            "Ranking found: " + " < ".join(ranking) + "; published: " + " < ".join(PERMUTATIONS) + ".",
            f"The bound of the same model, its mean over all orders, is {loss['nats_per_token']:.3f} nats per byte.",
        ],
        details={
            "by_place": {
                order: {
                    "place": ((np.arange(scale.strata) + 0.5) * scale.length / scale.strata).tolist(),
                    "nats": values.mean(0).tolist(),
                    "error": (values.std(0, ddof=1) / len(values) ** 0.5).tolist(),
                }
                for order, values in losses.items()
            },
            "training": plan.to_dict(),
        },
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=corpus.facts,
            model=records.model_facts("text model of figure 2", model),
        ),
    )


def _training(scale: Scale, corpus: Corpus, settings: Settings) -> TrainSettings:
    return text_settings(
        "figure2-text",
        corpus,
        length=scale.length,
        model={
            "layers": scale.layers,
            "width": scale.width,
            "heads": scale.heads,
            "mlp_width": 4 * scale.width,
            "activation": "relu-squared",
            "positions": "rotary",
        },
        steps=scale.steps,
        batch_size=scale.batch_size,
        seed=settings.seed,
        optimizer={"adamw": {"rate": 3e-3, "beta1": 0.9, "beta2": 0.95}, "muon": {"rate": 0.02}},
        schedule={"shape": "flat-then-linear", "warmup_steps": max(1, scale.steps // 20), "decay_share": 0.5},
        precision=settings.precision,
        ema=0.99,
        evaluation={
            "every_steps": max(1, scale.steps // 4),
            "sequences": scale.sequences,
            "draws": 8,
            "batch_size": 4,
        },
        checkpoint={"every_minutes": 2},
        log_every_steps=max(1, scale.steps // 40),
    )


def _losses(
    model: Transformer, tokens: torch.Tensor, order: str, draw: int, places: torch.Tensor, size: int
) -> list[list[float]]:
    pi = make_permutation(order, tokens.shape[1], draw)
    return losses_at(model, tokens, pi, places, batch_size=size).tolist()


def _row(order: str, losses: dict[str, np.ndarray], draws: int, scale: Scale) -> dict[str, Any]:
    """Mean loss of an order with its interval over sequences, and the paired difference to the order before."""
    mine = losses[order].mean(1)
    half = 1.96 * float(mine.std(ddof=1)) / len(mine) ** 0.5
    row: dict[str, Any] = {
        "order": order,
        "transpositions": transpositions(order, scale.length) if order != "uniform" else None,
        "draws": draws,
        "nats_per_token": float(mine.mean()),
        "nats_low": float(mine.mean()) - half,
        "nats_high": float(mine.mean()) + half,
    }
    place = PERMUTATIONS.index(order)
    if place:
        before = losses[PERMUTATIONS[place - 1]].mean(1)
        difference = paired_bootstrap(mine, before, np.random.default_rng(0))
        row |= {"nats_above": difference.mean, "nats_error": (difference.high - difference.low) / 2}
    return row


def plot(record: records.Record, path: Path) -> None:
    """Loss by place, and the mean of each order."""
    with panels(
        path, ["One masked diffusion model along four orders", "Mean over all places"], width=6.4, height=4.2
    ) as (left, right):
        for index, (order, values) in enumerate(record.details["by_place"].items()):
            left.errorbar(
                values["place"],
                values["nats"],
                yerr=values["error"],
                color=COLOURS[index],
                marker=MARKERS[index],
                markersize=4,
                linewidth=1.3,
                capsize=2,
                label=order,
            )
        left.set_xlabel("place in the order (bytes known before it)")
        left.set_ylabel("nats per byte (standard errors)")
        left.legend(frameon=False, fontsize=9)
        for index, row in enumerate(record.rows):
            error = [[row["nats_per_token"] - row["nats_low"]], [row["nats_high"] - row["nats_per_token"]]]
            right.errorbar(
                index, row["nats_per_token"], yerr=error, fmt=MARKERS[index], color=COLOURS[index], capsize=3
            )
        right.axhline(record.summary["bound_nats_per_token"], color="#555555", linewidth=1, linestyle=":")
        right.annotate(
            "bound: mean over all orders",
            (0, record.summary["bound_nats_per_token"]),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=8,
        )
        right.set_xticks(range(len(record.rows)), [row["order"] for row in record.rows])
        right.set_ylabel("nats per byte (95 % intervals)")


EXPERIMENT = Experiment(name="figure2-text", scales=("smoke", "cpu", "rehearsal", "gpu"), run=run, plot=plot)
