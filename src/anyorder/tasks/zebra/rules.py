"""The rules of the Zebra puzzle ("who owns the zebra?") for any size, and a strict verifier.

A row of ``H`` houses, numbered from the left; ``A`` attributes (colour, pet, drink, ...), each with ``H`` values. Every
value stands in one house and every house has one value of each attribute, so a solution is a permutation per
attribute: ``grid[a, h]`` is the value of attribute ``a`` in house ``h``. An *item* is a value of an attribute,
``(a, v)``; ``h(x)`` is its house. A puzzle is a size and clues; its solution is the one grid in which every clue holds.
Attributes, values and houses are counted from 0 everywhere but in text.

==================  =========================================================================
kind                holds where
==================  =========================================================================
found_at x, n       h(x) = n
not_at x, n         h(x) != n
at_end x            h(x) = 0 or h(x) = H - 1
same_house x y      h(x) = h(y)
different_house x y h(x) != h(y)
just_left_of x y    h(x) + 1 = h(y)
just_right_of x y   h(x) = h(y) + 1
left_of x y         h(x) < h(y)
right_of x y        h(x) > h(y)
next_to x y         |h(x) - h(y)| = 1
not_next_to x y     |h(x) - h(y)| > 1 (two different houses)
one_between x y     |h(x) - h(y)| = 2
n_between x y, n    |h(x) - h(y)| = n + 1, n >= 2
between x y z       h(y) < h(x) < h(z) or h(z) < h(x) < h(y)
not_between x y z   three different houses, and not between
==================  =========================================================================

The seven kinds of Shah et al. 2024 (2409.10502) are `CLASSIC`; the others are those of MultiZebraLogic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

MOST = 6
"""The most houses, and the most attributes. Item (a, v) has the number ``MOST a + v``, cell (a, h) ``MOST a + h``."""
MOST_CLUES = 62
"""Sets of clues are kept in 64-bit masks."""


class Kind(IntEnum):
    """What a clue says of its items."""

    FOUND_AT = 0
    NOT_AT = 1
    AT_END = 2
    SAME_HOUSE = 3
    DIFFERENT_HOUSE = 4
    JUST_LEFT_OF = 5
    JUST_RIGHT_OF = 6
    LEFT_OF = 7
    RIGHT_OF = 8
    NEXT_TO = 9
    NOT_NEXT_TO = 10
    ONE_BETWEEN = 11
    N_BETWEEN = 12
    BETWEEN = 13
    NOT_BETWEEN = 14

    @property
    def title(self) -> str:
        """The kind's name in lower case."""
        return self.name.lower()

    @property
    def arity(self) -> int:
        """How many items it speaks of."""
        return 1 if self <= Kind.AT_END else 3 if self >= Kind.BETWEEN else 2

    @property
    def numbered(self) -> bool:
        """Whether it holds a number: a house, or how many houses lie between."""
        return self in (Kind.FOUND_AT, Kind.NOT_AT, Kind.N_BETWEEN)


CLASSIC = (
    Kind.SAME_HOUSE,
    Kind.DIFFERENT_HOUSE,
    Kind.JUST_LEFT_OF,
    Kind.LEFT_OF,
    Kind.NEXT_TO,
    Kind.AT_END,
    Kind.BETWEEN,
)
ALL = tuple(Kind)

KIND, X, Y, Z, NUMBER = range(5)
"""Columns of a clue as an array: kind, up to three items (-1 where there is none), number (-1 where there is none)."""

Item = tuple[int, int]


