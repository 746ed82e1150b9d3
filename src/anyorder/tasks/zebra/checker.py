"""A second opinion on the solver: every recorded step follows from the clues that it names and what was known.

The checker shares no code with the solver: plain Python sets instead of bit masks, every kind of clue written anew from
its meaning, every rule from its definition, by trying all places of the items. It replays the steps on knowledge of its
own and demands that

- a fill is a last value (the lowest cell that has one) or a last house (the lowest item), and that ``support`` and
  ``clues`` name whoever removed a rival that no filled cell excludes;
- a removal by one clue or by two is all that follows from them, and theirs alone; one by a closed set is all that the
  set takes; one by refutation leaves no grid that agrees with what is known and with the clues it names;
- no cheaper rule could be applied instead, nor an earlier clue, nor anything at all after the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, permutations, product

from .deduction import CLOSED_SET, LAST_HOUSE, LAST_VALUE, ONE_CLUE, REFUTATION, RULES, TWO_CLUES
from .rules import Clue, Item, Kind, Puzzle
from .solver import Fill, Removal, Solution

Removals = frozenset[tuple[Item, int]]

MEANING: dict[Kind, Callable[..., bool]] = {
    Kind.FOUND_AT: lambda n, last, x: x == n,
    Kind.NOT_AT: lambda n, last, x: x != n,
    Kind.AT_END: lambda n, last, x: x in (0, last),
    Kind.SAME_HOUSE: lambda n, last, x, y: x == y,
    Kind.DIFFERENT_HOUSE: lambda n, last, x, y: x != y,
    Kind.JUST_LEFT_OF: lambda n, last, x, y: y - x == 1,
    Kind.JUST_RIGHT_OF: lambda n, last, x, y: x - y == 1,
    Kind.LEFT_OF: lambda n, last, x, y: y > x,
    Kind.RIGHT_OF: lambda n, last, x, y: y < x,
    Kind.NEXT_TO: lambda n, last, x, y: x - y in (1, -1),
    Kind.NOT_NEXT_TO: lambda n, last, x, y: x - y not in (1, 0, -1),
    Kind.ONE_BETWEEN: lambda n, last, x, y: x - y in (2, -2),
    Kind.N_BETWEEN: lambda n, last, x, y: x - y in (n + 1, -n - 1),
    Kind.BETWEEN: lambda n, last, x, y, z: min(y, z) < x < max(y, z),
    Kind.NOT_BETWEEN: lambda n, last, x, y, z: len({x, y, z}) == 3 and not min(y, z) < x < max(y, z),
}


class Unjustified(ValueError):
    """A recorded step does not follow. The message is one line: which step, counted from 1, and why."""


class Board:
    """What is known: ``houses[item]``, where each item can be; ``grid[a, h]``, the item in each filled cell."""

    def __init__(self, puzzle: Puzzle) -> None:
        self.puzzle = puzzle
        self.row = range(puzzle.size.houses)
        self.houses: dict[Item, set[int]] = {
            (a, v): set(self.row) for a in range(puzzle.size.attributes) for v in self.row
        }
        self.grid: dict[tuple[int, int], Item] = {}
        self.why: dict[tuple[Item, int], tuple[int, tuple[int, ...]]] = {}

    @property
    def open(self) -> list[Item]:
        """The items without a house, by number."""
        decided = set(self.grid.values())
        return [item for item in sorted(self.houses) if item not in decided]

    def values(self, attribute: int, house: int) -> list[Item]:
        """The items that a cell can have."""
        return [(attribute, v) for v in self.row if house in self.houses[attribute, v]]

    def fill(self, item: Item, house: int) -> None:
        """Put an item in a house, and take both from the others."""
        self.grid[item[0], house] = item
        self.houses[item] = {house}
        for v in self.row:
            if (item[0], v) != item:
                self.houses[item[0], v].discard(house)

    # ------------------------------------------------------------------ what each rule gives

    def last_value(self) -> tuple[Item, int] | None:
        """Rule 1: the lowest open cell with one value."""
        for a in range(self.puzzle.size.attributes):
            for h in self.row:
                if (a, h) not in self.grid and len(found := self.values(a, h)) == 1:
                    return found[0], h
        return None

    def last_house(self) -> tuple[Item, int] | None:
        """Rule 2: the lowest open item with one house."""
        return next(((item, min(self.houses[item])) for item in self.open if len(self.houses[item]) == 1), None)

    def by_clues(self, clues: Sequence[Clue]) -> Removals:
        """Rules 3 and 5: the places that no way to satisfy the clues uses."""
        items = list(dict.fromkeys(item for clue in clues for item in clue.items))
        used: set[tuple[Item, int]] = set()
        for places in product(*(sorted(self.houses[item]) for item in items)):
            at = dict(zip(items, places, strict=True))
            if not _clash(at) and all(self.holds(clue, at) for clue in clues):
                used |= set(at.items())
        return frozenset((item, h) for item in items for h in self.houses[item] if (item, h) not in used)

    def holds(self, clue: Clue, at: dict[Item, int]) -> bool:
        """Whether a clue holds with its items in these houses."""
        return MEANING[clue.kind](clue.number, len(self.row) - 1, *(at[item] for item in clue.items))

    def by_set(self, closed: Sequence[Item]) -> Removals | None:
        """Rule 4: what a set takes from the others; None where it is not closed."""
        union = set().union(*(self.houses[item] for item in closed))
        if len(union) != len(closed):
            return None
        others = [item for item in self.open if item[0] == closed[0][0] and item not in closed]
        return frozenset((item, h) for item in others for h in self.houses[item] & union)

    @property
    def impossible(self) -> bool:
        """Whether some values of an attribute have fewer houses than they are, or some houses fewer values."""
        for a in range(self.puzzle.size.attributes):
            for size in range(1, len(self.row) + 1):
                for values in combinations(self.row, size):
                    if len(set().union(*(self.houses[a, v] for v in values))) < size:
                        return True
        return False

    def some_closed_set(self) -> tuple[Item, ...] | None:
        """A closed set that takes something."""
        for a in range(self.puzzle.size.attributes):
            items = [item for item in self.open if item[0] == a]
            for size in range(2, len(items)):
                for closed in combinations(items, size):
                    if self.by_set(closed):
                        return closed
        return None

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Two clues that share an open item."""
        unsettled = set(self.open)
        clues = self.puzzle.clues
        for d in range(len(clues)):
            for c in range(d):
                if set(clues[c].items) & set(clues[d].items) & unsettled:
                    yield c, d

    def refuted(self, item: Item, house: int, clues: Sequence[Clue]) -> bool:
        """Rule 6: no grid with the item in the house agrees with what is known and with the clues."""
        ways = []
        for a in range(self.puzzle.size.attributes):
            fitting = [
                dict(zip(((a, v) for v in self.row), places, strict=True))
                for places in permutations(self.row)
                if all(h in self.houses[a, v] for v, h in enumerate(places))
            ]
            ways.append([way for way in fitting if a != item[0] or way[item] == house])
        ways.sort(key=len)

        def extends(at: dict[Item, int], depth: int) -> bool:
            if depth == len(ways):
                return True
            for way in ways[depth]:
                both = at | way
                new = [c for c in clues if set(c.items) <= both.keys() and not set(c.items) <= at.keys()]
                if all(self.holds(clue, both) for clue in new) and extends(both, depth + 1):
                    return True
            return False

        return not extends({}, 0)


