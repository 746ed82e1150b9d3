"""NAE-SAT generated from nothing: vanilla against margin, with the exact posterior beside (table 1 of the paper).

For each size a model is trained on fresh sequences. Along its training it generates sequences at temperature 1 in a
fixed number of reverse steps, in random order (vanilla) and by margin, both from the same seeds; the figure is the
share of observation tokens that agree with the latents generated with them. At the end the exact posterior generates in
the same way, one position at a time and in the same parallel steps:

    100 % - exact in parallel steps:  what deciding several positions at once loses,
    exact in parallel steps - model:  what learning has not learned.

Where 2^N settings are too many to enumerate, belief propagation stands for the exact posterior (and its own error
counts as well). A second table has the other families of L&O distributions at small N.

The scales: ``smoke`` one tiny size. ``cpu`` the five published sizes at a fifth of their length (N and P divided by 5),
which keeps P/N and lets the posterior be enumerated, with a small model. ``gpu`` the published sizes, 300 tokens padded
to 512, 19M weights.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), table 1.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyorder.core.memory import reuse_large_blocks
from anyorder.evaluation.latents import generate
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings, Unfinished
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS
from anyorder.tasks.latents import BeliefDenoiser, ExactPosterior, LatentLaw
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.journal import read_journal
from anyorder.training.kinds.latents import LatentsTask, make_law

ORDERS = ("random", "margin")
WORDS = {"random": "vanilla", "margin": "margin"}
PUBLISHED = {  # (N, P): vanilla, margin, in per cent
    (25, 275): (78.06, 93.76),
    (30, 270): (75.70, 93.54),
    (40, 260): (74.60, 92.21),
    (50, 250): (67.94, 90.01),
    (100, 200): (62.84, 88.91),
}
ENUMERATED = 1 << 14  # settings up to which the reference is enumerated


@dataclass(frozen=True)
class Plan:
    """What a scale does.

    Attributes:
        config: of the trainings. tasks: the laws of the table. others: those of the second table, trained as
            ``latents-small``.
        samples: sequences of a final figure. along: sequences at each of ``points`` points along training.
        parallel: reverse steps. reference: sequences that the reference generates.
        steps, batch_size: of training; None as the configuration has it.
    """

    config: str
    tasks: tuple[LatentsTask, ...]
    others: tuple[LatentsTask, ...]
    samples: int
    along: int
    points: int
    parallel: int
    reference: int
    steps: int | None = None
    batch_size: int | None = None


def _sizes(divisor: int, padding_to: int = 0) -> tuple[LatentsTask, ...]:
    sizes = [(n // divisor, p // divisor) for n, p in PUBLISHED]
    pads = [max(0, padding_to - n - p) for n, p in sizes]
    return tuple(LatentsTask(latents=n, observations=p, padding=q) for (n, p), q in zip(sizes, pads, strict=True))


OTHERS = (
    LatentsTask(family="parity", latents=8, observations=32, k=2, noise=0.05),
    LatentsTask(family="slab", latents=8, observations=32),
    LatentsTask(family="all-subsets", latents=7, observations=0, k=2, values=3),
    LatentsTask(family="one-way", latents=8, observations=32, k=5),
    LatentsTask(family="colouring", latents=8, observations=32, k=2, values=3),
)
PLANS = {
    "smoke": Plan(
        "latents-small",
        (LatentsTask(latents=5, observations=15),),
        (LatentsTask(family="parity", latents=4, observations=8, k=2, noise=0.05),),
        samples=8, along=4, points=2, parallel=6, reference=8, steps=4,
    ),
    "cpu": Plan("latents-medium", _sizes(5), OTHERS, samples=500, along=128, points=6, parallel=30, reference=128),
    "rehearsal": Plan(
        "latents-19m", _sizes(1, 512)[:1], (), samples=2, along=2, points=1, parallel=8, reference=2, steps=200,
        batch_size=2,
    ),
    "gpu": Plan("latents-19m", _sizes(1, 512), OTHERS, samples=2000, along=500, points=10, parallel=50, reference=200),
}  # fmt: skip


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train every size, generate along the way and at the end, then the references."""
    since = time.time()
    reuse_large_blocks()
    plan = PLANS[settings.scale]
    training, small = (
        load_settings(name).shortened(plan.steps, plan.batch_size) for name in (plan.config, "latents-small")
    )
    facts = {"plan": dataclasses.asdict(plan), "training": training.to_dict(), "others": small.to_dict()}
    folder = folder_of(settings, "table1", facts)
    deadline = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    tasks = [*plan.tasks, *plan.others]
    legs = []
    for task in tasks:
        legs.append(Leg(_key(task) + "-reference", partial(_reference, task, plan, settings)))
        recipe = training if task in plan.tasks else small
        legs.append(Leg(_key(task), partial(_model, task, plan, recipe, folder, settings, deadline)))
    done = run_legs(legs, folder, settings, progress, "sizes trained and compared")
    rows, along = [], {}
    for task in tasks:
        law = make_law(task)
        learned, reference = done[_key(task)], done[_key(task) + "-reference"]
        rows += _rows(task, law, learned, reference, plan, published=task in plan.tasks)
        along[law.name] = learned["along"]
    gaps: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["gap"] is not None and row["training_steps"] is not None:
            gaps.setdefault(row["law"], {})[str(row["steps"])] = row["gap"]
    widest = {
        name: max(
            (at["margin"] - at["random"] for at in _paired(points)), default=None
        )
        for name, points in along.items()
    }  # fmt: skip
    return records.Record(
        name="table1",
        scale=settings.scale,
        title=f"L&O distributions generated from nothing in {plan.parallel} steps, temperature 1",
        summary={"gap": gaps, "widest_gap_along_training": widest},
        columns=[
            "law",
            "denoiser",
            "order",
            "steps",
            "agreement_share",
            "interval",
            "gap",
            "distinct_share",
            "latent_entropy",
            "training_steps",
            "published",
        ],
        rows=rows,
        notes=_notes(plan, training, settings),
        details={"along_training": along, **facts},
        run=records.run_facts(seed=settings.seed, device=settings.device, since=since),
    )


