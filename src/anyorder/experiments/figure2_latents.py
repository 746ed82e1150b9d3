"""Where a model of NAE-SAT errs: latents against observations, at every masking level, against the exact posterior.

For each number l of masked latents (and l P/N masked observations) the model's conditionals are held against the exact
posterior on fresh sequences: error = KL(exact || model) in nats, which is 0 for the best model there is
(`evaluation.latents`). Beside it stands the entropy of the exact conditionals, which no model can remove. The paper has
a longer-trained model in the place of the exact posterior, and finds the same imbalance: latents, which must be
inferred, are learned worse than observations.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), figure 2 (right) and section 3.3.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.core.memory import reuse_large_blocks
from anyorder.evaluation.latents import LevelError, level_error
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings, Unfinished
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.latents import ExactPosterior
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.kinds.latents import LatentsTask, make_law


@dataclass(frozen=True)
class Plan:
    """What a scale does: the law, the training, the masking levels, and how many sequences measure each."""

    config: str
    task: LatentsTask
    levels: tuple[int, ...]
    sequences: int
    steps: int | None = None
    batch_size: int | None = None


PLANS = {
    "smoke": Plan("latents-small", LatentsTask(latents=4, observations=12), (1, 2, 4), sequences=32, steps=4),
    "cpu": Plan(
        "latents-small", LatentsTask(latents=8, observations=52), tuple(range(1, 9)), sequences=500, steps=2000
    ),
    "rehearsal": Plan(
        "latents-19m", LatentsTask(latents=20, observations=280, padding=212), (1,), sequences=2, steps=20, batch_size=2
    ),
    "gpu": Plan(
        "latents-19m", LatentsTask(latents=20, observations=280, padding=212), tuple(range(1, 21)), sequences=500
    ),
}


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train, then measure every level."""
    since = time.time()
    reuse_large_blocks()
    plan = PLANS[settings.scale]
    training = load_settings(plan.config).shortened(plan.steps, plan.batch_size)
    facts = {"plan": dataclasses.asdict(plan), "training": training.to_dict()}
    folder = folder_of(settings, "figure2-latents", facts)
    law = make_law(plan.task)
    learned = _train(plan, training, folder, settings)
    legs = [Leg(f"level-{hidden}", partial(_level, plan, learned, hidden, settings)) for hidden in plan.levels]
    done = list(run_legs(legs, folder, settings, progress, "masking levels").values())
    rows = [{key: level[key] for key in level if key not in ("error", "entropy")} for level in done]
    worse = sum(row["latent"] > row["observation"] for row in rows)
    model = from_pretrained(str(learned), device=settings.device)
    return records.Record(
        name="figure2-latents",
        scale=settings.scale,
        title=f"Error against the exact posterior, {law.name}",
        summary={
            "levels": len(rows),
            "levels_where_latents_err_more": worse,
            "ratio_with_one_latent_masked": _ratio(rows),
        },
        columns=list(rows[0]),
        rows=rows,
        notes=[
            f"Mean KL(exact || model) in nats per masked position, over {plan.sequences:,} sequences with a mask each; "
            f"the model has {sum(p.numel() for p in model.parameters()):,} weights and was trained for "
            f"{training.steps:,} steps of {training.batch_size} fresh sequences. Entropies are those of the exact "
            "conditionals: what no model can remove. *Latent error* and *observation error* are standard errors of the "
            "two means."
        ],
        details={"per_position": {str(level["hidden"]): level["error"] for level in done}, **facts},
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            model=records.model_facts(training.name, model),
        ),
    )


def _train(plan: Plan, training: TrainSettings, folder: Path, settings: Settings) -> Path:
    """The folder of the trained model."""
    rules = dataclasses.replace(training.evaluation, samples=0)
    this = dataclasses.replace(training, name="figure2-latents", task=plan.task, evaluation=rules, seed=settings.seed)
    result = train(this, folder / "run", minutes=settings.minutes, show_progress=True)
    if result.model_folder is None:
        raise Unfinished(f"stopped at step {result.step} of {this.steps}; the same command continues")
    return result.model_folder


def _level(plan: Plan, learned: Path, hidden: int, settings: Settings) -> dict[str, Any]:
    law = make_law(plan.task)
    if hidden > law.latents:
        raise UserError(f"{law.name} has no {hidden} latents to mask")
    found = level_error(
        from_pretrained(str(learned), device=settings.device),
        ExactPosterior(law, device=settings.device),
        hidden,
        plan.sequences,
        seed=settings.seed,
        device=settings.device,
    )
    return _plain(found)


def _plain(level: LevelError) -> dict[str, Any]:
    """JSON data; a position that no mask hit is None."""
    values = dataclasses.asdict(level)
    for name in ("error", "entropy"):
        values[name] = [None if value != value else float(value) for value in values[name]]
    return values


def _ratio(rows: list[dict[str, Any]]) -> float | None:
    """Error of latents over that of observations at the lowest level, where a single latent is masked."""
    least = min(rows, key=lambda row: row["hidden"])
    return least["latent"] / least["observation"] if least["observation"] > 0 else None


def plot(record: records.Record, path: Path) -> None:
    """Errors of both kinds against the masking level, and the error at every position."""
    rows = record.rows
    hidden = [row["hidden"] for row in rows]
    latents = record.details["plan"]["task"]["latents"]
    with panels(path, [record.title, "The same at every position (latents first)"], width=6.2, height=4.2) as axes:
        for kind, colour, marker in (("latent", COLOURS[1], "s"), ("observation", COLOURS[0], "o")):
            axes[0].errorbar(
                hidden,
                [row[kind] for row in rows],
                yerr=[1.96 * row[f"{kind}_error"] for row in rows],
                fmt=marker + "-",
                color=colour,
                markersize=5,
                capsize=3,
                label=f"{kind}s: error of the model",
            )
            axes[0].plot(
                hidden,
                [row[f"{kind}_entropy"] for row in rows],
                ":",
                color=colour,
                label=f"{kind}s: entropy of the exact conditional",
            )
        axes[0].set_xlabel("masked latents l (and l P/N masked observations)")
        axes[0].set_ylabel("nats per masked position")
        axes[0].set_yscale("symlog", linthresh=1e-3)
        axes[0].set_ylim(bottom=0)
        axes[0].legend(frameon=False, fontsize=8)
        per_position = record.details["per_position"]
        chosen = [level for level in per_position if int(level) in (hidden[0], hidden[len(hidden) // 2], hidden[-1])]
        for level, colour in zip(chosen, COLOURS[2:], strict=False):
            axes[1].plot(per_position[level], ".", color=colour, markersize=4, label=f"l = {level}")
        axes[1].axvline(latents - 0.5, color=COLOURS[6], linewidth=1)
        axes[1].set_xlabel("position: latents left of the line, observations right of it")
        axes[1].set_ylabel("KL(exact || model), nats")
        axes[1].legend(frameon=False, fontsize=8)


EXPERIMENT = Experiment(name="figure2-latents", scales=("smoke", "cpu", "rehearsal", "gpu"), run=run, plot=plot)