def _clash(at: dict[Item, int]) -> bool:
    """Whether two values of one attribute are in one house."""
    places = [(item[0], h) for item, h in at.items()]
    return len(set(places)) < len(places)


def check_solution(puzzle: Puzzle, solution: Solution) -> None:
    """Replay the steps of a solution.

    Raises:
        Unjustified: a step does not follow, or the solver passed over something.
    """
    board = Board(puzzle)
    for number, step in enumerate(solution.steps, 1):
        fault = _fill_fault(board, step) if isinstance(step, Fill) else _removal_fault(board, step)
        if fault is not None:
            raise Unjustified(f"step {number} ({RULES.get(step.rule, 'unknown rule')}): {fault}")
        if isinstance(step, Fill):
            board.fill(step.item, step.house)
        else:
            for item, house in step.removed:
                board.houses[item].discard(house)
                board.why[item, house] = step.rule, step.clues
    for (a, h), (_, value) in board.grid.items():
        if solution.grid[a, h] != value:
            raise Unjustified(f"the grid has {solution.grid[a, h]} in attribute {a}, house {h}, the steps {value}")
    full = len(board.grid) == puzzle.size.cells
    if board.impossible != solution.contradiction:
        raise Unjustified(
            f"the steps end {'in' if board.impossible else 'without'} a contradiction; the solver differs"
        )
    if solution.solved != (full and not board.impossible) or (solution.grid >= 0).sum() != len(board.grid):
        raise Unjustified("the steps and the verdict disagree")
    if not solution.contradiction and (left := _cheaper(board, REFUTATION + 1)) is not None:
        raise Unjustified(f"the solver stopped although {left} applies")


