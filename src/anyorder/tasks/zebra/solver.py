"""The deductive solver: what it decides, when, by which rule, and from which clues.

The rules and their order are in :mod:`.deduction`. A cell is filled by a last value or a last house; often that becomes
possible only after removals. The recorded ``rule`` of a cell in `Solutions` is the hardest one that its filling *rests
on*: the filling rule itself, or a rule that removed a rival (another value of the cell for a last value, another house
of the value for a last house) which no filled cell excludes.

Every deduction holds in all solutions of the puzzle; so a puzzle that the solver finishes has exactly one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .deduction import CLOSED_SET, CONTRADICTION, LAST_VALUE, REFUTATION, SOLVED, deduce
from .jit import entry, inner
from .layout import EVENT_ITEM, EVENTS, HOUSE, NAMED, PLACED, RECORDING, RULE, SET, WHAT, borrowed, workspace
from .rules import KIND, MOST, MOST_CLUES, Item, Puzzle, stacked
from .state import add_clue, load


class Fill(NamedTuple):
    """A cell filled: house ``house`` of the item's attribute gets the item's value. ``rule`` is 1 or 2; ``support`` the
    ids of the rules that it rests on, ascending; ``clues`` those that these rules used, ascending, from 0."""

    item: Item
    house: int
    rule: int
    support: tuple[int, ...]
    clues: tuple[int, ...]


class Removal(NamedTuple):
    """Houses that items cannot be in, as ``removed`` (item, house) pairs, by ``rule`` from the ``clues`` (from 0).

    ``closed``: the items of the closed set, where that is the rule.
    """

    rule: int
    clues: tuple[int, ...]
    closed: tuple[Item, ...]
    removed: tuple[tuple[Item, int], ...]


Step = Fill | Removal


@dataclass(frozen=True, eq=False)
class Solution:
    """What the rules make of one puzzle.

    ``grid`` (attributes, houses) int8: the values found, -1 where none was. ``solved``: every cell is filled and every
    clue holds. ``contradiction``: no grid satisfies the clues. ``steps``: fills and removals in order of time.
    """

    grid: NDArray[np.int8]
    solved: bool
    contradiction: bool
    steps: tuple[Step, ...]

    @property
    def fills(self) -> tuple[Fill, ...]:
        """The fills in order of time."""
        return tuple(step for step in self.steps if isinstance(step, Fill))


@dataclass(frozen=True, eq=False)
class Solutions:
    """What the rules make of N puzzles, in arrays (N, 6, 6) by attribute and house.

    ``grids`` int8: values, -1 where none was found and outside a puzzle's size. ``solved``, ``contradiction`` (N,)
    bool. ``order`` int16: the turn in which the cell was filled, from 0; -1 where it was not. ``rule`` uint8: the
    hardest rule that the filling rests on, 0 where it was not filled. ``used`` (N,) uint8: bit ``r`` set where rule
    ``r`` succeeded at least once.
    """

    grids: NDArray[np.int8]
    solved: NDArray[np.bool_]
    contradiction: NDArray[np.bool_]
    order: NDArray[np.int16]
    rule: NDArray[np.uint8]
    used: NDArray[np.uint8]


@inner
def solve_row(w, houses, attributes, clues, hardest, grid, order, rule):
    """Solve one puzzle and write down what `Solutions` holds of it; ``w`` is a borrowed, recording workspace.

    Returns:
        STUCK, SOLVED or CONTRADICTION, and the mask of rules used.
    """
    s = w.stack[0]
    load(w, s, houses, attributes)
    for c in range(clues.shape[0]):
        if clues[c, KIND] >= 0:
            add_clue(w, s, clues[c])
    outcome = deduce(w, 0, hardest)
    grid[:], order[:], rule[:] = -1, -1, 0
    turn, used, decided, filled = 0, 0, 0, 0
    for number in range(w.notes[EVENTS]):
        event = w.events[number]
        used |= 1 << event[RULE]
        if event[WHAT] == PLACED:
            item, h = event[EVENT_ITEM], event[HOUSE]
            a, v = item // MOST, item % MOST
            decided |= 1 << item
            filled |= 1 << (MOST * a + h)
            grid[a, h], order[a, h] = v, turn
            rule[a, h] = _hardest_behind(w, event[RULE], houses, a, v, h, decided, filled)
            turn += 1
    return outcome, used


@inner
def _hardest_behind(w, rule, houses, a, v, h, decided, filled):
    """The hardest rule that removed a rival which no filled cell excludes."""
    hardest = rule
    for other in range(houses):
        if rule == LAST_VALUE:
            if not decided >> (MOST * a + other) & 1:
                hardest = max(hardest, w.why[0, MOST * a + other, h])
        elif not filled >> (MOST * a + other) & 1:
            hardest = max(hardest, w.why[0, MOST * a + v, other])
    return hardest


@entry
def _solve_rows(work, houses, attributes, clues, hardest, grids, outcome, order, rule, used):
    w = borrowed(work)
    for row in range(clues.shape[0]):
        outcome[row], used[row] = solve_row(
            w, houses[row], attributes[row], clues[row], hardest, grids[row], order[row], rule[row]
        )


def solve_arrays(houses: NDArray, attributes: NDArray, clues: NDArray, *, hardest: int = REFUTATION) -> Solutions:
    """Apply the rules up to ``hardest`` (4 to 6) to N puzzles given as `rules.stacked` gives them.

    Raises:
        UserError: another ``hardest``, or more clues than a puzzle may have.
    """
    return _solve(houses, attributes, clues, hardest)[0]


def solve_many(puzzles: list[Puzzle], *, hardest: int = REFUTATION) -> Solutions:
    """Apply the rules up to ``hardest`` (4 to 6) to each puzzle. Raises `UserError` as `solve_arrays`."""
    return solve_arrays(*stacked(puzzles), hardest=hardest)


def solve(puzzle: Puzzle, *, hardest: int = REFUTATION) -> Solution:
    """Apply the rules up to ``hardest`` (4 to 6) to one puzzle and keep every step.

    Raises:
        UserError: another ``hardest``.
    """
    found, events = _solve(*stacked([puzzle]), hardest)
    grid = found.grids[0, : puzzle.size.attributes, : puzzle.size.houses]
    return Solution(grid, bool(found.solved[0]), bool(found.contradiction[0]), tuple(_steps(events)))


def _solve(houses: NDArray, attributes: NDArray, clues: NDArray, hardest: int) -> tuple[Solutions, list[list[int]]]:
    """The solutions, and the events of the last puzzle."""
    if not CLOSED_SET <= hardest <= REFUTATION:
        raise UserError(f"the hardest rule must be {CLOSED_SET} to {REFUTATION}, not {hardest}")
    if clues.shape[1] > MOST_CLUES:
        raise UserError(f"a puzzle has at most {MOST_CLUES} clues, not {clues.shape[1]}")
    shape = (len(clues), MOST, MOST)
    grids, order, rule = np.full(shape, -1, np.int8), np.full(shape, -1, np.int16), np.zeros(shape, np.uint8)
    outcome, used = np.zeros(len(clues), np.uint8), np.zeros(len(clues), np.uint8)
    work = workspace()
    work.notes[RECORDING] = 1
    arrays = (houses.astype(np.int64), attributes.astype(np.int64), clues.astype(np.int64))
    _solve_rows(work, *arrays, hardest, grids, outcome, order, rule, used)
    solutions = Solutions(grids, outcome == SOLVED, outcome == CONTRADICTION, order, rule, used)
    return solutions, work.events[: work.notes[EVENTS]].tolist()


def members(mask: int) -> tuple[int, ...]:
    """The members of a set kept as a mask, ascending."""
    return tuple(number for number in range(64) if mask >> number & 1)


def _steps(events: list[list[int]]) -> Iterator[Step]:
    """Group the event log into steps, and find what each fill rests on."""
    why: dict[tuple[Item, int], tuple[int, int]] = {}
    decided: set[Item] = set()
    filled: set[tuple[int, int]] = set()
    at = 0
    while at < len(events):
        rule, what, number, house, clues, _ = events[at]
        item = divmod(number, MOST)
        if what == PLACED:
            decided.add(item)
            filled.add((item[0], house))
            behind = [
                reason
                for (rival, place), reason in why.items()
                if rival[0] == item[0]
                and (
                    (rule == LAST_VALUE and place == house and rival not in decided)
                    or (rule != LAST_VALUE and rival == item and (item[0], place) not in filled)
                )
            ]
            used = 0
            for _, named in behind:
                used |= named
            yield Fill(item, house, rule, tuple(sorted({rule, *(one for one, _ in behind)})), members(used))
            at += 1
            continue
        removed = []
        key = events[at][RULE], events[at][WHAT], events[at][NAMED], events[at][SET]
        # A rule that says nothing new has no events, so equal keys in a row are one step; a refutation removes one.
        while at < len(events) and key == (*events[at][RULE : WHAT + 1], *events[at][NAMED : SET + 1]):
            event = events[at]
            item = divmod(event[EVENT_ITEM], MOST)
            removed.append((item, event[HOUSE]))
            why[item, event[HOUSE]] = rule, clues
            at += 1
            if rule == REFUTATION:
                break
        closed = tuple(divmod(number, MOST) for number in members(key[3]))
        yield Removal(rule, members(clues), closed, tuple(removed))
