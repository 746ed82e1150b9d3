"""What the laws are tested on: the members, tiny exact distributions, and the error rate shared by all tests.

Family-wise error: every statistical test of the matrix compares its p-value with ``ALPHA`` = 1e-3 / (number of
tests), so that a correct library fails any of them with probability at most 1e-3 (Bonferroni) over the choice of
seeds. Seeds are fixed, so a run is the same every time.

A canvas has four positions and, after them, a given one that tells which distribution its row follows; so one call
decodes rows of both. Longer rows, which serve as neighbours, go on with positions that hold 0 without doubt.
"""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
import pytest
import torch
from tests.decoding.laws.enumeration import Outcome
from tests.decoding.laws.exact import UNDECIDED, Joint, Tokens
from tests.decoding.members import BUDGETS, ORDERS, WINDOWS
from torch import Tensor

import anyorder as ao
from anyorder.core.denoiser import open_session

M, LENGTH, LONGER = 3, 4, 2
DEPENDENT, INDEPENDENT = 0, 1
"""Values of the last position."""
HOLES = {"first": (2,), "second": (0, 3)}
ROWS = 1500
"""Decodes of each distribution in a cell."""

TESTS = len(ORDERS) * (len(WINDOWS) * (len(BUDGETS) * 3 + 2) + 1)
ALPHA = 1e-3 / TESTS
PAIRS = [pytest.param(*pair, id="+".join(pair)) for pair in itertools.product(ORDERS, BUDGETS)]


def fitted(part: Any) -> Any:
    """A member with its settings on the scale of the tiny canvas, so that its rule bites; others as they are."""
    match part:
        case ao.Fixed():
            return ao.Fixed(2)
        case ao.EntropyBelow():
            return replace(part, limit=0.6, most=part.most and 2)
        case ao.EntropyBound():
            return replace(part, total=0.5, most=part.most and 2)
        case ao.ProbabilityAbove():
            return replace(part, limit=0.6)
        case ao.Factor():
            return replace(part, f=1.0)
        case ao.KLASS():
            return replace(part, limit=0.55, divergence=0.3, history=1)
        case ao.Draft():
            return ao.Draft(0.55, share=0.6, least=1, most=2)
        case ao.Dilated():
            return ao.Dilated(4)
        case ao.Blocks():
            return ao.Blocks(min(part.size, 2))
        case ao.Holes():
            return ao.Holes(*part.names, inside=fitted(part.inside))
    return part


def order_of(name: str) -> Any:
    return ORDERS[name]()


def budget_of(name: str) -> Any:
    return fitted(BUDGETS[name]())


def window_of(name: str) -> Any:
    return fitted(WINDOWS[name]())


def seed_of(*names: Any) -> int:
    """A fixed seed for a test, its own for every cell."""
    return zlib.crc32(repr(names).encode())


@cache
def joint() -> Joint:
    """Two distributions of four positions, told apart by the fifth.

    The dependent one: a quarter of the sequences impossible, entropies on both sides of the thresholds, and chosen so
    that the usual orders and budgets have clearly different laws on it. The independent one is a product of different
    laws, one of them with an impossible token.
    """
    rng = np.random.default_rng(343)
    dependent = rng.random((M,) * LENGTH) ** 4
    dependent[rng.random(dependent.shape) < 0.25] = 0
    laws = np.array([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6], [0.0, 0.97, 0.03], [0.41, 0.25, 0.34]])
    table = np.zeros((M,) * (LENGTH + 1))
    table[..., DEPENDENT] = dependent / dependent.sum() / 2
    table[..., INDEPENDENT] = np.einsum("a,b,c,d->abcd", *laws) / 2
    return Joint(table)


@cache
def oracle() -> ao.EnumeratedJoint:
    """The exact denoiser. Impossible evidence, which parallel decoding can produce, is answered uniformly."""
    table = joint().table
    where = np.argwhere(table > 0)
    sequences = torch.from_numpy(np.pad(where, ((0, 0), (0, LONGER))))
    probabilities = torch.from_numpy(table[tuple(where.T)])
    return ao.EnumeratedJoint(probabilities, sequences, vocab_size=M + 1, mask_token_id=M, strict=False)


@dataclass(frozen=True)
class Case:
    """A canvas: nothing known of the four positions, or a clue between unknown ones."""

    clue: bool

    def given(self, kind: int) -> Tokens:
        return (UNDECIDED, 1 if self.clue else UNDECIDED, UNDECIDED, UNDECIDED, kind)

    @property
    def unknown(self) -> list[int]:
        return [i for i, t in enumerate(self.given(DEPENDENT)) if t == UNDECIDED]

    @property
    def holes(self) -> dict[str, list[int]]:
        return {name: [i for i in where if i in self.unknown] for name, where in HOLES.items()}

    @cache  # noqa: B019 (two cases, for the whole run)
    def canvas(self, rows: int) -> ao.Canvas:
        """``rows`` rows of each distribution, in turn."""
        given = torch.tensor([self.given(DEPENDENT), self.given(INDEPENDENT)]).repeat(rows, 1)
        holes = {name: torch.zeros_like(given, dtype=torch.bool) for name in HOLES}
        for name, where in self.holes.items():
            holes[name][:, where] = True
        unknown = given == UNDECIDED
        return ao.Canvas(given.masked_fill(unknown, M), unknown, holes=holes)


