"""Generative perplexity and entropy against the number of steps, under random and adaptive orders.

One masked diffusion model of text is sampled with T reverse steps, each of which reveals a share of the positions and
draws their tokens from the model's law (temperature 1). The order says which positions: a random set, the highest top
probability, the largest margin, the margin with Gaussian noise. MED reveals, by entropy, what lies below a limit, and
takes as many steps as it takes. A separate autoregressive model judges the samples.

A perplexity can be had for nothing by repeating what is likely, so it is read beside the token entropy of the samples:
an order is better where it lowers the first at an equal second. The figure's lower panel is that entropy, with the
entropy of the held-out text as its mark.

Two things pull against each other. An adaptive order avoids the places that the model has not learned to fill; but
with several places a step it likes to take neighbours together, and their tokens are then drawn independently. How
often that happens is recorded beside the perplexity.

Expected counts (rounded so that nothing is lost) and binomial ones (the reverse process itself) are both run for random
and margin order; they should agree within their intervals.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 4.2, figure 3 and appendix D.1.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.core.randomness import row_seeds
from anyorder.decoding import decode
from anyorder.evaluation.batching import batches
from anyorder.evaluation.generation import AutoregressiveJudge, Samples, token_entropy
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS, MARKERS
from anyorder.experiments.text_runs import Clock, Corpus, open_corpus, text_settings, trained
from anyorder.planning.budgets import EntropyBelow, Schedule
from anyorder.planning.orders import Entropy, Margin, Noisy, Random, TopProbability
from anyorder.planning.samplers import Temperature
from anyorder.tasks.text.data import TextData
from anyorder.tasks.text.shards import TokenSet

if TYPE_CHECKING:
    from anyorder.evaluation.generation import Judged
    from anyorder.models.transformer import Transformer
    from anyorder.planning.budgets import Budget
    from anyorder.planning.orders import Order

NOISE = 0.5
COLUMNS = (
    "order",
    "counts",
    "setting",
    "evaluations",
    "perplexity",
    "low",
    "high",
    "entropy_nats",
    "entropy_nats_error",
    "neighbours_at_once_share",
)


@dataclass(frozen=True)
class Scale:
    """Sizes of one scale: tokens, network, training steps of model and judge, samples, and what is swept."""

    vocab_size: int | None
    length: int
    model: dict[str, Any]
    batch_size: int
    steps: int
    judge_steps: int
    samples: int
    reverse_steps: tuple[int, ...]
    limits: tuple[float, ...]
    block: int = 1 << 14

    @property
    def optimizer(self) -> dict[str, Any]:
        return {"adamw": {"rate": 3e-3, "beta1": 0.9, "beta2": 0.95}, "muon": {"rate": 0.02}}


def _network(layers: int, width: int, heads: int) -> dict[str, Any]:
    return {
        "layers": layers,
        "width": width,
        "heads": heads,
        "mlp_width": 4 * width,
        "activation": "relu-squared",
        "positions": "rotary",
    }


SCALES = {
    "smoke": Scale(None, 32, _network(1, 32, 2), 8, 24, 24, 8, (4, 32), (1.0,), block=1024),
    "cpu": Scale(1024, 128, _network(4, 128, 4), 32, 2000, 700, 64, (8, 16, 32, 64, 128), (0.2, 1.0, 2.0, 3.0, 4.0)),
    "rehearsal": Scale(4096, 256, _network(8, 512, 8), 4, 40, 40, 4, (16,), (1.0,)),
    "gpu": Scale(
        4096, 256, _network(8, 512, 8), 128, 3000, 1000, 512, (16, 32, 64, 128, 256), (0.2, 0.5, 1.0, 2.0, 3.0)
    ),
}


@dataclass(frozen=True)
class Run:
    """One point of the figure: an order with its counts, at a number of steps (or, for MED, a limit)."""

    order: str
    counts: str
    setting: float
    parts: tuple[Order, Budget]

    @property
    def name(self) -> str:
        return f"{self.order.replace(' ', '-').replace('+', 'with')}-{self.counts}-{self.setting:g}"


def runs(scale: Scale) -> Iterator[Run]:
    """Every point of a scale."""
    orders: dict[str, Order] = {
        "random": Random(),
        "top probability": TopProbability(),
        "margin": Margin(),
        "margin + noise": Noisy(Margin(), gaussian=NOISE, anneal=True),
        "top probability + noise": Noisy(TopProbability(), gaussian=NOISE, anneal=True),
    }
    for steps in scale.reverse_steps:
        for name, order in orders.items():
            yield Run(name, "expected", steps, (order, Schedule(steps)))
        for name in ("random", "margin"):
            yield Run(name, "binomial", steps, (orders[name], Schedule(steps, rounding="binomial")))
    for limit in scale.limits:
        yield Run("MED", "entropy", limit, (Entropy(), EntropyBelow(limit, most=max(1, scale.length // 8))))


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train model and judge (or go on training), then sample and judge point by point."""
    since, clock, scale = time.time(), Clock(settings.minutes), SCALES[settings.scale]
    if settings.seed < 0:
        raise UserError(f"the seed must not be negative, not {settings.seed}")
    corpus = open_corpus(settings, vocab_size=scale.vocab_size, block=scale.block)
    plans = {name: _training(scale, corpus, settings, judge=name == "judge") for name in ("judge", "model")}
    folder = folder_of(settings, "figure3", {name: plan.to_dict() for name, plan in plans.items()})
    judge_model, judge_loss = trained(plans["judge"], folder / "judge", clock)
    model, loss = trained(plans["model"], folder / "model", clock)
    judge_model, model = judge_model.to(settings.device), model.to(settings.device)
    judge = AutoregressiveJudge(
        judge_model, corpus.tokenizer, corpus.index.tokenizer, name="autoregressive, trained here", context=scale.length
    )
    real = _real_text(corpus, scale, judge)
    everything = list(runs(scale))
    legs = [Leg(one.name, partial(_point, model, judge, corpus, scale, one, settings)) for one in everything]
    left = dataclasses.replace(settings, minutes=clock.minutes)
    points = run_legs(legs, folder / f"points-{scale.samples}", left, progress, "points")
    rows = [_row(one, points[one.name]) for one in everything]
    agreement = _agreement(rows)
    return records.Record(
        name="figure3",
        scale=settings.scale,
        title=f"Generative perplexity and entropy against steps: {scale.samples} samples of {scale.length} tokens",
        summary={
            "adaptive_below_random": _wins(rows),
            "expected_and_binomial": agreement,
            "held_out": real,
            "model_nats_per_token": loss["nats_per_token"],
            "judge_nats_per_token": judge_loss["nats_per_token"],
        },
        columns=COLUMNS,
        rows=rows,
        notes=_notes(scale, real, rows, agreement),
        details={
            "samples": {one.name: points[one.name]["example"] for one in everything},
            **{name: plan.to_dict() for name, plan in plans.items()},
        },
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=corpus.facts,
            model=records.model_facts("text model of figure 3", model),
        ),
    )


