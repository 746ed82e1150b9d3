from __future__ import annotations

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.core.template import read_holes
from anyorder.tasks.arithmetic import ANSWER, HARD, REASONING, TOKENIZER, make_problems, problem_canvas
from anyorder.tasks.arithmetic.layout import text_positions, training_rows

PROBLEMS = make_problems(HARD, 20, 8)


def test_the_canvas_hides_the_holes_and_nothing_else():
    canvas = problem_canvas(PROBLEMS, 40, 5)
    assert torch.equal(canvas.unknown, canvas.holes[REASONING] | canvas.holes[ANSWER])
    assert canvas.holes[REASONING].sum(1).tolist() == [40] * 20
    assert canvas.holes[ANSWER].sum(1).tolist() == [5] * 20
    row = canvas.tokens[0][~canvas.unknown[0]]
    assert TOKENIZER.decode(row.tolist()) == f"Q: {PROBLEMS[0].question}\n\nA: "


def test_pinned_texts_read_back():
    canvas = problem_canvas(PROBLEMS, 40, 5, trace=True, pinned=True)
    assert not canvas.unknown.any()
    for problem, texts in zip(PROBLEMS, read_holes(TOKENIZER, canvas), strict=True):
        assert texts == {REASONING: problem.trace, ANSWER: problem.answer}
    assert torch.equal(problem_canvas(PROBLEMS, 40, 5, pinned=True).unknown, canvas.holes[REASONING])


def test_training_rows_are_what_the_template_makes():
    longest = max(len(problem.trace) for problem in PROBLEMS)
    canvas = problem_canvas(PROBLEMS, longest + 1, 5, trace=True, pinned=True)
    sheet = training_rows(PROBLEMS, [longest + 1] * len(PROBLEMS), 5, canvas.length)
    assert canvas.attention_mask is not None
    assert torch.equal(torch.from_numpy(sheet.tokens), canvas.tokens)
    assert torch.equal(torch.from_numpy(sheet.real), canvas.attention_mask)
    assert torch.equal(torch.from_numpy(sheet.reasoning), canvas.holes[REASONING])
    assert torch.equal(torch.from_numpy(sheet.answer), canvas.holes[ANSWER])


def test_what_does_not_fit_is_refused():
    with pytest.raises(UserError, match=r"answer .* does not fit"):
        training_rows(PROBLEMS, [40] * 20, 1, 100)
    with pytest.raises(UserError, match=r"trace .* do not fit a hole of 4"):
        training_rows(PROBLEMS, [4] * 20, 5, 100)
    with pytest.raises(UserError, match="positions"):
        training_rows(PROBLEMS, [40] * 20, 5, 20)
    with pytest.raises(UserError, match="reasoning"):
        problem_canvas(PROBLEMS, 3, 5, trace=True)


def test_text_positions_end_at_the_end_of_text():
    canvas = problem_canvas(PROBLEMS, 40, 5, trace=True, pinned=True)
    text = text_positions(canvas.tokens, canvas.holes[REASONING])
    assert text.sum(1).tolist() == [len(problem.trace) for problem in PROBLEMS]
    assert not (text & ~canvas.holes[REASONING]).any()
