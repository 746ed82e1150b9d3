"""Sudoku that logic finishes: autoregressive models without and with the solver's order against masked diffusion.

The shape of Table 2 of Kim et al., "Train for the Worst, Plan for the Best" (2502.06768); see `sudoku_contest`.
"""

from __future__ import annotations

from anyorder.experiments.contest import plot
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.protocol import MASKED, ORDERED, UNORDERED
from anyorder.experiments.records import Record
from anyorder.experiments.sudoku_contest import run

PUBLISHED = {
    UNORDERED: 0.0973,
    ORDERED: 0.8718,
    f"{MASKED}: random": 0.0688,
    f"{MASKED}: top probability": 0.1851,
    f"{MASKED}: margin": 0.8949,
}


def table2(settings: Settings, progress: Progress) -> Record:
    """Train (or go on), decode, compare."""
    return run("table2", "logic", "Sudoku that logic finishes", PUBLISHED, settings, progress)


EXPERIMENT = Experiment(name="table2", scales=("smoke", "cpu", "rehearsal", "gpu", "paper"), run=table2, plot=plot)
