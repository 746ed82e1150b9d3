"""How fast Zebra puzzles are made and solved, beside a SAT solver on the same puzzles in the same run.

In every round, one after the other on one core: puzzles of each size are generated (no clue can go, with their order of
deduction), solved by the rules of deduction, and a sample is shown to have one solution by this library's search and by
the peer, Glucose 4 from ``python-sat``: a variable for every item and house, a clause for every combination of places
that a clue forbids, a second solution asked for after the first is excluded. Writing the formula is part of the peer's
work, because every puzzle has clues of its own. Ratios are taken within a round; medians are reported.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import numpy as np

from anyorder.bench.result import BenchResult
from anyorder.bench.rounds import PEER, Progress, timed, times_peer
from anyorder.core.errors import UserError
from anyorder.tasks.zebra import Puzzle, Puzzles, Recipe, Size, count_solutions, generate, solve_arrays
from anyorder.tasks.zebra.rules import holds

SIZES = (Size(4, 4), Size(5, 5), Size(6, 6))


def bench_zebra(
    sizes: Sequence[Size] = SIZES,
    *,
    count: int = 1000,
    peer_count: int = 100,
    repeats: int = 3,
    seed: int = 0,
    progress: Progress | None = None,
) -> BenchResult:
    """Measure the generator, the deductive solver and the search on one core.

    Args:
        sizes: of the puzzles, measured apart.
        count: puzzles of each size to generate in a round.
        peer_count: of them, those that search and peer show to have one solution.
        repeats: rounds; one of a few puzzles goes first, for the compiler, and is not counted.
        seed: of the first round; the later ones count on.
        progress: called with (name, rounds done, rounds).

    Raises:
        UserError: a number below 1, python-sat is not installed, or a puzzle for which search and peer disagree.
    """
    if min(count, peer_count, repeats) < 1:
        raise UserError("count, peer_count and repeats must be at least 1")
    for size in sizes:
        _round(size, min(count, 20), 2, seed)
    rounds: list[dict[str, dict[str, float]]] = []
    made: dict[str, list[Puzzles]] = {size.name: [] for size in sizes}
    for number in range(repeats):
        figures = {}
        for size in sizes:
            figures[size.name], puzzles = _round(size, count, min(peer_count, count), seed + number)
            made[size.name].append(puzzles)
        rounds.append(figures)
        if progress is not None:
            progress("rounds", number + 1, repeats)
    return _result(rounds, made)


def _round(size: Size, count: int, sample: int, seed: int) -> tuple[dict[str, float], Puzzles]:
    """Puzzles a second of each thing measured, and the puzzles."""
    figures: dict[str, float] = {}
    puzzles, figures["generate"] = timed(lambda: generate(Recipe((size,)), count, seed, workers=1), count)
    arrays = puzzles.houses, puzzles.attributes, puzzles.clues
    _, figures["deduce"] = timed(lambda: solve_arrays(*arrays), count)
    chosen = [puzzles.puzzle(row) for row in range(sample)]
    ours, figures["search"] = timed(lambda: count_solutions(chosen), sample)
    theirs, figures[PEER] = timed(lambda: [sat_count(puzzle) for puzzle in chosen], sample)
    if ours.tolist() != theirs:
        raise UserError("search and SAT solver count different numbers of solutions; this is a fault of the program")
    return figures, puzzles


def _result(rounds: list[dict[str, dict[str, float]]], made: dict[str, list[Puzzles]]) -> BenchResult:
    rows = []
    for size in made:
        for what in rounds[0][size]:
            speed = statistics.median(one[size][what] for one in rounds)
            told = times_peer([one[size] for one in rounds], what)
            rows.append({"size": size, "what": what, "puzzles_per_second": round(speed), "times_peer": told})
    sets = [one for several in made.values() for one in several]
    unique = [count_solutions([one.puzzle(row) for row in range(len(one))]) == 1 for one in sets]
    minimal = [_minimal(one.rows(slice(20))) for one in sets]
    generated = {row["size"]: row["puzzles_per_second"] for row in rows if row["what"] == "generate"}
    share, kept = float(np.concatenate(unique).mean()), float(np.concatenate(minimal).mean())
    return BenchResult(
        name="zebra",
        title="Zebra puzzles on one core: generating and solving",
        summary={"generated_per_second": generated, "one_solution_share": share, "minimal_share": kept},
        columns=("size", "what", "puzzles_per_second", "times_peer"),
        rows=rows,
        notes=[
            f"Of {sum(map(len, sets)):,} puzzles made, {100 * share:.1f} % have one solution; "
            f"{100 * kept:.1f} % of {sum(map(len, minimal))} defeat the solver's rules with any clue less."
        ],
        details={
            "rounds": rounds,
            "clues": {size: _histogram(several) for size, several in made.items()},
            "kinds": {size: several[0].histogram() for size, several in made.items()},
        },
        data={"name": sets[0].origin, "count": sum(map(len, sets)), "fingerprint": sets[0].fingerprint},
    )


def _histogram(sets: list[Puzzles]) -> dict[str, int]:
    found, counts = np.unique(np.concatenate([one.clue_counts for one in sets]), return_counts=True)
    return {str(value): int(number) for value, number in zip(found, counts, strict=True)}


def _minimal(puzzles: Puzzles) -> np.ndarray:
    """(N,): whether the rules that made a puzzle fail with any one of its clues taken away."""
    counts = puzzles.clue_counts
    row = np.repeat(np.arange(len(puzzles)), counts)
    clue = np.concatenate([np.arange(count) for count in counts])
    fewer = puzzles.clues[row].copy()
    fewer[np.arange(len(row)), clue] = -1
    solved = solve_arrays(puzzles.houses[row], puzzles.attributes[row], fewer, hardest=5).solved
    return np.bincount(row, solved, minlength=len(puzzles)) == 0


def sat_count(puzzle: Puzzle, limit: int = 2) -> int:
    """The number of solutions, up to ``limit``, by a SAT solver.

    Raises:
        UserError: python-sat is not installed.
    """
    try:
        from pysat.solvers import Solver
    except ImportError:
        raise UserError("bench zebra compares with python-sat; install it: pip install python-sat") from None
    row = range(puzzle.size.houses)

    def variable(attribute: int, value: int, house: int) -> int:
        return 1 + (attribute * len(row) + value) * len(row) + house

    found = 0
    with Solver(name="glucose4") as solver:
        for a in range(puzzle.size.attributes):
            groups = [[variable(a, v, h) for h in row] for v in row] + [[variable(a, v, h) for v in row] for h in row]
            for group in groups:
                solver.add_clause(group)
                solver.append_formula([[-p, -q] for p, q in itertools.combinations(group, 2)])
        for clue in puzzle.clues:
            places = np.indices((len(row),) * len(clue.items)).reshape(len(clue.items), -1)
            x, y, z = (*places, *[places[0]] * 2)[:3]
            number = -1 if clue.number is None else clue.number
            for at in places[:, ~holds(clue.kind, number, len(row), x, y, z)].T.tolist():
                solver.add_clause([-variable(*item, house) for item, house in zip(clue.items, at, strict=True)])
        while found < limit and solver.solve():
            model = solver.get_model()
            assert model is not None
            found += 1
            solver.add_clause([-one for one in model if one > 0])
    return found
