"""The strict verdict on traces and answers.

A trace is valid for an expression when its text is steps ``a+b=c`` joined by ``;`` (no spaces, no signs, no leading
zeros), every step is true, every step reduces a node of what is left of the expression, and one number is left at the
end. A trace that stops early, goes on after the end or repeats a step that is used up is not valid. Where equal nodes
stand in several places, a step may mean any of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from anyorder.tasks.arithmetic.expressions import Expression, apply, parse, reductions, value

_STEP = re.compile(r"(0|[1-9][0-9]{0,17})([-+*])(0|[1-9][0-9]{0,17})=(-?[1-9][0-9]{0,40}|0)", re.ASCII)
_NUMBER = re.compile(r"-?[1-9][0-9]{0,999}|0", re.ASCII)


@dataclass(frozen=True)
class Verdict:
    """What is true of a trace.

    Attributes:
        valid: it reduces the expression to its value, every step true.
        steps: how many of its first steps are true and follow.
        result: the number on the right of the last step that could be read, or None.
        problem: what is wrong at the first wrong step, "" for a valid trace.
    """

    valid: bool
    steps: int
    result: int | None
    problem: str


def check_trace(expression: Expression | str, trace: str) -> Verdict:
    """The verdict on ``trace`` for an expression or its text.

    Raises:
        UserError: the expression cannot be read. A trace can be anything.
    """
    tree = parse(expression) if isinstance(expression, str) else expression
    states: list[Expression] = [tree]
    if isinstance(tree, int):
        return Verdict(trace == "", 0, tree, "" if trace == "" else "nothing is left to compute")
    parts, done, result, problem = trace.split(";"), 0, None, ""
    for number, part in enumerate(parts, start=1):
        found = _STEP.fullmatch(part)
        if found is None:
            problem = f"step {number} is not of the form a+b=c"
            break
        left, operator, right, claimed = int(found[1]), found[2], int(found[3]), int(found[4])
        result = claimed
        if apply(left, operator, right) != claimed:
            problem = f"step {number} is not true"
            break
        after = [rest for tree in states for a, o, b, rest in reductions(tree) if (a, o, b) == (left, operator, right)]
        if not after:
            problem = f"step {number} does not follow from the expression"
            break
        states, done = list(dict.fromkeys(after)), done + 1
    if not problem and not all(isinstance(state, int) for state in states):
        problem = "the trace ends before the expression is computed"
    return Verdict(not problem, done, result, problem)


def check_answer(expression: Expression | str, answer: str) -> bool:
    """Whether ``answer`` is the value of the expression, written without leading zeros or spaces."""
    tree = parse(expression) if isinstance(expression, str) else expression
    return _NUMBER.fullmatch(answer) is not None and int(answer) == value(tree)
