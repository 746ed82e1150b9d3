"""Measuring a model: shares with intervals, paired comparisons, bounds on the likelihood, generated text."""

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
from anyorder.evaluation.generation import AutoregressiveJudge, Judge, Judged, Samples, teacher_forced, token_entropy
from anyorder.evaluation.likelihood import Bound, exact_negative_log_likelihood, likelihood_bound
from anyorder.evaluation.order_losses import losses_at, places_in_strata

__all__ = [
    "AutoregressiveJudge",
    "Bound",
    "Difference",
    "Divergence",
    "Judge",
    "Judged",
    "McNemar",
    "PuzzleReport",
    "Samples",
    "divergence",
    "exact_divergence",
    "exact_negative_log_likelihood",
    "likelihood_bound",
    "losses_at",
    "mcnemar",
    "paired_bootstrap",
    "places_in_strata",
    "solve_puzzles",
    "teacher_forced",
    "token_entropy",
    "wilson",
]
