"""The data of a run: built once from its settings, kept in the run's directory, told apart by fingerprint.

Generated puzzles are a function of the settings alone, so a run directory that lost its data file makes the same again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, Puzzles, SudokuData, generate
from anyorder.tasks.sudoku.generator import Grade
from anyorder.tasks.sudoku.symmetry import symmetry_keys
from anyorder.training.settings import DataSettings, TaskSettings, TrainSettings


def task_box(task: TaskSettings) -> Box:
    """The box shape of a Sudoku task."""
    return Box(task.box_rows, task.box_columns)


def task_facts(task: TaskSettings) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    return {"name": task.name, "box_rows": task.box_rows, "box_columns": task.box_columns}


def task_shape(task: TaskSettings) -> dict[str, Any]:
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
    return SudokuData(puzzles.puzzles, puzzles.solutions, box, augment=settings.data.augment)


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
    wanted = dataclasses.replace(settings.data, count=rules.puzzles, seed=rules.seed, grade=grade)
    origin = f"{_origin(settings.task, wanted)}, not in {data.fingerprint}"
    if path.exists():
        known = Puzzles.load(path)
        if known.origin == origin:
            return known
    box = task_box(settings.task)
    made = _make(box, wanted)
    met = set(_names(box, data.set.puzzles, distinct))
    fresh = made.rows(np.array([name not in met for name in _names(box, made.puzzles, distinct)], bool))
    fresh = dataclasses.replace(fresh, origin=origin)
    fresh.save(path)
    return fresh


def _names(box: Box, puzzles: np.ndarray, distinct: str) -> list[Any]:
    """What tells puzzles apart."""
    return symmetry_keys(box, puzzles).tolist() if distinct == "symmetry" else [bytes(puzzle) for puzzle in puzzles]


def _generated(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None) -> Puzzles:
    path, data = run_dir / "data.npz", settings.data
    origin = _origin(settings.task, data)
    if path.exists():
        puzzles = Puzzles.load(path)
        if puzzles.origin != origin:
            raise UserError(
                f"{path} was made by other settings ({puzzles.origin}); delete it, or choose another --run-dir"
            )
        return puzzles
    made = _make(task_box(settings.task), data, progress)
    puzzles = Puzzles(made.box, made.puzzles, made.solutions, origin=origin)
    puzzles.save(path)
    return puzzles


def _make(box: Box, data: DataSettings, progress: Callable[[int, int], None] | None = None) -> Puzzles:
    kind: dict[str, Any] = {"grade": data.grade, "distinct": data.distinct}
    return generate(box, data.count, data.seed, **kind, workers=os.cpu_count() or 1, progress=progress)


def _origin(task: TaskSettings, data: DataSettings) -> str:
    kind = f"count {data.count}, seed {data.seed}, grade {data.grade}"
    copies = ", symmetric copies among them" if data.distinct == "puzzle" else ""
    return f"{task.box_rows}x{task.box_columns} boxes, {kind}{copies}"
