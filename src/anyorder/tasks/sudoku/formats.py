"""Reading and writing Sudoku puzzles as text.

Symbols: digits 1..9, then A = 10, B = 11, ... (either case); a blank is ``0 . - * _`` or a space. A line that begins
with ``#`` is a comment. The kind of file is told by its content:

- *lines*: one puzzle a line, all its cells in reading order (the usual 81-character line, ``.sdm``), perhaps with its
  solution after a space;
- *CSV* (comma, semicolon or tab): with a header that names a ``puzzle`` column (or ``quizzes``), perhaps a
  ``solution`` column, and any others, which are kept as text; or without a header: puzzle, solution, others;
- *grids*: one row a line, with or without ``|`` and rules such as ``---+---+---``; cells may stand apart (then numbers
  above 9 may be written out); empty lines and ``[Section]`` headings are skipped (``.sdk``, ``.ss``);

and an ``.npz`` file is a set written by :meth:`.data.Puzzles.save`. Every puzzle is checked: its length, its symbols,
equal clues in a unit, that it has a solution at all, and that a solution given with it solves it.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError, reason
from anyorder.core.files import write_text

from .data import Puzzles
from .rules import Box, as_grids, first_conflict, units_valid, verify_many
from .search import has_solution

SYMBOLS = "123456789ABCDEFG"
BLANKS = "0.-*_ "
SHAPES = (
    *((2, 2), (2, 3), (3, 2), (2, 4), (4, 2), (3, 3), (2, 5), (5, 2)),
    *((3, 4), (4, 3), (2, 6), (6, 2), (3, 5), (5, 3), (4, 4), (2, 8), (8, 2)),
)
"""Box shapes that are tried where none is named; of those with the right number of cells the first that fits."""
SIZES = frozenset(rows * columns for rows, columns in SHAPES)

_INVALID = 255
_VALUES = np.full(256, _INVALID, np.uint8)
_VALUES[[ord(symbol) for symbol in SYMBOLS]] = range(1, 17)
_VALUES[[ord(symbol) for symbol in SYMBOLS.lower()]] = range(1, 17)
_VALUES[[ord(symbol) for symbol in BLANKS]] = 0

_NUMBERS = {str(value): SYMBOLS[value - 1] for value in range(10, 17)}
_PUZZLE_NAMES = ("puzzle", "puzzles", "quiz", "quizzes")

Style = Literal["line", "csv", "grid"]


@dataclass(frozen=True, eq=False)
class PuzzleFile:
    """Puzzles as read from a file.

    ``puzzles`` (N, cells) uint8, 0 = blank. ``solutions`` (N, cells) uint8, or None where the file has none.
    ``columns``: the other CSV columns by name, N texts each. ``lines`` (N,) int64: the line on which each puzzle
    begins, from 1 (0 for a file without lines).
    """

    box: Box
    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8] | None
    columns: Mapping[str, tuple[str, ...]]
    lines: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.puzzles)

    @property
    def ratings(self) -> NDArray[np.float64] | None:
        """(N,): the ``rating`` column as numbers, NaN where it is empty; None where there is no such column."""
        texts = self.columns.get("rating")
        return None if texts is None else np.array([float(text) if text.strip() else np.nan for text in texts])


class _Record(NamedTuple):
    """One puzzle as found: the line it begins on, its symbols, those of its solution (or ""), and other columns."""

    line: int
    puzzle: str
    solution: str = ""
    others: tuple[str, ...] = ()


@dataclass
class _Found:
    """What a file holds: records, and the names of their other columns."""

    records: list[_Record] = field(default_factory=list)
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Source:
    """The file being read, for messages, and the side of its grids where it is known."""

    path: str
    size: int | None

    def error(self, line: int, what: str) -> UserError:
        return UserError(f"{self.path}, line {line}: {what}")

    def is_size(self, count: int) -> bool:
        return count in SIZES if self.size is None else count == self.size

    def whole(self, line: int, text: str) -> str:
        """The symbols of a puzzle in one piece; outer spaces count as blanks only if the length needs them."""
        for symbols in (text.strip(), text):
            side = round(len(symbols) ** 0.5)
            if side * side == len(symbols) and self.is_size(side):
                return symbols
        expected = "16, 36, 81, 144 or 256" if self.size is None else str(self.size**2)
        raise self.error(line, f"found {len(text.strip())} cells where a puzzle has {expected}")


def _decode(path: str) -> str:
    """The text of a file, with one kind of line end."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line}: not UTF-8 text; expected puzzles as text or CSV") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_table(source: _Source, text: str, delimiter: str) -> _Found:
    """CSV with or without a header."""
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    found = _Found()
    roles: tuple[str, ...] = ()
    try:
        for row in rows:
            if not any(cell.strip() for cell in row) or row[0].startswith("#"):
                continue
            if not roles:
                names = [cell.strip().lower() for cell in row]
                named = dict.fromkeys(_PUZZLE_NAMES, "puzzle") | {"solutions": "solution"}
                roles = tuple(named.get(name, name) for name in names)
                if "puzzle" in roles:
                    if len(set(roles)) < len(roles):
                        raise source.error(rows.line_num, "the header names a column twice")
                    found.names = tuple(role for role in roles if role not in ("puzzle", "solution"))
                    continue
                roles = ("puzzle", "solution", *(f"column {at}" for at in range(3, len(row) + 1)))[: len(row)]
                found.names = roles[2:]
            if len(row) != len(roles):
                raise source.error(rows.line_num, f"found {len(row)} columns where the file has {len(roles)}")
            cells = dict(zip(roles, row, strict=True))
            solution = cells.get("solution", "")
            found.records.append(
                _Record(
                    rows.line_num,
                    source.whole(rows.line_num, cells["puzzle"]),
                    source.whole(rows.line_num, solution) if solution.strip() else "",
                    tuple(cells[name] for name in found.names),
                )
            )
    except csv.Error as error:
        raise source.error(rows.line_num, f"not readable as CSV: {error}") from error
    return found


