from __future__ import annotations

import pytest
import torch

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.reasoning import reasked_score, sequence_likelihood, trace_score

JOINT = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
MODEL = ao.EnumeratedJoint(JOINT)


def _canvas() -> ao.Canvas:
    unknown = torch.ones(4, 4, dtype=torch.bool)
    answer = torch.zeros_like(unknown)
    answer[:, 2:] = True
    return ao.Canvas(torch.zeros(4, 4, dtype=torch.int64), unknown, holes={"answer": answer})


def _exact(tokens: list[int], answer: list[int]) -> float:
    joint = JOINT
    for axis, token in enumerate(tokens[:2]):
        if token < 3:
            joint = joint.index_select(axis, torch.tensor([token]))
    pair = joint.sum((0, 1))
    pair = pair / pair.sum()
    return float(pair.sum(1)[answer[0]].log() + pair.sum(0)[answer[1]].log())


def test_the_score_is_the_answers_log_probability_given_what_is_revealed():
    # Whatever was decided in the answer is masked again; what is masked of the trace stays so.
    tokens = torch.tensor([[3, 3, 0, 1], [1, 3, 3, 3], [2, 0, 1, 1], [0, 2, 2, 2]])
    answers = torch.tensor([[0, 0, 2, 1], [0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 2, 2]])
    score = trace_score(MODEL, _canvas(), answers, tokens=tokens)
    wanted = [_exact(row, answer[2:]) for row, answer in zip(tokens.tolist(), answers.tolist(), strict=True)]
    assert score.sum.tolist() == pytest.approx(wanted, abs=1e-5)
    assert score.mean.tolist() == pytest.approx([value / 2 for value in wanted], abs=1e-5)


def test_without_tokens_nothing_is_revealed():
    answers = torch.tensor([[0, 0, 2, 1]] * 4)
    score = trace_score(MODEL, _canvas(), answers)
    assert score.sum.tolist() == pytest.approx([_exact([3, 3], [2, 1])] * 4, abs=1e-5)


def test_padding_is_not_scored():
    answers = torch.tensor([[0, 0, 2, 1]] * 4)
    score = trace_score(MODEL, _canvas(), answers, padding=1)
    assert score.count.tolist() == [1] * 4
    joint = JOINT.sum((0, 1, 3)) / JOINT.sum()
    assert score.mean.tolist() == pytest.approx([float(joint[2].log())] * 4, abs=1e-5)


def test_one_evaluation_and_the_answer_is_never_seen():
    class Counted:
        vocab_size, mask_token_id, calls = 4, 3, 0

        def __call__(self, tokens, *, attention_mask=None, at):
            self.calls += 1
            assert (tokens[:, 2:] == 3).all()
            return MODEL(tokens, attention_mask=attention_mask, at=at)

    model = Counted()
    trace_score(model, _canvas(), torch.full((4, 4), 2), tokens=torch.full((4, 4), 1))
    assert model.calls == 1


def test_what_is_wrong_is_said():
    with pytest.raises(UserError, match="hole"):
        trace_score(MODEL, _canvas(), torch.zeros(4, 4, dtype=torch.int64), hole="reply")
    with pytest.raises(UserError, match="shape"):
        trace_score(MODEL, _canvas(), torch.zeros(4, 2, dtype=torch.int64))
    with pytest.raises(UserError, match="no answer"):
        trace_score(MODEL, _canvas(), torch.zeros(4, 4, dtype=torch.int64), padding=0)


def test_sequence_likelihood_is_the_chain_rule():
    result = ao.decode(MODEL, _canvas(), order=ao.LeftToRight(), sampler=ao.Temperature(1.0), seed=3)
    p = JOINT / JOINT.sum()
    wanted = [float(p[tuple(row)].log()) for row in result.tokens.tolist()]
    assert sequence_likelihood(result).tolist() == pytest.approx(wanted, abs=1e-5)
    assert sequence_likelihood(result, mean=True).tolist() == pytest.approx([value / 4 for value in wanted], abs=1e-5)
    nowhere = torch.zeros(4, 4, dtype=torch.bool)
    assert sequence_likelihood(result, nowhere, mean=True).tolist() == [0.0] * 4


def _with_trace() -> ao.Canvas:
    unknown = torch.ones(3, 4, dtype=torch.bool)
    trace = torch.zeros_like(unknown)
    trace[:, :3] = True
    return ao.Canvas(torch.zeros(3, 4, dtype=torch.int64), unknown, holes={"reasoning": trace, "answer": ~trace})


@pytest.mark.parametrize("groups", [1, 2, 3, 5])
def test_tokens_are_asked_again_given_the_other_groups_and_no_answer(groups: int):
    tokens = torch.tensor([[0, 2, 1, 2], [0, 2, 1, 0], [2, 2, 0, 1]])
    law = JOINT.sum(3) / JOINT.sum()
    wanted = []
    for row in tokens.tolist():
        total = 0.0
        for group in range(groups):
            hidden = [place for place in range(3) if place % groups == group]
            if not hidden:
                continue
            given = law[tuple(slice(None) if place in hidden else row[place] for place in range(3))]
            given = given / given.sum()
            for axis, place in enumerate(hidden):
                marginal = (
                    given.sum([other for other in range(given.ndim) if other != axis]) if given.ndim > 1 else given
                )
                total += float(marginal[row[place]].log())
        wanted.append(total)
    score = reasked_score(MODEL, _with_trace(), tokens, groups=groups)
    assert score.tolist() == pytest.approx(wanted, abs=1e-5)
    assert score[0] == score[1]  # they differ in the answer alone


def test_what_cannot_be_asked_again_is_refused():
    tokens = torch.tensor([[0, 2, 1, 2]] * 3)
    with pytest.raises(UserError, match="no hole 'thought'"):
        reasked_score(MODEL, _with_trace(), tokens, hole="thought")
    with pytest.raises(UserError, match="shape"):
        reasked_score(MODEL, _with_trace(), tokens[:2])
    with pytest.raises(UserError, match="at least 1"):
        reasked_score(MODEL, _with_trace(), tokens, groups=0)
    with pytest.raises(UserError, match="undecided"):
        reasked_score(MODEL, _with_trace(), tokens.masked_fill(tokens == 1, 3))
