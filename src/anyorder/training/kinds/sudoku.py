"""Training on Sudoku: data built once from the settings, kept in the run's directory, told apart by fingerprint.

Generated puzzles are a function of the settings alone, so a run directory that lost its data file makes the same again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import PuzzleReport, solve_puzzles
from anyorder.tasks.sudoku import Box, Puzzles, SudokuData, generate
from anyorder.tasks.sudoku.generator import Grade
from anyorder.tasks.sudoku.reveal import reveal_order
from anyorder.tasks.sudoku.symmetry import puzzle_keys
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import (
    HeldOutSet,
    check_evaluation,
    describe_puzzles,
    kept,
    strategy_parts,
)
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.models.transformer import Transformer
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class SudokuTask:
    """Grids of ``box_rows`` x ``box_columns`` boxes; n = their product digits."""

    name: Literal["sudoku"] = "sudoku"
    box_rows: int = 3
    box_columns: int = 3

    def __post_init__(self) -> None:
        require(self.box_rows >= 1 and self.box_columns >= 1, "task.box_rows and box_columns must be at least 1")
        require(2 <= self.size <= 36, f"task: a {self.box_rows}x{self.box_columns} box gives {self.size} digits")

    @property
    def size(self) -> int:
        """Digits, rows and columns of the grid."""
        return self.box_rows * self.box_columns

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return self.size**2


@dataclass(frozen=True)
class SudokuSource:
    """Where the training puzzles come from: generated from ``seed``, or read from ``path``.

    Attributes:
        count: base puzzles to generate (before augmentation).
        seed: seed of the generator; held-out puzzles come from another (``evaluation.seed``).
        grade: grade of the generated puzzles: "logic" (the seven strategies finish), "hard" (they do not), "any".
        hard: share of hard puzzles, the others logic; null leaves the mixture to ``grade``.
        distinct: "symmetry" makes no symmetric copy of another puzzle, "puzzle" only no equal one (small boxes have
            few puzzles up to symmetry). Held-out puzzles keep the same distance from the training puzzles.
        path: a data file (.npz, or a table or text with solutions) to use instead of generating.
        augment: draw a random symmetry of the puzzle each time it is used.
        limit: use only this many of the puzzles.
    """

    count: int = 60_000
    seed: int = 0
    grade: Literal["any", "logic", "hard"] = "any"
    hard: float | None = None
    distinct: Literal["symmetry", "puzzle"] = "symmetry"
    path: str | None = None
    augment: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        require(self.count >= 1, "data.count must be at least 1")
        require(self.seed >= 0, "data.seed must not be negative")
        require(self.limit is None or self.limit >= 1, "data.limit must be at least 1")
        require(self.hard is None or 0 < self.hard < 1, "data.hard must lie between 0 and 1 (or use data.grade)")
        require(self.hard is None or self.grade == "any", "data.hard needs grade: any")


@dataclass(frozen=True)
class SudokuEvaluation:
    """Decoding of held-out puzzles during training: ``puzzles`` of each grade, under each strategy.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        puzzles: held-out puzzles of each grade; 0 for no evaluation at all.
        grades: the grades, evaluated apart ("any": whatever the generator makes).
        strategies: names of ``anyorder.strategies``.
        seed: of the held-out puzzles.
        paths: files of held-out puzzles by name, evaluated as well (the first ``puzzles`` of each).
        batch_size: rows decoded together.
    """

    every_steps: int | None = 500
    puzzles: int = 128
    grades: tuple[Literal["logic", "hard", "any"], ...] = ("logic", "hard")
    strategies: tuple[str, ...] = ("margin", "random")
    seed: int = 1_000_003
    paths: dict[str, str] = field(default_factory=dict)
    batch_size: int = 128

    def __post_init__(self) -> None:
        check_evaluation(self, "puzzles", "strategies")


def task_box(task: SudokuTask) -> Box:
    """The box shape of a Sudoku task."""
    return Box(task.box_rows, task.box_columns)


def task_facts(task: SudokuTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    return {"name": task.name, "box_rows": task.box_rows, "box_columns": task.box_columns}


def task_shape(task: SudokuTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``: token id = digit, 0 = blank = mask."""
    box = task_box(task)
    grid = {"rows": box.size, "columns": box.size, "box_rows": box.box_rows, "box_columns": box.box_columns}
    return {"vocab_size": box.size + 1, "mask_token_id": 0, "length": box.cells, "grid": grid}


def open_data(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None) -> SudokuData:
    """The training data: read from ``data.path``, or generated and kept as ``data.npz`` in ``run_dir``.

    ``progress`` is called with (puzzles made, count) while generating.

    Raises:
        UserError: a file that cannot be read or is of another box shape.
    """
    box = task_box(settings.task)
    path = settings.data.path
    puzzles = read_puzzle_set(path, box) if path else _generated(settings, run_dir, progress)
    if settings.data.limit is not None:
        puzzles = puzzles.rows(slice(settings.data.limit))
    data = SudokuData(puzzles.puzzles, puzzles.solutions, box, augment=settings.data.augment)
    return data.ordered_by(reveal_order(box, data.set)) if settings.objective.ordered else data