def _rules(source: _Source, lines: list[tuple[int, str]]) -> set[int]:
    """The lines of a grid file that only separate boxes. A dash is a blank where it stands beside other symbols, or
    where there is nothing else; then a line of dashes may be a row."""
    drawn = {line: text for line, text in lines if text.strip() and set(text) <= set("-+=| \t")}
    others = [text for line, text in lines if text.strip() and line not in drawn and not text.lstrip().startswith("[")]
    dash_is_blank = not others or any("-" in text for text in others)
    rows = {line for line, text in drawn.items() if not set(text) & set("+=") and source.is_size(text.count("-"))}
    return set(drawn) - rows if dash_is_blank else set(drawn)


def _row(source: _Source, line: int, text: str) -> str:
    """The symbols of one row of a grid."""
    parts = text.replace("|", " ").split()
    numbers = [part in _NUMBERS for part in parts]
    single = [len(part) == 1 for part in parts]
    if any(numbers) and source.is_size(len(parts)) and all(a or b for a, b in zip(numbers, single, strict=True)):
        return "".join(_NUMBERS.get(part, part) for part in parts)
    joined = "".join(parts)
    # A row with spaces for blanks is as long as the grid is wide; cells that stand apart or in groups are not.
    for symbols in (joined, text) if all(single) or "|" in text else (text, joined):
        if source.is_size(len(symbols)):
            return symbols
    expected = "" if source.size is None else f" where a row has {source.size}"
    raise source.error(line, f"found {len(joined)} cells{expected}; expected a puzzle a line, CSV, or grids")


def _read_grids(source: _Source, lines: list[tuple[int, str]], bands: int | None) -> _Found:
    """Grids of one row a line. An empty line may stand between puzzles or between bands of ``bands`` rows."""
    found = _Found()
    rows: list[str] = []
    rules = _rules(source, lines)
    begin = 0
    for line, text in lines:
        if rows and (not text.strip() or text.lstrip().startswith("[")):
            height = bands or Box.for_cells(len(rows[0]) ** 2).box_rows
            if len(rows) % height or text.strip():
                raise source.error(begin, f"the puzzle ends after {len(rows)} of {len(rows[0])} rows")
        if not text.strip() or text.lstrip().startswith("[") or line in rules:
            continue
        rows.append(_row(source, line, text))
        source = _Source(source.path, len(rows[0]))
        if len(rows) == 1:
            begin = line
        if len(rows) == source.size:
            found.records.append(_Record(begin, "".join(rows)))
            rows = []
    if rows:
        raise source.error(begin, f"the puzzle ends after {len(rows)} of {len(rows[0])} rows")
    return found


def _read_text(source: _Source, text: str, box: Box | None) -> _Found:
    """Find out what kind of file it is, and read it."""
    lines = [(at, line) for at, line in enumerate(text.split("\n"), 1) if not line.startswith("#")]
    content = [(at, line) for at, line in lines if line.strip()]
    if not content:
        raise UserError(f"{source.path} holds no puzzle; expected a puzzle a line, CSV, or grids")
    first = content[0][1]
    delimiter = next((mark for mark in ",;\t" if mark in first), None)
    if delimiter or first.strip().lower() in _PUZZLE_NAMES:
        return _read_table(source, text, delimiter or ",")
    if _one_a_line(source, content):
        return _Found([_line_record(source, at, line) for at, line in content])
    return _read_grids(source, lines, box.box_rows if box else None)


