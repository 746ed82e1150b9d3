"""Seeded puzzles with one solution, of which no clue can go, with the order in which the solver fills them.

Each attempt draws a puzzle (:mod:`.drawing`) and solves it once more, writing down its order. Attempt ``i`` draws from
a random stream of its own, named by (seed, i), and attempts are taken up in order; so the puzzles do not depend on the
number of workers. Workers are threads: the compiled code holds no lock. No puzzle comes twice, nor a symmetric copy of
another (:func:`.drawing.symmetry_key`).

Puzzles have one solution by construction: every deduction of the solver holds in all solutions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku.bits import below, start

from .data import Puzzles
from .deduction import CLOSED_SET, REFUTATION, SOLVED, TWO_CLUES
from .drawing import draw_puzzle, symmetry_key
from .jit import entry
from .layout import RECORDING, borrowed, workspace
from .rules import ALL, CLASSIC, MOST, MOST_CLUES, Kind, Size
from .solver import solve_row

KINDS = {"all": ALL, "classic": CLASSIC}
"""Sets of clue kinds by name."""


@dataclass(frozen=True)
class Recipe:
    """What puzzles to make.

    Attributes:
        sizes: one is drawn for each puzzle, all equally likely.
        kinds: the clue kinds, drawn equally often (a kind that is seldom true or seldom says anything new ends up in
            fewer clues).
        hardest: the hardest rule that the solver may need; see :mod:`.deduction`. 5 reasons about clues alone, 6 also
            supposes and refutes.
        most_clues: puzzles that need more are passed over.

    Raises:
        UserError: nothing to choose from, kinds that settle no puzzle, or an unknown rule.
    """

    sizes: tuple[Size, ...]
    kinds: tuple[Kind, ...] = ALL
    hardest: int = TWO_CLUES
    most_clues: int = MOST_CLUES

    def __post_init__(self) -> None:
        if not self.sizes:
            raise UserError("a recipe needs at least one size")
        # Without one of these, the row read from the right is a solution too.
        directed = {Kind.FOUND_AT, Kind.NOT_AT, Kind.JUST_LEFT_OF, Kind.JUST_RIGHT_OF, Kind.LEFT_OF, Kind.RIGHT_OF}
        if not directed & set(self.kinds):
            raise UserError("these kinds of clues cannot tell left from right; add left_of or another that can")
        if not CLOSED_SET <= self.hardest <= REFUTATION:
            raise UserError(f"the hardest rule must be {CLOSED_SET} to {REFUTATION}, not {self.hardest}")
        if not 1 <= self.most_clues <= MOST_CLUES:
            raise UserError(f"a puzzle has 1 to {MOST_CLUES} clues, not {self.most_clues}")

    @property
    def name(self) -> str:
        """The recipe in words."""
        sizes = " ".join(size.name for size in self.sizes)
        known = next((name for name, kinds in KINDS.items() if kinds == self.kinds), None)
        kinds = known or " ".join(kind.title for kind in self.kinds)
        return f"{sizes}, clues {kinds}, at most {self.most_clues}, rules to {self.hardest}"


class Attempts(NamedTuple):
    """What a block of attempts gave; ``key`` (N,) is the symmetry key, ``count`` (N,) the clues, 0 where the attempt
    was given up. The rest is as in :class:`.data.Puzzles`."""

    houses: NDArray[np.int64]
    attributes: NDArray[np.int64]
    clues: NDArray[np.int8]
    solutions: NDArray[np.int8]
    order: NDArray[np.int16]
    rule: NDArray[np.uint8]
    key: NDArray[np.uint64]
    count: NDArray[np.int64]


@entry
def _attempt_rows(work, seed, first, sizes, weights, hardest, out):
    w = borrowed(work)
    place = np.zeros(MOST * MOST, np.int64)
    clues = np.zeros((MOST_CLUES, 5), np.int64)
    for row in range(out.key.shape[0]):
        start(w.stream, seed, np.uint64(first + row))
        size = sizes[below(w.stream, sizes.shape[0])]
        houses, attributes = size[0], size[1]
        count = draw_puzzle(w, houses, attributes, weights, hardest, place, clues)
        if count == 0:
            continue
        w.notes[RECORDING] = 1
        outcome, _ = solve_row(
            w, houses, attributes, clues[:count], hardest, out.solutions[row], out.order[row], out.rule[row]
        )
        out.houses[row], out.attributes[row] = houses, attributes
        out.clues[row] = clues
        out.key[row] = symmetry_key(houses, attributes, clues, count, place)
        out.count[row] = count if outcome == SOLVED else 0


def _attempts(recipe: Recipe, seed: int, first: int, count: int) -> Attempts:
    """Attempts ``first`` to ``first + count - 1``."""
    shape = (count, MOST, MOST)
    out = Attempts(
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full((count, MOST_CLUES, 5), -1, np.int8),
        np.full(shape, -1, np.int8),
        np.full(shape, -1, np.int16),
        np.zeros(shape, np.uint8),
        np.zeros(count, np.uint64),
        np.zeros(count, np.int64),
    )
    sizes = np.array([(size.houses, size.attributes) for size in recipe.sizes], np.int64)
    weights = np.array([kind in recipe.kinds for kind in Kind], np.int64)
    _attempt_rows(workspace(), np.uint64(seed), first, sizes, weights, recipe.hardest, out)
    return out


def _blocks(recipe: Recipe, seed: int, workers: int, count: int) -> Iterator[Attempts]:
    """Blocks of attempts in order, ``workers`` of them under way at once."""
    # Short enough for progress and Ctrl-C, long enough to hide the hand-over.
    size = min(128, count // workers + 8)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Attempts]] = deque()
        first = 0
        try:
            while True:
                while len(waiting) < workers:
                    waiting.append(pool.submit(_attempts, recipe, seed, first, size))
                    first += size
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def generate(
    recipe: Recipe,
    count: int,
    seed: int,
    *,
    workers: int = 1,
    avoid: Puzzles | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Puzzles:
    """``count`` puzzles with exactly one solution, of which no clue can go, with their order of deduction.

    Args:
        recipe: what puzzles.
        count: how many, at least 1.
        seed: a whole number of at least 0; the puzzles depend on it, the recipe and ``avoid``, and on nothing else; the
            first puzzles of a longer run are those of a shorter one.
        workers: threads that work at once, at least 1.
        avoid: puzzles that must not come again, nor symmetric copies of them (training puzzles, say).
        progress: called with (puzzles made, count) after every block of attempts.

    Raises:
        UserError: an argument out of range, or so many attempts in a row without a new puzzle that there seem to be no
            more of them.
    """
    if count < 1 or workers < 1 or not 0 <= seed < 2**63:
        raise UserError(f"generate needs count >= 1, workers >= 1, seed >= 0, not {count}, {workers}, {seed}")
    patience = 5000 + 2 * count
    seen: set[int] = set() if avoid is None else set(symmetry_keys(avoid).tolist())
    parts: list[Attempts] = []
    made = idle = 0
    for block in _blocks(recipe, seed, workers, count):
        chosen = []
        for row in np.flatnonzero((block.count > 0) & (block.count <= recipe.most_clues)):
            key = int(block.key[row])
            if key not in seen:
                seen.add(key)
                chosen.append(row)
        chosen = chosen[: count - made]
        made += len(chosen)
        idle = 0 if chosen else idle + len(block.key)
        parts.append(Attempts._make(column[chosen] for column in block))
        if progress is not None:
            progress(made, count)
        if made == count:
            break
        if idle > patience:
            raise UserError(f"found only {made} puzzles that are no copies of others ({recipe.name}); ask for fewer")
    joined = Attempts._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
    most, (a, h) = int(joined.count.max()), (int(joined.attributes.max()), int(joined.houses.max()))
    return Puzzles(
        joined.houses.astype(np.uint8),
        joined.attributes.astype(np.uint8),
        joined.clues[:, :most],
        joined.solutions[:, :a, :h],
        joined.order[:, :a, :h],
        joined.rule[:, :a, :h],
        origin=f"generated: {recipe.name}, seed {seed}",
    )


@entry
def _key_rows(houses, attributes, clues, counts, places, keys):
    for row in range(keys.shape[0]):
        keys[row] = symmetry_key(houses[row], attributes[row], clues[row], counts[row], places[row])


def symmetry_keys(puzzles: Puzzles) -> NDArray[np.uint64]:
    """(N,): a key that symmetric puzzles share; see :func:`.drawing.symmetry_key`."""
    count, keys = len(puzzles), np.zeros(len(puzzles), np.uint64)
    places = np.zeros((count, MOST * MOST), np.int64)
    row, a, h = np.nonzero(puzzles.solutions >= 0)
    places[row, MOST * a + puzzles.solutions[row, a, h]] = h
    sides = puzzles.houses.astype(np.int64), puzzles.attributes.astype(np.int64)
    _key_rows(*sides, puzzles.clues.astype(np.int64), puzzles.clue_counts, places, keys)
    return keys
