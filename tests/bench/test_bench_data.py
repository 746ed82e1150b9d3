"""The data benchmark: its peer counts solutions rightly, its check of minimality can fail, its figures are whole."""

from __future__ import annotations

import numpy as np
import pytest

from anyorder.bench.data import PEER, SatSolver, bench_data, minimal
from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, count_solutions, generate


@pytest.mark.parametrize("box", [Box(2, 2), Box(2, 3), Box(3, 3)], ids=lambda box: box.name)
def test_the_peer_counts_solutions_as_the_search_does(box: Box) -> None:
    pytest.importorskip("pysat")
    made = generate(box, 6, 0, grade="any", distinct="puzzle")
    loose, wrong = made.puzzles.copy(), made.puzzles.copy()
    for row in range(len(made)):
        loose[row, np.flatnonzero(loose[row])[:2]] = 0
        cell = np.flatnonzero(wrong[row] == 0)[0]
        wrong[row, cell] = made.solutions[row, cell] % box.size + 1
    puzzles = np.concatenate((made.puzzles, loose, wrong))
    peer = SatSolver(box)
    counts = [peer.count(puzzle) for puzzle in puzzles]
    assert set(counts) == {0, 1, 2}
    assert counts == count_solutions(box, puzzles).tolist()


def test_a_puzzle_with_a_clue_to_spare_is_not_minimal() -> None:
    made = generate(Box(3, 3), 4, 1)
    assert minimal(made.box, made.puzzles).all()
    spare = made.puzzles.copy()
    for row in (1, 3):
        cell = np.flatnonzero(spare[row] == 0)[0]
        spare[row, cell] = made.solutions[row, cell]
    assert minimal(made.box, spare).tolist() == [True, False, True, False]


def test_the_benchmark_tells_what_it_measured() -> None:
    pytest.importorskip("pysat")
    rounds: list[int] = []
    result = bench_data(
        Box(2, 3), count=40, peer_count=10, repeats=2, progress=lambda name, done, of: rounds.append(done)
    )
    assert rounds == [1, 2]
    speeds = {row["what"]: row["puzzles_per_second"] for row in result.rows}
    assert set(speeds) == {"generate, logic", "generate, any grade", "strategies", "search", PEER}
    assert all(speed > 0 for speed in speeds.values())
    assert result.summary["one_solution_share"] == result.summary["minimal_share"] == 1
    assert sum(result.details["clues"].values()) == 80


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        bench_data(repeats=0)
