"""How fast Sudoku puzzles are made and solved, beside a SAT solver on the same puzzles in the same run.

In every round, one after the other on one core: puzzles are generated (minimal under the seven strategies, graded, with
their fill order; and unique ones of any grade), then a sample of them is shown to have one solution by this library's
search and by the peer, Glucose 4 from ``python-sat``: all rules as one formula that it keeps, the clues as assumptions,
a second solution asked for after the first is excluded. Ratios are taken within a round; medians are reported.

What was generated is then checked: one solution, no clue that can go, no symmetric copy of another puzzle.
"""

from __future__ import annotations

import itertools
import statistics

import numpy as np
from numpy.typing import NDArray

from anyorder.bench.result import BenchResult
from anyorder.bench.rounds import PEER, Progress, timed, times_peer
from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import STRATEGIES, Box, Puzzles, count_solutions, generate, solve_many, symmetry_keys


def bench_data(
    box: Box | None = None,
    *,
    count: int = 5000,
    peer_count: int = 200,
    repeats: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> BenchResult:
    """Measure the generator and the search on one core.

    Args:
        box: the box shape; 3x3 where not given.
        count: puzzles of each kind to generate in a round.
        peer_count: of them, those that search and peer show to have one solution.
        repeats: rounds; one of a few puzzles goes first, for the compiler, and is not counted.
        seed: of the first round; the later ones count on.
        progress: called with (name, rounds done, rounds).

    Raises:
        UserError: a number below 1, python-sat is not installed, or a puzzle for which search and peer disagree.
    """
    if min(count, peer_count, repeats) < 1:
        raise UserError("count, peer_count and repeats must be at least 1")
    box = Box(3, 3) if box is None else box
    peer = SatSolver(box)
    _round(box, peer, min(count, 50), 5, seed)
    rounds, made = [], []
    for number in range(repeats):
        figures, puzzles = _round(box, peer, count, min(peer_count, count), seed + number)
        rounds.append(figures)
        made.append(puzzles)
        if progress is not None:
            progress("rounds", number + 1, repeats)
    return _result(box, rounds, made, count, seed)


def _round(box: Box, peer: SatSolver, count: int, sample: int, seed: int) -> tuple[dict[str, float], Puzzles]:
    """Puzzles a second of each thing measured, and the puzzles made by strategy."""
    figures: dict[str, float] = {}
    logic, figures["generate, logic"] = timed(lambda: generate(box, count, seed, workers=1), count)
    mixed, figures["generate, any grade"] = timed(lambda: generate(box, count, seed, grade="any", workers=1), count)
    chosen = np.concatenate((logic.puzzles[: sample - sample // 2], mixed.puzzles[: sample // 2]))
    _, figures["strategies"] = timed(lambda: solve_many(box, mixed.puzzles), count)
    ours, figures["search"] = timed(lambda: count_solutions(box, chosen), sample)
    theirs, figures[PEER] = timed(lambda: [peer.count(puzzle) for puzzle in chosen], sample)
    if ours.tolist() != theirs:
        raise UserError("search and SAT solver count different numbers of solutions; this is a fault of the program")
    return figures, logic


def _result(box: Box, rounds: list[dict[str, float]], made: list[Puzzles], count: int, seed: int) -> BenchResult:
    speed = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    rows = [
        {"what": name, "puzzles_per_second": round(speed[name]), "core": 1, "times_peer": times_peer(rounds, name)}
        for name in rounds[0]
    ]
    puzzles = np.concatenate([one.puzzles for one in made])
    strategy = np.concatenate([one.strategy for one in made if one.strategy is not None])
    mixed = generate(box, count, seed, grade="any", workers=1)
    assert mixed.grade is not None
    checks = {
        "one_solution_share": float((count_solutions(box, puzzles) == 1).mean()),
        "minimal_share": float(minimal(box, puzzles[:500]).mean()),
        "no_symmetric_copy_share": len(np.unique(symmetry_keys(box, made[0].puzzles))) / len(made[0]),
    }
    filled, fills = np.unique(strategy[strategy > 0], return_counts=True)
    hardest, hardest_counts = np.unique(strategy.max(axis=1), return_counts=True)
    return BenchResult(
        name="data",
        title=f"{box.name} Sudoku on one core: generating and solving",
        summary={
            "generated_per_second": speed["generate, logic"],
            "search_times_peer": rows[3]["times_peer"],
            **checks,
        },
        columns=("what", "puzzles_per_second", "times_peer"),
        rows=rows,
        notes=[
            f"Of {len(puzzles):,} puzzles made for the strategies {100 * checks['one_solution_share']:.1f} % have "
            f"one solution; {100 * checks['minimal_share']:.1f} % of 500 defeat them with any clue less; "
            f"{100 * float((mixed.grade == 0).mean()):.0f} % of puzzles dug for one solution alone are in "
            "their reach.",
        ],
        details={
            "rounds": rounds,
            "clues": _histogram((puzzles > 0).sum(1)),
            "clues_any_grade": _histogram(mixed.clues),
            "cells_filled_by": {STRATEGIES[s]: int(n) for s, n in zip(filled, fills, strict=True)},
            "hardest_strategy_of_a_puzzle": {
                STRATEGIES[s]: int(n) for s, n in zip(hardest, hardest_counts, strict=True)
            },
            "logic_share_of_any_grade": float((mixed.grade == 0).mean()),
        },
        data={"name": made[0].origin, "count": len(puzzles), "fingerprint": made[0].fingerprint},
    )


def _histogram(values: NDArray[np.int64]) -> dict[str, int]:
    found, counts = np.unique(values, return_counts=True)
    return {str(value): int(n) for value, n in zip(found, counts, strict=True)}


def minimal(box: Box, puzzles: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,): whether the seven strategies fail on the puzzle with any one of its clues taken away."""
    row, cell = np.nonzero(puzzles)
    reduced = puzzles[row]
    reduced[np.arange(len(row)), cell] = 0
    loose = np.zeros(len(puzzles), np.int64)
    np.add.at(loose, row, solve_many(box, reduced).solved)
    return loose == 0


class SatSolver:
    """Sudoku as satisfiability: a variable for every (cell, digit), the rules as clauses, the clues as assumptions."""

    def __init__(self, box: Box) -> None:
        try:
            from pysat.solvers import Solver
        except ImportError:
            raise UserError("bench data compares with python-sat; install it: pip install python-sat") from None
        self.size, self.cells = box.size, box.cells
        self.solver = Solver(name="glucose4")
        groups = [[self._variable(cell, digit) for digit in range(self.size)] for cell in range(self.cells)]
        groups += [
            [self._variable(int(cell), digit) for cell in unit] for unit in box.units for digit in range(self.size)
        ]
        for group in groups:
            self.solver.add_clause(group)
            self.solver.append_formula([[-a, -b] for a, b in itertools.combinations(group, 2)])
        self.unused = self.cells * self.size + 1

    def _variable(self, cell: int, digit: int) -> int:
        return 1 + cell * self.size + digit

    def count(self, puzzle: NDArray[np.uint8]) -> int:
        """The number of solutions, up to 2. ``puzzle`` (cells,), 0 = blank."""
        clues = [self._variable(int(cell), int(puzzle[cell]) - 1) for cell in np.flatnonzero(puzzle)]
        if not self.solver.solve(assumptions=clues):
            return 0
        model = self.solver.get_model()
        assert model is not None
        # The clause that excludes the solution holds only under its own switch, and so for this puzzle alone.
        switch, self.unused = self.unused, self.unused + 1
        self.solver.add_clause([-switch, *(-v for v in model[: self.cells * self.size] if v > 0)])
        return 1 + bool(self.solver.solve(assumptions=[*clues, switch]))
