"""Countdown: reach a target from given numbers, each used exactly once, as ``+ - * /`` steps.

    question "86,28,13,31,96"  (the last number is the target)     trace "86+28=114,31-13=18,114-18=96"

Each step joins two numbers that are still there and puts its result in their place; the last result is the target.
Results are whole and not negative. Source of the format: Ye et al., "Beyond Autoregression: Discrete Diffusion for
Complex Reasoning and Planning" (2410.14157), after Gandhi et al., "Stream of Search" (2404.03683).
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from dataclasses import dataclass

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic.files import json_lines
from anyorder.tasks.arithmetic.problems import Problem, Split, distinct_problems, held_out
from anyorder.tasks.arithmetic.verifier import Verdict

_NUMBERS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})+", re.ASCII)
_STEP = re.compile(r"(0|[1-9][0-9]{0,17})([-+*/])(0|[1-9][0-9]{0,17})=(0|[1-9][0-9]{0,40})", re.ASCII)


@dataclass(frozen=True)
class Countdown:
    """A Countdown question.

    Attributes:
        numbers: the operands, each to be used once.
        target: what to reach.
    """

    numbers: tuple[int, ...]
    target: int

    def __post_init__(self) -> None:
        if not self.numbers or min(self.numbers) < 0 or self.target < 0:
            raise UserError(f"a Countdown question needs numbers and a target, none negative, not {self}")

    @property
    def text(self) -> str:
        """As the data write it; `read_question` undoes it."""
        return ",".join(map(str, (*self.numbers, self.target)))


def read_question(source: str) -> Countdown:
    """The question of a text such as ``15,44,79,50``. Raises ``UserError`` where it is none."""
    if _NUMBERS.fullmatch(source) is None:
        raise UserError(f"a Countdown question is numbers and a target with commas between them, not {source!r}")
    *numbers, target = map(int, source.split(","))
    return Countdown(tuple(numbers), target)


def join(left: int, operator: str, right: int) -> int | None:
    """The result of a step; None where it is negative or no whole number."""
    if operator == "+":
        return left + right
    if operator == "*":
        return left * right
    if operator == "-":
        return left - right if left >= right else None
    return left // right if right and left % right == 0 else None


def check_countdown(question: Countdown | str, trace: str) -> Verdict:
    """The strict verdict on a trace: numbers really those given, each used once, every step true, the target reached.

    Raises:
        UserError: the question cannot be read. A trace can be anything.
    """
    asked = read_question(question) if isinstance(question, str) else question
    left = Counter(asked.numbers)
    if len(asked.numbers) == 1 and trace == "":
        reached = asked.numbers[0] == asked.target
        return Verdict(reached, 0, asked.numbers[0], "" if reached else "the target is not reached")
    done, result, problem = 0, None, ""
    for number, part in enumerate(trace.split(","), start=1):
        found = _STEP.fullmatch(part)
        if found is None:
            problem = f"step {number} is not of the form a+b=c"
            break
        a, operator, b, claimed = int(found[1]), found[2], int(found[3]), int(found[4])
        result = claimed
        if join(a, operator, b) != claimed:
            problem = f"step {number} is not true"
            break
        used = Counter((a, b))
        if any(left[value] < count for value, count in used.items()):
            problem = f"step {number} uses a number that is not there"
            break
        left = left - used + Counter((claimed,))
        done += 1
    if not problem and left.total() > 1:
        problem = "numbers are left unused"
    elif not problem and result != asked.target:
        problem = "the target is not reached"
    return Verdict(not problem, done, result, problem)


@dataclass(frozen=True)
class CountdownRange:
    """The range of questions: how many ``numbers``, each from 1 to ``largest_number``; ``largest`` bounds results."""

    numbers: int = 3
    largest_number: int = 99
    largest: int = 9999

    def __post_init__(self) -> None:
        if not 2 <= self.numbers <= 12 or not 2 <= self.largest_number <= self.largest <= 10**9:
            raise UserError(f"a Countdown range needs 2 to 12 numbers and 2 <= largest_number <= largest, not {self}")

    @property
    def question_length(self) -> int:
        """The most characters of a question."""
        return (self.numbers + 1) * (len(str(self.largest_number)) + 1) - 1

    @property
    def trace_length(self) -> int:
        """The most characters of a trace, as a bound: the numbers, the results that are used again and the target stand
        once, the other results twice."""
        inner = 2 * (self.numbers - 2) * len(str(self.largest))
        return (self.numbers + 1) * len(str(self.largest_number)) + inner + 3 * (self.numbers - 1) - 1

    @property
    def answer_length(self) -> int:
        """The most characters of a target."""
        return len(str(self.largest_number))


def make_countdown(range_: CountdownRange, rng: random.Random, split: Split = "any") -> Problem:
    """A random question with the trace it was made by, and its target as the answer. The target lies in
    1 .. ``largest_number``, as in the published data."""
    while True:
        numbers = [rng.randint(1, range_.largest_number) for _ in range(range_.numbers)]
        left, steps = list(numbers), []
        while len(left) > 1:
            a, b = (left.pop(int(rng.random() * len(left))) for _ in range(2))
            results = {operator: join(a, operator, b) for operator in "+-*/"}
            allowed = [operator for operator, value in results.items() if value is not None and value <= range_.largest]
            if not allowed:
                break
            operator = allowed[int(rng.random() * len(allowed))]
            value = results[operator]
            assert value is not None
            left.append(value)
            steps.append(f"{a}{operator}{b}={value}")
        if len(steps) < range_.numbers - 1 or not 1 <= left[0] <= range_.largest_number:
            continue
        question = Countdown(tuple(numbers), left[0]).text
        if split == "any" or held_out(question) == (split == "held-out"):
            return Problem(question, ",".join(steps), str(left[0]))


def make_countdowns(range_: CountdownRange, count: int, seed: int, split: Split = "any") -> list[Problem]:
    """``count`` problems with different questions, a function of the arguments alone.

    Raises:
        UserError: the range has too few different questions.
    """
    rng = random.Random(f"{range_}/{split}/{seed}")
    return distinct_problems(lambda: make_countdown(range_, rng, split), count)


def read_countdown(path: str | os.PathLike[str]) -> list[Problem]:
    """The problems of a ``.jsonl`` file with ``input`` and ``output``; the target becomes the answer.

    Raises:
        UserError: the file cannot be read, or a line is no problem or its solution does not solve it; with the line.
    """
    problems = []
    for number, values in json_lines(path):
        question, trace = values.get("input"), values.get("output")
        if not isinstance(question, str) or not isinstance(trace, str):
            raise UserError(f"{path}, line {number}: a problem has the texts `input` and `output`")
        try:
            asked = read_question(question)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        verdict = check_countdown(asked, trace)
        if not verdict.valid:
            raise UserError(f"{path}, line {number}: the output does not solve the input: {verdict.problem}")
        problems.append(Problem(question, trace, str(asked.target)))
    return problems
