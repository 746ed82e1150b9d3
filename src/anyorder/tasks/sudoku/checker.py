"""An independent check that every step of the solver is justified by the strategy it names.

Written in plain Python from the definitions alone, on sets of digits; it shares no code with the compiled solver. It
keeps its own candidates and its own record of what was removed by which strategy, and for each step asks: is the
pattern there, does it remove exactly what it may, does the fill rest on exactly the strategies it lists? With
``in_order`` it also asks that no easier strategy had anything to offer, and that at the end of an unfinished solve none
has; it looks for patterns by brute force, which takes some tens of milliseconds a puzzle.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from .rules import Box
from .solver import Elimination, Fill, Solution

Removal = frozenset[tuple[int, int]]


class Unjustified(AssertionError):
    """A step that its strategy does not justify; the message says which and why."""


def _need(condition: bool, why: str) -> None:
    if not condition:
        raise Unjustified(why)


class _Board:
    """Digits, candidates and reasons, cell by cell."""

    def __init__(self, box: Box, puzzle: list[int]) -> None:
        n, rows, columns = box.size, box.box_rows, box.box_columns
        cells = range(n * n)
        self.row = [cell // n for cell in cells]
        self.column = [cell % n for cell in cells]
        self.box = [cell // n // rows * rows + cell % n // columns for cell in cells]
        self.units = [
            [cell for cell in cells if kind[cell] == at]
            for kind in (self.row, self.column, self.box)
            for at in range(n)
        ]
        self.units_of = [[unit for unit in self.units if cell in unit] for cell in cells]
        self.value = list(puzzle)
        self.reason: dict[tuple[int, int], int] = {}
        self.candidates = [
            set() if self.value[cell] else {d for d in range(1, n + 1) if not self.excluded(cell, d)} for cell in cells
        ]

    def excluded(self, cell: int, digit: int) -> bool:
        """Whether a unit of the cell already has the digit."""
        return any(self.value[other] == digit for unit in self.units_of[cell] for other in unit)

    def see(self, a: int, b: int) -> bool:
        return a != b and (self.row[a] == self.row[b] or self.column[a] == self.column[b] or self.box[a] == self.box[b])

    def fill(self, cell: int, digit: int) -> None:
        self.value[cell] = digit
        self.candidates[cell] = set()
        for unit in self.units_of[cell]:
            for other in unit:
                self.candidates[other].discard(digit)

    def remove(self, strategy: int, removed: Removal) -> None:
        for cell, digit in removed:
            self.candidates[cell].remove(digit)
            self.reason[cell, digit] = strategy

    def having(self, cells: list[int], digits: set[int], but: tuple[int, ...]) -> Removal:
        """All candidates among ``digits`` in ``cells`` other than ``but``."""
        return frozenset((cell, d) for cell in cells if cell not in but for d in self.candidates[cell] & digits)

    # What each strategy may conclude: fills as (cell, digit, support), eliminations as (pattern, removed).

    def lone_support(self, cell: int, digit: int) -> set[int]:
        rivals = {d for d in range(1, len(self.units[0]) + 1) if d != digit and not self.excluded(cell, d)}
        return {2} | {self.reason[cell, d] for d in rivals}

    def hidden_support(self, unit: list[int], cell: int, digit: int) -> set[int]:
        rivals = [c for c in unit if c != cell and not self.value[c] and not self.excluded(c, digit)]
        return {3} | {self.reason[c, digit] for c in rivals}

    def hidden_units(self, cell: int, digit: int) -> list[list[int]]:
        """The units in which the cell is the only place of the digit."""
        return [u for u in self.units_of[cell] if [c for c in u if digit in self.candidates[c]] == [cell]]

    def naked(self, count: int) -> Iterator[tuple[tuple[int, ...], Removal]]:
        for unit in self.units:
            narrow = [cell for cell in unit if 2 <= len(self.candidates[cell]) <= count]
            for cells in combinations(narrow, count):
                digits = set().union(*(self.candidates[cell] for cell in cells))
                if len(digits) == count:
                    yield cells, self.having(unit, digits, cells)

    def locked(self) -> Iterator[tuple[tuple[int, ...], Removal]]:
        n = len(self.units) // 3
        lines, boxes = self.units[: 2 * n], self.units[2 * n :]
        for source, target in [(b, line) for b in boxes for line in lines] + [
            (line, b) for line in lines for b in boxes
        ]:
            for digit in range(1, n + 1):
                places = tuple(cell for cell in source if digit in self.candidates[cell])
                if places and set(places) <= set(target):
                    yield places, self.having(target, {digit}, places)

    def xy_wings(self) -> Iterator[tuple[tuple[int, ...], Removal]]:
        pairs = [cell for cell, held in enumerate(self.candidates) if len(held) == 2]
        for pivot in pairs:
            around = [cell for cell in pairs if self.see(pivot, cell)]
            for first, second in combinations(around, 2):
                p, q, r = self.candidates[pivot], self.candidates[first], self.candidates[second]
                shared = q & r
                if len(shared) == 1 and not shared & p and (q | r) - shared == p:
                    seen = [c for c in range(len(self.value)) if self.see(c, first) and self.see(c, second)]
                    yield (pivot, first, second), self.having(seen, shared, ())

    def rectangles(self) -> Iterator[tuple[tuple[int, ...], Removal]]:
        n = len(self.units) // 3
        pairs = [cell for cell, held in enumerate(self.candidates) if len(held) == 2]
        for elbow in pairs:
            pair = self.candidates[elbow]
            for across in pairs:
                for down in pairs:
                    corner = self.row[down] * n + self.column[across]
                    cells = (elbow, across, down, corner)
                    if (
                        len(set(cells)) == 4
                        and self.row[across] == self.row[elbow]
                        and self.column[down] == self.column[elbow]
                        and self.candidates[across] == pair == self.candidates[down]
                        and len({self.box[cell] for cell in cells}) == 2
                        and pair < self.candidates[corner]
                    ):
                        yield cells, self.having([corner], pair, ())

    def eliminations(self, strategy: int) -> Iterator[tuple[tuple[int, ...], Removal]]:
        """All that an elimination strategy may conclude here, useless ones included."""
        match strategy:
            case 4 | 5:
                return self.naked(strategy - 2)
            case 6:
                return self.locked()
            case 7:
                return self.xy_wings()
            case 8:
                return self.rectangles()
        raise Unjustified(f"there is no elimination strategy {strategy}")

    def applies(self, strategy: int) -> bool:
        """Whether a strategy has anything to offer."""
        if strategy == 2:
            return any(len(held) == 1 for held in self.candidates)
        if strategy == 3:
            return any(self.hidden_units(cell, d) for cell, held in enumerate(self.candidates) for d in held)
        return any(removed for _, removed in self.eliminations(strategy))

    def broken(self) -> bool:
        """Whether an open cell has no candidate, or a unit no place for a missing digit."""
        digits = range(1, len(self.units[0]) + 1)
        return any(not v and not held for v, held in zip(self.value, self.candidates, strict=True)) or any(
            not any(self.value[cell] == d or d in self.candidates[cell] for cell in unit)
            for unit in self.units
            for d in digits
        )


def _check_fill(board: _Board, step: Fill) -> None:
    _need(board.value[step.cell] == 0, "the cell is already filled")
    if step.rule == 2:
        _need(board.candidates[step.cell] == {step.digit}, "the cell has other candidates")
        supports = [board.lone_support(step.cell, step.digit)]
    else:
        _need(step.rule == 3, f"no strategy {step.rule} fills a cell")
        supports = [board.hidden_support(u, step.cell, step.digit) for u in board.hidden_units(step.cell, step.digit)]
        _need(bool(supports), "the digit has other places in every unit of the cell")
    _need(set(step.support) in supports, f"it does not rest on strategies {step.support}")
    _need(step.strategy == max(step.support), "its strategy is not the hardest that it rests on")
    board.fill(step.cell, step.digit)


def _check_elimination(board: _Board, step: Elimination) -> None:
    removed = frozenset(step.removed)
    _need(bool(removed) and len(removed) == len(step.removed), "it removes nothing, or something twice")
    possible = ((set(pattern), found) for pattern, found in board.eliminations(step.strategy))
    _need((set(step.pattern), removed) in possible, "the pattern is not there, or removes something else")
    board.remove(step.strategy, removed)


def check(box: Box, puzzle: list[int], solution: Solution, *, in_order: bool = False) -> None:
    """Check every step of ``solution``, and that its grid and its verdict are what the steps lead to.

    Args:
        box: the box shape.
        puzzle: the clues, ``cells`` digits, 0 = blank.
        solution: what :func:`.solver.solve` made of it.
        in_order: also check that each step is of the easiest strategy that applied, and that none applies at the end
            (of a puzzle with one solution; with several, the unique rectangle is rightly left out).

    Raises:
        Unjustified: naming the first step that is not justified.
    """
    board = _Board(box, puzzle)
    for at, step in enumerate(solution.steps):
        name = step.rule if isinstance(step, Fill) else step.strategy
        try:
            if in_order:
                for easier in range(2, name):
                    _need(not board.applies(easier), f"strategy {easier} applied")
            if isinstance(step, Fill):
                _check_fill(board, step)
            else:
                _check_elimination(board, step)
        except Unjustified as error:
            raise Unjustified(f"step {at} ({step}): {error}") from None
    _need(board.value == solution.grid.tolist(), "the grid is not what the steps lead to")
    _need(solution.contradiction == board.broken(), "the verdict on contradiction is wrong")
    full = all(board.value)
    _need(solution.solved == (full and not solution.contradiction), "the verdict on being solved is wrong")
    if in_order and not full and not solution.contradiction:
        for strategy in range(2, 9):
            _need(not board.applies(strategy), f"the solver stopped although strategy {strategy} applies")
