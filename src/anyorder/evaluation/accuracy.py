"""Shares with honest intervals, paired comparisons, and the one place where puzzles are decoded and marked.

Intervals of a share are Wilson's (1927): the values p0 that the score test |p - p0| <= z sqrt(p0 (1 - p0) / n) does
not reject; they stay inside [0, 1] and do not collapse at 0 % or 100 %. Two strategies on the same puzzles are
compared as pairs: McNemar's test in its exact form (a fair coin on the puzzles that only one of them solved), and a
percentile bootstrap over puzzles for the mean difference of any per-puzzle figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.evaluation.filling import fill_rows
from anyorder.tasks.sudoku.rules import Box, as_grids, verify_many

if TYPE_CHECKING:
    from anyorder.core.denoiser import Denoiser


# ---------------------------------------------------------------- intervals and paired comparison


def wilson(successes: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, ``level`` of the time around the true one; (0, 1) where nothing was tried."""
    if not 0 <= successes <= count:
        raise UserError(f"successes must lie between 0 and the count, not {successes} of {count}")
    if not 0 < level < 1:
        raise UserError(f"the level of an interval must lie between 0 and 1, not {level}")
    if count == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = successes / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    # the ends are exactly 0 and 1 there, which rounding would miss
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == count else centre + half
    return low, high


@dataclass(frozen=True)
class McNemar:
    """Two strategies on the same puzzles: how many only the first and only the second solved, and the exact p-value."""

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> McNemar:
    """The exact two-sided McNemar test of equal shares: min(1, 2 P(Binomial(b + c, 1/2) <= min(b, c)))."""
    a, b = _paired(first, second)
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    n, least = only_first + only_second, min(only_first, only_second)
    # log C(n, k) - n log 2, summed from its largest term; exact to float64 at any n
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2) for k in range(least + 1)
    ]
    p_value = min(1.0, 2 * math.fsum(math.exp(value) for value in logs))
    return McNemar(only_first, only_second, p_value)


@dataclass(frozen=True)
class Difference:
    """Mean of ``first - second`` over the puzzles, with a bootstrap interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    *,
    resamples: int = 10_000,
    level: float = 0.95,
) -> Difference:
    """Percentile interval of the mean per-puzzle difference, over ``resamples`` draws of puzzles with replacement.

    ``first`` and ``second`` are one figure each per puzzle (solved flags, evaluations), in the same order.
    """
    if resamples < 1 or not 0 < level < 1:
        raise UserError("a bootstrap needs at least one resample and a level between 0 and 1")
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) == 0:
        raise UserError(f"a paired comparison needs two equally long lists of figures, not {x.shape} and {y.shape}")
    values, counts = np.unique(x - y, return_counts=True)
    # a resample matters only through how often each distinct difference occurs in it
    means = rng.multinomial(len(x), counts / len(x), size=resamples) @ values / len(x)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Difference(float((x - y).mean()), float(low), float(high))


def _paired(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.ndim != 1:
        raise UserError(f"a paired comparison needs two equally long lists of outcomes, not {a.shape} and {b.shape}")
    return a.astype(bool), b.astype(bool)


# ---------------------------------------------------------------- puzzles


@dataclass(frozen=True, eq=False)
class PuzzleReport:
    """What a strategy made of N puzzles.

    ``filled`` (N, cells) is the decoded grids; ``solved`` (N,) says which are complete, valid and agree with every
    clue; ``exact`` (N,) which equal the known solution (None where no solutions were given; on puzzles with one
    solution the two agree); ``nfe`` (N,) network evaluations.
    """

    filled: np.ndarray
    solved: np.ndarray
    exact: np.ndarray | None
    nfe: np.ndarray

    @property
    def count(self) -> int:
        return len(self.solved)

    def summary(self, level: float = 0.95) -> dict[str, Any]:
        """``solved_share``, its Wilson ``interval``, ``count``, ``nfe_mean`` and, where solutions are known,
        ``exact_share``. Shares and means of no puzzles at all are None."""
        count = self.count
        summary: dict[str, Any] = {
            "solved_share": float(self.solved.mean()) if count else None,
            "interval": list(wilson(int(self.solved.sum()), count, level)),
            "count": count,
            "nfe_mean": float(self.nfe.mean()) if count else None,
        }
        if self.exact is not None:
            summary["exact_share"] = float(self.exact.mean()) if count else None
        return summary


def solve_puzzles(
    model: Denoiser,
    box: Box,
    puzzles: np.ndarray,
    solutions: np.ndarray | None = None,
    *,
    order: Any = None,
    budget: Any = None,
    sampler: Any = None,
    window: Any = None,
    remask: Any = None,
    stop: Any = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> PuzzleReport:
    """Decode every blank of ``puzzles`` (N, cells), 0 = blank, and mark the grids by the strict verifier.

    The parts of the strategy are those of ``ao.decode``; a part left out is its default. Row i draws its randomness
    from ``seed`` and i alone, so ``batch_size`` changes the memory used and nothing else. ``progress(done, total)`` is
    called after every batch.

    Raises ``UserError`` for arrays of the wrong shape or range, and for a model of another size.
    """
    _check_model(model, box)
    puzzles = as_grids(box, puzzles)
    if solutions is not None:
        solutions = as_grids(box, solutions, "solution")
        if solutions.shape != puzzles.shape:
            raise UserError(f"{len(puzzles)} puzzles came with {len(solutions)} solutions")
    parts = {"order": order, "budget": budget, "sampler": sampler, "window": window, "remask": remask, "stop": stop}
    tokens = torch.from_numpy(puzzles.astype(np.int64))
    made = fill_rows(
        model,
        Canvas(tokens, tokens == 0),
        parts=parts,
        seed=seed,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    filled = made.tokens.astype(puzzles.dtype)
    exact = None if solutions is None else (filled == solutions).all(axis=1)
    return PuzzleReport(filled, np.asarray(verify_many(box, puzzles, filled), dtype=bool), exact, made.nfe)


def _check_model(model: Denoiser, box: Box) -> None:
    if model.vocab_size != box.size + 1 or model.mask_token_id != 0:
        raise UserError(
            f"a model of {box.name} puzzles has the tokens 0 (blank, the mask) to {box.size}, but this one has "
            f"{model.vocab_size} tokens and the mask {model.mask_token_id}"
        )
