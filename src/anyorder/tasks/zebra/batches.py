"""Training batches of Zebra puzzles, and the task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.shuffling import rows_of_step
from anyorder.tasks.task import Batch

from .data import Puzzles
from .generator import Recipe, generate
from .rules import Size, verify_many
from .solver import solve_arrays
from .symmetry import augment
from .tokens import Layout

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

AnswerOrder = Literal["fixed", "solver"]


class ZebraData:
    """Training batches from a set of puzzles.

    Args:
        puzzles: the set.
        layout: how they are laid out.
        order: of triples, cell order ("fixed") or the order in which the solver fills the puzzle as it is shown
            ("solver"): it is found anew for every row, because a symmetry changes which of several possible fills the
            solver makes first. Of a grid, whether batches say the solver's order ("solver") or none ("fixed").
        augment: apply a random symmetry to every row.

    Raises:
        UserError: the set is empty, or does not fit the layout.
    """

    def __init__(self, puzzles: Puzzles, layout: Layout, *, order: AnswerOrder = "fixed", augment: bool = True) -> None:
        if len(puzzles) == 0:
            raise UserError("a data set needs at least one puzzle")
        if order not in ("fixed", "solver"):
            raise UserError(f"the order of an answer is fixed or solver, not {order!r}")
        layout.fits(puzzles)
        self.set, self.layout, self.order, self.augment = puzzles, layout, order, augment

    @property
    def fingerprint(self) -> str:
        """A hash of the puzzles, the layout and the order."""
        return hashlib.sha256(f"{self.layout} {self.order} {self.set.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.set)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Returns:
            tokens (size, length) int64; unknown (size, length) bool, the answer; order (size, length) int64 for a grid
            in the solver's order.

        Raises:
            UserError: the seed or the step is negative, or the size is below 1.
        """
        rows = self.set.rows(rows_of_step(seed, step, size, len(self)))
        if self.augment:
            rows = augment(rows, np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step]))))
        order = solver_order(rows) if self.order == "solver" else None
        if self.layout.answer == "triples":
            tokens, unknown = self.layout.encode(rows, order)
            return Batch(torch.from_numpy(tokens), torch.from_numpy(unknown))
        tokens, unknown = self.layout.encode(rows)
        if order is None:
            return Batch(torch.from_numpy(tokens), torch.from_numpy(unknown))
        ranks = np.where(unknown, self.layout.ranks(order), -1)
        return Batch(torch.from_numpy(tokens), torch.from_numpy(unknown), torch.from_numpy(ranks))


def solver_order(puzzles: Puzzles) -> NDArray[np.int16]:
    """(N, A, H): the turn in which the solver fills each cell of the puzzles as they stand."""
    found = solve_arrays(puzzles.houses, puzzles.attributes, puzzles.clues).order
    return found[:, : puzzles.solutions.shape[1], : puzzles.solutions.shape[2]]


@dataclass(frozen=True)
class Zebra:
    """The task of filling Zebra grids of one size from their clues."""

    size: Size
    clues: int = 40

    @property
    def name(self) -> str:
        return f"zebra-{self.size.name}"

    @property
    def layout(self) -> Layout:
        """How its puzzles are laid out."""
        return Layout(self.size.houses, self.size.attributes, self.clues)

    @property
    def vocab_size(self) -> int:
        return self.layout.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.layout.mask_token_id

    @property
    def length(self) -> int:
        return self.layout.length

    def data(self, count: int, *, seed: int, workers: int = 1) -> ZebraData:
        """``count`` fresh puzzles, augmented by symmetries as they are drawn.

        Raises:
            UserError: as `generator.generate`, or a puzzle has more clues than there is room for.
        """
        return ZebraData(generate(Recipe((self.size,)), count, seed, workers=workers), self.layout)

    def verify(self, given: ArrayLike, filled: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which filled sequences keep what was given and solve the puzzle that it states.

        ``given`` (N, length) is a canvas's tokens, ``filled`` the same with the answer.

        Raises:
            UserError: ``given`` states no puzzles of this layout.
        """
        houses, attributes, clues = self.layout.read_known(given)
        known = np.asarray(given)[:, : self.layout.answer_start] == np.asarray(filled)[:, : self.layout.answer_start]
        return known.all(1) & verify_many(houses, attributes, clues, self.layout.read(filled))
