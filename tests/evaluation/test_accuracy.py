"""Intervals and paired tests against independent computations; puzzles decoded by an exact model and a bad one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import binom, binomtest
from torch import Tensor

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.evaluation import McNemar, mcnemar, paired_bootstrap, solve_puzzles, wilson
from anyorder.models.oracle import EnumeratedJoint
from anyorder.tasks.sudoku.rules import Box

BOX = Box(2, 2)


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("successes, count", [(0, 1), (1, 1), (0, 50), (7, 11), (50, 50), (970, 1000), (3, 100_000)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_wilson_is_the_score_interval(successes: int, count: int, level: float) -> None:
    low, high = wilson(successes, count, level)
    expected = binomtest(successes, count).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= successes / count <= high <= 1


def test_wilson_without_trials_says_nothing() -> None:
    assert wilson(0, 0) == (0, 1)


def test_wilson_covers_the_truth() -> None:
    """Exact coverage over the binomial at n = 40 stays near the level for every share."""
    n = 40
    intervals = [wilson(k, n) for k in range(n + 1)]
    for share in np.linspace(0.05, 0.95, 19):
        covered = [low <= share <= high for low, high in intervals]
        assert 0.91 < float(binom(n, share).pmf(range(n + 1)) @ covered) < 0.99


@pytest.mark.parametrize("arguments", [(2, 1), (-1, 3), (1, 2, 0.0), (1, 2, 1.0)])
def test_wilson_refuses_nonsense(arguments) -> None:
    with pytest.raises(UserError, match="must lie between"):
        wilson(*arguments)


# ---------------------------------------------------------------- pairs


@pytest.mark.parametrize("only_first, only_second", [(0, 0), (1, 0), (5, 5), (3, 12), (40, 20), (700, 500)])
def test_mcnemar_is_the_exact_sign_test(only_first: int, only_second: int) -> None:
    first = [True] * only_first + [False] * only_second + [True, True, False]
    second = [False] * only_first + [True] * only_second + [True, True, False]
    result = mcnemar(first, second)
    discordant = only_first + only_second
    expected = binomtest(only_first, discordant, 0.5).pvalue if discordant else 1.0
    assert result == McNemar(only_first, only_second, pytest.approx(expected, rel=1e-9))


def test_mcnemar_at_a_size_where_powers_underflow() -> None:
    first = np.arange(20_000) < 10_400
    result = mcnemar(first, ~first)
    assert result.p_value == pytest.approx(binomtest(10_400, 20_000).pvalue, rel=1e-6)


def test_pairs_must_be_equally_long() -> None:
    with pytest.raises(UserError, match="equally long"):
        mcnemar([True], [True, False])
    with pytest.raises(UserError, match="equally long"):
        paired_bootstrap([1.0], [1.0, 2.0], np.random.default_rng(0))
    with pytest.raises(UserError, match="equally long"):
        paired_bootstrap([], [], np.random.default_rng(0))


def test_bootstrap_agrees_with_the_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(3, 1, 2000), rng.normal(2.5, 1, 2000)
    result = paired_bootstrap(first, second, np.random.default_rng(1))
    difference = first - second
    half = 1.96 * difference.std() / np.sqrt(2000)
    assert result.mean == pytest.approx(difference.mean())
    assert result.low == pytest.approx(difference.mean() - half, abs=0.1 * half)
    assert result.high == pytest.approx(difference.mean() + half, abs=0.1 * half)


def test_bootstrap_uses_the_pairing_and_its_generator() -> None:
    solved = np.random.default_rng(0).random(500) < 0.5
    same = paired_bootstrap(solved, solved, np.random.default_rng(0))
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    better = solved.copy()
    better[np.flatnonzero(~solved)[:30]] = True
    first = paired_bootstrap(better, solved, np.random.default_rng(7))
    assert first == paired_bootstrap(better, solved, np.random.default_rng(7))
    assert 0 < first.low < first.mean < first.high < 0.1


# ---------------------------------------------------------------- puzzles


def all_grids() -> np.ndarray:
    """The 288 solved 4x4 grids, by putting together rows that clash in no column or box."""
    rows = list(itertools.permutations(range(1, 5)))
    grids = []
    for candidate in itertools.product(rows, repeat=4):
        grid = np.array(candidate)
        if any(len(set(grid[:, c])) < 4 for c in range(4)):
            continue
        if all(len(set(grid[r : r + 2, c : c + 2].flat)) == 4 for r in (0, 2) for c in (0, 2)):
            grids.append(grid.reshape(-1))
    return np.array(grids, dtype=np.int8)


@pytest.fixture(scope="module")
def grids() -> np.ndarray:
    return all_grids()


@pytest.fixture(scope="module")
def oracle(grids: np.ndarray) -> EnumeratedJoint:
    """The uniform law over solved 4x4 grids: a perfect Sudoku model."""
    return EnumeratedJoint(
        torch.ones(len(grids)), torch.from_numpy(grids).long(), vocab_size=5, mask_token_id=0, strict=False
    )


def unique_puzzles(grids: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clues are taken away as long as one grid alone agrees with the rest."""
    rng = np.random.default_rng(seed)
    puzzles, solutions = [], []
    for solution in grids[rng.integers(len(grids), size=count)]:
        puzzle = solution.copy()
        for cell in rng.permutation(16):
            trial = puzzle.copy()
            trial[cell] = 0
            if ((grids == trial) | (trial == 0)).all(1).sum() == 1:
                puzzle = trial
        puzzles.append(puzzle)
        solutions.append(solution)
    return np.array(puzzles), np.array(solutions)


