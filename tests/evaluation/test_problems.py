from __future__ import annotations

import pytest
import torch

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.evaluation.problems import joined, solve_problems, text_evaluations
from anyorder.tasks.arithmetic import ANSWER, NORMAL, REASONING, TOKENIZER, make_problems, problem_canvas

PROBLEMS = make_problems(NORMAL, 6, 1)
HOLES = (27, 3)


class Knows:
    """Writes the right text of every problem, but for some whose last trace character it gets wrong."""

    vocab_size, mask_token_id = TOKENIZER.vocab_size, TOKENIZER.mask_token_id

    def __init__(self, wrong: set[int] | None = None) -> None:
        whole = problem_canvas(PROBLEMS, *HOLES, trace=True, pinned=True)
        self.rows = {self._prompt(row): row for row in whole.tokens}
        self.wrong = {PROBLEMS[index].question for index in wrong or ()}

    def _prompt(self, row: torch.Tensor) -> str:
        return TOKENIZER.decode(row.tolist()).removeprefix("Q: ").partition("\n")[0]

    def __call__(self, tokens, *, attention_mask=None, at):
        logits = torch.zeros(*tokens.shape, self.vocab_size)
        for index, row in enumerate(tokens):
            prompt = self._prompt(row)
            target = self.rows[prompt].clone()
            if prompt in self.wrong:
                target[(target == TOKENIZER.end_token_id).nonzero()[0, 0] - 1] = ord("x")
            logits[index].scatter_(1, target[: tokens.shape[1], None], 12.0)
        return logits[at]


def test_right_answers_and_valid_traces():
    report = solve_problems(Knows(), PROBLEMS, *HOLES, {"order": ao.LeftToRight()})
    assert report.right.all()
    assert report.valid.all()
    assert list(report.traces) == [problem.trace for problem in PROBLEMS]
    assert list(report.answers) == [problem.answer for problem in PROBLEMS]
    assert report.nfe.tolist() == [30] * 6
    text = [len(problem.trace) + len(problem.answer) for problem in PROBLEMS]
    assert report.text.tolist() == report.text_nfe.tolist() == text
    summary = report.summary()
    assert summary["solved_share"] == summary["valid_share"] == 1.0
    assert summary["count"] == 6
    assert summary["nfe_mean"] == 30


def test_a_wrong_step_is_no_valid_trace():
    report = solve_problems(Knows({1, 3}), PROBLEMS, *HOLES, {})
    assert report.right.all()
    assert report.valid.tolist() == [True, False, True, False, True, True]


def test_several_positions_at_once_are_one_evaluation():
    report = solve_problems(Knows(), PROBLEMS, *HOLES, {"order": ao.LeftToRight(), "budget": ao.Fixed(30)})
    assert report.nfe.tolist() == report.text_nfe.tolist() == [1] * 6


def test_padding_costs_no_evaluation_on_text():
    order = ao.LeftToRight()
    stop = ao.Stops(ao.EndOfText(TOKENIZER.end_token_id, REASONING), ao.EndOfText(TOKENIZER.end_token_id, ANSWER))
    whole = solve_problems(Knows(), PROBLEMS, *HOLES, {"order": order})
    ended = solve_problems(Knows(), PROBLEMS, *HOLES, {"order": order, "stop": stop})
    assert ended.text_nfe.tolist() == whole.text_nfe.tolist()
    assert (ended.nfe <= whole.nfe).all()
    assert ended.right.all()
    assert ended.valid.all()


def test_a_trace_that_was_cut_short_is_not_valid():
    stop = ao.EndOfHole(ANSWER)
    window = ao.Holes(ANSWER, REASONING)
    report = solve_problems(Knows(), PROBLEMS, *HOLES, {"window": window, "stop": stop})
    assert report.right.all()
    assert not report.valid.any()
    assert report.text.tolist() == [len(problem.answer) for problem in PROBLEMS]


def test_pinned_answers_are_right_and_cost_nothing():
    report = solve_problems(Knows(), PROBLEMS, *HOLES, {}, pinned=True)
    assert report.right.all()
    assert report.nfe.tolist() == [27] * 6
    assert report.text.tolist() == [len(problem.trace) for problem in PROBLEMS]


def test_the_batch_size_changes_nothing():
    parts = {"order": ao.Random(), "sampler": ao.Temperature(3.0)}
    one = solve_problems(Knows(), PROBLEMS, *HOLES, parts, batch_size=4, seed=3)
    two = solve_problems(Knows(), PROBLEMS, *HOLES, parts, batch_size=1, seed=3)
    assert list(one.traces) == list(two.traces)
    assert one.nfe.tolist() == two.nfe.tolist()
    with pytest.raises(UserError, match="batch size"):
        solve_problems(Knows(), PROBLEMS, *HOLES, parts, batch_size=0)


def test_no_problems_at_all():
    assert joined([]).summary()["solved_share"] is None
    assert solve_problems(Knows(), [], *HOLES, {}).count == 0


def test_another_vocabulary_is_refused():
    model = ao.EnumeratedJoint(torch.ones(2, 2))
    with pytest.raises(UserError, match="bytes"):
        solve_problems(model, PROBLEMS, *HOLES, {})


def test_evaluations_on_text_by_hand():
    step_of = torch.tensor([[0, 0, 1, 5, -1], [2, 2, 2, 2, 2], [-1, -1, -1, -1, -1]])
    text = torch.tensor([[True, True, True, False, True], [True] * 5, [True] * 5])
    assert text_evaluations(step_of, text).tolist() == [2, 1, 0]