def _line_record(source: _Source, line: int, text: str) -> _Record:
    """A puzzle that fills a line, or a puzzle and its solution."""
    parts = text.split()
    if len(parts) == 2 and len(parts[0]) == len(parts[1]):
        return _Record(line, source.whole(line, parts[0]), source.whole(line, parts[1]))
    return _Record(line, source.whole(line, text))


def _one_a_line(source: _Source, content: list[tuple[int, str]]) -> bool:
    """Whether the lines are whole puzzles rather than rows."""
    first = content[0][1]
    if first.lstrip().startswith("[") or "|" in first or "+" in first:
        return False
    parts = first.split()
    if len(parts) == 2 and len(parts[0]) == len(parts[1]):
        first = parts[0]
    sides = {round(len(text) ** 0.5) for text in (first.strip(), first) if round(len(text) ** 0.5) ** 2 == len(text)}
    if not any(source.is_size(side) for side in sides):
        return len(first.strip()) > len(SYMBOLS) and " " not in first.strip()
    # Sixteen symbols are a 4x4 puzzle, or a row of a 16x16 one, which also uses digits above 4.
    row_of_16 = source.size is None and len(first.strip()) == 16 and len(content) > 1
    return not (row_of_16 and set("".join(line for _, line in content)) & set("56789ABCDEFGabcdefg"))


def _values(source: _Source, records: list[_Record], which: Literal["puzzle", "solution"]) -> NDArray[np.uint8]:
    """The symbols of all records as values (N, cells)."""
    texts = [getattr(record, which) for record in records]
    cells = len(records[0].puzzle)
    for record, text in zip(records, texts, strict=True):
        if len(text) != cells:
            raise source.error(record.line, f"found a {which} of {len(text)} cells among puzzles of {cells}")
    size = round(cells**0.5)
    values = _VALUES[np.frombuffer("".join(texts).encode("ascii", "replace"), np.uint8)].reshape(-1, cells)
    wrong = np.argwhere(values > size)
    if len(wrong):
        row, cell = wrong[0]
        line, symbol = records[row].line, texts[row][cell]
        raise source.error(
            line, f"{symbol!r} is no symbol of a {size}x{size} {which}: 1-{SYMBOLS[size - 1]}, or a blank 0 . - * _"
        )
    return values


def _infer_box(cells: int, grids: list[NDArray[np.uint8]]) -> Box:
    """The first usual shape in which no unit holds a digit twice; the first of all if there is none."""
    shapes = [Box(*shape) for shape in SHAPES if Box(*shape).cells == cells]
    fits = (shape for shape in shapes if all(units_valid(shape, grid).all() for grid in grids))
    return next(fits, shapes[0])


def _check(source: _Source, box: Box, lines: NDArray, puzzles: NDArray, solutions: NDArray | None) -> None:
    """Refuse puzzles that break the rules, have no solution, or come with a wrong one."""
    valid = units_valid(box, puzzles)
    if not valid.all():
        row = int(np.argmin(valid))
        raise source.error(int(lines[row]), f"contradictory puzzle: {first_conflict(box, puzzles[row])}")
    if solutions is None:
        solvable = has_solution(box, puzzles)
        if not solvable.all():
            raise source.error(int(lines[np.argmin(solvable)]), "contradictory puzzle: it has no solution")
        return
    right = verify_many(box, puzzles, solutions)
    if right.all():
        return
    row = int(np.argmin(right))
    puzzle, solution = puzzles[row], solutions[row]
    differs = np.flatnonzero((puzzle > 0) & (puzzle != solution))
    if (solution == 0).any():
        what = "has blanks"
    elif len(differs):
        what = f"disagrees with the puzzle in row {differs[0] // box.size + 1}, column {differs[0] % box.size + 1}"
    else:
        what = f"breaks the rules: {first_conflict(box, solution)}"
    raise source.error(int(lines[row]), f"the solution {what}")


def _check_ratings(source: _Source, lines: NDArray, ratings: tuple[str, ...]) -> None:
    for line, text in zip(lines.tolist() if ratings else [], ratings, strict=True):
        try:
            finite = not text.strip() or math.isfinite(float(text))
        except ValueError:
            finite = False
        if not finite:
            raise source.error(line, f"the rating {text!r} is no number")


