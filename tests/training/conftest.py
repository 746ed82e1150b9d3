"""A tiny run: 4x4 grids, a network of a few thousand weights, and processes that can be killed."""

from __future__ import annotations

import itertools
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyorder.tasks.sudoku import Box, Puzzles
from anyorder.training import TrainSettings

sys.path.insert(0, str(Path(__file__).parent))

BOX = Box(2, 2)


def all_grids() -> np.ndarray:
    """The 288 solved 4x4 grids, by brute force over permutations of rows."""
    rows = np.array(list(itertools.permutations(range(1, 5))), np.uint8)
    grids = []
    for choice in itertools.product(rows, repeat=2):
        top = np.array(choice)
        if all(len(set(top[:, c : c + 2].ravel())) == 4 for c in (0, 2)):
            for low in itertools.product(rows, repeat=2):
                grid = np.vstack((top, low))
                columns = all(len(set(grid[:, c])) == 4 for c in range(4))
                if columns and all(len(set(grid[2:, c : c + 2].ravel())) == 4 for c in (0, 2)):
                    grids.append(grid.ravel())
    return np.array(grids, np.uint8)


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All 4x4 grids with random blanks, as a data file; made without compiling the generator."""
    solutions = all_grids()
    assert len(solutions) == 288
    rng = np.random.default_rng(7)
    blanks = rng.random(solutions.shape) < rng.uniform(0.3, 0.9, (len(solutions), 1))
    blanks[:, 0] = True
    puzzles = Puzzles(BOX, np.where(blanks, 0, solutions).astype(np.uint8), solutions)
    path = tmp_path_factory.mktemp("data") / "grids.npz"
    puzzles.save(path)
    return path


@pytest.fixture
def tiny(data_file: Path) -> Callable[..., TrainSettings]:
    """Settings of a run of a second; keyword arguments replace top-level settings."""

    def make(**changes: Any) -> TrainSettings:
        values: dict[str, Any] = {
            "name": "tiny",
            "seed": 3,
            "task": {"box_rows": 2, "box_columns": 2},
            "model": {
                "layers": 2,
                "heads": 2,
                "width": 16,
                "mlp_width": 32,
                "positions": "grid",
                "relation_bias": True,
            },
            "data": {"path": str(data_file)},
            "optimizer": {"adamw": {"rate": 3e-3}, "muon": {"rate": 0.02}},
            "schedule": {"warmup_steps": 3},
            "evaluation": {"puzzles": 0},
            "checkpoint": {"every_minutes": None, "every_steps": 4},
            "steps": 12,
            "batch_size": 16,
            "log_every_steps": 1,
        }
        return TrainSettings.from_dict({**values, **changes})

    return make


@pytest.fixture(scope="session")
def processes() -> multiprocessing.context.ForkServerContext:
    """Child processes that have everything imported already; each is a real process with its own pid."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["training_children", "torch._dynamo", "torch.distributed.fsdp"])
    return context
