"""``anyorder data TASK``: seeded puzzles with one solution each, and whatever else there is to train on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anyorder.cli import screen
from anyorder.cli.data_arithmetic import ArithmeticData, CountdownData
from anyorder.cli.data_text import TextData
from anyorder.cli.data_zebra import ZebraData
from anyorder.cli.options import IntOption, at_least
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.tasks.sudoku import Box


@dataclass(frozen=True)
class SudokuData:
    """Make Sudoku puzzles: `anyorder data sudoku --count 1000 --out puzzles.csv`.

    A name that ends in .npz gives a training set (grades and solver orders included), .csv a table, .txt lines.
    """

    count: int
    """how many puzzles"""
    out: Path
    """file to write (.npz, .csv or .txt)"""
    seed: int = 0
    """the puzzles depend on it and on the settings, not on --workers"""
    box: str = "3x3"
    """box shape, rows x columns: 2x2, 2x3, 3x3, 3x4, 4x4"""
    grade: Literal["logic", "hard", "any"] = "logic"
    """logic: the seven strategies finish it; hard: they do not"""
    distinct: Literal["symmetry", "puzzle"] = "symmetry"
    """symmetry: no puzzle is a symmetric copy of another; puzzle: none equals another"""
    workers: IntOption = None
    """threads that work at once (default: all cores)"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--seed", self.seed, 0)
        at_least("--workers", self.workers, 1)
        if self.out.suffix not in (".npz", ".csv", ".txt"):
            raise UserError(f"--out {self.out} must end in .npz, .csv or .txt")

    def run(self) -> None:
        """Generate and write."""
        from anyorder.tasks.sudoku import generate
        from anyorder.tasks.sudoku.formats import write_puzzles

        box = parse_box(self.box)
        if self.out.is_dir():
            raise UserError(f"--out {self.out} is a folder; name a file")
        with screen.bar(f"{box.name} puzzles") as progress:
            puzzles = generate(
                box,
                self.count,
                self.seed,
                grade=self.grade,
                distinct=self.distinct,
                workers=self.workers or os.cpu_count() or 1,
                progress=progress,
            )
        if self.out.suffix == ".npz":
            puzzles.save(self.out)
        else:
            solutions = puzzles.solutions if self.out.suffix == ".csv" else None
            write_puzzles(self.out, box, puzzles.puzzles, solutions)
        clues = puzzles.clues
        made = f"{len(puzzles)} puzzles of {clues.min()} to {clues.max()} clues"
        screen.output().print(f"{made}, fingerprint {puzzles.fingerprint[:16]}: {self.out}")


def parse_box(text: str) -> Box:
    """The box shape written ``ROWSxCOLUMNS``."""
    from anyorder.tasks.sudoku import Box

    rows, cross, columns = text.lower().partition("x")
    if not (cross and rows.isdecimal() and columns.isdecimal()):
        raise UserError(f"--box {text!r} is no box shape; write rows x columns, as in 3x3")
    return Box(int(rows), int(columns))


DATA = {
    "sudoku": SudokuData,
    "zebra": ZebraData,
    "text": TextData,
    "arithmetic": ArithmeticData,
    "countdown": CountdownData,
}
"""Task -> the command that makes data for it."""
