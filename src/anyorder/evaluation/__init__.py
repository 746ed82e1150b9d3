"""Measuring a model: solved shares with intervals, paired comparisons, bounds on the likelihood."""

from anyorder.evaluation.accuracy import (
    Difference,
    McNemar,
    PuzzleReport,
    mcnemar,
    paired_bootstrap,
    solve_puzzles,
    wilson,
)

__all__ = ["Difference", "McNemar", "PuzzleReport", "mcnemar", "paired_bootstrap", "solve_puzzles", "wilson"]
