"""Sudoku as a task: what models and training are told about it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyorder.tasks import Task, TaskData
from anyorder.tasks.sudoku import Box, Sudoku, verify_many


@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), Box(3, 3)], ids=lambda box: box.name)
def test_the_task_says_what_its_data_are(box: Box) -> None:
    task = Sudoku(box)
    assert isinstance(task, Task)
    assert (task.name, task.vocab_size, task.mask_token_id) == (f"sudoku-{box.name}", box.size + 1, 0)
    data = task.data(20, seed=3)
    assert isinstance(data, TaskData)
    assert len(data) == 20
    assert data.fingerprint == task.data(20, seed=3, workers=2).fingerprint != task.data(20, seed=4).fingerprint
    tokens, unknown, *_ = data.batch(0, 5, 7)
    assert tokens.shape == unknown.shape == (7, task.length)
    assert (tokens.dtype, unknown.dtype) == (torch.int64, torch.bool)
    given = tokens.masked_fill(unknown, task.mask_token_id).numpy()
    assert task.verify(given, tokens.numpy()).all()
    assert not task.verify(given, given).any()


def test_the_verdict_is_that_of_the_rules() -> None:
    box = Box(2, 2)
    tokens = Sudoku(box).data(5, seed=1).batch(0, 0, 5).tokens.numpy()
    spoilt = tokens.copy()
    spoilt[2, 3] = spoilt[2, 3] % 4 + 1
    given = np.where(np.arange(16) < 4, tokens, 0)
    assert Sudoku(box).verify(given, spoilt).tolist() == [True, True, False, True, True]
    assert np.array_equal(Sudoku(box).verify(given, spoilt), verify_many(box, given, spoilt))