def _training(scale: Scale, corpus: Corpus, settings: Settings, *, judge: bool) -> Any:
    steps = scale.judge_steps if judge else scale.steps
    return text_settings(
        "figure3-judge" if judge else "figure3-model",
        corpus,
        length=scale.length,
        model=scale.model,
        steps=steps,
        batch_size=scale.batch_size,
        order="left-to-right" if judge else None,
        seed=settings.seed + (1_000_000 if judge else 0),
        optimizer=scale.optimizer,
        schedule={"shape": "flat-then-linear", "warmup_steps": max(1, min(70, steps // 4)), "decay_share": 0.5},
        precision=settings.precision,
        ema=0.99,
        evaluation={"every_steps": max(1, steps // 4), "sequences": 8 if settings.scale == "smoke" else 128},
        checkpoint={"every_minutes": 2},
        log_every_steps=max(1, steps // 40),
    )


def _point(
    model: Transformer, judge: AutoregressiveJudge, corpus: Corpus, scale: Scale, one: Run, settings: Settings
) -> dict[str, Any]:
    """Sample, judge, measure. Every sample counts. Points of one seed share their random numbers."""
    seeds = row_seeds(settings.seed, scale.samples, settings.device)
    order, budget = one.parts
    tokens, evaluations, together = [], [], []
    for rows in batches(scale.samples, settings.batch_size):
        blank = torch.full((rows.stop - rows.start, scale.length), model.mask_token_id, device=settings.device)
        canvas = Canvas(blank, torch.ones_like(blank, dtype=torch.bool))
        result = decode(model, canvas, order=order, budget=budget, sampler=Temperature(1.0), seed=seeds[rows])
        tokens.append(result.tokens.cpu())
        evaluations.append(result.nfe.cpu())
        together.append((result.step_of[:, 1:] == result.step_of[:, :-1]).double().mean(1).cpu())
    samples = Samples(torch.cat(tokens), corpus.tokenizer, corpus.index.tokenizer)
    return {
        **_figures(judge(samples), samples),
        "evaluations": float(torch.cat(evaluations).double().mean()),
        "neighbours_at_once_share": float(torch.cat(together).mean()),
        "example": samples.texts[0],
    }


def _figures(judged: Judged, samples: Samples) -> dict[str, float]:
    low, high = judged.interval()
    entropy = token_entropy(samples.tokens)
    return {
        "perplexity": judged.perplexity,
        "low": low,
        "high": high,
        "entropy_nats": float(entropy.mean()),
        "entropy_nats_error": float(entropy.std() / len(entropy) ** 0.5),
    }


def _real_text(corpus: Corpus, scale: Scale, judge: AutoregressiveJudge) -> dict[str, float]:
    """The same figures for held-out text: what perfect samples would show."""
    tokens = TextData(TokenSet(corpus.folder, "validation"), scale.length).evenly(max(2, scale.samples)).tokens
    samples = Samples(tokens, corpus.tokenizer, corpus.index.tokenizer)
    return _figures(judge(samples), samples)


def _row(one: Run, point: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in point.items() if name != "example"}
    return {"order": one.order, "counts": one.counts, "setting": one.setting, **kept}


def _agreement(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Of the pairs of expected and binomial counts: each within the other's interval, and intervals that overlap."""
    held = {(row["order"], row["counts"], row["setting"]): row for row in rows}
    found = {"pairs": 0, "within": 0, "overlap": 0}
    for (order, counts, setting), one in held.items():
        if counts == "binomial":
            two = held[order, "expected", setting]
            found["pairs"] += 1
            inside = [a["low"] <= b["perplexity"] <= a["high"] for a, b in ((one, two), (two, one))]
            found["within"] += all(inside)
            found["overlap"] += one["low"] <= two["high"] and two["low"] <= one["high"]
    return found


def _wins(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For each adaptive order: at how many numbers of steps its perplexity is below random order's, and at how many
    of them the entropy is comparable (at least 95 % of random order's)."""
    plain = {row["setting"]: row for row in rows if row["order"] == "random" and row["counts"] == "expected"}
    found: dict[str, Any] = {}
    for name in ("top probability", "margin", "margin + noise", "top probability + noise"):
        mine = [row for row in rows if row["order"] == name and row["counts"] == "expected"]
        lower = [row for row in mine if row["high"] < plain[row["setting"]]["low"]]
        even = [row for row in lower if row["entropy_nats"] >= 0.95 * plain[row["setting"]]["entropy_nats"]]
        found[name] = {"points": len(mine), "lower": len(lower), "lower_at_comparable_entropy": len(even)}
    return found


def _notes(scale: Scale, real: dict[str, float], rows: list[dict[str, Any]], agreement: dict[str, Any]) -> list[str]:
    return [
        "Perplexity is token-weighted over all samples, with its 95 % interval; entropy is the mean over samples of "
        "-sum p log p of their tokens, in nats. Held-out text has perplexity "
        f"{real['perplexity']:.1f} [{real['low']:.1f}, {real['high']:.1f}] and entropy {real['entropy_nats']:.2f}.",
        f"Tokens are drawn at temperature 1. The noise is Gaussian of standard deviation {NOISE}, annealed to zero. "
        f"MED reveals at most {max(1, scale.length // 8)} positions a step; its setting is the entropy limit in nats.",
        "Neighbours at once: the share of adjacent positions decided in one step. Their tokens are drawn without "
        "knowing each other, and no tokens depend on each other more; an order that is sure of a place is often sure "
        "of the one beside it. Noise in the order spreads the places out.",
        f"Expected and binomial counts: of {agreement['pairs']} pairs {agreement['within']} lie within each other's "
        f"interval and {agreement['overlap']} have intervals that overlap.",
        "Published (LLM judge, a model of 1.1 B weights): adaptive order lowers generative perplexity at every number "
        "of steps, at an entropy that stays comparable.",
    ]


def plot(record: records.Record, path: Path) -> None:
    """Perplexity above, entropy below, against evaluations."""
    names = list(dict.fromkeys((row["order"], row["counts"]) for row in record.rows))
    titles = ["Generative perplexity of samples of one text model", "Token entropy of the same samples"]
    with panels(path, titles, columns=1, width=8.4, height=3.7) as (upper, lower):
        for index, (order, counts) in enumerate(names):
            rows = sorted(
                (row for row in record.rows if (row["order"], row["counts"]) == (order, counts)),
                key=lambda row: row["evaluations"],
            )
            x = [row["evaluations"] for row in rows]
            look: dict[str, Any] = {
                "color": COLOURS[index % len(COLOURS)],
                "marker": MARKERS[index % len(MARKERS)],
                "linestyle": "--" if counts == "binomial" else "-",
                "markersize": 5,
                "linewidth": 1.3,
                "capsize": 2,
                "label": order if counts != "binomial" else f"{order}, binomial counts",
            }
            middle = [row["perplexity"] for row in rows]
            below = [row["perplexity"] - row["low"] for row in rows]
            above = [row["high"] - row["perplexity"] for row in rows]
            upper.errorbar(x, middle, yerr=[below, above], **look)
            error = [1.96 * row["entropy_nats_error"] for row in rows]
            lower.errorbar(x, [row["entropy_nats"] for row in rows], yerr=error, **look)
        real = record.summary["held_out"]
        upper.axhline(real["perplexity"], color="#555555", linewidth=1, linestyle=":", label="held-out text")
        lower.axhline(real["entropy_nats"], color="#555555", linewidth=1, linestyle=":", label="held-out text")
        for axes in (upper, lower):
            axes.set_xscale("log", base=2)
        upper.set_yscale("log")
        upper.set_ylabel("generative perplexity")
        lower.set_ylabel("token entropy (nats)")
        lower.set_xlabel("network evaluations per sample")
        upper.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))


EXPERIMENT = Experiment(name="figure3", scales=("smoke", "cpu", "rehearsal", "gpu"), run=run, plot=plot)
