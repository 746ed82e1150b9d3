"""Training an autoregressive model on Sudoku written as triples (``tasks.sudoku.sequences``).

The puzzles are those of the kind "sudoku", drawn, augmented and held out alike, so that both kinds can be compared on
the same data. The network is causal and reads position i's logits at i - 1; the objective must be autoregressive, and
only the answer's tokens are learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.evaluation.sequences import solve_sequences
from anyorder.tasks.sudoku.sequences import SudokuSequences, Triples
from anyorder.training.kinds import Kind
from anyorder.training.kinds.sudoku import SudokuSource, SudokuTask, describe, held_out, read_puzzle_set, task_box
from anyorder.training.kinds.sudoku import open_data as open_puzzles
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.models.transformer import Transformer
    from anyorder.tasks.sudoku import Puzzles
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class SudokuArmTask:
    """Grids of ``box_rows`` x ``box_columns`` boxes; the answer's cells in cell order ("fixed") or as solved."""

    name: Literal["sudoku-arm"] = "sudoku-arm"
    box_rows: int = 3
    box_columns: int = 3
    order: Literal["fixed", "solver"] = "solver"

    def __post_init__(self) -> None:
        SudokuTask(box_rows=self.box_rows, box_columns=self.box_columns)


@dataclass(frozen=True)
class SudokuArmEvaluation:
    """Decoding of held-out puzzles during training.

    Attributes:
        every_steps, puzzles, grades, seed, paths, batch_size: as of the kind "sudoku".
        beams: beam widths, each a record of its own; 0 is greedy decoding.
    """

    every_steps: int | None = 500
    puzzles: int = 128
    grades: tuple[Literal["logic", "hard", "any"], ...] = ("logic",)
    beams: tuple[int, ...] = (0,)
    seed: int = 1_000_003
    paths: dict[str, str] = field(default_factory=dict)
    batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.every_steps is None or self.every_steps >= 1, "evaluation.every_steps must be at least 1")
        require(self.puzzles >= 0, "evaluation.puzzles must not be negative")
        require(self.batch_size >= 1, "evaluation.batch_size must be at least 1")
        require(all(beams >= 0 for beams in self.beams), "evaluation.beams must not be negative")
        require(len(set(self.beams)) == len(self.beams), "evaluation.beams names one twice")


def strategy_name(beams: int) -> str:
    """How a way of decoding is called in records."""
    return f"beam-{beams}" if beams else "greedy"


def task_facts(task: SudokuArmTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    return {"name": task.name, "box_rows": task.box_rows, "box_columns": task.box_columns, "order": task.order}


def task_shape(task: SudokuArmTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``."""
    format = Triples(task_box(task))  # pyright: ignore[reportArgumentType]  (the two sides are all it reads)
    return {
        "vocab_size": format.vocab_size,
        "mask_token_id": format.mask_token_id,
        "length": format.length,
        "attention": "causal",
        "logits_shift": True,
    }


def open_data(
    settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None
) -> SudokuSequences:
    """The puzzles of the kind "sudoku", as sequences.

    Raises:
        UserError: an objective that is not autoregressive, or as of that kind.
    """
    require(settings.objective.form == "autoregressive", "task sudoku-arm needs objective.form: autoregressive")
    return SudokuSequences(open_puzzles(settings, run_dir, progress), settings.task.order)


@dataclass(frozen=True)
class HeldOutSequences:
    """Puzzles kept from training, to be answered in sequences."""

    name: str
    puzzles: Puzzles
    rules: SudokuArmEvaluation

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """One record for each beam width: solved share with its 95 % interval, count, evaluations a puzzle."""
        records = []
        for beams in self.rules.beams:
            report = solve_sequences(
                model,
                self.puzzles.box,
                self.puzzles.puzzles,
                self.puzzles.solutions,
                beams=beams,
                batch_size=self.rules.batch_size,
                device=device,
            )
            records.append({"puzzles": self.name, "strategy": strategy_name(beams), **report.summary()})
        return records


def open_evaluation(settings: TrainSettings, run_dir: Path, data: SudokuSequences) -> list[HeldOutSequences]:
    """The held-out sets of a run: of every grade, and of every file.

    Raises:
        UserError: a file that cannot be read or that is named like a grade.
    """
    rules: SudokuArmEvaluation = settings.evaluation
    if not rules.puzzles or not rules.beams:
        return []
    sets = {grade: held_out(settings, grade, data.data, run_dir) for grade in rules.grades}
    for name, path in rules.paths.items():
        require(name not in sets, f"evaluation.paths: {name!r} is the name of a grade; choose another")
        sets[name] = read_puzzle_set(path, task_box(settings.task)).rows(slice(rules.puzzles))
    return [HeldOutSequences(name, puzzles, rules) for name, puzzles in sets.items() if len(puzzles)]


KIND = Kind(
    name="sudoku-arm",
    task=SudokuArmTask,
    data=SudokuSource,
    evaluation=SudokuArmEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
    drawn=("augment",),
)
