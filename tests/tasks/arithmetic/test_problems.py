from __future__ import annotations

import random

import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import (
    HARD,
    NORMAL,
    Difficulty,
    check_answer,
    check_trace,
    held_out,
    hole_lengths,
    make_problems,
    parse,
)


def test_problems_are_a_function_of_the_seed():
    assert make_problems(NORMAL, 30, 1) == make_problems(NORMAL, 30, 1)
    assert make_problems(NORMAL, 30, 1) != make_problems(NORMAL, 30, 2)
    assert make_problems(NORMAL, 30, 1)[:10] == make_problems(NORMAL, 10, 1)


@pytest.mark.parametrize("difficulty", [NORMAL, HARD, Difficulty(operations=(1, 5), operand=9, largest=50)])
def test_problems_are_right_and_within_their_range(difficulty):
    problems = make_problems(difficulty, 300, 3)
    assert len({problem.question for problem in problems}) == 300
    reasoning, answer = hole_lengths(difficulty)
    for problem in problems:
        assert check_trace(problem.question, problem.trace).valid
        assert check_answer(problem.question, problem.answer)
        assert len(problem.question) <= difficulty.question_length
        assert len(problem.trace) < reasoning
        assert len(problem.answer) < answer
        fewest, most = difficulty.operations
        assert fewest <= problem.trace.count(";") + 1 <= most
        results = [int(step.partition("=")[2]) for step in problem.trace.split(";")]
        assert min(results) >= 0
        assert max(results) <= difficulty.largest


def test_held_out_questions_are_a_sixteenth_and_never_train():
    problems = make_problems(HARD, 2000, 4)
    share = sum(held_out(problem.question) for problem in problems) / 2000
    assert abs(share - 1 / 16) < 4 * (1 / 16 * 15 / 16 / 2000) ** 0.5
    assert not any(held_out(problem.question) for problem in make_problems(HARD, 200, 5, "train"))
    assert all(held_out(problem.question) for problem in make_problems(HARD, 200, 5, "held-out"))


def test_several_orders_occur():
    from anyorder.tasks.arithmetic.problems import make_trace

    rng = random.Random(0)
    traces = {make_trace(parse("2*3+4*5"), rng)[0] for _ in range(40)}
    assert traces == {"2*3=6;4*5=20;6+20=26", "4*5=20;2*3=6;6+20=26"}


def test_a_range_that_is_too_small_says_so():
    with pytest.raises(UserError, match="different questions"):
        make_problems(Difficulty(operations=(1, 1), operand=2, largest=4), 1000, 0)


@pytest.mark.parametrize(
    "wrong",
    [{"operations": (0, 2)}, {"operations": (3, 2)}, {"operand": 1}, {"operand": 100, "largest": 99}, {"balanced": 2}],
)
def test_impossible_ranges_are_refused(wrong):
    with pytest.raises(UserError):
        Difficulty(**wrong)
