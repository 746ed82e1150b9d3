"""Sudoku that logic does not finish, for networks trained on puzzles that it does.

The shape of Table 5 of Kim et al., "Train for the Worst, Plan for the Best" (2502.06768); the networks are those of
Table 2, see `sudoku_contest`.
"""

from __future__ import annotations

from anyorder.experiments.contest import plot
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.protocol import MASKED, ORDERED
from anyorder.experiments.records import Record
from anyorder.experiments.sudoku_contest import run

PUBLISHED = {
    ORDERED: 0.3257,
    f"{MASKED}: random": 0.0362,
    f"{MASKED}: top probability": 0.0944,
    f"{MASKED}: margin": 0.4988,
}


def table5(settings: Settings, progress: Progress) -> Record:
    """Train (or go on), decode, compare."""
    return run("table5", "hard", "Sudoku that logic does not finish", PUBLISHED, settings, progress)


EXPERIMENT = Experiment(name="table5", scales=("smoke", "cpu", "rehearsal", "gpu", "paper"), run=table5, plot=plot)
