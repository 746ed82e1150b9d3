"""L&O distributions as a task: batches are functions of their arguments, and the verdict is strict."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks import Task, TaskData
from anyorder.tasks.latents import Latents, LatentsData, held_out, nae_sat, noisy_parity

LAW = nae_sat(8, 20, seed=3, placement="random", padding=4)


def test_batches_are_functions_of_seed_and_step() -> None:
    data = LatentsData(LAW)
    assert isinstance(data, TaskData)
    first, again, other = data.batch(1, 5, 16), data.batch(1, 5, 16), data.batch(1, 6, 16)
    assert torch.equal(first.tokens, again.tokens)
    assert not torch.equal(first.tokens, other.tokens)
    assert not torch.equal(first.tokens, data.batch(2, 5, 16).tokens)
    assert first.tokens.dtype == torch.int64
    assert (LAW.agreement(first.tokens.numpy()) == 1).all()
    assert first.unknown.sum(1).tolist() == [28] * 16
    assert first.order is not None
    assert first.order[0, LAW.latent_positions].tolist() == [0] * 8
    assert first.order[0, LAW.observation_positions].tolist() == [1] * 20
    assert len(data) == 256
    assert data.fingerprint == LAW.fingerprint
    assert not np.array_equal(held_out(LAW, 16, 1), first.tokens.numpy())
    for bad in ((-1, 0, 1), (0, -1, 1), (0, 0, 0)):
        with pytest.raises(UserError, match="a batch needs"):
            data.batch(*bad)


def test_the_verdict() -> None:
    task = Latents(LAW)
    assert isinstance(task, Task)
    assert task.name == "latents: NAE-SAT (8, 20)"
    assert (task.vocab_size, task.mask_token_id, task.length) == (4, 0, 32)
    assert len(task.data(5, seed=0)) == 256
    tokens = held_out(LAW, 5, 0)
    given = np.where(np.arange(32) % 2 == 0, tokens, 0)
    assert task.verify(given, tokens).all()
    wrong = np.tile(tokens[0], (4, 1))
    wrong[0, LAW.observation_positions[0]] = 3 - wrong[0, LAW.observation_positions[0]]  # not the value of its latents
    wrong[1, LAW.latent_positions[0]] = 0  # not complete
    wrong[2, 31] = 1  # padding gone
    clues = np.zeros_like(wrong)
    clues[3] = tokens[1]  # another sequence than the one given
    assert task.verify(clues, wrong).tolist() == [False] * 4
    with pytest.raises(UserError, match="one shape"):
        task.verify(given, tokens[:2])


def test_under_noise_every_value_is_possible() -> None:
    law = noisy_parity(6, 9, noise=0.1)
    tokens = np.ones((3, 15), dtype=np.int64)
    assert Latents(law).verify(np.zeros_like(tokens), tokens).all()