def read_puzzle_set(path: str, box: Box) -> Puzzles:
    """The puzzles of a file (.npz, .csv or text) with their solutions. Raises ``UserError`` where they do not fit."""
    if not Path(path).exists():
        raise UserError(f"no such data file: {path}")
    if path.endswith(".npz"):
        puzzles = Puzzles.load(path)
    else:
        from anyorder.tasks.sudoku.formats import read_puzzles

        file = read_puzzles(path, box)
        if file.solutions is None:
            raise UserError(f"{path} has no solutions to learn from")
        puzzles = Puzzles(box, file.puzzles, file.solutions, origin=path)
    if puzzles.box != box:
        raise UserError(f"{path} holds {puzzles.box.name} puzzles, not {box.name}")
    return puzzles


def held_out(settings: TrainSettings, grade: Grade, data: SudokuData, run_dir: Path) -> Puzzles:
    """Generated puzzles of a grade, ``evaluation.puzzles`` less those met in training; kept in ``run_dir``.

    What counts as met is ``data.distinct``: symmetric copies of training puzzles, or equal puzzles alone.
    """
    rules, distinct = settings.evaluation, settings.data.distinct
    path = run_dir / f"heldout-{grade}-{rules.seed}-{rules.puzzles}.npz"
    wanted = dataclasses.replace(settings.data, count=rules.puzzles, seed=rules.seed, grade=grade, hard=None)
    box = task_box(settings.task)

    def make() -> Puzzles:
        made = _make(box, wanted)
        met = puzzle_keys(box, data.set.puzzles, distinct)
        return made.rows(~np.isin(puzzle_keys(box, made.puzzles, distinct), met))

    return kept(path, f"{_origin(settings.task, wanted)}, not in {data.fingerprint}", Puzzles.load, make, "made anew")


def _generated(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None) -> Puzzles:
    make = partial(_make, task_box(settings.task), settings.data, progress)
    return kept(run_dir / "data.npz", _origin(settings.task, settings.data), Puzzles.load, make, "refused")


def _make(box: Box, data: SudokuSource, progress: Callable[[int, int], None] | None = None) -> Puzzles:
    kind: dict[str, Any] = {"distinct": data.distinct, "workers": os.cpu_count() or 1, "progress": progress}
    if data.hard is None:
        return generate(box, data.count, data.seed, grade=data.grade, **kind)
    hard = round(data.count * data.hard)
    # Puzzles of different grades are never copies of each other; of another seed, they share no grid either.
    parts = (
        generate(box, data.count - hard, data.seed, grade="logic", **kind),
        generate(box, hard, data.seed + 1, grade="hard", **kind),
    )
    return Puzzles(box, *(np.concatenate([getattr(part, name) for part in parts]) for name in ("puzzles", "solutions")))


def _origin(task: SudokuTask, data: SudokuSource) -> str:
    mixture = f"grade {data.grade}" if data.hard is None else f"{data.hard:g} of them hard"
    kind = f"count {data.count}, seed {data.seed}, {mixture}"
    copies = ", symmetric copies among them" if data.distinct == "puzzle" else ""
    return f"{task.box_rows}x{task.box_columns} boxes, {kind}{copies}"


def held_out_sets(settings: TrainSettings, run_dir: Path, data: SudokuData) -> dict[str, Puzzles]:
    """The held-out puzzles of a run by name: of every grade, and of every file.

    Raises:
        UserError: a file that cannot be read or that is named like a grade.
    """
    rules = settings.evaluation
    sets: dict[str, Puzzles] = {grade: held_out(settings, grade, data, run_dir) for grade in rules.grades}
    for name, path in rules.paths.items():
        require(name not in sets, f"evaluation.paths: {name!r} is the name of a grade; choose another")
        sets[name] = read_puzzle_set(path, task_box(settings.task)).rows(slice(rules.puzzles))
    return {name: puzzles for name, puzzles in sets.items() if len(puzzles)}


def open_evaluation(settings: TrainSettings, run_dir: Path, data: SudokuData) -> list[HeldOutSet[Puzzles]]:
    """The held-out sets of a run under each strategy.

    Raises:
        UserError: an unknown strategy, or as of `held_out_sets`.
    """
    rules: SudokuEvaluation = settings.evaluation
    chosen = strategy_parts(rules.strategies)
    if not rules.puzzles or not chosen:
        return []

    def answer(model: Transformer, puzzles: Puzzles, device: torch.device, parts: dict[str, Any]) -> PuzzleReport:
        return solve_puzzles(
            model,
            puzzles.box,
            puzzles.puzzles,
            puzzles.solutions,
            **parts,
            seed=rules.seed,
            batch_size=rules.batch_size,
            device=device,
        )

    ways = {name: partial(answer, parts=parts) for name, parts in chosen.items()}
    return [HeldOutSet(name, puzzles, ways) for name, puzzles in held_out_sets(settings, run_dir, data).items()]


KIND = Kind(
    name="sudoku",
    task=SudokuTask,
    data=SudokuSource,
    evaluation=SudokuEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe_puzzles,
    drawn=("augment",),
)
