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
from anyorder.evaluation.divergence import Divergence, divergence, exact_divergence
from anyorder.evaluation.likelihood import Bound, exact_negative_log_likelihood, likelihood_bound

__all__ = [
    "Bound",
    "Difference",
    "Divergence",
    "McNemar",
    "PuzzleReport",
    "divergence",
    "exact_divergence",
    "exact_negative_log_likelihood",
    "likelihood_bound",
    "mcnemar",
    "paired_bootstrap",
    "solve_puzzles",
    "wilson",
]
