"""The moving average of the weights."""

from __future__ import annotations

import torch

from anyorder.training.average import WeightAverage


def test_average_by_hand() -> None:
    weight = torch.tensor([0.0, 10.0])
    average = WeightAverage({"w": weight}, decay=0.5)
    expected = weight.double()
    for step in (1, 2, 3, 40):
        weight += step
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight.double()
    torch.testing.assert_close(average.tensors["w"].double(), expected, rtol=1e-6, atol=1e-6)


def test_it_starts_as_a_copy_that_does_not_follow() -> None:
    weight = torch.ones(3)
    average = WeightAverage({"w": weight}, decay=0.9)
    weight += 1
    assert torch.equal(average.tensors["w"], torch.ones(3))
