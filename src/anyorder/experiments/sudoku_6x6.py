"""The 6x6 model from scratch, and how far margin and random order lie apart while it learns.

A puzzle with one solution has, at every blank and whatever else is revealed, one digit that is right. A perfect model
is certain of it everywhere, so it would solve such puzzles in *any* order: the gap between margin and random order
measures what the model has not learned, and closes as it learns. It is followed along training on held-out puzzles.
"""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.experiments import comparison, records
from anyorder.experiments.experiment import Experiment, Progress, Settings, Unfinished
from anyorder.experiments.plots import Curve, shares_along
from anyorder.experiments.puzzles import PuzzleSet
from anyorder.tasks.sudoku import Puzzles, generate
from anyorder.tasks.sudoku.symmetry import symmetry_keys
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.journal import read_journal
from anyorder.training.kinds.sudoku import open_data, task_box

CONFIG = "sudoku-6x6"
HELD_OUT_SEED = 161_803
HELD_OUT = {"smoke": 8, "cpu": 2000, "gpu": 2000}
ALONG = {"smoke": 4, "cpu": 256, "gpu": 256}  # of those, decoded at each checkpoint along training
FOLLOWED = ("margin", "random")
FINAL = ("margin", "top-probability", "entropy", "left-to-right", "random")
POINTS = {"smoke": 4, "cpu": 12, "gpu": 12}  # evaluations along training
PERFECT = (
    "A perfect model would solve these puzzles, which have one solution each, in any order: at every blank one digit "
    "is certain whatever else is revealed. The gap is what the model has not learned."
)


def run(settings: Settings, progress: Progress) -> records.Record:
    """Train (or go on training), then decode the held-out puzzles under each order."""
    since = time.time()
    training = _scaled(load_settings(CONFIG), settings)
    folder = settings.work / f"experiment-{CONFIG}-{settings.scale}-{settings.seed}"
    held_out = _held_out(training, folder, HELD_OUT[settings.scale])
    rules = dataclasses.replace(
        training.evaluation,
        every_steps=max(1, training.steps // POINTS[settings.scale]),
        puzzles=ALONG[settings.scale],
        grades=(),
        strategies=FOLLOWED,
        paths={"held-out": str(folder / "held-out.npz")},
    )
    training = dataclasses.replace(training, evaluation=rules)
    result = train(training, folder, minutes=settings.minutes, show_progress=True)
    if result.model is None:
        raise Unfinished(f"stopped at step {result.step} of {training.steps}; the same command continues")
    puzzles = PuzzleSet(f"{len(held_out)} held-out 6x6 puzzles", held_out.box, held_out.puzzles, held_out.solutions)
    outcomes = list(
        comparison.compare(
            result.model,
            puzzles,
            [comparison.Contender(name, strategies[name]) for name in FINAL],
            seed=settings.seed,
            batch_size=settings.batch_size,
            device=settings.device,
            progress=progress,
        )
    )
    journal = list(read_journal(folder / "log.jsonl"))
    seconds = max(entry["seconds"] for entry in journal if entry["kind"] == "end")
    margin, random = (comparison.summary(outcomes[FINAL.index(name)].report) for name in FOLLOWED)
    return records.Record(
        name="sudoku-6x6",
        scale=settings.scale,
        title=f"6x6 Sudoku from scratch: {training.steps:,} steps in {seconds / 60:.1f} minutes of training",
        summary={
            **margin,
            "random": random,
            "disjoint_intervals": margin["interval"][0] > random["interval"][1],
            "training_seconds": seconds,
        },
        columns=comparison.COLUMNS,
        rows=comparison.rows(outcomes, puzzles),
        notes=[PERFECT],
        details={"along_training": _along(journal), "training": training.to_dict()},
        run=records.run_facts(
            seed=training.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(f"generated 6x6 puzzles, seed {HELD_OUT_SEED}", held_out.puzzles),
            model=records.model_facts(CONFIG, result.model),
        ),
    )


def plot(record: records.Record, path: Path) -> None:
    """Both orders along training."""
    along = record.details["along_training"]
    curves = []
    for name in FOLLOWED:
        rows = [row for row in along if row["strategy"] == name]
        low, high = zip(*(row["interval"] for row in rows), strict=True)
        curves.append(Curve(name, [row["step"] for row in rows], [row["solved_share"] for row in rows], low, high))
    shares_along(curves, path, title="6x6 Sudoku: the gap between orders along training", xlabel="training steps")


def _scaled(training: TrainSettings, settings: Settings) -> TrainSettings:
    training = dataclasses.replace(training, seed=settings.seed)
    if settings.scale != "smoke":
        return training
    data = dataclasses.replace(training.data, count=256)
    schedule = dataclasses.replace(training.schedule, warmup_steps=2)
    return dataclasses.replace(training, steps=8, batch_size=16, data=data, schedule=schedule)


def _held_out(training: TrainSettings, folder: Path, count: int) -> Puzzles:
    """New puzzles, none of them a training puzzle or a symmetric copy of one; kept in the run's folder."""
    path = folder / "held-out.npz"
    if path.exists():
        return Puzzles.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    box = task_box(training.task)
    made = generate(box, 2 * count, HELD_OUT_SEED, grade=training.data.grade)
    known = symmetry_keys(box, open_data(training, folder).set.puzzles)
    fresh = np.flatnonzero(~np.isin(symmetry_keys(box, made.puzzles), known))
    if len(fresh) < count:
        raise UserError(f"only {len(fresh)} of {2 * count} new puzzles are no copies of training puzzles")
    held_out = made.rows(fresh[:count])
    held_out.save(path)
    return held_out


def _along(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("step", "examples", "strategy", "solved_share", "interval", "count")
    return [{key: entry[key] for key in keys} for entry in journal if entry["kind"] == "evaluation"]


EXPERIMENT = Experiment(name="sudoku-6x6", scales=("smoke", "cpu", "gpu"), run=run, plot=plot)
