from __future__ import annotations

import pytest
import torch

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.reasoning import answer_bound, follow_answer


def _joint(seed: int = 0) -> torch.Tensor:
    return torch.rand(3, 3, 3, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3


def _canvas(batch: int = 6) -> ao.Canvas:
    unknown = torch.ones(batch, 5, dtype=torch.bool)
    answer = torch.zeros_like(unknown)
    answer[:, 3:] = True
    return ao.Canvas(torch.zeros(batch, 5, dtype=torch.int64), unknown, holes={"reasoning": ~answer, "answer": answer})


def _conditional(joint: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The law of the last two positions given what is decided of the first three."""
    for axis in range(3):
        if tokens[axis] < 3:
            joint = joint.index_select(axis, tokens[axis : axis + 1])
    pair = joint.sum((0, 1, 2))
    return pair / pair.sum()


def _entropy(p: torch.Tensor) -> torch.Tensor:
    return -(p * p.clamp(min=1e-300).log()).sum()


def test_the_bound_is_the_sum_of_the_exact_entropies_and_above_the_joint_one():
    joint = _joint()
    model, canvas = ao.EnumeratedJoint(joint), _canvas()
    before = canvas.tokens.masked_fill(canvas.unknown, 3)
    for step, bound in follow_answer(model, canvas, order=ao.LeftToRight(), sampler=ao.Temperature(1.0), seed=4):
        for index, row in enumerate(step.rows.tolist()):
            pair = _conditional(joint, before[row])
            if step.index < 3:
                parts = _entropy(pair.sum(0)) + _entropy(pair.sum(1))
                assert bound[index] == pytest.approx(float(parts), abs=1e-5)
                assert bound[index] >= float(_entropy(pair)) - 1e-6
        before = before.clone()
        before[step.rows] = step.tokens


def test_following_changes_nothing_and_costs_nothing():
    model, canvas = ao.EnumeratedJoint(_joint(1)), _canvas()
    parts = {"order": ao.Entropy(), "sampler": ao.Temperature(1.0), "seed": 7}
    steps = follow_answer(model, canvas, **parts)
    bounds = []
    while True:
        try:
            bounds.append(next(steps).bound)
        except StopIteration as end:
            followed = end.value
            break
    plain = ao.decode(model, canvas, **parts)
    assert torch.equal(followed.tokens, plain.tokens)
    assert torch.equal(followed.nfe, plain.nfe)
    assert len(bounds) == 5
    assert float(bounds[-1].min()) >= 0


def test_an_answer_that_is_decided_has_no_uncertainty():
    model, canvas = ao.EnumeratedJoint(_joint(2)), _canvas()
    window = ao.Holes("answer", "reasoning")
    bounds = [uncertain.bound for uncertain in follow_answer(model, canvas, window=window)]
    assert all(float(bound.max()) == 0 for bound in bounds[2:])


def test_a_window_keeps_the_answer_away_unless_it_is_watched():
    model, canvas = ao.EnumeratedJoint(_joint(3)), _canvas()
    parts = {"order": ao.LeftToRight(), "window": ao.Blocks(2)}
    step = next(ao.stream(model, canvas, **parts))
    with pytest.raises(UserError, match="watches"):
        answer_bound(step, canvas.holes["answer"][step.rows])
    bound = next(follow_answer(model, canvas, **parts)).bound
    joint = _conditional(_joint(3), torch.tensor([3, 3, 3]))
    assert float(bound[0]) == pytest.approx(float(_entropy(joint.sum(0)) + _entropy(joint.sum(1))), abs=1e-5)


def test_an_own_stop_rule_still_stops():
    model, canvas = ao.EnumeratedJoint(_joint(4)), _canvas()
    steps = follow_answer(model, canvas, order=ao.LeftToRight(), stop=ao.EndOfHole("reasoning"))
    assert len(list(steps)) == 3


def test_early_exit_leaves_the_rest_of_the_reasoning():
    # The answer is a copy of the first position, so that it is certain after one step.
    joint = torch.zeros(3, 3, 3, 3, 3, dtype=torch.float64)
    for token in range(3):
        joint[token, :, :, token, token] = 1.0 + token
    model, canvas = ao.EnumeratedJoint(joint), _canvas(2)
    result = ao.decode(model, canvas, order=ao.LeftToRight(), stop=ao.AnswerEntropy(0.01))
    assert result.finish_reason == ("answer_entropy",) * 2
    assert result.tokens[:, 3:].tolist() == [[2, 2]] * 2
    assert (result.state[:, 1:3] == ao.UNDECIDED).any()
    assert int(result.nfe.max()) < 5


def test_an_unknown_hole_is_named():
    with pytest.raises(UserError, match="reasoning"):
        next(follow_answer(ao.EnumeratedJoint(_joint()), _canvas(), hole="reply"))