class AlwaysOne:
    """A model that writes 1 everywhere."""

    vocab_size, mask_token_id = 5, 0

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        logits = torch.zeros(int(at.sum()), 5)
        logits[:, 1] = 9.0
        return logits


def test_there_are_288_grids(grids: np.ndarray) -> None:
    assert len(grids) == 288


@pytest.mark.parametrize("order", [ao.Random(), ao.LeftToRight(), ao.Margin(), ao.Entropy()], ids=repr)
def test_a_perfect_model_solves_unique_puzzles_in_any_order(grids, oracle, order) -> None:
    puzzles, solutions = unique_puzzles(grids, 12, 0)
    report = solve_puzzles(oracle, BOX, puzzles, solutions, order=order)
    summary = report.summary()
    assert summary["solved_share"] == 1
    assert summary["exact_share"] == 1
    assert summary["count"] == 12
    assert summary["interval"] == list(wilson(12, 12))
    assert report.nfe.tolist() == (puzzles == 0).sum(1).tolist()
    assert summary["nfe_mean"] == pytest.approx((puzzles == 0).sum(1).mean())
    assert np.array_equal(report.filled, solutions)


def test_valid_and_consistent_is_kept_apart_from_exact_match(grids, oracle) -> None:
    """An empty grid has 288 solutions: the model finds one, hardly ever the one written down."""
    empty = np.zeros((40, 16), dtype=np.int8)
    written = np.repeat(grids[:1], 40, axis=0)
    report = solve_puzzles(oracle, BOX, empty, written, sampler=ao.Temperature(1.0), seed=3)
    assert report.solved.all()
    assert report.exact is not None
    assert report.exact.sum() < 5
    assert len(np.unique(report.filled, axis=0)) > 20


def test_wrong_grids_are_unsolved_not_errors(grids) -> None:
    puzzles, solutions = unique_puzzles(grids, 5, 1)
    report = solve_puzzles(AlwaysOne(), BOX, puzzles, solutions)
    assert report.summary()["solved_share"] == 0
    clues = puzzles > 0
    assert (report.filled[clues] == puzzles[clues]).all()


def test_batch_size_changes_nothing(grids, oracle) -> None:
    puzzles = np.zeros((9, 16), dtype=np.int8)
    options = {"order": ao.Random(), "sampler": ao.Temperature(1.0), "seed": 5}
    whole = solve_puzzles(oracle, BOX, puzzles, batch_size=256, **options)
    for batch_size in (1, 4):
        parts = solve_puzzles(oracle, BOX, puzzles, batch_size=batch_size, **options)
        assert np.array_equal(whole.filled, parts.filled)
        assert np.array_equal(whole.nfe, parts.nfe)


def test_progress_counts_up_to_the_total(oracle) -> None:
    seen: list[tuple[int, int]] = []
    solve_puzzles(oracle, BOX, np.zeros((5, 16), dtype=np.int8), batch_size=2, progress=lambda *at: seen.append(at))
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_no_puzzles_are_a_result(oracle) -> None:
    report = solve_puzzles(oracle, BOX, np.zeros((0, 16), dtype=np.int8))
    assert report.summary() == {"solved_share": None, "interval": [0.0, 1.0], "count": 0, "nfe_mean": None}


@pytest.mark.parametrize(
    "puzzles, solutions, match",
    [
        (np.zeros((2, 15), dtype=int), None, "16 cells"),
        (np.full((1, 16), 5), None, "0 .* to 4"),
        (np.full((1, 16), -1), None, "0 .* to 4"),
        (np.zeros((1, 16), dtype=int), np.full((1, 16), 5), "solution holds 0"),
        (np.zeros((1, 16)), None, "whole numbers"),
        (np.zeros((2, 16), dtype=int), np.zeros((1, 16), dtype=int), "2 puzzles came with 1"),
    ],
)
def test_bad_arrays_are_refused(oracle, puzzles, solutions, match: str) -> None:
    with pytest.raises(UserError, match=match):
        solve_puzzles(oracle, BOX, puzzles, solutions)


def test_a_model_of_another_size_is_refused(oracle) -> None:
    with pytest.raises(UserError, match=r"6x6 puzzles has the tokens 0 .* to 6, but this one has 5"):
        solve_puzzles(oracle, Box(2, 3), np.zeros((1, 36), dtype=int))


def test_a_bad_batch_size_is_refused(oracle) -> None:
    with pytest.raises(UserError, match="batch size"):
        solve_puzzles(oracle, BOX, np.zeros((1, 16), dtype=int), batch_size=0)
