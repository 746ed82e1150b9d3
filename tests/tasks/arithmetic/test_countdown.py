from __future__ import annotations

import json
import random

import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import (
    Countdown,
    CountdownRange,
    check_countdown,
    held_out,
    make_countdown,
    read_countdown,
)
from anyorder.tasks.arithmetic.countdown import read_question

QUESTION = "86,28,13,31,96"


def test_a_valid_trace():
    assert check_countdown(QUESTION, "86+28=114,31-13=18,114-18=96").valid


@pytest.mark.parametrize(
    ("trace", "problem"),
    [
        ("86+28=115,31-13=18,115-18=97", "not true"),
        ("86+28=114,31-13=18", "unused"),
        ("86+10=96", "not there"),
        ("86+28=114,31-13=18,114-18=96,96+0=96", "not there"),
        ("86+28=114,28-13=15,114-15=99", "not there"),
        ("86-28=58,31-13=18,58+18=76", "target"),
        ("13-31=-18,86+28=114,114-18=96", "form"),
        ("86+28=114;31-13=18;114-18=96", "form"),
        ("31/13=2,86+28=114,114-2=112", "not true"),
        ("", "form"),
    ],
)
def test_an_invalid_trace_says_why(trace, problem):
    verdict = check_countdown(QUESTION, trace)
    assert not verdict.valid
    assert problem in verdict.problem


def test_a_number_given_twice_can_be_used_twice_and_not_thrice():
    assert check_countdown("5,5,10", "5+5=10").valid
    assert not check_countdown("5,6,10", "5+5=10").valid
    assert check_countdown("7,7,0,0", "7-7=0,0*0=0").valid


def test_division_is_exact_and_never_by_zero():
    assert check_countdown("8,4,2", "8/4=2").valid
    assert not check_countdown("8,3,2", "8/3=2").valid
    assert not check_countdown("8,0,0", "8/0=0").valid


@pytest.mark.parametrize("numbers", [2, 3, 5])
def test_made_questions_are_solved_by_their_traces(numbers):
    rng = random.Random(numbers)
    range_ = CountdownRange(numbers, largest=500)
    for _ in range(100):
        problem = make_countdown(range_, rng, "train")
        asked = read_question(problem.question)
        assert len(asked.numbers) == numbers
        assert asked.text == problem.question
        assert problem.answer == str(asked.target)
        assert check_countdown(asked, problem.trace).valid
        assert not held_out(problem.question)
        assert all(int(step.partition("=")[2]) <= 500 for step in problem.trace.split(","))
        assert len(problem.question) <= range_.question_length
        assert len(problem.trace) <= range_.trace_length
        assert len(problem.answer) <= range_.answer_length


@pytest.mark.parametrize("wrong", ["", "5", "5,", "a,b,3", "5 ,6,11", "-5,6,1"])
def test_what_is_no_question(wrong):
    with pytest.raises(UserError, match="commas"):
        read_question(wrong)


def test_bad_ranges():
    for wrong in ({"numbers": 1}, {"largest_number": 100, "largest": 50}):
        with pytest.raises(UserError):
            CountdownRange(**wrong)
    with pytest.raises(UserError):
        Countdown((), 3)


def test_reading_a_file(tmp_path):
    path = tmp_path / "three.jsonl"
    lines = [{"input": "15,44,79,50", "output": "44-15=29,79-29=50"}]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    (problem,) = read_countdown(path)
    assert (problem.question, problem.answer) == ("15,44,79,50", "50")


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"input": "1,2,3"}',
        '{"input": "1,2", "output": 3}',
        '{"input": "x", "output": "1+2=3"}',
        '{"input": "1,2,4", "output": "1+2=3"}',
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"input": "1,2,3", "output": "1+2=3"}\n' + line + "\n")
    with pytest.raises(UserError, match="line 2"):
        read_countdown(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_countdown(tmp_path / "none.jsonl")


@pytest.mark.data
@pytest.mark.parametrize("numbers", [3, 4, 5])
def test_the_published_data_are_solved(data_folder, numbers):
    problems = read_countdown(data_folder / "language" / f"countdown_{numbers}.jsonl")
    assert len(problems) == 1000
    assert {problem.question.count(",") for problem in problems} == {numbers}
