"""A small untrained model and a few small puzzles: what the commands do with them does not depend on skill."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyorder.models.checkpoints import save_pretrained
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, TransformerConfig
from anyorder.tasks.sudoku import Box, Puzzles, generate

BOX = Box(2, 2)


@pytest.fixture(scope="session")
def puzzles() -> Puzzles:
    return generate(BOX, 12, 5, grade="any", distinct="puzzle")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        grid = Grid(rows=4, columns=4, box_rows=2, box_columns=2)
        config = TransformerConfig(
            vocab_size=5,
            mask_token_id=0,
            layers=1,
            heads=2,
            width=16,
            mlp_width=32,
            length=16,
            positions="grid",
            grid=grid,
        )
        model = Transformer(config)
        for parameter in model.parameters():  # untrained output projections may be zero, and every cell alike
            torch.nn.init.normal_(parameter, std=0.3)
    model.task = {"name": "sudoku", "box_rows": 2, "box_columns": 2}
    folder = tmp_path_factory.mktemp("model") / "tiny"
    save_pretrained(model, folder)
    return folder


@pytest.fixture
def puzzle_file(tmp_path: Path, puzzles: Puzzles) -> Path:
    """The puzzles with their solutions, as CSV."""
    lines = ["puzzle,solution"]
    for puzzle, solution in zip(puzzles.puzzles, puzzles.solutions, strict=True):
        lines.append(f"{''.join(map(str, puzzle))},{''.join(map(str, solution))}")
    path = tmp_path / "puzzles.csv"
    path.write_text("\n".join(lines) + "\n")
    return path