@dataclass(frozen=True, order=True)
class Size:
    """Houses and attributes of a puzzle.

    Raises:
        UserError: fewer than 2 houses, no attribute, or more than 6 of either.
    """

    houses: int
    attributes: int

    def __post_init__(self) -> None:
        for name, least in (("houses", 2), ("attributes", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= MOST:
                raise UserError(f"a Zebra puzzle has {least} to {MOST} {name}, not {value!r}")

    @property
    def cells(self) -> int:
        """Cells of the grid."""
        return self.houses * self.attributes

    @property
    def name(self) -> str:
        """As in ``4x5``: houses x attributes."""
        return f"{self.houses}x{self.attributes}"


def parse_size(text: str) -> Size:
    """A size written HOUSESxATTRIBUTES.

    Raises:
        UserError: anything else.
    """
    found = re.fullmatch("([0-9]{1,2})x([0-9]{1,2})", text)
    if found is None:
        raise UserError(f"{text!r} is no size of a Zebra puzzle; write houses x attributes, as in 4x5")
    return Size(int(found[1]), int(found[2]))


@dataclass(frozen=True, order=True)
class Clue:
    """One clue: a kind, its items ``(attribute, value)`` in the order of the table above, and its number.

    ``number`` is a house (from 0) for found_at and not_at, the houses between for n_between, else None.

    Raises:
        UserError: a wrong number of items or of numbers, one item twice, or a clue that no grid can satisfy or break
            because two of its items are values of one attribute.
    """

    kind: Kind
    items: tuple[Item, ...]
    number: int | None = None

    def __post_init__(self) -> None:
        title, kind = self.kind.title, self.kind
        if len(self.items) != kind.arity:
            raise UserError(f"a clue {title} speaks of {kind.arity} item(s), not {len(self.items)}")
        if len(set(self.items)) != len(self.items):
            raise UserError(f"a clue {title} names one item twice")
        if (self.number is None) == kind.numbered:
            raise UserError(f"a clue {title} {'needs a number' if kind.numbered else 'takes no number'}")
        if kind == Kind.N_BETWEEN and not 2 <= (self.number or 0) <= MOST - 2:
            raise UserError(f"a clue n_between has 2 to {MOST - 2} houses between, not {self.number}")
        if kind in (Kind.SAME_HOUSE, Kind.DIFFERENT_HOUSE) and self.items[0][0] == self.items[1][0]:
            raise UserError(f"a clue {title} needs values of two attributes")

    def fits(self, size: Size) -> None:
        """Raise `UserError` where an item or a number lies outside a puzzle of that size."""
        for attribute, value in self.items:
            if not (0 <= attribute < size.attributes and 0 <= value < size.houses):
                raise UserError(f"item ({attribute}, {value}) lies outside a {size.name} puzzle")
        if self.kind == Kind.N_BETWEEN and not 2 <= (self.number or 0) <= size.houses - 2:
            raise UserError(f"{self.number} houses cannot lie between two of {size.houses}")
        if self.kind in (Kind.FOUND_AT, Kind.NOT_AT) and not 0 <= (self.number or 0) < size.houses:
            raise UserError(f"house {self.number} (from 0) lies outside a {size.name} puzzle")

    def row(self) -> list[int]:
        """The clue as a row of numbers; see `KIND`."""
        items = [MOST * attribute + value for attribute, value in self.items]
        return [int(self.kind), *items, *[-1] * (3 - len(items)), -1 if self.number is None else self.number]

    @classmethod
    def of_row(cls, row: Sequence[int]) -> Clue:
        """Undoes `row`.

        Raises:
            UserError: the numbers make no clue.
        """
        values = [int(value) for value in row]
        if len(values) != 5 or not 0 <= values[KIND] < len(Kind):
            raise UserError(f"{values} is no clue")
        items = tuple((value // MOST, value % MOST) for value in values[X : Z + 1] if value >= 0)
        return cls(Kind(values[KIND]), items, None if values[NUMBER] < 0 else values[NUMBER])


@dataclass(frozen=True)
class Puzzle:
    """A size and clues.

    Raises:
        UserError: a clue lies outside the size, or there are more than 62.
    """

    size: Size
    clues: tuple[Clue, ...]

    def __post_init__(self) -> None:
        if len(self.clues) > MOST_CLUES:
            raise UserError(f"a puzzle has at most {MOST_CLUES} clues, not {len(self.clues)}")
        for clue in self.clues:
            clue.fits(self.size)

    def array(self) -> NDArray[np.int8]:
        """(clues, 5) int8, a row for each clue."""
        return np.array([clue.row() for clue in self.clues], np.int8).reshape(-1, 5)

    @classmethod
    def of_array(cls, size: Size, rows: NDArray) -> Puzzle:
        """Undoes `array`; rows whose kind is -1 are padding.

        Raises:
            UserError: a row makes no clue of a puzzle of that size.
        """
        return cls(size, tuple(Clue.of_row(row) for row in np.asarray(rows).tolist() if row[KIND] >= 0))


def holds(
    kind: ArrayLike, number: ArrayLike, houses: ArrayLike, x: ArrayLike, y: ArrayLike, z: ArrayLike
) -> NDArray[np.bool_]:
    """Whether clues hold, element by element: of the kind, with the number, in a row of ``houses``, their items in the
    houses ``x``, ``y`` and ``z``. Arguments broadcast; items that a kind does not have are ignored."""
    kind, number, houses = np.asarray(kind), np.asarray(number), np.asarray(houses)
    x, y, z = np.asarray(x), np.asarray(y), np.asarray(z)
    gap = np.abs(x - y)
    inside = ((y < x) & (x < z)) | ((z < x) & (x < y))
    apart = (x != y) & (y != z) & (x != z)
    meaning = {
        Kind.FOUND_AT: x == number,
        Kind.NOT_AT: x != number,
        Kind.AT_END: (x == 0) | (x == houses - 1),
        Kind.SAME_HOUSE: gap == 0,
        Kind.DIFFERENT_HOUSE: gap != 0,
        Kind.JUST_LEFT_OF: x + 1 == y,
        Kind.JUST_RIGHT_OF: x == y + 1,
        Kind.LEFT_OF: x < y,
        Kind.RIGHT_OF: x > y,
        Kind.NEXT_TO: gap == 1,
        Kind.NOT_NEXT_TO: gap > 1,
        Kind.ONE_BETWEEN: gap == 2,
        Kind.N_BETWEEN: gap == number + 1,
        Kind.BETWEEN: inside,
        Kind.NOT_BETWEEN: apart & ~inside,
    }
    return np.select([kind == one for one in meaning], list(meaning.values()), default=False).astype(bool)


def verify_many(
    houses: ArrayLike, attributes: ArrayLike, clues: NDArray[np.integer], filled: ArrayLike
) -> NDArray[np.bool_]:
    """(N,): which grids solve their puzzle: complete, a permutation per attribute, and *every* clue holds.

    Args:
        houses: (N,) houses of each puzzle. attributes: (N,) attributes.
        clues: (N, C, 5), padded by rows of kind -1.
        filled: (N, a, h) whole numbers, at least as large as the largest puzzle; what lies outside a puzzle's own size
            is ignored. A grid may hold anything (a decoder's output): a value that is none simply fails.

    Raises:
        UserError: the shapes do not fit one another.
    """
    sides, rows, grids = np.asarray(houses), np.asarray(attributes), np.asarray(filled)
    count = len(sides)
    if grids.dtype == bool or not np.issubdtype(grids.dtype, np.integer):
        raise UserError(f"a filled grid must hold whole numbers, not {grids.dtype}")
    if rows.shape != (count,) or clues.ndim != 3 or clues.shape[::2] != (count, 5):
        raise UserError(f"{count} puzzles need clues (N, C, 5) and as many sizes, not {clues.shape} and {rows.shape}")
    if grids.ndim != 3 or len(grids) != count:
        raise UserError(f"{count} puzzles need grids (N, attributes, houses), not {grids.shape}")
    if count and (rows.max() > grids.shape[1] or sides.max() > grids.shape[2]):
        raise UserError(f"grids of {grids.shape[1:]} are too small for the puzzles")
    attribute, house = np.ogrid[: grids.shape[1], : grids.shape[2]]
    inside = (attribute < rows[:, None, None]) & (house < sides[:, None, None])
    in_range = (grids >= 0) & (grids < sides[:, None, None])
    values = np.where(inside & in_range, grids, 0).astype(np.int64)
    # H distinct bits of H values are a permutation.
    bits = np.where(inside & in_range, np.left_shift(1, values), 0)
    whole = (np.bitwise_or.reduce(bits, axis=2) == np.left_shift(1, sides)[:, None] - 1) | (
        attribute[:, 0] >= rows[:, None]
    )
    place = np.full((count, MOST * MOST), -1, np.int64)
    row, a, h = np.nonzero(inside & in_range)
    place[row, MOST * a + values[row, a, h]] = h
    rows64 = clues.astype(np.int64)
    where = np.take_along_axis(place, np.maximum(rows64[..., X : Z + 1], 0).reshape(count, 3 * clues.shape[1]), axis=1)
    x, y, z = np.moveaxis(where.reshape(count, clues.shape[1], 3), 2, 0)
    right = holds(rows64[..., KIND], rows64[..., NUMBER], sides[:, None], x, y, z) | (rows64[..., KIND] < 0)
    return np.asarray((in_range | ~inside).all((1, 2)) & whole.all(1) & right.all(1))


def verify(puzzle: Puzzle, filled: ArrayLike) -> bool:
    """Whether one grid (attributes, houses) solves one puzzle; the strict rule of `verify_many`.

    Raises:
        UserError: the grid has another shape.
    """
    grid, size = np.asarray(filled), puzzle.size
    if grid.shape != (size.attributes, size.houses):
        raise UserError(f"a {size.name} grid has the shape {(size.attributes, size.houses)}, not {grid.shape}")
    return bool(verify_many([size.houses], [size.attributes], puzzle.array()[None], grid[None])[0])


def stacked(puzzles: Iterable[Puzzle]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int8]]:
    """Puzzles as arrays: houses (N,), attributes (N,), and clues (N, C, 5) padded with -1."""
    listed = list(puzzles)
    most = max((len(puzzle.clues) for puzzle in listed), default=0)
    clues = np.full((len(listed), most, 5), -1, np.int8)
    for row, puzzle in zip(clues, listed, strict=True):
        row[: len(puzzle.clues)] = puzzle.array()
    houses = np.array([puzzle.size.houses for puzzle in listed], np.int64)
    return houses, np.array([puzzle.size.attributes for puzzle in listed], np.int64), clues
