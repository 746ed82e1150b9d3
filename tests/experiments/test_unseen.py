"""The puzzles that measurements decode are new to the shipped models, symmetric copies included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyorder.bench.decode import SEED as BENCH
from anyorder.cli.demo import SEED as DEMO
from anyorder.experiments.batch_invariance import SEED as INVARIANCE
from anyorder.tasks.sudoku import Box, generate
from anyorder.tasks.sudoku.symmetry import symmetry_keys
from anyorder.training import load_settings
from anyorder.training.kinds.sudoku import open_data


def test_no_measurement_shares_the_seed_of_a_training_set() -> None:
    measured = {DEMO, BENCH, INVARIANCE}
    assert len(measured) == 3
    for name in ("sudoku-4x4", "sudoku-6x6", "sudoku-9x9"):
        settings = load_settings(name)
        assert not measured & {settings.data.seed, settings.evaluation.seed}


@pytest.mark.slow
def test_no_demo_puzzle_is_a_copy_of_a_training_puzzle(tmp_path: Path) -> None:
    box = Box(3, 3)
    trained = symmetry_keys(box, open_data(load_settings("sudoku-9x9"), tmp_path).set.puzzles)
    for seed in (DEMO, INVARIANCE):
        made = generate(box, 500, seed, grade="any", distinct="puzzle")
        assert not np.isin(symmetry_keys(box, made.puzzles), trained).any()
