"""Decoding of held-out puzzles during training, through the library's one decoding loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.evaluation.accuracy import solve_puzzles
from anyorder.models.transformer import Transformer
from anyorder.tasks.sudoku import Puzzles, SudokuData
from anyorder.training.data import held_out, read_puzzle_set, task_box
from anyorder.training.settings import TrainSettings


class Evaluator:
    """The held-out sets of a run, and the strategies to decode them with."""

    def __init__(self, settings: TrainSettings, run_dir: Path, data: SudokuData) -> None:
        self._settings = settings
        rules = settings.evaluation
        self.sets: dict[str, Puzzles] = {}
        if not rules.puzzles:
            return
        for grade in rules.grades:
            self.sets[grade] = held_out(settings, grade, data, run_dir)
        for name, path in rules.paths.items():
            if name in self.sets:
                raise UserError(f"evaluation.paths: {name!r} is the name of a grade; choose another")
            self.sets[name] = read_puzzle_set(path, task_box(settings.task)).rows(slice(rules.puzzles))
        self.sets = {name: puzzles for name, puzzles in self.sets.items() if len(puzzles)}
        if self.sets:
            unknown = [name for name in rules.strategies if name not in strategies]
            if unknown:
                raise UserError(f"evaluation.strategies: unknown {unknown[0]!r}; known: {', '.join(strategies)}")

    @property
    def empty(self) -> bool:
        """Whether there is nothing to evaluate."""
        return not self.sets or not self._settings.evaluation.strategies

    def evaluate(self, model: Transformer) -> list[dict[str, Any]]:
        """One record for each set and strategy: solved share with its 95 % interval, count, evaluations a puzzle."""
        rules = self._settings.evaluation
        device = next(model.parameters()).device
        records = []
        with torch.inference_mode():
            for name, puzzles in self.sets.items():
                for strategy in rules.strategies:
                    report = solve_puzzles(
                        model,
                        puzzles.box,
                        puzzles.puzzles,
                        puzzles.solutions,
                        **strategies[strategy].parts(),
                        seed=rules.seed,
                        batch_size=rules.batch_size,
                        device=device,
                    )
                    records.append({"puzzles": name, "strategy": strategy, **report.summary()})
        return records
