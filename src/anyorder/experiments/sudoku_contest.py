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
gpu     9x9 grids, the published sizes (42M, 6M) and reverse steps; compute for a few legs of 8 minutes, so Muon at a
        flat rate instead of the published optimiser, whose rates want 300 epochs
paper   the published training, 300 epochs of 1.8M puzzles: a plan, nothing is trained
======  =============================================================================================
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import Strategy
from anyorder.evaluation.accuracy import PuzzleReport, solve_puzzles
from anyorder.evaluation.sequences import solve_sequences
from anyorder.experiments import records
from anyorder.experiments.contest import Comparison, Contest, Marks, Network, Way, plan, run_contest
from anyorder.experiments.protocol import (
    LABELS,
    MASKED,
    ORDERED,
    UNORDERED,
    comparisons,
    decoders,
    published_share,
    short_recipe,
)
from anyorder.tasks.sudoku import Box, Puzzles, generate
from anyorder.tasks.sudoku.symmetry import symmetry_keys
from anyorder.training import TrainSettings, load_settings

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Progress, Settings
    from anyorder.models.transformer import Transformer

HELD_OUT_SEED = 141_421
Grade = Literal["logic", "hard"]


@dataclass(frozen=True)
class Size:
    """What a scale means.

    Attributes:
        arm, mdm: shipped training configurations.
        compute: operations of training, of each network.
        train: training puzzles.
        held_out: puzzles of each grade that are decoded, and of those the ones followed along training.
        followed: see ``held_out``.
        points: evaluations along training.
        steps: reverse steps of the published sampler.
        beams: of beam search.
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


SIZES: Mapping[str, Size] = {
    "smoke": Size("sudoku-arm-6x6", "sudoku-mdm-6x6", 5e8, 64, 6, 4, 2, 8, 2),
    "cpu": Size("sudoku-arm-6x6", "sudoku-mdm-6x6", 3e13, 20_000, 500, 100, 6, 20, 4),
    "gpu": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 2e16, 1_000_000, 2_000, 500, 6, 50, 8),
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
    networks = _networks(size, folder, settings)
    if settings.scale == "paper":
        return plan(_contest(name, title, networks, published, size, None, grade, settings), settings)
    held_out = _puzzles(size, folder, progress, ("logic", "hard") if sizes is SIZES else ("logic",))
    contest = _contest(name, title, networks, published, size, held_out[grade], grade, settings)
    return run_contest(contest, folder, settings, progress)


def _contest(
    name: str,
    title: str,
    networks: Sequence[Network],
    published: Mapping[str, float],
    size: Size,
    puzzles: Puzzles | None,
    grade: Grade,
    settings: Settings,
) -> Contest:
    """What is trained, decoded and compared."""
    ways = [
        *(_mdm_way(strategy, which, published, puzzles) for strategy, which in decoders(size.steps).items()),
        *(_arm_way(key, beams, published, puzzles) for key in (UNORDERED, ORDERED) for beams in (0, size.beams)),
    ]
    box = f"{networks[0].training.task.box_rows * networks[0].training.task.box_columns}"
    seen = networks[0].training.data.count
    count = 0 if puzzles is None else len(puzzles)
    apart = networks[0].training.data.distinct == "symmetry"
    copies = (
        ", none a symmetric copy of a training puzzle"
        if apart
        else " (symmetric copies of training puzzles among them)"
    )
    return Contest(
        name=name,
        title=f"{title}, {box}x{box} ({settings.scale})",
        networks=networks,
        ways=ways,
        comparisons=[
            *comparisons(size.steps),
            Comparison(
                "solver's order over cell order, by beam search",
                f"{ORDERED}: {_arm_name(size.beams)}",
                f"{UNORDERED}: {_arm_name(size.beams)}",
            ),
        ],
        data={"name": "none", "count": 0, "fingerprint": ""}
        if puzzles is None
        else records.data_facts(f"{count} generated {grade} puzzles, seed {HELD_OUT_SEED}", puzzles.puzzles),
        notes=[
            f"Equal training compute, on {seen:,} generated puzzles that the seven strategies finish; decoded are "
            f"{count:,} held-out {grade} ones{copies}. Published figures are for 9x9 grids, 42M (ARM) and 6M (MDM) "
            "weights and 300 epochs. *Steps* is the published sampler: that many reverse steps, tokens drawn, 0.5 "
            "Gumbel noise annealed; *as coded*: mask-predict, arg-max tokens, the noise on the log of the score.",
        ],
        details={"parameter_ratio": networks[0].parameters / networks[2].parameters},
    )


def _mdm_way(name: str, strategy: Strategy, published: Mapping[str, float], puzzles: Puzzles | None) -> Way:
    solve = partial(_solve_grids, puzzles=puzzles, strategy=strategy)
    return Way(MASKED, name, solve, published_share(name, published), id=repr(strategy.as_text()))


def _arm_way(key: str, beams: int, published: Mapping[str, float], puzzles: Puzzles | None) -> Way:
    solve = partial(_solve_sequences, puzzles=puzzles, beams=beams)
    return Way(key, _arm_name(beams), solve, None if beams else published.get(key))


def _arm_name(beams: int) -> str:
    return f"beam search, {beams}" if beams else "greedy"


def _solve_grids(model: Transformer, settings: Settings, *, puzzles: Puzzles | None, strategy: Strategy) -> Marks:
    assert puzzles is not None
    made = solve_puzzles(
        model,
        puzzles.box,
        puzzles.puzzles,
        **strategy.parts(),
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=settings.device,
    )
    return _marks(made)


def _solve_sequences(model: Transformer, settings: Settings, *, puzzles: Puzzles | None, beams: int) -> Marks:
    assert puzzles is not None
    batch_size = max(1, settings.batch_size // max(1, beams))
    made = solve_sequences(
        model, puzzles.box, puzzles.puzzles, beams=beams, batch_size=batch_size, device=settings.device
    )
    return _marks(made)


def _marks(report: PuzzleReport) -> Marks:
    return Marks(report.solved, report.nfe)


def _networks(size: Size, folder: Path, settings: Settings) -> list[Network]:
    """The three runs, unordered and ordered ARM and MDM, at equal compute (as published at the paper's scale)."""
    arm, mdm = load_settings(size.arm), load_settings(size.mdm)
    fixed = dataclasses.replace(arm, task=dataclasses.replace(arm.task, order="fixed"))
    networks = []
    for key, training in ((UNORDERED, fixed), (ORDERED, arm), (MASKED, mdm)):
        training = dataclasses.replace(training, name=key, seed=settings.seed)
        if settings.scale == "smoke":
            training = _small(training)
        if settings.scale == "gpu":
            training = short_recipe(training)
        network = Network(key, LABELS[key], training)
        if settings.scale != "paper":
            network = network.at_compute(size.compute)
            network = dataclasses.replace(network, training=_judged(network.training, size, folder, settings))
        networks.append(network)
    return networks


def _small(training: TrainSettings) -> TrainSettings:
    model: dict[str, Any] = {**training.model, "layers": 1, "width": 16, "mlp_width": 16}
    schedule = dataclasses.replace(training.schedule, warmup_steps=1)
    return dataclasses.replace(training, model=model, batch_size=4, schedule=schedule)


def _judged(training: TrainSettings, size: Size, folder: Path, settings: Settings) -> TrainSettings:
    """The run on the contest's puzzles, followed on held-out ones."""
    rules = dataclasses.replace(
        training.evaluation,
        every_steps=-(-training.steps // size.points),
        puzzles=size.followed,
        grades=(),
        paths={"held-out": str(folder / "held-out-logic.npz")},
        batch_size=settings.batch_size,
    )
    data = dataclasses.replace(training.data, path=str(folder / "training.npz"), count=size.train)
    warmup = min(training.schedule.warmup_steps, training.steps // 10)
    schedule = dataclasses.replace(training.schedule, warmup_steps=warmup)
    return dataclasses.replace(training, evaluation=rules, data=data, schedule=schedule)


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
        met = set(_names(box, known, distinct))
        for grade, path in paths.items():
            made = generate(box, 2 * size.held_out, HELD_OUT_SEED, grade=grade, distinct=distinct, workers=workers)
            fresh = np.flatnonzero([name not in met for name in _names(box, made, distinct)])
            if len(fresh) < size.held_out:
                raise UserError(
                    f"only {len(fresh)} of {2 * size.held_out} new {grade} puzzles are not training puzzles"
                )
            made.rows(fresh[: size.held_out]).save(path)
        known.save(training)
    return {grade: Puzzles.load(path) for grade, path in paths.items()}


def _names(box: Box, puzzles: Puzzles, distinct: str) -> list[Any]:
    """What tells puzzles apart."""
    if distinct == "symmetry":
        return symmetry_keys(box, puzzles.puzzles).tolist()
    return [puzzle.tobytes() for puzzle in puzzles.puzzles]
