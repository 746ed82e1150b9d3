"""Seeded arithmetic problems: a question, a trace that computes it step by step, and the answer.

A problem is a function of its generator's state alone. Which problems belong to training and which are held out is
decided by a hash of the question, so the two never share a question, whatever the seeds: one question in sixteen is
held out.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic.expressions import Expression, apply, reductions, step_text, text

Split = Literal["train", "held-out", "any"]


@dataclass(frozen=True)
class Problem:
    """A question with one valid trace and its answer, as text."""

    question: str
    trace: str
    answer: str


@dataclass(frozen=True)
class Difficulty:
    """The range of expressions.

    Attributes:
        operations: the fewest and the most operations.
        operand: the largest number of the question; they start at 1.
        largest: the largest value of any part of the expression; none is negative.
        balanced: probability that two numbers are joined first where there are two left to join; more of them give
            more steps that may come in any order.
    """

    operations: tuple[int, int] = (3, 3)
    operand: int = 20
    largest: int = 99
    balanced: float = 0.75

    def __post_init__(self) -> None:
        fewest, most = self.operations
        if not 1 <= fewest <= most <= 20:
            raise UserError(f"operations must be a range within 1 to 20, not {fewest} to {most}")
        if not 2 <= self.operand <= self.largest <= 10**9:
            raise UserError(f"operand {self.operand} must lie in 2 .. largest, and largest {self.largest} below 10^9")
        if not 0 <= self.balanced <= 1:
            raise UserError(f"balanced must lie in [0, 1], not {self.balanced}")

    @property
    def question_length(self) -> int:
        """The most characters of a question, as a bound: every number at its widest, every node in parentheses."""
        most = self.operations[1]
        return (most + 1) * len(str(self.operand)) + most + 2 * (most - 1)

    @property
    def trace_length(self) -> int:
        """The most characters of a trace, as a bound: every number of the question and every value but the last stand
        once as an operand, every value once as a result."""
        most = self.operations[1]
        return (most + 1) * len(str(self.operand)) + (2 * most - 1) * len(str(self.largest)) + 3 * most - 1

    @property
    def answer_length(self) -> int:
        """The most characters of an answer."""
        return len(str(self.largest))


NORMAL = Difficulty()
HARD = Difficulty(operand=99)
DIFFICULTIES = {"normal": NORMAL, "hard": HARD}


def held_out(question: str) -> bool:
    """Whether a question belongs to the sixteenth that no training sees."""
    return hashlib.blake2b(question.encode(), digest_size=1).digest()[0] < 16


def make_expression(difficulty: Difficulty, rng: random.Random) -> Expression:
    """A random expression: random numbers, joined pair by neighbouring pair under a random operator that is allowed."""
    while True:
        operations = rng.randint(*difficulty.operations)
        parts: list[Expression] = [rng.randint(1, difficulty.operand) for _ in range(operations + 1)]
        values = list(parts)
        while len(parts) > 1:
            place = _place(parts, difficulty.balanced, rng)
            a, b = values[place : place + 2]
            allowed = [o for o in "+-*" if 0 <= apply(a, o, b) <= difficulty.largest]  # pyright: ignore[reportArgumentType]
            if not allowed:
                break
            operator = allowed[int(rng.random() * len(allowed))]
            parts[place : place + 2] = [(parts[place], operator, parts[place + 1])]
            values[place : place + 2] = [apply(a, operator, b)]  # pyright: ignore[reportArgumentType]
        else:
            return parts[0]


def _place(parts: list[Expression], balanced: float, rng: random.Random) -> int:
    """Where to join next."""
    if rng.random() < balanced:
        leaves = [i for i in range(len(parts) - 1) if isinstance(parts[i], int) and isinstance(parts[i + 1], int)]
        if leaves:
            return leaves[int(rng.random() * len(leaves))]
    return int(rng.random() * (len(parts) - 1))


def make_trace(expression: Expression, rng: random.Random) -> tuple[str, str]:
    """A valid trace, at each step a random reducible node, and the answer."""
    steps = []
    while not isinstance(expression, int):
        choices = list(reductions(expression))
        left, operator, right, expression = choices[int(rng.random() * len(choices))]
        steps.append(step_text(left, operator, right))
    return ";".join(steps), str(expression)


def make_problem(difficulty: Difficulty, rng: random.Random, split: Split = "any") -> Problem:
    """A random problem of that part of the questions."""
    while True:
        expression = make_expression(difficulty, rng)
        question = text(expression)
        if split == "any" or held_out(question) == (split == "held-out"):
            return Problem(question, *make_trace(expression, rng))


def make_problems(difficulty: Difficulty, count: int, seed: int, split: Split = "any") -> list[Problem]:
    """``count`` problems with different questions, a function of the arguments alone.

    Raises:
        UserError: the range has too few different questions.
    """
    rng = random.Random(f"{difficulty}/{split}/{seed}")
    return distinct_problems(lambda: make_problem(difficulty, rng, split), count)


def distinct_problems(draw: Callable[[], Problem], count: int) -> list[Problem]:
    """The first ``count`` drawn problems of different questions. Raises ``UserError`` where no more are found."""
    found: dict[str, Problem] = {}
    misses = 0
    while len(found) < count:
        problem = draw()
        misses = misses + 1 if problem.question in found else 0
        if misses > 2000:
            raise UserError(f"only {len(found)} different questions were found, not {count}; widen the range")
        found.setdefault(problem.question, problem)
    return list(found.values())
