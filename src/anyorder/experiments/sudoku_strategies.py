"""The named strategies on one puzzle file: which order, how many at once, at what cost.

The puzzles are decoded in a fixed shuffled order, so that a strategy given fewer of them still meets every level of the
file, and every difference is taken puzzle by puzzle on those that both strategies decoded.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.experiments import comparison, records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.plots import Point, accuracy_against_evaluations
from anyorder.experiments.puzzles import PuzzleSet, read
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.sudoku import Box, generate

FILE = "radcliffe_2500.csv"
SEED = 314_159  # of the smoke puzzles and of the shuffle; no training set uses it
FIRST = ("margin", "med")  # decoded on every puzzle; the other strategies on the first OTHERS
OTHERS = {"smoke": 8, "cpu": 500, "gpu": None}


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode the file under every named strategy."""
    since = time.time()
    puzzles = _puzzles(settings)
    model = from_pretrained(settings.model, device=settings.device)
    contenders = [comparison.Contender(name, strategies[name]) for name in FIRST]
    for name, strategy in strategies.items():
        if name not in FIRST and not strategy.holes:
            contenders.append(comparison.Contender(name, strategy, OTHERS[settings.scale]))
    outcomes = list(
        comparison.compare(
            model,
            puzzles,
            contenders,
            seed=settings.seed,
            batch_size=settings.batch_size,
            device=settings.device,
            progress=progress,
        )
    )
    rows = comparison.rows(outcomes, puzzles)
    summary = comparison.summary(outcomes[0].report)
    groups = comparison.groups(outcomes[0].report, puzzles.logic)
    return records.Record(
        name="sudoku-strategies",
        scale=settings.scale,
        title=f"{len(contenders)} strategies on {puzzles.name} ({settings.model})",
        summary=summary | {name: groups[name] for name in groups if name != "all"},
        columns=["strategy", "group", *comparison.COLUMNS[1:]],
        rows=rows,
        notes=[
            f"Differences are to {FIRST[0]}, puzzle by puzzle. "
            "*Logic-solvable* puzzles are those that the seven strategies finish without guessing."
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(puzzles.name, puzzles.puzzles),
            model=records.model_facts(settings.model, model),
        ),
    )


def plot(record: records.Record, path: Path) -> None:
    """Accuracy against evaluations, all puzzles together."""
    rows = [row for row in record.rows if row["group"] == comparison.GROUPS["all"]]
    points = [Point(row["strategy"], row["nfe_mean"], row["solved_share"], *row["interval"]) for row in rows]
    accuracy_against_evaluations(points, path, title=record.title)


def _puzzles(settings: Settings) -> PuzzleSet:
    if settings.scale == "smoke" and settings.data is None:
        made = generate(Box(3, 3), 12, SEED, grade="any")
        return PuzzleSet(f"12 generated puzzles, seed {SEED}", made.box, made.puzzles, made.solutions).graded()
    path = settings.data_path("a puzzle file, or a folder that holds sudoku/" + FILE)
    if path.is_dir():
        path = path / "sudoku" / FILE
        if not path.is_file():
            raise UserError(f"no such puzzle file: {path}")
    shuffled = read(path, grade=False).shuffled(np.random.default_rng(SEED))
    return shuffled.first(12 if settings.scale == "smoke" else None).graded()


EXPERIMENT = Experiment(name="sudoku-strategies", scales=("smoke", "cpu", "gpu"), run=run, plot=plot)
