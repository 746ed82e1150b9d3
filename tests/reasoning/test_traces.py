from __future__ import annotations

import pytest
import torch

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.reasoning import keep_best, pin, sample_traces

JOINT = torch.rand(3, 3, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64) ** 2
MODEL = ao.EnumeratedJoint(JOINT)


def _canvas(batch: int) -> ao.Canvas:
    unknown = torch.ones(batch, 3, dtype=torch.bool)
    answer = torch.zeros_like(unknown)
    answer[:, 2] = True
    return ao.Canvas(torch.zeros(batch, 3, dtype=torch.int64), unknown, holes={"reasoning": ~answer, "answer": answer})


@pytest.mark.parametrize("order", [ao.LeftToRight(), ao.Random(), ao.Entropy()])
def test_a_pinned_answer_samples_the_exact_posterior(order):
    count = 4000
    canvas = pin(_canvas(1), torch.tensor([[0, 0, 1]]))
    found = sample_traces(MODEL, canvas, count, seed=11, order=order)
    assert (found.result.tokens[:, 2] == 1).all()
    cells = found.result.tokens[:, 0] * 3 + found.result.tokens[:, 1]
    observed = torch.bincount(cells, minlength=9).double()
    expected = (JOINT[:, :, 1] / JOINT[:, :, 1].sum()).flatten() * count
    # Chi-square with 8 degrees of freedom: above 26.1 with probability 0.001.
    assert float(((observed - expected) ** 2 / expected).sum()) < 26.1


def test_more_samples_leave_the_first_ones_as_they_were():
    few = sample_traces(MODEL, _canvas(3), 2, seed=1)
    many = sample_traces(MODEL, _canvas(3), 5, seed=1)
    assert few.row.tolist() == [0, 0, 1, 1, 2, 2]
    kept = [0, 1, 5, 6, 10, 11]
    assert torch.equal(few.result.tokens, many.result.tokens[kept])
    assert len({tuple(row) for row in many.result.tokens.tolist()}) > 3


def test_pinning_keeps_the_rest():
    canvas = _canvas(2)
    pinned = pin(canvas, torch.tensor([[9, 9, 1], [9, 9, 2]]))
    assert pinned.unknown.tolist() == [[True, True, False]] * 2
    assert pinned.tokens.tolist() == [[0, 0, 1], [0, 0, 2]]
    assert pinned.holes.keys() == canvas.holes.keys()
    assert canvas.unknown.all()


def test_keep_best():
    scores = torch.tensor([1.0, 3.0, 2.0, 5.0, torch.nan, 5.0, -1.0], dtype=torch.float64)
    groups = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    assert keep_best(scores, groups).tolist() == [False, True, False, True, False, False, True]
    assert keep_best(scores, groups, 2).tolist() == [False, True, True, True, False, True, True]
    assert keep_best(scores, groups, least=4.0).tolist() == [False, False, False, True, False, False, False]
    assert keep_best(scores[:0], groups[:0]).tolist() == []


def test_keep_best_does_not_need_groups_in_order():
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert keep_best(scores, torch.tensor([1, 0, 1, 0])).tolist() == [False, False, True, True]


def test_what_is_wrong_is_said():
    with pytest.raises(UserError, match="hole"):
        pin(_canvas(1), torch.zeros(1, 3, dtype=torch.int64), "reply")
    with pytest.raises(UserError, match="shape"):
        pin(_canvas(1), torch.zeros(1, 2, dtype=torch.int64))
    for count in (0, True, 1.5):
        with pytest.raises(UserError, match="count"):
            sample_traces(MODEL, _canvas(1), count)  # type: ignore[arg-type]
        with pytest.raises(UserError, match="count"):
            keep_best(torch.zeros(1), torch.zeros(1, dtype=torch.int64), count)  # type: ignore[arg-type]
