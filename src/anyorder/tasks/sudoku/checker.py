"""A second opinion on the solver: every recorded step is justified by the strategy that it names.

The checker shares no code with the solver: plain Python sets instead of bit masks, every strategy written anew from
its definition, and no bookkeeping of what changed. It replays the steps on candidates of its own and demands that

- a fill is a lone single (the lowest cell that has one) or a hidden single (the lowest unit, then digit), that
  ``support`` names its rule and whoever removed a rival candidate that no filled cell excludes, and that ``strategy``
  is the hardest of them;
- an elimination's pattern is what its strategy says, and the candidates removed are all that follow from it;
- nothing earlier in the list of strategies could be applied instead, nor anything at all after the last step;
- the unique rectangle is used only if the puzzle has one solution: it argues that otherwise the four cells could be
  swapped, so on a puzzle with several solutions it proves nothing. An exhaustive search counts them.

For sound strategies and candidates that began with the clues, this implies that every fill is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from anyorder.core.errors import UserError

from .rules import Box
from .solver import Elimination, Fill, Solution, Step

Removal = frozenset[tuple[int, int]]
Pattern = tuple[int, ...]

NAMES = {
    2: "lone single",
    3: "hidden single",
    4: "naked pair",
    5: "naked triplet",
    6: "locked candidate",
    7: "XY-wing",
    8: "unique rectangle",
}


class Unjustified(ValueError):
    """A recorded step does not follow. The message is one line: which step, counted from 1, and why."""


class Board:
    """Candidate sets of a grid.

    ``value[cell]``: the digit, 0 where open; ``candidates[cell]``: a set of digits, empty once the cell is filled;
    ``removed_by[cell, digit]``: the strategy that removed a candidate.
    """

    def __init__(self, box: Box, puzzle: list[int]) -> None:
        self.side = box.size
        self.units: list[list[int]] = box.units.tolist()
        self.units_of: list[list[int]] = [[] for _ in range(box.cells)]
        for unit, cells in enumerate(self.units):
            for cell in cells:
                self.units_of[cell].append(unit)
        self.sees = [
            {other for unit in self.units_of[cell] for other in self.units[unit]} - {cell} for cell in range(box.cells)
        ]
        self.value = puzzle
        self.removed_by: dict[tuple[int, int], int] = {}
        self.candidates: list[set[int]] = [
            set() if digit else set(range(1, self.side + 1)) - {puzzle[other] for other in self.sees[cell]}
            for cell, digit in enumerate(puzzle)
        ]

    def fill(self, cell: int, digit: int) -> None:
        """Put a digit into an open cell."""
        self.value[cell] = digit
        self.candidates[cell] = set()
        for other in self.sees[cell]:
            self.candidates[other].discard(digit)

    def places(self, unit: int, digit: int) -> list[int]:
        """The cells of a unit that have a candidate."""
        return [cell for cell in self.units[unit] if digit in self.candidates[cell]]

    def excludes(self, cell: int, digit: int) -> bool:
        """Whether a filled cell that ``cell`` sees has the digit."""
        return any(self.value[other] == digit for other in self.sees[cell])

    def missing(self, unit: int) -> list[int]:
        """The digits that a unit has not got yet."""
        held = {self.value[cell] for cell in self.units[unit]}
        return [digit for digit in range(1, self.side + 1) if digit not in held]

    def contradictory(self) -> bool:
        """A digit stands twice in a unit, an open cell has no candidate, or a missing digit no place."""
        for unit, cells in enumerate(self.units):
            held = [self.value[cell] for cell in cells if self.value[cell]]
            if len(set(held)) < len(held) or not all(self.places(unit, digit) for digit in self.missing(unit)):
                return True
        return any(not value and not held for value, held in zip(self.value, self.candidates, strict=True))

    def lone_single(self) -> tuple[int, int] | None:
        """The lowest cell with one candidate, and the candidate."""
        return next(((cell, min(held)) for cell, held in enumerate(self.candidates) if len(held) == 1), None)

    def hidden_single(self) -> tuple[int, int, int] | None:
        """Unit, cell and digit of the first hidden single."""
        for unit in range(len(self.units)):
            for digit in self.missing(unit):
                places = self.places(unit, digit)
                if len(places) == 1:
                    return unit, places[0], digit
        return None

    def having(self, size: int) -> list[int]:
        """The open cells with two to ``size`` candidates."""
        return [cell for cell, held in enumerate(self.candidates) if 2 <= len(held) <= size]

    def among(self, cells: list[int] | set[int], digits: set[int]) -> Removal:
        """The candidates ``digits`` of ``cells``."""
        return frozenset((cell, digit) for cell in cells for digit in digits & self.candidates[cell])


# A rule is told by two functions. ``follows`` yields what may be concluded from a pattern: nothing if the cells are no
# such pattern, and several sets where the cells are one in several ways (in a row and in a box, for two digits).
# ``patterns`` yields the cells that are worth a look; it may yield too many, never too few.


def _naked_follows(board: Board, pattern: Pattern, size: int) -> Iterator[Removal]:
    digits = set[int]().union(*(board.candidates[cell] for cell in pattern))
    if len(pattern) != size or len(digits) != size or any(len(board.candidates[cell]) < 2 for cell in pattern):
        return
    for cells in board.units:
        if set(pattern) <= set(cells):
            yield board.among(set(cells) - set(pattern), digits)


def _naked_patterns(board: Board, size: int) -> Iterator[Pattern]:
    narrow = set(board.having(size))
    for cells in board.units:
        yield from combinations([cell for cell in cells if cell in narrow], size)


def _pair_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    return _naked_follows(board, pattern, 2)


def _pair_patterns(board: Board) -> Iterator[Pattern]:
    return _naked_patterns(board, 2)


def _triplet_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    return _naked_follows(board, pattern, 3)


def _triplet_patterns(board: Board) -> Iterator[Pattern]:
    return _naked_patterns(board, 3)


def _locked_follows(board: Board, pattern: Pattern, *, pointing: bool) -> Iterator[Removal]:
    """All places that a box (a line) has for a digit lie in one line (box), which loses its other places."""
    boxes, lines = range(2 * board.side, 3 * board.side), range(2 * board.side)
    if len(pattern) < 2:
        return
    for source in boxes if pointing else lines:
        if not set(pattern) <= set(board.units[source]):
            continue
        for target in lines if pointing else boxes:
            if not set(pattern) <= set(board.units[target]):
                continue
            for digit in set[int]().union(*(board.candidates[cell] for cell in pattern)):
                if set(board.places(source, digit)) == set(pattern):
                    yield board.among(set(board.units[target]) - set(board.units[source]), {digit})


def _locked_patterns(board: Board, units: range) -> Iterator[Pattern]:
    for unit in units:
        for digit in board.missing(unit):
            yield tuple(board.places(unit, digit))


def _pointing_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    return _locked_follows(board, pattern, pointing=True)


def _pointing_patterns(board: Board) -> Iterator[Pattern]:
    return _locked_patterns(board, range(2 * board.side, 3 * board.side))


def _claiming_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    return _locked_follows(board, pattern, pointing=False)


def _claiming_patterns(board: Board) -> Iterator[Pattern]:
    return _locked_patterns(board, range(2 * board.side))


def _wing_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    """Pivot first. Whichever digit the pivot takes, one pincer becomes z."""
    if len(pattern) != 3 or any(len(board.candidates[cell]) != 2 for cell in pattern):
        return
    pivot, first, second = pattern
    held = board.candidates
    shared = held[first] & held[second]
    in_sight = first in board.sees[pivot] and second in board.sees[pivot]
    # {x, y} and z are three digits: the pincers share z alone, and all but z is the pivot's.
    if in_sight and len(shared) == 1 and (held[first] | held[second]) - shared == held[pivot]:
        yield board.among(board.sees[first] & board.sees[second], shared)


def _wing_patterns(board: Board) -> Iterator[Pattern]:
    narrow = board.having(2)
    for pivot in narrow:
        for first, second in combinations([cell for cell in narrow if cell in board.sees[pivot]], 2):
            yield pivot, first, second


def _rectangle_follows(board: Board, pattern: Pattern) -> Iterator[Removal]:
    """Elbow, its row's and its column's corner, the fourth."""
    if len(pattern) != 4:
        return
    elbow, across, down, fourth = pattern
    pair = board.candidates[elbow]
    rows, columns, boxes = ([board.units_of[cell][kind] for cell in pattern] for kind in range(3))
    rectangle = rows[0] == rows[1] != rows[2] == rows[3] and columns[0] == columns[2] != columns[1] == columns[3]
    bare = len(pair) == 2 and pair == board.candidates[across] == board.candidates[down]
    if rectangle and bare and len(set(boxes)) == 2 and pair < board.candidates[fourth]:
        yield board.among({fourth}, pair)


def _rectangle_patterns(board: Board) -> Iterator[Pattern]:
    narrow = board.having(2)
    for elbow in narrow:
        row, column, _ = board.units_of[elbow]
        same = [cell for cell in narrow if cell != elbow and board.candidates[cell] == board.candidates[elbow]]
        for across in same:
            for down in same:
                if board.units_of[across][0] == row and board.units_of[down][1] == column:
                    yield elbow, across, down, down + across - elbow


class Rule(NamedTuple):
    """How one strategy removes candidates."""

    strategy: int
    follows: Callable[[Board, Pattern], Iterator[Removal]]
    patterns: Callable[[Board], Iterator[Pattern]]

    def applies(self, board: Board) -> bool:
        """Whether some pattern removes something."""
        return any(removal for pattern in self.patterns(board) for removal in self.follows(board, pattern))


RULES = (
    Rule(4, _pair_follows, _pair_patterns),
    Rule(5, _triplet_follows, _triplet_patterns),
    Rule(6, _pointing_follows, _pointing_patterns),
    Rule(6, _claiming_follows, _claiming_patterns),
    Rule(7, _wing_follows, _wing_patterns),
    Rule(8, _rectangle_follows, _rectangle_patterns),
)
"""In the order in which they are tried."""


def _count_solutions(candidates: list[set[int]], board: Board, limit: int) -> int:
    """The number of ways, up to ``limit``, to fill the cells that have candidates; exhaustive."""
    open_cells = [cell for cell, held in enumerate(candidates) if held]
    if not open_cells:
        return 1
    choices = [[(cell, digit) for digit in candidates[cell]] for cell in open_cells]
    best = min(choices, key=len)
    if len(best) > 1:
        for cells in board.units:
            rivals: dict[int, list[tuple[int, int]]] = {}
            for cell in cells:
                for digit in candidates[cell]:
                    rivals.setdefault(digit, []).append((cell, digit))
            best = min([best, *rivals.values()], key=len)
    found = 0
    for cell, digit in best:
        after = [held - {digit} if other in board.sees[cell] else held for other, held in enumerate(candidates)]
        after[cell] = set()
        if all(after[other] for other in open_cells if other != cell):
            found += _count_solutions(after, board, limit - found)
            if found >= limit:
                break
    return found


class _Replay:
    """The steps of one solution, replayed one by one."""

    def __init__(self, box: Box, puzzle: list[int]) -> None:
        self.board = Board(box, puzzle)
        self.unique = False
        self.at = 0

    def one_solution(self) -> bool:
        """Whether the puzzle has one solution. What was removed before the first rectangle is in none of them, so the
        candidates left will do; a rectangle used before has passed this check."""
        self.unique = self.unique or _count_solutions(self.board.candidates, self.board, 2) == 1
        return self.unique

    def demand(self, holds: bool, reason: str) -> None:
        if not holds:
            raise Unjustified(f"step {self.at}: {reason}")

    def no_single(self, strategy: int) -> None:
        """Neither single is there to be taken before ``strategy``."""
        lone = self.board.lone_single()
        self.demand(lone is None, f"{NAMES[strategy]} while there is a lone single, {lone}")
        if strategy > 3:
            hidden = self.board.hidden_single()
            self.demand(hidden is None, f"{NAMES[strategy]} while there is a hidden single, {hidden}")

    def fill(self, step: Fill) -> None:
        board, cell, digit = self.board, step.cell, step.digit
        self.demand(0 <= cell < len(board.value) and not board.value[cell], f"cell {cell} is not open")
        self.demand(digit in board.candidates[cell], f"{digit} is no candidate of cell {cell}")
        self.demand(step.rule in (2, 3), f"no fill is made by strategy {step.rule}")
        if step.rule == 2:
            held = sorted(board.candidates[cell])
            self.demand(len(held) == 1, f"cell {cell} is no lone single, it has {held}")
            first = board.lone_single()
            self.demand(first == (cell, digit), f"cell {cell} is filled before the lone single {first}")
            rivals = [(cell, other) for other in range(1, board.side + 1) if other != digit]
        else:
            alone = any(board.places(unit, digit) == [cell] for unit in board.units_of[cell])
            self.demand(alone, f"{digit} has another place in every unit of cell {cell}")
            self.no_single(3)
            first = board.hidden_single()
            if first is None or first[1:] != (cell, digit):
                raise Unjustified(f"step {self.at}: cell {cell} is filled before the hidden single {first}")
            rivals = [(other, digit) for other in board.units[first[0]] if other != cell and not board.value[other]]
        rests_on = {board.removed_by[rival] for rival in rivals if not board.excludes(*rival)}
        support = tuple(sorted(rests_on | {step.rule}))
        self.demand(step.support == support, f"the fill rests on {support}, not on {step.support}")
        self.demand(step.strategy == support[-1], f"the hardest of {support} is not {step.strategy}")
        board.fill(cell, digit)

    def eliminate(self, step: Elimination) -> None:
        board, removed = self.board, frozenset(step.removed)
        rules = [at for at, rule in enumerate(RULES) if rule.strategy == step.strategy]
        self.demand(bool(rules), f"strategy {step.strategy} removes no candidate")
        name = f"{NAMES[step.strategy]} {step.pattern}"
        cells = {*step.pattern, *(cell for cell, _ in removed)}
        self.demand(all(0 <= cell < len(board.value) and not board.value[cell] for cell in cells), f"{name}: not open")
        self.demand(len(set(step.pattern)) == len(step.pattern), f"{name}: a cell stands twice in the pattern")
        self.demand(bool(removed), f"{name}: removes nothing")
        self.demand(len(removed) == len(step.removed), f"{name}: a candidate is removed twice")
        gone = sorted((cell, digit) for cell, digit in removed if digit not in board.candidates[cell])
        self.demand(not gone, f"{name}: {gone} (cell, digit) are no candidates")
        ways = [(at, removal) for at in rules for removal in RULES[at].follows(board, step.pattern)]
        self.demand(bool(ways), f"{name}: the cells are no such pattern")
        self.demand(any(removed <= way for _, way in ways), f"{name}: {sorted(removed)} does not follow")
        exact = [at for at, way in ways if removed == way]
        self.demand(bool(exact), f"{name}: more follows than {sorted(removed)}")
        self.no_single(step.strategy)
        for rule in RULES[: exact[0]]:
            self.demand(not rule.applies(board), f"{name}: an earlier rule, {NAMES[rule.strategy]}, can be applied")
        if step.strategy == 8:
            self.demand(self.one_solution(), f"{name}: the puzzle has not exactly one solution")
        for cell, digit in removed:
            board.candidates[cell].remove(digit)
            board.removed_by[cell, digit] = step.strategy

    def step(self, step: Step) -> None:
        self.at += 1
        self.demand(not self.board.contradictory(), "the grid has a contradiction already")
        if isinstance(step, Fill):
            self.fill(step)
        else:
            self.eliminate(step)

    def end(self, solution: Solution) -> None:
        """The outcome is that of the steps, and no step is left to take."""
        board = self.board
        contradiction = board.contradictory()
        self.at += 1
        self.demand(solution.grid.tolist() == board.value, "(the end) the grid is not what the steps fill")
        self.demand(solution.contradiction == contradiction, f"(the end) contradiction must be {contradiction}")
        solved = all(board.value) and not contradiction
        self.demand(solution.solved == solved, f"(the end) solved must be {solved}")
        if solved or contradiction:
            return
        single = board.lone_single() or board.hidden_single()
        self.demand(single is None, f"(the end) a single was left, {single}")
        for rule in RULES:
            stuck = not rule.applies(board) or (rule.strategy == 8 and not self.one_solution())
            self.demand(stuck, f"(the end) a {NAMES[rule.strategy]} was left")


def check(box: Box, puzzle: ArrayLike, solution: Solution) -> None:
    """Check every step of what :func:`.solver.solve` says of one puzzle. ``puzzle`` (cells,), 0 = blank.

    Raises:
        Unjustified: naming the first step that does not follow, or follows later than something easier.
        UserError: the puzzle does not fit the box.
    """
    clues = np.asarray(puzzle)
    if clues.shape != (box.cells,) or not set(clues.tolist()) <= set(range(box.size + 1)):
        raise UserError(f"a {box.name} puzzle has {box.cells} cells of 0 (blank) to {box.size}")
    replay = _Replay(box, [int(digit) for digit in clues])
    for step in solution.steps:
        replay.step(step)
    replay.end(solution)
