"""The training benchmark: that its figures are what they say, not how large they are."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyorder.bench.training import bench_training
from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, Puzzles
from anyorder.training import TrainSettings
from anyorder.training.build import model_config
from anyorder.training.flops import flops, forward_products

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "task": {"box_rows": 2, "box_columns": 2},
    "model": {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32, "positions": "grid", "loops": 2},
    "optimizer": {"muon": {}},
    "batch_size": 8,
    "accumulation": 2,
}


def test_figures_fit_together(tmp_path: Path) -> None:
    # Relabelled copies of one grid, so that nothing has to be compiled for them.
    labels = np.array(list(itertools.permutations(range(1, 5))), np.uint8)
    solutions = labels[:, np.array([1, 2, 3, 4, 3, 4, 1, 2, 2, 1, 4, 3, 4, 3, 2, 1]) - 1]
    puzzles = np.where(np.arange(16) % 3 > 0, 0, solutions).astype(np.uint8)
    Puzzles(Box(2, 2), puzzles, solutions).save(tmp_path / "grids.npz")
    settings = TrainSettings.from_dict({**SETTINGS, "data": {"path": str(tmp_path / "grids.npz")}})
    seen = []
    result = bench_training(settings, repeats=2, steps=2, square=64, progress=lambda *done: seen.append(done))
    assert seen == [("rounds", 0, 2), ("rounds", 1, 2), ("rounds", 2, 2)]
    rounds = result.details["rounds"]
    assert len(rounds) == 2
    for one in rounds:
        expected = forward_products(model_config(settings), 4, 16, one["masked"] // 2)
        assert one["flops"]["forward"] == 2 * flops(expected)
        assert one["flops"]["backward"] == 2 * one["flops"]["forward"]
        assert one["flops"]["update"] > 0
        assert all(seconds > 0 for seconds in one["parts"].values())
    parts = [row["part"] for row in result.rows]
    assert parts == ["data", "forward", "backward", "update", "whole step", "its products alone", "64 x 64 product"]
    summary = result.summary
    assert 0 < summary["square_share"] < 1
    assert 0 < summary["own_shapes_share"] < 1
    assert summary["examples_per_second"] == pytest.approx(8 / summary["step_seconds"])
    assert {column for row in result.rows for column in row} == set(result.columns)
    assert result.data is not None
    assert result.data["count"] == 24


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        bench_training(TrainSettings.from_dict(SETTINGS), repeats=0)
