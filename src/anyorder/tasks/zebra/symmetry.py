"""Symmetries: what can be exchanged in a Zebra puzzle without changing what there is to deduce.

- the values of each attribute get other names;
- the attributes are exchanged;
- the row of houses is read from the right: h becomes H - 1 - h, and a clue ``x left of y`` becomes ``y left of x``, so
  every set of clue kinds is closed under it;
- clues come in another order;
- the items of a clue that treats them alike are exchanged (``next_to x y``; the outer two of ``between``).

All are drawn uniformly and apart for every row of a batch, in whole arrays.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .data import Puzzles
from .rules import KIND, MOST, NUMBER, Kind, X, Y, Z

_DIRECTED = (Kind.JUST_LEFT_OF, Kind.JUST_RIGHT_OF, Kind.LEFT_OF, Kind.RIGHT_OF)
_ALIKE = (
    Kind.SAME_HOUSE,
    Kind.DIFFERENT_HOUSE,
    Kind.NEXT_TO,
    Kind.NOT_NEXT_TO,
    Kind.ONE_BETWEEN,
    Kind.N_BETWEEN,
)
_OUTER_ALIKE = (Kind.BETWEEN, Kind.NOT_BETWEEN)


def augment(puzzles: Puzzles, rng: np.random.Generator) -> Puzzles:
    """The same puzzles, each under a random symmetry; orders and rules go along with their cells.

    The order stays one in which each step follows from the clues and the steps before, though the solver, which breaks
    ties by number, may order the puzzle as it is now shown in another way.
    """
    count, (most_a, most_h) = len(puzzles), puzzles.solutions.shape[1:]
    houses, attributes = puzzles.houses.astype(np.int64), puzzles.attributes.astype(np.int64)
    value = _permutations(rng, np.broadcast_to(houses[:, None], (count, most_a)), most_h)
    attribute = _permutations(rng, attributes, most_a)
    mirror = rng.random(count) < 0.5
    house = np.arange(most_h)
    house = np.where(mirror[:, None] & (house < houses[:, None]), houses[:, None] - 1 - house, house)

    row = np.arange(count)[:, None, None]
    target = (row, attribute[:, :, None], house[:, None, :])

    def moved(cells: NDArray) -> NDArray:
        there = np.empty_like(cells)
        there[target] = cells
        return there

    inside = puzzles.solutions >= 0
    old = np.maximum(puzzles.solutions, 0).astype(np.int64)
    renamed = np.where(inside, np.take_along_axis(value, old, axis=2), -1).astype(np.int8)
    return Puzzles(
        puzzles.houses,
        puzzles.attributes,
        _clues(puzzles.clues, houses, value, attribute, mirror, rng),
        moved(renamed),
        None if puzzles.order is None else moved(puzzles.order),
        None if puzzles.rule is None else moved(puzzles.rule),
        origin=puzzles.origin,
    )


def _permutations(rng: np.random.Generator, sizes: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """(..., most): a uniform permutation of 0..size-1 for each of ``sizes`` (...), the identity behind it."""
    key = rng.random((*sizes.shape, most))
    behind = np.arange(most) >= sizes[..., None]
    return np.where(behind, 1.0 + np.arange(most), key).argsort(axis=-1)


def _clues(
    clues: NDArray[np.int8],
    houses: NDArray[np.int64],
    value: NDArray[np.int64],
    attribute: NDArray[np.int64],
    mirror: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    count, most = clues.shape[:2]
    given = clues[..., KIND] >= 0
    # Padding stays behind.
    turn = np.where(given, rng.random((count, most)), 2.0).argsort(axis=1)
    shown = np.take_along_axis(clues, turn[..., None], axis=1).astype(np.int64)
    items = shown[..., X : Z + 1]
    row = np.arange(count)[:, None, None]
    a, v = np.maximum(items, 0) // MOST, np.maximum(items, 0) % MOST
    shown[..., X : Z + 1] = np.where(items < 0, -1, MOST * attribute[row, a] + value[row, a, v])
    kind = shown[..., KIND]
    placed = mirror[:, None] & np.isin(kind, (Kind.FOUND_AT, Kind.NOT_AT))
    shown[..., NUMBER] = np.where(placed, houses[:, None] - 1 - shown[..., NUMBER], shown[..., NUMBER])
    coin = rng.random(kind.shape) < 0.5
    _exchange(shown, X, Y, (np.isin(kind, _DIRECTED) & mirror[:, None]) | (np.isin(kind, _ALIKE) & coin))
    _exchange(shown, Y, Z, np.isin(kind, _OUTER_ALIKE) & coin)
    return shown.astype(np.int8)


def _exchange(clues: NDArray[np.int64], first: int, second: int, where: NDArray[np.bool_]) -> None:
    """Exchange two columns of the chosen clues, in place."""
    held = clues[where, first]
    clues[where, first] = clues[where, second]
    clues[where, second] = held
