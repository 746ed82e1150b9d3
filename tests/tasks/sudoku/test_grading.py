"""Grading a file: every puzzle is in one group, and what is counted is what the solver did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, generate, grade_file, grade_puzzles, read_puzzles, solve_many, write_puzzles

NINE = Box(3, 3)


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve puzzles of each grade; logic ones are rated 0 or 1.5, hard ones 7 or not at all."""
    logic, hard = generate(NINE, 12, 3, grade="logic"), generate(NINE, 12, 3, grade="hard")
    path = tmp_path_factory.mktemp("grading") / "rated.csv"
    columns = {"rating": ("0", "1.5") * 6 + ("7.0", "") * 6, "source": ("b",) * 12 + ("a",) * 12, "rank": ("x",) * 24}
    puzzles, solutions = (
        np.concatenate([getattr(g, name) for g in (logic, hard)]) for name in ("puzzles", "solutions")
    )
    write_puzzles(path, NINE, puzzles, solutions, columns=columns)
    return path


def test_ratings_make_bands_in_order(rated: Path) -> None:
    record = grade_file(rated)
    assert record["by"] == "rating"
    rows = [(band["name"], band["count"], band["solved"], band["solved_share"]) for band in record["bands"]]
    assert rows == [("0", 6, 6, 1.0), ("1 to 2", 6, 6, 1.0), ("7 to 8", 6, 0, 0.0), ("none", 6, 0, 0.0)]
    assert (record["count"], record["solved"], record["solved_share"]) == (24, 12, 0.5)
    assert record["wrong_fills"] == record["not_unique"] == 0
    assert record["file"] == "rated.csv"


def test_any_column_can_group(rated: Path) -> None:
    for by, names in (("source", ["b", "a"]), ("rank", ["x"]), ("all", ["all"])):
        assert [band["name"] for band in grade_file(rated, by=by)["bands"]] == names
    with pytest.raises(UserError, match="no column 'level'; the file has rating, source, rank"):
        grade_file(rated, by="level")


def test_counts_are_those_of_the_solver(rated: Path) -> None:
    held = read_puzzles(rated)
    by, bands = grade_puzzles(held, "all")
    found = solve_many(NINE, held.puzzles)
    assert by == "all"
    assert sum(bands[0].hardest.values()) == bands[0].solved == found.solved.sum()
    assert sum(bands[0].fills.values()) == (found.order >= 0).sum()
    assert bands[0].hardest["lone single"] + bands[0].hardest["hidden single"] < 12


def test_a_puzzle_with_several_solutions_is_counted_and_never_wrong(tmp_path: Path) -> None:
    held = generate(NINE, 5, 4)
    several = held.puzzles.copy()
    several[:, :40] = 0
    write_puzzles(tmp_path / "a", NINE, np.concatenate([held.puzzles, several]))
    record = grade_file(tmp_path / "a")
    assert record["by"] == "all"
    assert (record["not_unique"], record["wrong_fills"], record["solved"]) == (5, 0, 5)


@pytest.mark.data
def test_shares_on_the_development_data(data_folder: Path) -> None:
    """The easiest level needs singles alone; the hardest ones are out of reach; nothing is filled wrongly."""
    records = [grade_file(path) for path in sorted((data_folder / "sudoku").glob("*.csv"))]
    assert [record["by"] for record in records] == ["rating", "source", "rating"]
    assert sum(record["wrong_fills"] + record["not_unique"] for record in records) == 0
    exchange, levels, rated = ({band["name"]: band["solved_share"] for band in record["bands"]} for record in records)
    assert rated["0"] == levels["easy"] == 1.0
    assert levels["diabolical"] == exchange["6 to 7"] == 0.0
    shares = list(exchange.values())
    assert shares == sorted(shares, reverse=True)
