"""Sudoku: autoregressive models without and with the solver's order against a masked diffusion model.

Tables 2 (puzzles that the seven strategies finish) and 5 (puzzles that they do not) share the networks, which are
trained on puzzles of the first kind only: the autoregressive ones write (row, column, value) triples, cells in cell
order or in the solver's, the masked diffusion model fills the grid. All see the same puzzles and get the same training
compute; the masked one has less than a third of the weights.

======  =============================================================================================
scale   what
======  =============================================================================================
smoke   6x6 grids, networks of a few thousand weights, a few steps: shows that everything works
cpu     6x6 grids, 0.45M against 0.1M weights, 20 reverse steps instead of 50 (a third of the blanks)
gpu     9x9 grids, the published sizes (42M, 6M) and reverse steps; compute for a few legs of 8 minutes, so optimiser,
        objective and positions of the cpu scale instead of the published ones, whose rates want 300 epochs
paper   the published training, 300 epochs of 1.8M puzzles: a plan, nothing is trained
======  =============================================================================================
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import Strategy
from anyorder.evaluation.accuracy import solve_puzzles
from anyorder.evaluation.sequences import solve_sequences
from anyorder.experiments import records
from anyorder.experiments.contest import NO_DATA, Comparison, Contest, Marks, Network, plan, run_contest
from anyorder.experiments.protocol import (
    ORDERED,
    SAMPLERS,
    UNORDERED,
    Size,
    arm_name,
    comparisons,
    followed,
    networks,
    rows_together,
    ways,
)
from anyorder.tasks.sudoku import Box, Puzzles, generate
from anyorder.tasks.sudoku.symmetry import puzzle_keys
from anyorder.training import load_settings

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Progress, Settings
    from anyorder.models.transformer import Transformer

HELD_OUT_SEED = 141_421
Grade = Literal["logic", "hard"]


RECIPES = ("sudoku-arm-6x6", "sudoku-mdm-6x6")
SIZES: Mapping[str, Size] = {
    "smoke": Size("sudoku-arm-6x6", "sudoku-mdm-6x6", 5e8, 64, 6, 4, 2, 8, 2),
    "cpu": Size("sudoku-arm-6x6", "sudoku-mdm-6x6", 3e13, 20_000, 500, 100, 6, 20, 4),
    "rehearsal": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 1e13, 1_000, 2, 2, 2, 50, 2, batch_size=2, recipes=RECIPES),
    "gpu": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 2e16, 1_000_000, 2_000, 500, 6, 50, 8, recipes=RECIPES),
    "paper": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 0.0, 1_800_000, 100_000, 1_000, 20, 50, 8),
}
SMALLEST: Mapping[str, Size] = {
    "smoke": Size("sudoku-arm-4x4", "sudoku-mdm-4x4", 5e8, 64, 6, 4, 2, 8, 2),
    "cpu": Size("sudoku-arm-4x4", "sudoku-mdm-4x4", 1.5e12, 20_000, 500, 64, 6, 8, 4),
}
"""4x4 grids: minutes instead of an hour. Few of their puzzles are no copies of each other, and none is hard."""


def run(
    name: str,
    grade: Grade,
    title: str,
    published: Mapping[str, float],
    settings: Settings,
    progress: Progress,
    sizes: Mapping[str, Size] = SIZES,
) -> records.Record:
    """The record of one of the tables; ``published`` holds the paper's shares by way."""
    size = sizes[settings.scale]
    folder = settings.work / f"sudoku-contest{'-4x4' * (sizes is SMALLEST)}-{settings.scale}-{settings.seed}"
    runs = networks(size, folder, settings, "held-out-logic.npz", grades=())
    if settings.scale == "paper":
        return plan(_contest(name, title, runs, published, size, {}, grade, settings), settings)
    held_out = _puzzles(size, folder, progress, ("logic", "hard") if sizes is SIZES else ("logic",))
    contest = _contest(name, title, runs, published, size, held_out, grade, settings)
    return run_contest(contest, folder, settings, progress)


