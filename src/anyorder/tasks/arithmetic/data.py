"""Training batches of arithmetic: fresh problems at every step, a function of (seed, step) alone.

What a row hides is drawn too, because the trained network is asked many things: everything after the question, the
trace with the answer given (posterior traces), the answer alone, a span inside the trace (infilling). The order that
goes with a row is from left to right, so that a share of the rows can be trained on the states that reading order
meets.

A row's reasoning hole has any length from what its trace and end need to what the longest trace of the data needs:
whoever asks does not know how long the trace will be, so the room that is left must say nothing about it.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic.countdown import CountdownRange, make_countdown
from anyorder.tasks.arithmetic.layout import LITERALS, TOKENIZER, training_rows
from anyorder.tasks.arithmetic.problems import HARD, NORMAL, Difficulty, Problem, make_problem
from anyorder.tasks.task import Batch


@dataclass(frozen=True)
class Hidden:
    """Shares of the rows by what they hide; whatever is left over hides the trace and the answer.

    Attributes:
        trace: the trace, with the answer given.
        answer: the answer, with the trace given.
        span: one random span of the trace.
        frontier: everything from a random position on, of which only the next 1 to ``ahead`` positions are learned;
            what stands behind them is the mask token and is not asked for. Far positions are mostly a matter of
            chance, and their noise drowns what the next ones could teach.
        ahead: the most positions learned in such a row.
    """

    trace: float = 0.15
    answer: float = 0.05
    span: float = 0.1
    frontier: float = 0.4
    ahead: int = 8

    def __post_init__(self) -> None:
        shares = (self.trace, self.answer, self.span, self.frontier)
        if self.ahead < 1:
            raise UserError(f"ahead must be at least 1, not {self.ahead}")
        if not all(math.isfinite(share) and share >= 0 for share in shares) or sum(shares) > 1:
            raise UserError(f"the shares of what is hidden must not be negative and sum to 1 at most, not {shares}")


@dataclass(frozen=True)
class ArithmeticData:
    """Endless problems of several difficulties.

    Args:
        mixture: ranges of expressions or of Countdown, each with its weight.
        count: examples that count as one pass; there is no end.
        hidden: what rows hide.
        problems: draw from these instead of making new ones.
    """

    mixture: Sequence[tuple[Difficulty | CountdownRange, float]] = ((NORMAL, 0.8), (HARD, 0.2))
    count: int = 1_000_000
    hidden: Hidden = field(default_factory=Hidden)
    problems: tuple[Problem, ...] = ()

    def __post_init__(self) -> None:
        if not self.mixture or not all(math.isfinite(w) and w >= 0 for _, w in self.mixture):
            raise UserError("the mixture needs difficulties with weights that are not negative")
        if not sum(weight for _, weight in self.mixture) > 0:
            raise UserError("the mixture needs a weight above 0")
        if self.count < 1:
            raise UserError(f"count must be 1 or more, not {self.count}")

    def __len__(self) -> int:
        return len(self.problems) or self.count

    @property
    def answer_length(self) -> int:
        """Positions of the answer hole: the longest answer and its end."""
        return max(difficulty.answer_length for difficulty, _ in self.mixture) + 1

    @property
    def reasoning_length(self) -> int:
        """The most positions of a reasoning hole: the longest trace and its end."""
        return max(difficulty.trace_length for difficulty, _ in self.mixture) + 1

    @property
    def length(self) -> int:
        """Positions of a row."""
        question = max(difficulty.question_length for difficulty, _ in self.mixture)
        return LITERALS + question + self.reasoning_length + self.answer_length

    @property
    def fingerprint(self) -> str:
        """A hash of what the data are made from."""
        facts = f"arithmetic 2 {tuple(self.mixture)} {self.count} {self.hidden} {self.problems}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def rows(self, seed: int, step: int, size: int) -> list[Problem]:
        """The problems of one step."""
        rng = random.Random(f"{seed}/{step}")
        if self.problems:
            return [self.problems[int(rng.random() * len(self.problems))] for _ in range(size)]
        kinds, weights = zip(*self.mixture, strict=True)
        return [
            make_countdown(kind, rng, "train") if isinstance(kind, CountdownRange) else make_problem(kind, rng, "train")
            for kind in rng.choices(kinds, weights, k=size)
        ]

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Raises:
            UserError: the seed or the step is negative, or the size is below 1.
        """
        if seed < 0 or step < 0 or size < 1:
            raise UserError(f"a batch needs seed >= 0, step >= 0 and size >= 1, not {seed}, {step}, {size}")
        problems = self.rows(seed, step, size)
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
        needed = np.array([len(problem.trace) + 1 for problem in problems])
        reasoning = rng.integers(needed, np.maximum(needed, self.reasoning_length), endpoint=True).tolist()
        sheet = training_rows(problems, reasoning, self.answer_length, self.length)
        unknown = sheet.reasoning | sheet.answer
        kind = rng.random(size)[:, None]
        shares = (self.hidden.trace, self.hidden.answer, self.hidden.span, self.hidden.frontier)
        trace, answer, span, frontier = np.cumsum(shares)
        unknown = np.where(kind < trace, sheet.reasoning, unknown)
        unknown = np.where((kind >= trace) & (kind < answer), sheet.answer, unknown)
        unknown = np.where((kind >= answer) & (kind < span), _spans(sheet.reasoning, rng), unknown)
        learned, behind = _frontier(sheet.reasoning | sheet.answer, self.hidden.ahead, rng)
        chosen = (kind >= span) & (kind < frontier)
        unknown = np.where(chosen, learned, unknown)
        tokens = np.where(chosen & behind, TOKENIZER.mask_token_id, sheet.tokens)
        order = np.broadcast_to(np.arange(self.length), unknown.shape).copy()
        return Batch(
            torch.from_numpy(tokens),
            torch.from_numpy(unknown),
            order=torch.from_numpy(order),
            attention_mask=torch.from_numpy(sheet.real),
        )


def _frontier(hole: np.ndarray, ahead: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """From a random position of each row's ``hole`` (rows, length): the next 1 to ``ahead`` positions of it, and those
    behind them."""
    rank = hole.cumsum(1) - 1
    start = rng.integers(0, hole.sum(1))[:, None]
    stop = start + rng.integers(1, ahead + 1, len(hole))[:, None]
    return hole & (rank >= start) & (rank < stop), hole & (rank >= stop)


def _spans(hole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random span of each row's hole, (rows, length) bool; every span that is not empty is equally likely to start
    anywhere."""
    start, size = hole.argmax(1), hole.sum(1)
    ends = np.sort(rng.integers(0, np.stack((size, size), 1)), axis=1) + start[:, None]
    place = np.arange(hole.shape[1])
    return (place >= ends[:, :1]) & (place <= ends[:, 1:])
