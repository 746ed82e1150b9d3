"""Zebra puzzles as sequences: the clues known, the answer unknown.

A sequence is the size (2 tokens), the clues (4 tokens each: kind, then x, y, z or the number, "none" where a kind has
fewer), and the answer:

- ``grid``: one token for each cell, attribute by attribute, the item that stands there; for masked diffusion;
- ``triples``: (attribute, house, item) for each cell, in cell order or in another; for autoregressive models, which
  predict the position like the value.

All sequences of a `Layout` have one length: what a smaller puzzle lacks, clues or cells, is filled with the padding
token, which is given, so that every place means the same in every puzzle. An item is one token wherever it is named,
in a clue or in a cell. The vocabulary is that of the largest puzzles, whatever the layout.

Source of the triples: Shah et al. 2024 (2409.10502), appendix; Kim et al. 2025 (2502.06768), D.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError

from .rules import KIND, MOST, MOST_CLUES, NUMBER, Clue, Kind, Puzzle, Size, X, Z, stacked, verify_many

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from .data import Puzzles

Answer = Literal["grid", "triples"]

MASK, PADDING, NONE = 0, 1, 2
KIND_TOKEN = 3
HOUSE_TOKEN = KIND_TOKEN + len(Kind)
ATTRIBUTE_TOKEN = HOUSE_TOKEN + MOST
ITEM_TOKEN = ATTRIBUTE_TOKEN + MOST
BETWEEN_TOKEN = ITEM_TOKEN + MOST * MOST
VOCAB_SIZE = BETWEEN_TOKEN + MOST - 3
"""Tokens: three special ones, 15 kinds, houses, attributes, items (6 a + v), and 2 to 4 houses between."""

_HEADER, _CLUE = 2, 4


@dataclass(frozen=True)
class Layout:
    """How puzzles are laid out.

    Attributes:
        houses, attributes: of the largest puzzle.
        clues: the most clues.
        answer: its form.

    Raises:
        UserError: a value out of range.
    """

    houses: int
    attributes: int
    clues: int
    answer: Answer = "grid"

    def __post_init__(self) -> None:
        Size(self.houses, self.attributes)
        if not 1 <= self.clues <= MOST_CLUES:
            raise UserError(f"a layout has room for 1 to {MOST_CLUES} clues, not {self.clues}")
        if self.answer not in get_args(Answer):
            raise UserError(f"the answer's form is one of {', '.join(get_args(Answer))}, not {self.answer!r}")

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the mask included."""
        return VOCAB_SIZE

    @property
    def mask_token_id(self) -> int:
        return MASK

    @property
    def cells(self) -> int:
        """Cells of the largest grid."""
        return self.houses * self.attributes

    @property
    def answer_start(self) -> int:
        """The first position of the answer."""
        return _HEADER + _CLUE * self.clues

    @property
    def length(self) -> int:
        """Tokens of a sequence."""
        return self.answer_start + self.cells * (1 if self.answer == "grid" else 3)

    @property
    def sections(self) -> list[list[int]]:
        """Groups and tokens of a group: the size, the clues, and the answer's rows or triples."""
        answer = [self.attributes, self.houses] if self.answer == "grid" else [self.cells, 3]
        return [[1, _HEADER], [self.clues, _CLUE], answer]

    @cached_property
    def _items(self) -> NDArray[np.int64]:
        """(attributes, houses): the token of the first item of each row."""
        return ITEM_TOKEN + MOST * np.arange(self.attributes)[:, None] + np.zeros(self.houses, np.int64)

    def fits(self, puzzles: Puzzles) -> None:
        """Raise `UserError` where a puzzle is too large for the layout or has too many clues."""
        if len(puzzles) == 0:
            return
        size, clues = puzzles.size, int(puzzles.clue_counts.max())
        if size.houses > self.houses or size.attributes > self.attributes or clues > self.clues:
            raise UserError(
                f"puzzles of {size.name} with up to {clues} clues do not fit a layout of "
                f"{self.houses}x{self.attributes} with {self.clues}"
            )

    def encode(
        self, puzzles: Puzzles, order: NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Sequences with their answers.

        Args:
            puzzles: N of them.
            order: of triples: (N, A, H), when each cell is written, -1 for one that comes last; None for cell order.

        Returns:
            tokens (N, length), and which of them are the answer's, (N, length).

        Raises:
            UserError: the puzzles do not fit the layout, or an order is given for an answer that has none.
        """
        self.fits(puzzles)
        solutions = _padded(puzzles.solutions, (self.attributes, self.houses))
        inside = solutions >= 0
        tokens = np.full((len(puzzles), self.length), PADDING, np.int64)
        tokens[:, : self.answer_start] = self._known(puzzles)
        items = np.where(inside, self._items + solutions, PADDING)
        unknown = np.zeros(tokens.shape, bool)
        if self.answer == "grid":
            if order is not None:
                raise UserError("a grid is no sequence of triples: it takes no order")
            tokens[:, self.answer_start :] = items.reshape(len(puzzles), -1)
            unknown[:, self.answer_start :] = inside.reshape(len(puzzles), -1)
            return tokens, unknown
        turn = np.zeros(solutions.shape, np.int64)
        if order is not None:
            if order.shape != puzzles.solutions.shape:
                raise UserError(f"an order of shape {order.shape} does not fit solutions {puzzles.solutions.shape}")
            turn = _padded(order.astype(np.int64), turn.shape[1:])
            turn = np.where(turn < 0, self.cells, turn)
        turn = np.where(inside, turn, 2 * self.cells).reshape(len(puzzles), -1)
        cell = turn.argsort(axis=1, kind="stable")
        written = np.take_along_axis(inside.reshape(len(puzzles), -1), cell, axis=1)
        values = np.take_along_axis(items.reshape(len(puzzles), -1), cell, axis=1)
        parts = ATTRIBUTE_TOKEN + cell // self.houses, HOUSE_TOKEN + cell % self.houses, values
        triples = np.where(written[..., None], np.stack(parts, axis=2), PADDING)
        tokens[:, self.answer_start :] = triples.reshape(len(puzzles), -1)
        unknown[:, self.answer_start :] = np.repeat(written, 3, axis=1)
        return tokens, unknown

    def ranks(self, order: NDArray[np.integer]) -> NDArray[np.int64]:
        """(N, length): an order (N, A, H) of cells as ranks of the grid's positions, 0 elsewhere; a cell without a turn
        ranks last."""
        turn = _padded(order.astype(np.int64), (self.attributes, self.houses))
        ranks = np.zeros((len(order), self.length), np.int64)
        ranks[:, self.answer_start :] = np.where(turn < 0, self.cells, turn).reshape(len(order), -1)
        return ranks

    def canvas(self, puzzles: Puzzles, device: torch.device | str = "cpu") -> Canvas:
        """The puzzles with their answers masked; the answer is the hole ``grid``.

        Raises:
            UserError: the puzzles do not fit the layout.
        """
        tokens, unknown = self.encode(puzzles)
        tokens[unknown] = MASK
        hole = torch.from_numpy(unknown)
        return Canvas(torch.from_numpy(tokens), hole, holes={"grid": hole}).to(device)

    def read(self, tokens: ArrayLike) -> NDArray[np.int64]:
        """(N, attributes, houses): the grids that sequences (N, length) say; -1 where a cell has no value.

        In a grid, a cell whose token is no item of its attribute has no value. A sequence of triples of which one is
        none, or names a cell again, has no value at all.

        Raises:
            UserError: the tokens are no whole numbers of the layout's length.
        """
        said = np.asarray(tokens)
        if said.ndim != 2 or said.shape[1] != self.length or not np.issubdtype(said.dtype, np.integer):
            raise UserError(f"sequences must be whole numbers (N, {self.length}), not {said.dtype} of {said.shape}")
        answer = said[:, self.answer_start :].astype(np.int64)
        if self.answer == "grid":
            value = answer.reshape(-1, self.attributes, self.houses) - self._items
            return np.where((value >= 0) & (value < self.houses), value, -1)
        parts = answer.reshape(-1, self.cells, 3)
        padding = (parts == PADDING).all(2)
        a, h, item = parts[..., 0] - ATTRIBUTE_TOKEN, parts[..., 1] - HOUSE_TOKEN, parts[..., 2] - ITEM_TOKEN
        value = item - MOST * a
        sound = (a >= 0) & (a < self.attributes) & (h >= 0) & (h < self.houses) & (value >= 0) & (value < self.houses)
        grids = np.full((len(said), self.attributes, self.houses), -1, np.int64)
        named = np.zeros(grids.shape, np.int64)
        row, turn = np.nonzero(sound)
        place = row, a[row, turn], h[row, turn]
        np.add.at(named, place, 1)
        grids[place] = value[row, turn]
        broken = (~sound & ~padding).any(1) | (named > 1).any((1, 2))
        grids[broken] = -1
        return grids

    def verify(self, puzzles: Puzzles, tokens: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which sequences keep what was given and solve their puzzle.

        Raises:
            UserError: as `encode` and `read`.
        """
        given, unknown = self.encode(puzzles)
        grids = self.read(tokens)
        if len(grids) != len(puzzles):
            raise UserError(f"{len(puzzles)} puzzles came with {len(grids)} sequences")
        kept = ((np.asarray(tokens) == given) | unknown).all(1)
        return kept & verify_many(puzzles.houses, puzzles.attributes, puzzles.clues, grids)

    def read_known(self, tokens: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
        """The puzzles that sequences (N, length) state, as `rules.stacked` gives them; undoes `encode`.

        Raises:
            UserError: a sequence states no puzzle; the row is named, from 1.
        """
        said = np.asarray(tokens)
        if said.ndim != 2 or said.shape[1] != self.length or not np.issubdtype(said.dtype, np.integer):
            raise UserError(f"sequences must be whole numbers (N, {self.length}), not {said.dtype} of {said.shape}")
        listed = []
        for number, row in enumerate(said[:, : self.answer_start].tolist(), 1):
            try:
                size = Size(row[0] - HOUSE_TOKEN + 1, row[1] - ATTRIBUTE_TOKEN + 1)
                quads = [row[at : at + _CLUE] for at in range(_HEADER, self.answer_start, _CLUE)]
                stated = [_clue(quad) for quad in quads if quad != [PADDING] * _CLUE]
                listed.append(Puzzle(size, tuple(stated)))
            except UserError as error:
                raise UserError(f"sequence {number} states no puzzle: {error}") from None
        return stacked(listed)

    def _known(self, puzzles: Puzzles) -> NDArray[np.int64]:
        """(N, answer_start): size and clues."""
        count = len(puzzles)
        clues = puzzles.clues[:, : self.clues].astype(np.int64)
        kind, number = clues[..., KIND], clues[..., NUMBER]
        items = clues[..., X : Z + 1]
        slots = np.where(items >= 0, ITEM_TOKEN + items, NONE)
        at = np.where(np.isin(kind, (Kind.FOUND_AT, Kind.NOT_AT)), HOUSE_TOKEN + number, BETWEEN_TOKEN - 2 + number)
        slots[..., 2] = np.where(number >= 0, at, slots[..., 2])
        quads = np.concatenate((KIND_TOKEN + kind[..., None], slots), axis=2)
        known = np.full((count, self.answer_start), PADDING, np.int64)
        known[:, 0] = HOUSE_TOKEN + puzzles.houses.astype(np.int64) - 1
        known[:, 1] = ATTRIBUTE_TOKEN + puzzles.attributes.astype(np.int64) - 1
        shown = np.where(kind[..., None] >= 0, quads, PADDING).reshape(count, -1)
        known[:, _HEADER : _HEADER + shown.shape[1]] = shown
        return known


def _clue(quad: list[int]) -> Clue:
    """A clue from its four tokens."""
    kind = quad[0] - KIND_TOKEN
    if not 0 <= kind < len(Kind):
        raise UserError(f"token {quad[0]} is no kind of clue")
    number, slots = -1, quad[1:]
    if Kind(kind).numbered:
        start = BETWEEN_TOKEN - 2 if kind == Kind.N_BETWEEN else HOUSE_TOKEN
        number, slots = slots[2] - start, [*slots[:2], NONE]
    if not all(slot == NONE or ITEM_TOKEN <= slot < BETWEEN_TOKEN for slot in slots):
        raise UserError(f"tokens {quad} are no clue")
    return Clue.of_row([kind, *(-1 if slot == NONE else slot - ITEM_TOKEN for slot in slots), number])


def _padded(cells: NDArray, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Cells (N, A, H) cut or filled with -1 to (N, *shape); what is cut lies outside every puzzle."""
    whole = np.full((len(cells), *shape), -1, np.int64)
    a, h = min(cells.shape[1], shape[0]), min(cells.shape[2], shape[1])
    whole[:, :a, :h] = cells[:, :a, :h]
    return whole