def read_puzzles(path: str | os.PathLike[str], box: Box | None = None) -> PuzzleFile:
    """Read puzzles from a text, CSV or ``.npz`` file, and check every one.

    Args:
        path: the file.
        box: the box shape; without it the usual shape for the number of cells (2 rows by 3 columns for 6x6, 3 by 4
            for 12x12), or the other way round if only that fits the puzzles.

    Raises:
        UserError: naming file and line: not readable, no text, empty, a wrong length or symbol, a puzzle cut short,
            contradictory clues, a wrong solution.
    """
    if Path(path).suffix == ".npz":
        held = Puzzles.load(path)
        if box is not None and box != held.box:
            raise UserError(f"{path} holds puzzles with {held.box.name} boxes, not {box.name}")
        return PuzzleFile(held.box, held.puzzles, held.solutions, {}, np.zeros(len(held), np.int64))
    source = _Source(os.fspath(path), None if box is None else box.size)
    found = _read_text(source, _decode(source.path), box)
    records = found.records
    if not records:
        raise UserError(f"{path} holds no puzzle; expected a puzzle a line, CSV, or grids")
    lines = np.array([record.line for record in records], np.int64)
    puzzles = _values(source, records, "puzzle")
    solved = [bool(record.solution) for record in records]
    if any(solved) and not all(solved):
        raise source.error(int(lines[solved.index(False)]), "the solution is missing, though other puzzles have one")
    solutions = _values(source, records, "solution") if all(solved) else None
    if box is None:
        box = _infer_box(puzzles.shape[1], [puzzles] if solutions is None else [puzzles, solutions])
    _check(source, box, lines, puzzles, solutions)
    columns = {name: tuple(record.others[at] for record in records) for at, name in enumerate(found.names)}
    _check_ratings(source, lines, columns.get("rating", ()))
    return PuzzleFile(box, puzzles, solutions, columns, lines)


def as_text(grid: NDArray[np.uint8], *, blank: str = ".") -> str:
    """A grid (cells,) as one line of symbols."""
    return "".join(SYMBOLS[value - 1] if value else blank for value in grid.tolist())


def _as_grid(box: Box, grid: NDArray[np.uint8]) -> str:
    """A grid as rows with rules between boxes."""
    text, width = as_text(grid), box.box_columns
    rows = [text[start : start + box.size] for start in range(0, box.cells, box.size)]
    drawn = ["|".join(row[start : start + width] for start in range(0, box.size, width)) for row in rows]
    rule = "+".join(["-" * width] * box.box_rows)
    bands = ["\n".join(drawn[start : start + box.box_rows]) for start in range(0, box.size, box.box_rows)]
    return f"\n{rule}\n".join(bands) + "\n"


def write_puzzles(
    path: str | os.PathLike[str],
    box: Box,
    puzzles: NDArray[np.uint8],
    solutions: NDArray[np.uint8] | None = None,
    *,
    columns: Mapping[str, tuple[str, ...]] | None = None,
    style: Style | None = None,
) -> None:
    """Write puzzles so that :func:`read_puzzles` reads them back; the file appears only once it is complete.

    Args:
        path: the file.
        box: the box shape.
        puzzles: (N, cells), 0 = blank.
        solutions: (N, cells), written to CSV alone.
        columns: further CSV columns, N texts each.
        style: ``line``, ``csv`` or ``grid``; without it by suffix: ``.csv``, ``.sdk`` (grid), else lines.

    Raises:
        UserError: an unknown style, arrays that do not fit, or a file that cannot be written.
    """
    grids = as_grids(box, puzzles)
    if style is None:
        style = "csv" if Path(path).suffix == ".csv" else "grid" if Path(path).suffix == ".sdk" else "line"
    if style not in get_args(Style):
        raise UserError(f"style must be line, csv or grid, not {style!r}")
    if style != "csv" and (solutions is not None or columns):
        raise UserError(f"solutions and further columns need the style csv, not {style}")
    if style == "line":
        text = "".join(as_text(grid) + "\n" for grid in grids)
    elif style == "grid":
        text = "\n".join(_as_grid(box, grid) for grid in grids)
    else:
        table: dict[str, list[str]] = {"puzzle": [as_text(grid, blank="0") for grid in grids]}
        if solutions is not None:
            table["solution"] = [as_text(grid) for grid in as_grids(box, solutions, "solution")]
        table |= {name: list(texts) for name, texts in (columns or {}).items()}
        if any(len(texts) != len(grids) for texts in table.values()):
            raise UserError(f"every column must have {len(grids)} entries")
        held = io.StringIO()
        writer = csv.writer(held, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
        text = held.getvalue()
    write_text(path, text)
