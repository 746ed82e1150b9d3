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
gpu     9x9 grids and the published sizes (42M, 6M) and steps; compute for a few legs of 8 minutes
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
from anyorder.decoding.strategies import Strategy, strategies
from anyorder.evaluation.accuracy import PuzzleReport, solve_puzzles
from anyorder.evaluation.sequences import solve_sequences
from anyorder.experiments import records
from anyorder.experiments.contest import Comparison, Contest, Marks, Network, Way, plan, run_contest
from anyorder.planning.budgets import EntropyBelow, EntropyBound, Schedule
from anyorder.planning.orders import Entropy, Margin, Noisy, Order, Random, TopProbability
from anyorder.planning.remasking import MaskPredict
from anyorder.planning.samplers import Greedy, Temperature
from anyorder.tasks.sudoku import Box, Puzzles, generate
from anyorder.tasks.sudoku.symmetry import symmetry_keys
from anyorder.training import TrainSettings, load_settings

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Progress, Settings
    from anyorder.models.transformer import Transformer

UNORDERED, ORDERED, MASKED = "arm-fixed", "arm-solver", "mdm"
LABELS = {UNORDERED: "ARM, cell order", ORDERED: "ARM, solver's order", MASKED: "MDM"}
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
    "cpu": Size("sudoku-arm-6x6", "sudoku-mdm-6x6", 2e13, 20_000, 500, 100, 6, 20, 4),
    "gpu": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 2e16, 1_000_000, 2_000, 500, 6, 50, 8),
    "paper": Size("sudoku-arm-9x9", "sudoku-mdm-9x9", 0.0, 1_800_000, 100_000, 1_000, 20, 50, 8),
}


def run(name: str, grade: Grade, title: str, published: Mapping[str, float], settings: Settings, progress: Progress):
    """The record of one of the two tables; ``published`` holds the paper's shares by way."""
    size = SIZES[settings.scale]
    folder = settings.work / f"sudoku-contest-{settings.scale}-{settings.seed}"
    if settings.scale == "paper":
        networks = _networks(size, folder, settings)
        return plan(_contest(name, title, networks, published, size, None, grade, settings), settings)
    held_out = _puzzles(size, folder, progress)
    networks = _networks(size, folder, settings)
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
    ways = [
        *(_mdm_way(strategy, which, published, puzzles) for strategy, which in _strategies(size).items()),
        *(_arm_way(key, beams, published, puzzles) for key in (UNORDERED, ORDERED) for beams in (0, size.beams)),
    ]
    box = f"{networks[0].training.task.box_rows * networks[0].training.task.box_columns}"
    seen = networks[0].training.data.count
    count = 0 if puzzles is None else len(puzzles)
    first = f"{MASKED}: margin, one at a time"
    return Contest(
        name=name,
        title=f"{title}, {box}x{box} ({settings.scale})",
        networks=networks,
        ways=ways,
        comparisons=[
            Comparison("solver's order over cell order", f"{ORDERED}: greedy", f"{UNORDERED}: greedy"),
            Comparison("MDM with margin over ordered ARM", first, f"{ORDERED}: greedy"),
            Comparison("margin over top probability", first, f"{MASKED}: top probability, one at a time"),
            Comparison("margin over random order", first, f"{MASKED}: random, one at a time"),
            Comparison(
                "margin over top probability, as published",
                f"{MASKED}: margin, {size.steps} steps",
                f"{MASKED}: top probability, {size.steps} steps",
            ),
            Comparison("entropy-bounded over margin", f"{MASKED}: EB", first),
        ],
        data={"name": "none", "count": 0, "fingerprint": ""}
        if puzzles is None
        else records.data_facts(f"{count} generated {grade} puzzles, seed {HELD_OUT_SEED}", puzzles.puzzles),
        notes=[
            f"Equal training compute, on {seen:,} generated puzzles that the seven strategies finish; decoded are "
            f"{count:,} held-out {grade} ones. Published figures are for 9x9 grids, 42M (ARM) and 6M (MDM) weights and "
            "300 epochs. *Steps* is the published sampler: that many reverse steps, tokens drawn, 0.5 Gumbel noise "
            "annealed; *as coded*: mask-predict, arg-max tokens, the noise on the log of the score.",
        ],
        details={"parameter_ratio": networks[0].parameters / networks[2].parameters},
    )


