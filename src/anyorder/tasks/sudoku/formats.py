"""Sudoku files: the usual text and CSV formats, read strictly and written back.

Three layouts are told apart by the first line that is neither empty nor a comment (``#``):

* **CSV with a header** that names a ``puzzle`` column (or ``quiz``, ``quizzes``); ``solution`` (or ``solutions``),
  ``rating`` and ``box`` (as ``2x3``) are understood, every other column is kept as text;
* **a grid a line**: all cells of a puzzle, then, after a comma or spaces, its solution where there is one;
* **a row a line**: n lines of n cells make a grid; bars between cells, rules between bands (``---+---``), empty lines
  between grids and section names in brackets, as in SDK files, are passed over.

A cell is a digit; beyond 9 come the letters A = 10 to G = 16, in either case. ``0 . - * _`` are blanks, and so is a
space in a grid a line that has one character for every cell. Whatever does not fit is refused with the file's name and
the line's number, and so are puzzles whose clues contradict each other and solutions that do not solve their puzzle.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError
from anyorder.core.files import replacing

from .data import GRADES, Puzzles
from .rules import MAX_SIZE, Box, units_valid, verify_many

SYMBOLS = "0123456789ABCDEFG"
"""The symbol of every value; 0 is a blank."""

_BLANKS = "0.-*_"
_PUZZLE, _SOLUTION = ("puzzle", "puzzles", "quiz", "quizzes"), ("solution", "solutions")
_BAD = 255
_RULE = re.compile(r"[-+=|\s]*\+[-+=|\s]*|=+|\[.*\]")


@dataclass(frozen=True, eq=False)
class PuzzleFile:
    """What a file of puzzles holds.

    Attributes:
        box: the box shape.
        puzzles: (N, cells) uint8, 0 = blank; no unit holds a digit twice.
        solutions: (N, cells) uint8, each solving its puzzle; None where the file has none.
        ratings: (N,) float64, NaN where the field is empty; None where the file has no such column.
        columns: every column of a CSV file as text, by its name in lower case; empty for the other layouts.
        lines: (N,) the line of the file on which each puzzle begins, from 1.
    """

    box: Box
    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8] | None = None
    ratings: NDArray[np.float64] | None = None
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lines: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self.puzzles)


def grid_text(grid: NDArray[np.integer]) -> str:
    """One flat grid as one line of symbols, 0 for a blank."""
    return "".join(SYMBOLS[value] for value in grid.tolist())


def read_puzzles(path: str | os.PathLike[str], box: Box | None = None) -> PuzzleFile:
    """Read a file of puzzles in any of the three layouts.

    Args:
        path: the file.
        box: the box shape the puzzles must have; None takes the file's own word, or else the usual shape for the
            number of cells (2x3 boxes for 36 cells, not 3x2).

    Raises:
        UserError: the file is missing, not text, empty, or a line of it is not what its layout promises; the message
            names file and line.
    """
    return _Reader(Path(path), box).read()


def write_puzzles(path: str | os.PathLike[str], puzzles: Puzzles) -> None:
    """Write puzzles as CSV, or one a line without their solutions where the name ends in ``.txt``.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as file:
        if Path(path).suffix == ".txt":
            file.writelines(f"{grid_text(puzzle)}\n" for puzzle in puzzles.puzzles)
            return
        columns: dict[str, list[str]] = {
            "puzzle": [grid_text(puzzle) for puzzle in puzzles.puzzles],
            "solution": [grid_text(solution) for solution in puzzles.solutions],
        }
        if puzzles.grade is not None:
            columns["grade"] = [GRADES[grade] for grade in puzzles.grade.tolist()]
        if puzzles.box != Box.for_cells(puzzles.box.cells):
            columns["box"] = [f"{puzzles.box.box_rows}x{puzzles.box.box_columns}"] * len(puzzles)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


