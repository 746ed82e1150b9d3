"""Puzzles that the Zebra tests share, and a second way to count solutions."""

from __future__ import annotations

import itertools
from functools import cache

from pysat.solvers import Solver

from anyorder.tasks.zebra import CLASSIC, Puzzles, Recipe, Size, generate
from anyorder.tasks.zebra.rules import Clue, Kind, Puzzle

SIZES = (Size(3, 3), Size(3, 6), Size(4, 4), Size(5, 3), Size(5, 5), Size(6, 6))


@cache
def made(sizes: tuple[Size, ...], count: int, seed: int = 0, hardest: int = 5, classic: bool = False) -> Puzzles:
    """Generated puzzles, made once a session."""
    kinds = {"kinds": CLASSIC} if classic else {}
    return generate(Recipe(sizes, hardest=hardest, **kinds), count, seed)


class SatZebra:
    """A puzzle as satisfiability: a variable for every (item, house); clues forbid combinations of places.

    The clues' meaning is written from their English, apart from the library's tables.
    """

    def __init__(self, puzzle: Puzzle) -> None:
        self.size = puzzle.size
        self.solver = Solver(name="glucose4")
        self.row = range(puzzle.size.houses)
        items = [(a, v) for a in range(puzzle.size.attributes) for v in self.row]
        for a in range(puzzle.size.attributes):
            groups = [[self.variable((a, v), h) for h in self.row] for v in self.row]
            groups += [[self.variable((a, v), h) for v in self.row] for h in self.row]
            for group in groups:
                self.solver.add_clause(group)
                self.solver.append_formula([[-p, -q] for p, q in itertools.combinations(group, 2)])
        self.last = len(items) * puzzle.size.houses
        for clue in puzzle.clues:
            for places in itertools.product(self.row, repeat=len(clue.items)):
                if not self.true(clue, places):
                    pairs = zip(clue.items, places, strict=True)
                    self.solver.add_clause([-self.variable(item, h) for item, h in pairs])

    def variable(self, item: tuple[int, int], house: int) -> int:
        return 1 + (item[0] * self.size.houses + item[1]) * self.size.houses + house

    def true(self, clue: Clue, at: tuple[int, ...]) -> bool:
        first, *others = at
        match clue.kind:
            case Kind.FOUND_AT:
                return first == clue.number
            case Kind.NOT_AT:
                return first != clue.number
            case Kind.AT_END:
                return first in (0, self.size.houses - 1)
            case Kind.SAME_HOUSE:
                return len(set(at)) == 1
            case Kind.DIFFERENT_HOUSE:
                return len(set(at)) == 2
            case Kind.JUST_LEFT_OF:
                return others[0] - first == 1
            case Kind.JUST_RIGHT_OF:
                return first - others[0] == 1
            case Kind.LEFT_OF:
                return first < others[0]
            case Kind.RIGHT_OF:
                return first > others[0]
            case Kind.NEXT_TO:
                return abs(first - others[0]) == 1
            case Kind.NOT_NEXT_TO:
                return abs(first - others[0]) >= 2
            case Kind.ONE_BETWEEN:
                return abs(first - others[0]) == 2
            case Kind.N_BETWEEN:
                assert clue.number is not None
                return abs(first - others[0]) - 1 == clue.number
            case Kind.BETWEEN:
                return sorted(at)[1] == first and len(set(at)) == 3
            case Kind.NOT_BETWEEN:
                return sorted(at)[1] != first and len(set(at)) == 3

    def count(self, limit: int = 2) -> int:
        """The number of solutions, up to ``limit``."""
        found = 0
        while found < limit and self.solver.solve():
            model = self.solver.get_model()
            assert model is not None
            found += 1
            self.solver.add_clause([-v for v in model[: self.last] if v > 0])
        return found
