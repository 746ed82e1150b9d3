"""Table 2 on 4x4 grids, which takes minutes; see `table2` and `sudoku_contest`."""

from __future__ import annotations

from anyorder.experiments.contest import plot
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.records import Record
from anyorder.experiments.sudoku_contest import SMALLEST, run
from anyorder.experiments.table2 import PUBLISHED


def table2_4x4(settings: Settings, progress: Progress) -> Record:
    """Train (or go on), decode, compare."""
    return run("table2-4x4", "logic", "Sudoku that logic finishes", PUBLISHED, settings, progress, SMALLEST)


EXPERIMENT = Experiment(name="table2-4x4", scales=("smoke", "cpu"), run=table2_4x4, plot=plot)