class _Reader:
    """One reading of one file; its methods share the path for their messages."""

    def __init__(self, path: Path, box: Box | None) -> None:
        self.path, self.box = path, box

    def read(self) -> PuzzleFile:
        lines = self._lines()
        content = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and line[0] != "#"]
        if not content:
            raise UserError(f"{self.path} holds no puzzle")
        header = [name.strip().strip('"').lower() for name in content[0][1].split(",")]
        if any(name in _PUZZLE for name in header):
            return self._csv(header, lines, content[0][0])
        content = [(number, line) for number, line in content if not _RULE.fullmatch(line.strip())]
        if not content:
            raise UserError(f"{self.path} holds no puzzle")
        rows = self._side(content)
        if rows is None:
            return self._grids(content)
        return self._rows(content, rows)

    def _lines(self) -> list[str]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            raise UserError(f"no such file: {self.path}") from None
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {(error.strerror or str(error)).lower()}") from error
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise UserError(f"{self.path}, line {line}: not UTF-8 text; is it a file of puzzles?") from None
        return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def _refuse(self, line: int, why: str) -> UserError:
        return UserError(f"{self.path}, line {line}: {why}")

    # ------------------------------------------------------------------ the three layouts

    def _csv(self, header: list[str], lines: list[str], first: int) -> PuzzleFile:
        doubled = {name for name in header if header.count(name) > 1}
        if doubled:
            raise self._refuse(first, f"the column {min(doubled)!r} stands twice in the header")
        columns: dict[str, list[str]] = {name: [] for name in header}
        numbers: list[int] = []
        for number, fields in self._records(lines, first):
            if len(fields) != len(header):
                raise self._refuse(number, f"{len(fields)} fields, but the header names {len(header)}")
            numbers.append(number)
            for name, value in zip(header, fields, strict=True):
                columns[name].append(value.strip())
        if not numbers:
            raise UserError(f"{self.path} holds no puzzle below its header")
        self._take_box(columns.get("box"), numbers)
        puzzle = next(name for name in header if name in _PUZZLE)
        solution = next((name for name in header if name in _SOLUTION), None)
        puzzles = self._parse(columns[puzzle], numbers, "puzzle")
        solutions = None if solution is None else self._parse(columns[solution], numbers, "solution")
        ratings = None if "rating" not in columns else self._numbers(columns["rating"], numbers)
        return self._checked(puzzles, solutions, numbers, ratings, columns)

    def _records(self, lines: list[str], first: int) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(f"{line}\n" for line in lines[first:])
        while True:
            number = first + reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._refuse(number, f"no CSV: {error}") from None
            if fields and not (len(fields) == 1 and not fields[0].strip()) and not fields[0].startswith("#"):
                yield number, fields

    def _grids(self, content: list[tuple[int, str]]) -> PuzzleFile:
        first: list[str] = []
        second: list[str] = []
        numbers: list[int] = []
        for number, line in content:
            parts = self._parts(line)
            if len(parts) > 2:
                raise self._refuse(number, f"{len(parts)} grids; expected a puzzle, or a puzzle and its solution")
            if numbers and (len(parts) == 2) != bool(second):
                raise self._refuse(number, "some lines have a solution and some have none")
            numbers.append(number)
            first.append(parts[0])
            second.extend(parts[1:])
        puzzles = self._parse(first, numbers, "puzzle")
        solutions = self._parse(second, numbers, "solution") if second else None
        return self._checked(puzzles, solutions, numbers)

    def _parts(self, line: str) -> list[str]:
        """The grids of a line; spaces are blanks where the line has a character for every cell."""
        cells = None if self.box is None else self.box.cells
        whole = line.rstrip("\n")
        if " " in whole and "," not in whole and (len(whole) == cells or (cells is None and _is_grid(len(whole)))):
            return [whole.replace(" ", ".")]
        return [part for part in re.split(r"[,;\s]+", line.strip()) if part]

    def _rows(self, content: list[tuple[int, str]], size: int) -> PuzzleFile:
        grids: list[str] = []
        numbers: list[int] = []
        row = 0
        for number, line in content:
            text = _bare(line)
            if len(text) != size:
                raise self._refuse(number, f"a row of {len(text)} cells where {size} are expected")
            if row == 0:
                grids.append("")
                numbers.append(number)
            grids[-1] += text
            row = (row + 1) % size
        if row:
            raise self._refuse(numbers[-1], f"the last puzzle breaks off after {row} of {size} rows")
        return self._checked(self._parse(grids, numbers, "puzzle"), None, numbers)

    def _side(self, content: list[tuple[int, str]]) -> int | None:
        """The number of cells of a line that is a row; None where the first line is a whole grid."""
        line = content[0][1]
        text = _bare(line)
        if self.box is not None:
            return self.box.size if len(text) == self.box.size else None
        if _is_grid(len(line)) or any(_is_grid(len(part)) for part in self._parts(line)):
            # 16 cells are a whole 4x4 grid, or, where a value above 4 stands among them, a row of a 16x16 grid.
            wide = len(text) == MAX_SIZE and any(
                _values(_bare(row)).max(initial=0) > 4 for _, row in content[:MAX_SIZE]
            )
            return MAX_SIZE if wide else None
        return len(text) if _is_grid(len(text) ** 2) else None

    # ------------------------------------------------------------------ values

    def _take_box(self, column: list[str] | None, numbers: list[int]) -> None:
        for number, text in zip(numbers, column or (), strict=False):
            match = re.fullmatch(r"(\d{1,2})x(\d{1,2})", text)
            if match is None:
                raise self._refuse(number, f"box must look like 2x3, not {text!r}")
            try:
                box = Box(int(match[1]), int(match[2]))
            except UserError as error:
                raise self._refuse(number, str(error)) from None
            if self.box is None:
                self.box = box
            elif box != self.box:
                raise self._refuse(number, f"a {text} box, but {self.box.box_rows}x{self.box.box_columns} is expected")

    def _parse(self, texts: list[str], numbers: list[int], what: str) -> NDArray[np.uint8]:
        """(N, cells) values of grids of one size."""
        if self.box is None:
            if not _is_grid(len(texts[0])):
                raise self._refuse(numbers[0], f"a {what} of {len(texts[0])} cells; a 9x9 grid has 81, a 6x6 one 36")
            self.box = Box.for_cells(len(texts[0]))
        box = self.box
        for number, text in zip(numbers, texts, strict=True):
            if len(text) != box.cells:
                short = "is cut short" if len(text) < box.cells else "is too long"
                raise self._refuse(number, f"the {what} {short}: {len(text)} cells where {box.cells} are expected")
        values = _values("".join(texts)).reshape(len(texts), box.cells)
        bad = values > box.size
        if bad.any():
            row, cell = (int(k) for k in np.argwhere(bad)[0])
            symbol = texts[row][cell]
            raise self._refuse(
                numbers[row], f"{symbol!r} at cell {cell + 1} of the {what} is no digit of a {box.name} grid"
            )
        return values

    def _numbers(self, texts: list[str], numbers: list[int]) -> NDArray[np.float64]:
        values = np.full(len(texts), np.nan)
        for k, (number, text) in enumerate(zip(numbers, texts, strict=True)):
            try:
                values[k] = float(text) if text else np.nan
            except ValueError:
                raise self._refuse(number, f"the rating {text!r} is no number") from None
            if math.isinf(values[k]):
                raise self._refuse(number, f"the rating {text!r} is no finite number")
        return values

    def _checked(
        self,
        puzzles: NDArray[np.uint8],
        solutions: NDArray[np.uint8] | None,
        numbers: list[int],
        ratings: NDArray[np.float64] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
    ) -> PuzzleFile:
        assert self.box is not None
        box = self.box
        sound = units_valid(box, puzzles)
        if not sound.all():
            row = int(np.argmin(sound))
            raise self._refuse(numbers[row], f"the clues contradict each other: {_clash(box, puzzles[row])}")
        if solutions is not None:
            solved = verify_many(box, puzzles, solutions)
            if not solved.all():
                row = int(np.argmin(solved))
                raise self._refuse(numbers[row], "the solution does not solve the puzzle")
        return PuzzleFile(box, puzzles, solutions, ratings, columns or {}, numbers)


