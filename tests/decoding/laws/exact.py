"""Exact conditionals of a tiny distribution, and comparisons that refuse to guess.

Plain Python and float64, without any code of the library. Where a decision compares two numbers that are close but not
equal, float32 and float64 might part: ``ClosedCall`` is raised, and the test needs another joint. Exact ties go to the
lowest position.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np

UNDECIDED = -1
Tokens = tuple[int, ...]

SAME, CLEAR = 1e-11, 1e-5


class ClosedCall(Exception):
    """Two compared numbers nearly tie."""


def above(a: float, b: float) -> bool:
    """a > b, told apart clearly or exactly equal."""
    if SAME < abs(a - b) < CLEAR:
        raise ClosedCall(f"{a} against {b}")
    return a - b > SAME


def best_first(score: dict[int, float]) -> list[int]:
    """Positions by falling score, ties by position."""
    order: list[int] = []
    for position in sorted(score):
        place = len(order)
        while place and above(score[position], score[order[place - 1]]):
            place -= 1
        order.insert(place, position)
    for better, worse in itertools.pairwise(order):
        above(score[better], score[worse])
    return order


@dataclass(frozen=True)
class Scores:
    """The statistics of one position's law."""

    top: float
    margin: float
    entropy: float
    token: int

    @staticmethod
    def of(law: list[float]) -> Scores:
        first, second, *_ = sorted(law, reverse=True)
        token = next(v for v, p in enumerate(law) if p >= first - SAME)
        return Scores(first, first - second, -sum(p * math.log(p) for p in law if p > 0), token)


@dataclass(frozen=True)
class Sight:
    """What an exact network shows: the law of every position, given the decided tokens, and its statistics."""

    laws: list[list[float]]
    scores: list[Scores]
    joint: Joint
    tokens: Tokens

    def mean_entropy(self, position: int, token: int, where: list[int]) -> float:
        """Mean entropy of the other positions of ``where`` once one of them holds a token."""
        after = self.joint.look(tuple(token if i == position else t for i, t in enumerate(self.tokens)))
        left = [after.scores[i].entropy for i in where if i != position]
        return sum(left) / len(left)


@dataclass
class Joint:
    """A distribution over sequences as a table (m,) * L; impossible evidence has uniform conditionals."""

    table: np.ndarray
    _seen: dict[Tokens, Sight] = field(default_factory=dict)

    @property
    def m(self) -> int:
        return self.table.shape[0]

    @property
    def length(self) -> int:
        return self.table.ndim

    def look(self, tokens: Tokens) -> Sight:
        """P(x^i = v | the decided tokens) for every position i."""
        if tokens not in self._seen:
            index = tuple(slice(None) if t == UNDECIDED else slice(t, t + 1) for t in tokens)
            part = np.zeros_like(self.table)
            part[index] = self.table[index]
            axes = range(self.length)
            laws = np.stack([part.sum(tuple(a for a in axes if a != i)) for i in axes])
            total = part.sum()
            rows = (laws / total if total > 0 else np.full_like(laws, 1 / self.m)).tolist()
            self._seen[tokens] = Sight(rows, [Scores.of(law) for law in rows], self, tokens)
        return self._seen[tokens]

    def posterior(self, tokens: Tokens) -> dict[Tokens, float]:
        """P(full sequence | the given tokens)."""
        rows = {
            full: float(self.table[full])
            for full in itertools.product(range(self.m), repeat=self.length)
            if all(t in (UNDECIDED, f) for t, f in zip(tokens, full, strict=True))
        }
        total = sum(rows.values())
        return {full: p / total for full, p in rows.items() if p > 0}
