"""Rank correlations against SciPy's, promoted cells on a denoiser whose every law is known, and both analyses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import anyorder as ao
from anyorder.decoding.strategies import Strategy
from anyorder.experiments import run_experiment
from anyorder.experiments.decodes import decode_puzzles
from anyorder.experiments.experiment import Settings
from anyorder.experiments.order_analysis import kendall, spearman
from anyorder.experiments.puzzles import PuzzleSet
from anyorder.experiments.records import Record, read_record
from anyorder.experiments.sampler_ablation import ARMS
from anyorder.tasks.sudoku import Box, generate


def test_rank_correlations_are_scipys() -> None:
    rng = np.random.default_rng(0)
    first = rng.permuted(np.tile(np.arange(30), (10, 1)), axis=1)
    second = rng.permuted(np.tile(np.arange(30), (10, 1)), axis=1)
    tied = second // 4
    chosen = rng.random((10, 30)) < 0.7
    for row in range(10):
        a, b, c = first[row, chosen[row]], second[row, chosen[row]], tied[row, chosen[row]]
        assert kendall(first, second, chosen)[row] == pytest.approx(stats.kendalltau(a, b).statistic)
        assert kendall(first, tied, chosen)[row] == pytest.approx(stats.kendalltau(a, c).statistic)
        assert spearman(first, second, chosen)[row] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert np.isnan(kendall(first, np.zeros_like(first), chosen)).all()


class Laws:
    """The same law at a cell whatever is shown: sure at even cells, torn at odd ones; token 1 everywhere."""

    vocab_size, mask_token_id = 5, 0

    def __call__(self, tokens: torch.Tensor, *, attention_mask: torch.Tensor | None = None, at: torch.Tensor):
        cell = torch.arange(tokens.shape[1]).expand(tokens.shape)
        top = torch.where(cell % 2 == 0, 0.99, 0.4)
        laws = torch.stack((torch.zeros_like(top), top, *[(1 - top) / 3] * 3), dim=-1)
        return laws.log()[at]


def test_promoted_cells_are_those_filled_before_a_sure_one() -> None:
    made = generate(Box(2, 2), 3, 0, grade="any", distinct="puzzle")
    puzzles = PuzzleSet("three", made.box, made.puzzles, made.solutions)
    options = {"seed": 0, "batch_size": 2, "device": "cpu"}
    best = decode_puzzles(Laws(), puzzles, Strategy(ao.Margin(), ao.OneByOne()), **options)
    assert best.promoted.tolist() == [0, 0, 0]  # torn cells come once no sure one is left
    odd, even = (made.puzzles[:, start::2] == 0 for start in (1, 0))
    backwards = Strategy(ao.Prior(ao.LeftToRight(), decay=-2.0), ao.OneByOne())
    worst = decode_puzzles(Laws(), puzzles, backwards, **options)
    for row in range(3):
        # from the right, every torn cell with a sure one to its left
        left_of = [even[row, : place + 1].any() for place in np.flatnonzero(odd[row])]
        assert worst.promoted[row] == sum(left_of)
    assert (worst.step_of[made.puzzles > 0] == -1).all()
    assert worst.filled[made.puzzles == 0].tolist() == [1] * int((made.puzzles == 0).sum())
    assert not worst.solved.any()


def test_every_arm_is_a_strategy_of_its_own() -> None:
    seen = {repr(arm.strategy(score).as_text()) for arm in ARMS for score in ("margin", "top probability")}
    assert len(seen) == 2 * len(ARMS)


@pytest.mark.parametrize("name", ["order-analysis", "sampler-ablation"])
def test_analyses_run(name: str, tmp_path: Path) -> None:
    settings = Settings(scale="smoke", out=tmp_path / "results", work=tmp_path / "runs", model="sudoku-4x4")
    record, paths = run_experiment(name, settings, lambda what, done, total: None)
    assert all(path.stat().st_size > 100 for path in paths)
    kept: Record = read_record(paths[0])
    assert kept.rows == record.rows
    assert set(record.columns) <= {key for row in record.rows for key in row}