def _clash(box: Box, grid: NDArray[np.uint8]) -> str:
    """Where a digit stands twice in a unit, in words."""
    for kind, units in zip(("row", "column", "box"), np.split(box.units, 3), strict=True):
        for k, unit in enumerate(units):
            digits, counts = np.unique(grid[unit][grid[unit] > 0], return_counts=True)
            if (counts > 1).any():
                return f"{SYMBOLS[digits[counts > 1][0]]} stands twice in {kind} {k + 1}"
    raise AssertionError("the grid has no clash")


def _is_grid(cells: int) -> bool:
    try:
        Box.for_cells(cells)
    except UserError:
        return False
    return True


def _bare(line: str) -> str:
    """The cells of a line that is a row: without bars and spaces."""
    return re.sub(r"[|\s]", "", line)


def _table() -> NDArray[np.uint8]:
    table = np.full(128, _BAD, np.uint8)
    for value, symbol in enumerate(SYMBOLS):
        table[[ord(symbol), ord(symbol.lower())]] = value
    table[[ord(symbol) for symbol in _BLANKS]] = 0
    return table


_VALUE_OF = _table()


def _values(text: str) -> NDArray[np.uint8]:
    """The value of every character, 255 where it is no cell."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return np.where(codes < len(_VALUE_OF), _VALUE_OF[np.minimum(codes, len(_VALUE_OF) - 1)], _BAD).astype(np.uint8)
