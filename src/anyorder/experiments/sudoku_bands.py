"""How far seven strategies go: the share of puzzles that they finish, for each rating band of the data files.

A file whose ``source`` column names levels is split by them, any other by whole points of its rating. Every fill is
also compared with the known solution, so the record says whether the solver was ever wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import wilson
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.tasks.sudoku.formats import PuzzleFile, read_puzzles
from anyorder.tasks.sudoku.solver import solve_many

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMOKE = 50  # puzzles of each file at the smoke scale


def run(settings: Settings, progress: Progress) -> records.Record:
    """Solve every puzzle of every CSV file of the data folder."""
    since = time.time()
    rows: list[dict[str, Any]] = []
    grids: list[NDArray[np.uint8]] = []
    files = _files(settings.data_path("a puzzle file, or a folder of them"))
    for number, path in enumerate(files):
        file = read_puzzles(path)
        if settings.scale == "smoke":
            chosen = np.arange(0, len(file.puzzles), max(1, len(file.puzzles) // SMOKE))
        else:
            chosen = np.arange(len(file.puzzles))
        puzzles = file.puzzles[chosen]
        outcome = solve_many(file.box, puzzles)
        wrong = np.zeros(len(puzzles), dtype=np.int64)
        if file.solutions is not None:
            wrong = ((outcome.grids != 0) & (outcome.grids != file.solutions[chosen])).sum(axis=1)
        for band, members in _bands(file, chosen):
            rows.append(_row(path.name, band, outcome.solved[members], wrong[members]))
        grids.append(puzzles)
        progress("files", number + 1, len(files))
    count = sum(row["count"] for row in rows)
    solved = sum(row["solved"] for row in rows)
    return records.Record(
        name="sudoku-bands",
        scale=settings.scale,
        title="Puzzles that the seven strategies finish, by rating",
        summary={
            "solved_share": solved / count,
            "interval": list(wilson(solved, count)),
            "count": count,
            "wrong_fills": sum(row["wrong_fills"] for row in rows),
        },
        columns=["file", "band", "count", "solved_share", "interval", "wrong_fills"],
        rows=rows,
        run=records.run_facts(
            seed=None,
            device="cpu",
            since=since,
            data=records.data_facts(", ".join(path.name for path in files), *grids),
        ),
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    folder = path / "sudoku" if (path / "sudoku").is_dir() else path
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise UserError(f"no puzzle files (*.csv) in {folder}")
    return files


def _bands(file: PuzzleFile, chosen: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """The bands of a file in order, each with the chosen puzzles that lie in it."""
    levels = np.asarray(file.columns.get("source", [""] * len(file.puzzles)))[chosen]
    names = list(dict.fromkeys(levels.tolist()))
    if len(names) > 1:
        for name in names:
            yield str(name), levels == name
        return
    if file.ratings is None:
        yield "all", np.ones(len(chosen), dtype=bool)
        return
    ratings = file.ratings[chosen]
    points = np.floor(ratings)
    for point in sorted({point for point in points.tolist() if not math.isnan(point)}):
        yield f"{point:.0f} to {point + 0.9:.1f}", points == point
    if np.isnan(ratings).any():
        yield "not rated", np.isnan(ratings)


def _row(file: str, band: str, solved: NDArray[np.bool_], wrong: NDArray[np.int64]) -> dict[str, Any]:
    count, finished = len(solved), int(solved.sum())
    return {
        "file": file,
        "band": band,
        "count": count,
        "solved": finished,
        "solved_share": finished / count,
        "interval": list(wilson(finished, count)),
        "wrong_fills": int(wrong.sum()),
    }


EXPERIMENT = Experiment(name="sudoku-bands", scales=("smoke", "cpu"), run=run)
