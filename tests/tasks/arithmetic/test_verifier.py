from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import Difficulty, check_answer, check_trace, make_problem, parse, value
from anyorder.tasks.arithmetic.problems import make_trace

QUESTION = "(3+4)*6-5"


def test_a_valid_trace():
    verdict = check_trace(QUESTION, "3+4=7;7*6=42;42-5=37")
    assert verdict.valid
    assert (verdict.steps, verdict.result, verdict.problem) == (3, 37, "")


@pytest.mark.parametrize(
    ("trace", "steps", "problem"),
    [
        ("3+4=8;8*6=48;48-5=43", 0, "not true"),
        ("4+3=7;7*6=42;42-5=37", 0, "does not follow"),
        ("6-5=1;3+4=7;7*1=7", 0, "does not follow"),
        ("3+4=7;7*6=42", 2, "ends before"),
        ("3+4=7;7*6=42;42-5=37;37+0=37", 3, "does not follow"),
        ("3+4=7;3+4=7;7*6=42;42-5=37", 1, "does not follow"),
        ("3+4=7;7*6=42;42-5=37;", 3, "form"),
        ("3+4=7,7*6=42,42-5=37", 0, "form"),
        ("3+4=07;7*6=42;42-5=37", 0, "form"),
        ("3 + 4=7;7*6=42;42-5=37", 0, "form"),
        ("3+4=7;7*6=42;42-5=?7", 2, "form"),
        ("", 0, "form"),
        ("42-5=37", 0, "does not follow"),
    ],
)
def test_an_invalid_trace_says_where(trace, steps, problem):
    verdict = check_trace(QUESTION, trace)
    assert not verdict.valid
    assert verdict.steps == steps
    assert problem in verdict.problem


def test_steps_may_come_in_any_order_that_follows():
    assert check_trace("2*3+4*5", "2*3=6;4*5=20;6+20=26").valid
    assert check_trace("2*3+4*5", "4*5=20;2*3=6;6+20=26").valid


def test_equal_nodes_are_told_apart_by_what_follows():
    question = "(1+2)*5-(1+2)"
    assert check_trace(question, "1+2=3;3*5=15;1+2=3;15-3=12").valid
    assert check_trace(question, "1+2=3;1+2=3;3*5=15;15-3=12").valid
    assert not check_trace(question, "1+2=3;3*5=15;15-3=12").valid


def test_negative_results_are_true_but_can_not_be_gone_on_with():
    assert check_trace("3-5", "3-5=-2").valid
    assert not check_trace("3-5", "3-5=2").valid


def test_a_lone_number_needs_no_trace():
    assert check_trace("7", "").valid
    assert not check_trace("7", "7=7").valid


def test_answers_are_strict():
    assert check_answer(QUESTION, "37")
    for wrong in ("38", "", "037", "37 ", "+37", "3７", "-37", "37.0", "9" * 5000):
        assert not check_answer(QUESTION, wrong)
    assert check_answer("3-5", "-2")


def test_a_bad_question_is_the_callers_fault():
    with pytest.raises(UserError):
        check_trace("3+", "3+=3")


@given(st.integers(0, 10_000), st.integers(0, 30), st.sampled_from("0123456789;=+-*"))
def test_one_changed_character_is_noticed(seed, place, character):
    rng = random.Random(seed)
    problem = make_problem(Difficulty(operations=(2, 4)), rng)
    place %= len(problem.trace)
    changed = problem.trace[:place] + character + problem.trace[place + 1 :]
    verdict = check_trace(problem.question, changed)
    # A changed trace can be valid only by being another true way to the same value.
    assert not verdict.valid or verdict.result == value(parse(problem.question))
    assert verdict.valid or changed != problem.trace


@given(st.integers(0, 10_000))
def test_every_order_of_a_trace_is_valid(seed):
    rng = random.Random(seed)
    question = make_problem(Difficulty(operations=(2, 5), operand=30, largest=999), rng).question
    for _ in range(3):
        trace, answer = make_trace(parse(question), rng)
        assert check_trace(question, trace).valid
        assert check_answer(question, answer)
