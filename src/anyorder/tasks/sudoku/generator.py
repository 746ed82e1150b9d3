"""Seeded puzzles with one solution, graded, with the order in which the seven strategies fill them.

Each attempt draws a random solution grid (:mod:`.grids`), digs it (:mod:`.dig`), and solves the puzzle once more with
the strategies, which gives its grade and its fill order. Attempt ``i`` draws from a random stream of its own, named by
(seed, i), and attempts are taken up in order; so the puzzles do not depend on the number of workers. Workers are
threads: the compiled code holds no lock.

No puzzle is counted twice, nor a symmetric copy of another (:func:`.symmetry.symmetry_keys`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .bits import start
from .data import GRADES, Puzzles
from .dig import dig_logic, dig_unique
from .grids import Source, draw, source
from .jit import entry
from .layout import RECORDING, borrowed
from .rules import Box
from .solver import solve_row
from .symmetry import symmetry_key

Grade = Literal["logic", "hard", "any"]
Distinct = Literal["symmetry", "puzzle"]


@dataclass(frozen=True)
class Recipe:
    """What puzzles to make.

    ``grade``: ``logic`` digs until no clue can go without the seven strategies failing; ``hard`` and ``any`` dig until
    no clue can go without a second solution appearing, and ``hard`` keeps only what the strategies cannot finish.
    ``distinct``: ``symmetry`` drops symmetric copies of earlier puzzles, ``puzzle`` only equal ones (small boxes have
    few puzzles up to symmetry: 36 minimal ones for 4x4).

    Raises:
        UserError: an unknown name.
    """

    grade: Grade = "logic"
    distinct: Distinct = "symmetry"

    def __post_init__(self) -> None:
        for name, known in (("grade", get_args(Grade)), ("distinct", get_args(Distinct))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")


class Attempts(NamedTuple):
    """What a block of attempts gave; ``key`` (N,) is the symmetry key, ``kept`` (N,) whether the puzzle is one of the
    kind asked for. The rest is as in :class:`.data.Puzzles`."""

    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8]
    grade: NDArray[np.uint8]
    order: NDArray[np.int16]
    strategy: NDArray[np.uint8]
    key: NDArray[np.uint64]
    kept: NDArray[np.bool_]


@entry
def _attempt_rows(work, given, seed, first, logic, out):
    w = borrowed(work)
    grid = np.zeros(out.puzzles.shape[1], np.uint8)
    for row in range(out.puzzles.shape[0]):
        w.notes[RECORDING] = 0
        start(w.stream, seed, np.uint64(first + row))
        puzzle, solution = out.puzzles[row], out.solutions[row]
        draw(w, given, solution)
        if logic:
            if not dig_logic(w, solution, puzzle):
                continue
        else:
            dig_unique(w, solution, puzzle)
        w.notes[RECORDING] = 1
        outcome, _ = solve_row(w, puzzle, grid, out.order[row], out.strategy[row])
        out.grade[row] = 0 if outcome == 1 else 1
        out.key[row] = symmetry_key(w.t, puzzle)
        out.kept[row] = True


def _attempts(box: Box, recipe: Recipe, given: Source, seed: int, first: int, count: int) -> Attempts:
    """Attempts ``first`` to ``first + count - 1``."""
    shape = (count, box.cells)
    out = Attempts(
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        np.zeros(count, np.uint8),
        np.full(shape, -1, np.int16),
        np.zeros(shape, np.uint8),
        np.zeros(count, np.uint64),
        np.zeros(count, np.bool_),
    )
    work = box.workspace(recording=True)
    _attempt_rows(work, given, np.uint64(seed), first, recipe.grade == "logic", out)
    if recipe.grade == "hard":
        out.kept[:] &= out.grade == GRADES.index("hard")
    return out


def _blocks(box: Box, recipe: Recipe, seed: int, workers: int, count: int) -> Iterator[Attempts]:
    """Blocks of attempts in order, ``workers`` of them under way at once."""
    given = source(box)
    # Short enough for progress and Ctrl-C, long enough to hide the hand-over.
    size = min(512 if box.size <= 9 else 8, count // workers + 8)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Attempts]] = deque()
        first = 0
        try:
            while True:
                while len(waiting) < workers:
                    waiting.append(pool.submit(_attempts, box, recipe, given, seed, first, size))
                    first += size
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def generate(
    box: Box,
    count: int,
    seed: int,
    *,
    grade: Grade = "logic",
    distinct: Distinct = "symmetry",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Puzzles:
    """``count`` puzzles with exactly one solution, graded, with their fill order; see :class:`Recipe`.

    Args:
        box: the box shape.
        count: how many, at least 1.
        seed: a whole number of at least 0; the puzzles depend on it, the box, the grade and ``distinct``, and on
            nothing else; the first puzzles of a longer run are those of a shorter one.
        grade: ``logic``, ``hard`` or ``any``.
        distinct: ``symmetry`` or ``puzzle``.
        workers: threads that work at once, at least 1.
        progress: called with (puzzles made, count) after every block of attempts.

    Raises:
        UserError: an argument out of range, or so many attempts in a row without a new puzzle that the box seems to
            have no more of them.
    """
    recipe = Recipe(grade, distinct)
    if count < 1 or workers < 1 or not 0 <= seed < 2**63:
        raise UserError(f"generate needs count >= 1, workers >= 1, seed >= 0, not {count}, {workers}, {seed}")
    patience = 20_000 + 2 * count
    seen: set[int | bytes] = set()
    parts: list[Attempts] = []
    made = idle = 0
    for block in _blocks(box, recipe, seed, workers, count):
        chosen = []
        for row in np.flatnonzero(block.kept):
            name = int(block.key[row]) if distinct == "symmetry" else block.puzzles[row].tobytes()
            if name not in seen:
                seen.add(name)
                chosen.append(row)
        chosen = chosen[: count - made]
        made += len(chosen)
        idle = 0 if chosen else idle + len(block.kept)
        parts.append(Attempts._make(column[chosen] for column in block))
        if progress is not None:
            progress(made, count)
        if made == count:
            break
        if idle > patience:
            hint = ", or pass distinct='puzzle' to count symmetric copies" if distinct == "symmetry" else ""
            raise UserError(f"found only {made} {grade} {box.name} puzzles; ask for fewer{hint}")
    joined = Attempts._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
    origin = f"generated: box {box.box_rows}x{box.box_columns}, seed {seed}, grade {grade}, distinct {distinct}"
    return Puzzles(box, joined.puzzles, joined.solutions, joined.grade, joined.order, joined.strategy, origin=origin)