CLUE, FREE = Case(clue=True), Case(clue=False)


@cache
def in_company(side: Literal["left", "right"]) -> ao.Canvas:
    """A row that is longer and wholly unknown, and under it the two rows of ``CLUE``, padded on one side."""
    width = LENGTH + 1 + LONGER
    longer = ao.Canvas(torch.full((1, width), M), torch.ones(1, width, dtype=torch.bool))
    return ao.Canvas.stack([longer, CLUE.canvas(1)], side=side, pad_token=2)


@cache
def repeated(canvas: ao.Canvas, times: int) -> ao.Canvas:
    """A canvas several times under itself."""
    return canvas.rows(torch.arange(canvas.batch).repeat(times))


@dataclass(frozen=True)
class SideBySide:
    """Several windows in one batch: equal shares of the rows, one below the other."""

    windows: tuple[Any, ...]

    def stages(self, canvas: ao.Canvas) -> Tensor:
        share = canvas.batch // len(self.windows)
        parts = [canvas.rows(slice(i * share, (i + 1) * share)) for i in range(len(self.windows))]
        return torch.cat([window.stages(part) for window, part in zip(self.windows, parts, strict=True)])


def number(tokens: Sequence[int] | Tensor, steps: Sequence[int] | Tensor | None = None) -> Any:
    """An outcome as one integer (or a tensor of rows as a tensor of integers), so that thousands are counted fast."""
    code: Any = 0
    for digit in range(LENGTH + 1):
        code = code * M + (tokens[digit] if isinstance(tokens, tuple) else tokens[:, digit])
    for digit in range(LENGTH + 1) if steps is not None else ():
        code = code * 8 + 1 + (steps[digit] if isinstance(steps, tuple) else steps[:, digit])
    return code


@dataclass(frozen=True, eq=False)
class Sample:
    """Decodes of one case, rows of the two distributions in turn: ``share`` says which part of how many of a result."""

    result: ao.Decoded
    share: tuple[int, int] = (0, 1)

    def of(self, values: Tensor, kind: int) -> Tensor:
        part, parts = self.share
        return values.tensor_split(parts)[part][kind::2]

    def sequences(self, kind: int) -> list[int]:
        """The final sequence of each row, as a number."""
        return number(self.of(self.result.tokens, kind)).tolist()

    def paths(self, kind: int) -> list[int]:
        """The final sequence and the step of every position, as a number."""
        return number(self.of(self.result.tokens, kind), self.of(self.result.step_of, kind)).tolist()


def of_paths(law: Mapping[Outcome, float]) -> dict[int, float]:
    """An enumerated law, with outcomes as numbers."""
    return {number(*outcome): probability for outcome, probability in law.items()}


def of_sequences(law: Mapping[Outcome, float] | Mapping[Tokens, float]) -> dict[int, float]:
    """A law of the final sequence alone, as numbers; what else an enumerated outcome says is summed over."""
    total: dict[int, float] = defaultdict(float)
    for outcome, probability in law.items():
        total[number(outcome if isinstance(outcome[0], int) else outcome[0])] += probability
    return dict(total)


class Counting:
    """A denoiser that counts, for every row of a decode, the calls that it took part in."""

    def __init__(self, model: ao.Denoiser) -> None:
        self.model, self.vocab_size, self.mask_token_id = model, model.vocab_size, model.mask_token_id
        self.calls, self.opened = 0, False
        self.of_row = torch.zeros(0, dtype=torch.int64)
        self.held = torch.zeros(0, dtype=torch.int64)

    def open(self, canvas: ao.Canvas) -> Any:
        if self.opened:
            # An order asks about other states, in a session of its own: that is not a call of the decode.
            return open_session(self.model, canvas)
        self.opened = True
        self.of_row, self.held = torch.zeros(canvas.batch, dtype=torch.int64), torch.arange(canvas.batch)
        return self

    def keep(self, rows: Tensor) -> None:
        self.held = self.held[rows]

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        self.calls += 1
        self.of_row[self.held] += 1
        return self.model(tokens, attention_mask=attention_mask, at=at)


def draw(
    case: Case,
    order: Any,
    budget: Any,
    windows: Sequence[Any] = (ao.Whole(),),
    seed: int | Tensor = 0,
    *,
    rows: int = ROWS,
    model: Any = None,
    sampler: Any = None,
) -> list[Sample]:
    """Decode ``rows`` rows of each distribution under each window, all in one batch.

    At temperature 1 and with the exact denoiser unless told otherwise. One sample for each window.
    """
    result = ao.decode(
        oracle() if model is None else model,
        repeated(case.canvas(rows), len(windows)),
        order=order,
        budget=budget,
        window=SideBySide(tuple(windows)),
        sampler=ao.Temperature(1.0) if sampler is None else sampler,
        seed=seed,
    )
    return [Sample(result, (i, len(windows))) for i in range(len(windows))]