def _strategies(size: Size) -> dict[str, Strategy]:
    """The ways of decoding the masked model, the headline first."""
    orders: dict[str, Order] = {"margin": Margin(), "top probability": TopProbability(), "entropy": Entropy()}
    logged: dict[str, Order] = {"margin": Margin(log=True), "top probability": TopProbability(log=True)}
    ways = {f"{name}, one at a time": Strategy(order, sampler=Greedy()) for name, order in orders.items()}
    ways["random, one at a time"] = strategies["random"]
    drawn = {"budget": Schedule(size.steps), "sampler": Temperature(1.0)}
    ways |= {
        f"{name}, {size.steps} steps": Strategy(Noisy(order, gumbel=0.5), **drawn) for name, order in orders.items()
    }
    ways[f"random, {size.steps} steps"] = Strategy(Random(), **drawn)
    ways |= {
        f"{name}, {size.steps} steps as coded": Strategy(Noisy(order, gumbel=0.5), remask=MaskPredict(size.steps))
        for name, order in logged.items()
    }
    ways["MED"] = Strategy(Entropy(), EntropyBelow(0.2, most=8))
    ways["EB"] = Strategy(Entropy(), EntropyBound(0.1))
    return ways


def _mdm_way(name: str, strategy: Strategy, published: Mapping[str, float], puzzles: Puzzles | None) -> Way:
    words = name.removesuffix(" as coded").rpartition(", ")
    told = published.get(f"{MASKED}: {words[0]}") if words[2].endswith("steps") else None
    solve = partial(_solve_grids, puzzles=puzzles, strategy=strategy)
    return Way(MASKED, name, solve, told, id=repr(strategy.as_text()))


def _arm_way(key: str, beams: int, published: Mapping[str, float], puzzles: Puzzles | None) -> Way:
    solve = partial(_solve_sequences, puzzles=puzzles, beams=beams)
    return Way(key, f"beam search, {beams}" if beams else "greedy", solve, None if beams else published.get(key))


def _solve_grids(model: Transformer, settings: Settings, *, puzzles: Puzzles, strategy: Strategy) -> Marks:
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


def _solve_sequences(model: Transformer, settings: Settings, *, puzzles: Puzzles, beams: int) -> Marks:
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


def _puzzles(size: Size, folder: Path, progress: Progress) -> dict[str, Puzzles]:
    """The held-out puzzles of both grades; made once with the training puzzles, none a symmetric copy of one."""
    paths = {name: folder / f"{name}.npz" for name in ("training", "held-out-logic", "held-out-hard")}
    if not all(path.exists() for path in paths.values()):
        folder.mkdir(parents=True, exist_ok=True)
        task = load_settings(size.mdm).task
        box = Box(task.box_rows, task.box_columns)
        training = generate(
            box,
            size.train,
            1,
            grade="logic",
            workers=os.cpu_count() or 1,
            progress=partial(progress, "training puzzles"),
        )
        known = symmetry_keys(box, training.puzzles)
        for grade in ("logic", "hard"):
            made = generate(box, 2 * size.held_out, HELD_OUT_SEED, grade=grade, distinct="symmetry")
            fresh = np.flatnonzero(~np.isin(symmetry_keys(box, made.puzzles), known))
            if len(fresh) < size.held_out:
                raise UserError(f"only {len(fresh)} of {2 * size.held_out} new {grade} puzzles are no copies")
            made.rows(fresh[: size.held_out]).save(paths[f"held-out-{grade}"])
        training.save(paths["training"])
    return {grade: Puzzles.load(paths[f"held-out-{grade}"]) for grade in ("logic", "hard")}