def _contest(
    name: str,
    title: str,
    runs: Sequence[Network],
    published: Mapping[str, float],
    size: Size,
    held_out: Mapping[Grade, Puzzles],
    grade: Grade,
    settings: Settings,
) -> Contest:
    """What is trained, decoded and compared; along training, all are followed on puzzles of the trained grade."""
    puzzles = held_out.get(grade)
    few = held_out["logic"].rows(slice(size.followed)) if held_out else None
    box = f"{runs[0].training.task.box_rows * runs[0].training.task.box_columns}"
    seen = runs[0].training.data.count
    count = 0 if puzzles is None else len(puzzles)
    apart = runs[0].training.data.distinct == "symmetry"
    copies = (
        ", none a symmetric copy of a training puzzle"
        if apart
        else " (symmetric copies of training puzzles among them)"
    )
    return Contest(
        name=name,
        title=f"{title}, {box}x{box} ({settings.scale})",
        networks=runs,
        ways=ways(
            size,
            published,
            lambda strategy: partial(_fill, puzzles=puzzles, strategy=strategy),
            lambda beams: partial(_write, puzzles=puzzles, beams=beams),
        ),
        comparisons=[
            *comparisons(size.steps),
            Comparison(
                "solver's order over cell order, by beam search",
                f"{ORDERED}: {arm_name(size.beams)}",
                f"{UNORDERED}: {arm_name(size.beams)}",
            ),
        ],
        data=NO_DATA
        if puzzles is None
        else records.data_facts(f"{count} generated {grade} puzzles, seed {HELD_OUT_SEED}", puzzles.puzzles),
        notes=[
            f"Equal training compute, on {seen:,} generated puzzles that the seven strategies finish; decoded are "
            f"{count:,} held-out {grade} ones{copies}. Published figures are for 9x9 grids, 42M (ARM) and 6M (MDM) "
            f"weights and 300 epochs. {SAMPLERS}",
        ],
        details={
            "parameter_ratio": runs[0].parameters / runs[2].parameters,
            "followed_on": "held-out puzzles that logic finishes,",
        },
        followed=followed(
            size,
            lambda strategy: partial(_fill, puzzles=few, strategy=strategy),
            "" if few is None else records.data_facts("", few.puzzles)["fingerprint"],
        ),
    )


def _fill(model: Transformer, settings: Settings, *, puzzles: Puzzles | None, strategy: Strategy) -> Marks:
    assert puzzles is not None  # a plan decodes nothing
    made = solve_puzzles(
        model,
        puzzles.box,
        puzzles.puzzles,
        **strategy.parts(),
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=settings.device,
    )
    return Marks(made.solved, made.nfe)


def _write(model: Transformer, settings: Settings, *, puzzles: Puzzles | None, beams: int) -> Marks:
    assert puzzles is not None  # a plan decodes nothing
    made = solve_sequences(
        model,
        puzzles.box,
        puzzles.puzzles,
        beams=beams,
        batch_size=rows_together(settings, beams),
        device=settings.device,
    )
    return Marks(made.solved, made.nfe)


def _puzzles(size: Size, folder: Path, progress: Progress, grades: Sequence[Grade]) -> dict[Grade, Puzzles]:
    """The held-out puzzles of each grade; made once, with the training puzzles, none of them one of those.

    Nor are they symmetric copies of one, where the training configuration keeps its puzzles that far apart.
    """
    training = folder / "training.npz"
    paths: dict[Grade, Path] = {grade: folder / f"held-out-{grade}.npz" for grade in grades}
    if not all(path.exists() for path in (training, *paths.values())):
        folder.mkdir(parents=True, exist_ok=True)
        settings = load_settings(size.mdm)
        box, distinct = Box(settings.task.box_rows, settings.task.box_columns), settings.data.distinct
        workers, told = os.cpu_count() or 1, partial(progress, "training puzzles")
        known = generate(box, size.train, 1, grade="logic", distinct=distinct, workers=workers, progress=told)
        met = puzzle_keys(box, known.puzzles, distinct)
        for grade, path in paths.items():
            made = generate(box, 2 * size.held_out, HELD_OUT_SEED, grade=grade, distinct=distinct, workers=workers)
            fresh = np.flatnonzero(~np.isin(puzzle_keys(box, made.puzzles, distinct), met))
            if len(fresh) < size.held_out:
                raise UserError(
                    f"only {len(fresh)} of {2 * size.held_out} new {grade} puzzles are not training puzzles"
                )
            made.rows(fresh[: size.held_out]).save(path)
        known.save(training)
    return {grade: Puzzles.load(path) for grade, path in paths.items()}
