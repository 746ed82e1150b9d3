"""The puzzles that a measurement decodes: read from a file or generated, checked, and graded by the seven strategies.

Everything is checked before anything is decoded: puzzles without a solution are refused with their place in the file.
Puzzles are split by whether the seven strategies finish them (*logic*), because a model of the order in which a
puzzle can be solved is judged apart on those that have such an order.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, generate
from anyorder.tasks.sudoku.formats import read_puzzles
from anyorder.tasks.sudoku.solver import solve_many

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anyorder.models.transformer import Transformer


@dataclass(frozen=True, eq=False)
class PuzzleSet:
    """Puzzles to decode.

    Attributes:
        name: of the file or of the generator's settings.
        box: the box shape.
        puzzles: (N, cells), 0 = blank.
        solutions: (N, cells), or None where they are not known.
        logic: (N,) bool, which puzzles the seven strategies finish; None where they were not graded.
    """

    name: str
    box: Box
    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8] | None = None
    logic: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if len(self.puzzles) == 0:
            raise UserError(f"{self.name} holds no puzzle")

    def __len__(self) -> int:
        return len(self.puzzles)

    def first(self, count: int | None) -> PuzzleSet:
        """The first ``count`` puzzles (all where ``count`` is None)."""
        return self if count is None or count >= len(self) else self.rows(np.arange(count))

    def shuffled(self, rng: np.random.Generator) -> PuzzleSet:
        """The same puzzles in random order."""
        return self.rows(rng.permutation(len(self)))

    def rows(self, index: NDArray[np.int64]) -> PuzzleSet:
        """The puzzles at ``index``, in that order."""
        solutions = None if self.solutions is None else self.solutions[index]
        logic = None if self.logic is None else self.logic[index]
        return dataclasses.replace(self, puzzles=self.puzzles[index], solutions=solutions, logic=logic)

    def canvas(self, mask_token_id: int, device: torch.device | str) -> Canvas:
        """The puzzles as a canvas: clues given, blanks unknown."""
        tokens = torch.from_numpy(self.puzzles.astype(np.int64)).to(device)
        unknown = tokens == 0
        return Canvas(tokens.masked_fill(unknown, mask_token_id), unknown)

    def graded(self) -> PuzzleSet:
        """The same puzzles, each marked by whether the seven strategies finish it."""
        return dataclasses.replace(self, logic=solve_many(self.box, self.puzzles).solved)


def read(path: Path, *, limit: int | None = None, grade: bool = True) -> PuzzleSet:
    """The puzzles of a file, graded.

    Raises:
        UserError: as `read_puzzles`, which checks every puzzle: the file is unreadable, or a puzzle has no solution.
    """
    file = read_puzzles(path)
    puzzles = PuzzleSet(path.name, file.box, file.puzzles, file.solutions).first(limit)
    return puzzles.graded() if grade else puzzles


def box_of(model: Transformer) -> Box:
    """The box shape that a Sudoku model was made for. Raises ``UserError`` for any other model."""
    task = model.task
    if not task or task.get("name") != "sudoku":
        raise UserError("the model is no Sudoku model; name one that is")
    return Box(task["box_rows"], task["box_columns"])


def unseen(model: Transformer, count: int, seed: int, progress: Callable[[int, int], None] | None = None) -> PuzzleSet:
    """New puzzles of the box shape that a Sudoku model was made for, graded.

    Raises:
        UserError: the model is no Sudoku model.
    """
    box = box_of(model)
    # Small boxes have few puzzles that are no symmetric copies; a copy is still another puzzle to a network.
    made = generate(box, count, seed, grade="any", distinct="puzzle", progress=progress)
    return PuzzleSet(f"generated, seed {seed}", made.box, made.puzzles, made.solutions).graded()