def _cheaper(board: Board, than: int) -> str | None:
    """A rule cheaper than ``than`` that applies, in words; None where none does."""
    clues = board.puzzle.clues
    if than > LAST_VALUE and (found := board.last_value()) is not None:
        return f"a last value at {found}"
    if than > LAST_HOUSE and (found := board.last_house()) is not None:
        return f"a last house at {found}"
    if than > ONE_CLUE:
        for number, clue in enumerate(clues):
            if board.by_clues([clue]):
                return f"clue {number + 1}"
    if than > CLOSED_SET and (closed := board.some_closed_set()) is not None:
        return f"the closed set {closed}"
    if than > TWO_CLUES:
        for c, d in board.pairs():
            if board.by_clues([clues[c], clues[d]]):
                return f"clues {c + 1} and {d + 1}"
    return None


def _fill_fault(board: Board, step: Fill) -> str | None:
    found = board.last_value() if step.rule == LAST_VALUE else board.last_house()
    if step.rule not in (LAST_VALUE, LAST_HOUSE) or found != (step.item, step.house):
        return f"{step.item} in house {step.house} is not the first one; {found} is"
    if step.rule == LAST_HOUSE and (other := _cheaper(board, LAST_HOUSE)) is not None:
        return f"{other} comes first"
    a, house = step.item[0], step.house
    decided = {*board.grid.values(), step.item}
    if step.rule == LAST_VALUE:
        rivals = [((a, v), house) for v in board.row if (a, v) not in decided]
    else:
        rivals = [(step.item, h) for h in board.row if (a, h) not in board.grid and h != house]
    behind = [board.why[rival] for rival in rivals if rival in board.why]
    if step.support != tuple(sorted({step.rule, *(rule for rule, _ in behind)})):
        return f"it rests on other rules than {step.support}"
    if step.clues != tuple(sorted({clue for _, clues in behind for clue in clues})):
        return f"it rests on other clues than {step.clues}"
    return None


def _removal_fault(board: Board, step: Removal) -> str | None:
    if (other := _cheaper(board, step.rule)) is not None:
        return f"{other} comes first"
    if not all(0 <= c < len(board.puzzle.clues) for c in step.clues):
        return f"there are no clues {step.clues}"
    removed, clues = frozenset(step.removed), [board.puzzle.clues[c] for c in step.clues]
    if not removed or len(removed) != len(step.removed):
        return "it removes nothing, or something twice"
    if any(house not in board.houses[item] for item, house in removed):
        return "it removes what is gone"
    match step.rule:
        case 3:
            if len(clues) != 1 or removed != board.by_clues(clues):
                return f"clue {step.clues} does not remove just that"
            if any(board.by_clues([board.puzzle.clues[c]]) for c in range(step.clues[0])):
                return "an earlier clue removes something"
        case 4:
            if step.clues or removed != board.by_set(step.closed):
                return f"the set {step.closed} does not take just that"
        case 5:
            if step.clues not in set(board.pairs()) or removed != board.by_clues(clues):
                return f"clues {step.clues} do not remove just that"
        case 6:
            ((item, house),) = removed
            if not board.refuted(item, house, clues):
                return f"{item} in house {house} agrees with clues {step.clues}"
        case _:
            return "there is no such rule"
    return None