def _key(task: LatentsTask) -> str:
    return f"{task.family}-{task.latents}-{task.observations}"


# ---------------------------------------------------------------- legs


def _model(
    task: LatentsTask, plan: Plan, training: TrainSettings, folder: Path, settings: Settings, deadline: float | None
) -> dict[str, Any]:
    """Train on one law, and generate with what was learned."""
    law = make_law(task)
    rules = dataclasses.replace(
        training.evaluation,
        every_steps=max(1, training.steps // plan.points),
        samples=plan.along,
        steps=plan.parallel,
        orders=ORDERS,
        seed=settings.seed + 1,
    )
    this = dataclasses.replace(training, name=_key(task), task=task, evaluation=rules, seed=settings.seed)
    left = None if deadline is None else max(0.01, (deadline - time.monotonic()) / 60)
    # the record states how long the last process took
    result = train(this, folder / f"run-{_key(task)}", minutes=left, show_progress=False)
    if result.model is None:
        raise Unfinished(f"{law.name}: step {result.step} of {this.steps}; the same command continues")
    journal = list(read_journal(folder / f"run-{_key(task)}" / "log.jsonl"))
    ends = [entry for entry in journal if entry["kind"] == "end"]
    final = {
        (order, count): generate(
            result.model, law, plan.samples, order, count,
            seed=settings.seed, batch_size=settings.batch_size, device=settings.device,
        ).summary()
        for order in ORDERS for count in (plan.parallel, None)
    }  # fmt: skip
    keys = ("step", "strategy", "agreement_share", "interval", "count", "distinct_share", "latent_entropy")
    return {
        "parameters": sum(parameter.numel() for parameter in result.model.parameters()),
        "steps": this.steps,
        "examples": this.steps * this.batch_size,
        "seconds": ends[-1]["seconds"],
        "final": [{"order": order, "steps": count, **found} for (order, count), found in final.items()],
        "along": [{key: entry[key] for key in keys} for entry in journal if entry["kind"] == "evaluation"],
        "fingerprint": records.model_facts(_key(task), result.model)["fingerprint"],
    }


def _reference(task: LatentsTask, plan: Plan, settings: Settings) -> list[dict[str, Any]]:
    """What the exact posterior (or belief propagation) generates in the same way."""
    law = make_law(task)
    exact = law.values**law.latents <= ENUMERATED
    denoiser = ExactPosterior(law, strict=False) if exact else BeliefDenoiser(law)
    found = []
    for order in ORDERS:
        for count in (plan.parallel, None):
            made = generate(denoiser, law, plan.reference, order, count, seed=settings.seed, batch_size=64)
            found.append({"order": order, "steps": count, "exact": exact, **made.summary()})
    return found


# ---------------------------------------------------------------- the record


def _rows(
    task: LatentsTask,
    law: LatentLaw,
    learned: dict[str, Any],
    reference: list[dict[str, Any]],
    plan: Plan,
    *,
    published: bool,
) -> list[dict[str, Any]]:
    rows = []
    names = {True: "exact posterior", False: "belief propagation"}
    scale = _published_of(task, plan) if published else None
    for found in [*learned["final"], *reference]:
        is_model = "exact" not in found
        twin = _twin(found, learned["final"] if is_model else reference)
        index = ORDERS.index(found["order"])
        rows.append(
            {
                "law": law.name,
                "denoiser": f"model ({learned['parameters'] / 1e6:.2f} M)" if is_model else names[found["exact"]],
                **found,
                "order": WORDS[found["order"]],
                "steps": found["steps"] or "one by one",
                "gap": found["agreement_share"] - twin["agreement_share"] if found["order"] == "margin" else None,
                "published": scale[index] if scale and is_model and found["steps"] is not None else None,
                "training_steps": learned["steps"] if is_model else None,
                "training_seconds": learned["seconds"] if is_model else None,
            }
        )
    return rows


def _twin(found: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The same in random order."""
    return next(row for row in rows if row["order"] == "random" and row["steps"] == found["steps"])


def _published_of(task: LatentsTask, plan: Plan) -> tuple[float, float] | None:
    """The published figures of the size that this one stands for."""
    place = plan.tasks.index(task)
    return list(PUBLISHED.values())[place] if len(plan.tasks) == len(PUBLISHED) else None


def _paired(points: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Agreement of both orders at each step along training."""
    steps = sorted({point["step"] for point in points})
    return [
        {point["strategy"]: point["agreement_share"] for point in points if point["step"] == step} for step in steps
    ]


def _notes(plan: Plan, training: TrainSettings, settings: Settings) -> list[str]:
    notes = [
        f"Models: {training.steps:,} steps of {training.batch_size} fresh sequences; {plan.samples:,} sequences "
        f"generated at temperature 1 for each figure, {plan.reference:,} by the references, in {plan.parallel} reverse "
        "steps or one position at a time. Intervals are over sequences. Agreement: share of observation tokens that "
        "fit the latents generated with them; of observations drawn at random 62.5 % would. Distinct share and entropy "
        "(at most 0.693 nats for two values, 1.099 for three) say how diverse the latents are.",
    ]
    if plan.config != "latents-small":
        notes.append("The other families are of small N, and their models are those of `latents-small`.")
    if settings.scale == "cpu":
        notes.append("Sizes are a fifth of the published ones, whose figures stand beside; the models are smaller.")
    return notes


def plot(record: records.Record, path: Path) -> None:
    """Both orders along training, a panel for each law."""
    along = record.details["along_training"]
    with panels(path, list(along), columns=min(5, len(along)), width=3.4, height=3.1) as axes:
        for one, (name, points) in zip(axes, along.items(), strict=True):
            for order, colour in zip(ORDERS, COLOURS, strict=False):
                rows = [point for point in points if point["strategy"] == order]
                steps = [row["step"] for row in rows]
                one.plot(
                    steps,
                    [100 * row["agreement_share"] for row in rows],
                    "o-",
                    color=colour,
                    markersize=3.5,
                    label=WORDS[order],
                )
                low, high = ([100 * row["interval"][end] for row in rows] for end in (0, 1))
                one.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                parallel = [
                    row
                    for row in record.rows
                    if row["law"] == name and not row["denoiser"].startswith("model") and row["order"] == WORDS[order]
                ]
                for row in parallel:
                    if row["steps"] != "one by one":
                        share = 100 * row["agreement_share"]
                        label = f"{row['denoiser']}, same steps, {row['order']}"
                        one.axhline(share, color=colour, linestyle="--", linewidth=1, label=label)
            one.set_xlabel("training steps", fontsize=8)
            one.set_ylabel("agreement (%)", fontsize=8)
            one.set_title(name, loc="left", fontsize=8.5, fontweight="bold")
            one.tick_params(labelsize=7)
        # Where curves that rise leave room.
        axes[0].legend(frameon=False, fontsize=6, loc="lower right")


EXPERIMENT = Experiment(name="table1", scales=("smoke", "cpu", "rehearsal", "gpu"), run=run, plot=plot)
