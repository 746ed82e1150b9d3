"""Arithmetic: expressions with step-by-step traces and answers as text, their strict verifier, and Countdown."""

from anyorder.tasks.arithmetic.countdown import (
    Countdown,
    CountdownRange,
    check_countdown,
    make_countdown,
    make_countdowns,
    read_countdown,
)
from anyorder.tasks.arithmetic.data import ArithmeticData, Hidden
from anyorder.tasks.arithmetic.expressions import Expression, parse, reductions, text, value
from anyorder.tasks.arithmetic.files import read_problems, write_problems
from anyorder.tasks.arithmetic.layout import ANSWER, REASONING, TOKENIZER, hole_lengths, problem_canvas, template
from anyorder.tasks.arithmetic.problems import (
    DIFFICULTIES,
    HARD,
    NORMAL,
    Difficulty,
    Problem,
    held_out,
    make_problem,
    make_problems,
)
from anyorder.tasks.arithmetic.verifier import Verdict, check_answer, check_trace

__all__ = [
    "ANSWER",
    "DIFFICULTIES",
    "HARD",
    "NORMAL",
    "REASONING",
    "TOKENIZER",
    "ArithmeticData",
    "Countdown",
    "CountdownRange",
    "Difficulty",
    "Expression",
    "Hidden",
    "Problem",
    "Verdict",
    "check_answer",
    "check_countdown",
    "check_trace",
    "held_out",
    "hole_lengths",
    "make_countdown",
    "make_countdowns",
    "make_problem",
    "make_problems",
    "parse",
    "problem_canvas",
    "read_countdown",
    "read_problems",
    "reductions",
    "template",
    "text",
    "value",
    "write_problems",
]
