"""The Zebra benchmark measures what it says, and its peer counts rightly."""

from __future__ import annotations

import pytest

from anyorder.bench.zebra import PEER, bench_zebra, sat_count
from anyorder.core.errors import UserError
from anyorder.tasks.zebra import Clue, Kind, Puzzle, Size, count_solutions


def test_the_peer_counts_solutions() -> None:
    free = Puzzle(Size(3, 1), ())
    assert sat_count(free, 10) == 6
    left = Puzzle(Size(3, 1), (Clue(Kind.LEFT_OF, ((0, 0), (0, 1))), Clue(Kind.LEFT_OF, ((0, 1), (0, 2)))))
    assert sat_count(left) == 1
    never = Puzzle(Size(2, 1), (Clue(Kind.FOUND_AT, ((0, 0),), 0), Clue(Kind.NOT_AT, ((0, 0),), 0)))
    assert sat_count(never) == 0
    for puzzle in (free, left, never):
        assert count_solutions([puzzle], 10)[0] == sat_count(puzzle, 10)


def test_rows_and_checks() -> None:
    seen: list[tuple[str, int, int]] = []
    result = bench_zebra((Size(3, 3),), count=12, peer_count=4, repeats=2, progress=lambda *one: seen.append(one))
    assert [row["what"] for row in result.rows] == ["generate", "deduce", "search", PEER]
    assert result.rows[-1]["times_peer"] == 1
    assert result.summary["one_solution_share"] == 1
    assert result.summary["minimal_share"] == 1
    assert set(result.summary["generated_per_second"]) == {"3x3"}
    assert seen == [("rounds", 1, 2), ("rounds", 2, 2)]
    assert sum(result.details["clues"]["3x3"].values()) == 24


def test_refused() -> None:
    with pytest.raises(UserError, match="at least 1"):
        bench_zebra(repeats=0)
