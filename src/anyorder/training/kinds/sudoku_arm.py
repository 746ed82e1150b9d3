"""Training an autoregressive model on Sudoku written as triples (``tasks.sudoku.sequences``).

The puzzles are those of the kind "sudoku", drawn, augmented and held out alike, so that both kinds can be compared on
the same data. The network is causal and reads position i's logits at i - 1; the objective must be autoregressive, and
only the answer's tokens are learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.evaluation.sequences import solve_sequences
from anyorder.tasks.sudoku.sequences import SudokuSequences, Triples
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import HeldOutSet, beam_widths, check_evaluation, describe_puzzles
from anyorder.training.kinds.sudoku import SudokuSource, SudokuTask, held_out_sets, task_box
from anyorder.training.kinds.sudoku import open_data as open_puzzles
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.evaluation.accuracy import PuzzleReport
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
        check_evaluation(self, "puzzles", "beams")


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


def open_evaluation(settings: TrainSettings, run_dir: Path, data: SudokuSequences) -> list[HeldOutSet[Puzzles]]:
    """The held-out sets of the kind "sudoku", to be answered in sequences; errors as of that kind."""
    rules: SudokuArmEvaluation = settings.evaluation
    if not rules.puzzles or not rules.beams:
        return []

    def answer(model: Transformer, puzzles: Puzzles, device: torch.device, beams: int) -> PuzzleReport:
        return solve_sequences(
            model,
            puzzles.box,
            puzzles.puzzles,
            puzzles.solutions,
            beams=beams,
            batch_size=rules.batch_size,
            device=device,
        )

    ways = {name: partial(answer, beams=beams) for name, beams in beam_widths(rules.beams).items()}
    return [HeldOutSet(name, puzzles, ways) for name, puzzles in held_out_sets(settings, run_dir, data.data).items()]


KIND = Kind(
    name="sudoku-arm",
    task=SudokuArmTask,
    data=SudokuSource,
    evaluation=SudokuArmEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe_puzzles,
    drawn=("augment",),
)
