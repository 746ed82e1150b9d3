"""Puzzle files: every layout is read back as it was written, and nothing else is read at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, Puzzles, as_text, random_grids
from anyorder.tasks.sudoku.formats import SYMBOLS, PuzzleFile, read_puzzles, write_puzzles

BOXES = [Box(2, 2), Box(2, 3), Box(3, 2), Box(3, 3), Box(3, 4), Box(4, 4)]
boxes = pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box.box_rows}x{box.box_columns}")
PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
WRONG = SOLUTION[:-1] + "8"


def some_puzzles(box: Box, count: int = 5, seed: int = 0) -> Puzzles:
    solutions = random_grids(box, count, seed)
    blank = np.random.default_rng(seed).random(solutions.shape) < 0.6
    return Puzzles(box, np.where(blank, 0, solutions).astype(np.uint8), solutions)


def read(folder: Path, text: str, box: Box | None = None) -> PuzzleFile:
    path = folder / "puzzles.txt"
    path.write_bytes(text.encode("utf-8"))
    return read_puzzles(path, box)


def rows(text: str, n: int) -> list[str]:
    return [text[start : start + n] for start in range(0, len(text), n)]


@boxes
def test_csv_comes_back_as_it_was_written(box: Box, tmp_path: Path) -> None:
    held = some_puzzles(box)
    columns = {"rating": ("1.5", "", "0", "7", "9.25"), "source": ("a, b", 'say "c"', "", "é", " x ")}
    write_puzzles(tmp_path / "a.csv", box, held.puzzles, held.solutions, columns=columns)
    back = read_puzzles(tmp_path / "a.csv")
    assert back.box == box
    assert np.array_equal(back.puzzles, held.puzzles)
    assert back.solutions is not None
    assert np.array_equal(back.solutions, held.solutions)
    assert back.columns == columns
    assert back.ratings is not None
    assert np.array_equal(back.ratings, [1.5, np.nan, 0, 7, 9.25], equal_nan=True)
    assert back.lines.tolist() == [2, 3, 4, 5, 6]


@boxes
@pytest.mark.parametrize("style, lines", [("line", [1, 2, 3, 4, 5]), ("grid", None)])
def test_text_comes_back_as_it_was_written(box: Box, style: str, lines: list[int] | None, tmp_path: Path) -> None:
    held = some_puzzles(box)
    write_puzzles(tmp_path / "a", box, held.puzzles, style=style)  # pyright: ignore[reportArgumentType]
    back = read_puzzles(tmp_path / "a", box)
    assert np.array_equal(back.puzzles, held.puzzles)
    assert back.solutions is None
    assert back.ratings is None
    assert back.lines.tolist() == (lines or [1 + k * (box.size + box.box_columns) for k in range(5)])


@boxes
@pytest.mark.parametrize("blank", "0.-*_")
def test_layouts_agree(box: Box, blank: str, tmp_path: Path) -> None:
    held = some_puzzles(box)
    n, texts = box.size, [as_text(grid, blank=blank) for grid in held.puzzles]
    grids = [rows(text, n) for text in texts]
    spelt = {symbol: str(value) for value, symbol in enumerate(SYMBOLS, 1)}
    layouts = {
        "lines": "\n".join(texts),
        "lower case, comments, empty lines": "# five\n\n" + "\n\n".join(texts).lower() + "\n# end\n",
        "with solutions": "\n".join(f"{a} {as_text(b)}" for a, b in zip(texts, held.solutions, strict=True)),
        "bare table": "\n".join(f"{a},{as_text(b)}" for a, b in zip(texts, held.solutions, strict=True)),
        "windows": "\ufeff" + "\r\n".join(texts) + "\r\n",
        "old mac": "\r".join(texts),
        "one column": "Puzzle\n" + "\n".join(texts),
        "rows": "\n\n".join("\n".join(grid) for grid in grids),
        "sections": "\n".join("[Puzzle]\n" + "\n".join(grid) for grid in grids),
        "apart": "\n\n".join("\n".join(" ".join(row) for row in grid) for grid in grids),
        "numbers": "\n\n".join("\n".join(" ".join(spelt.get(c, c) for c in row) for row in grid) for grid in grids),
        "drawn": "\n".join("+---+---+\n" + "\n".join(f"| {' '.join(row)} |" for row in grid) for grid in grids),
    }
    for name, text in layouts.items():
        back = read(tmp_path, text, box)
        assert np.array_equal(back.puzzles, held.puzzles), name
        assert (back.solutions is not None) == (name in ("with solutions", "bare table")), name


@boxes
def test_the_shape_is_found_without_being_told(box: Box, tmp_path: Path) -> None:
    """Boxes of 3 rows by 2 columns are told from 2 by 3 by which of them the solutions fit."""
    held = some_puzzles(box)
    write_puzzles(tmp_path / "a.csv", box, held.puzzles, held.solutions)
    assert read_puzzles(tmp_path / "a.csv").box == box
    if box != Box(3, 2):
        for style in ("line", "grid"):
            write_puzzles(tmp_path / "a", box, held.solutions, style=style)
            assert read_puzzles(tmp_path / "a").box == box


def test_spaces_are_blanks_where_a_line_has_every_cell(tmp_path: Path) -> None:
    spaced = PUZZLE.replace(".", " ")
    assert as_text(read(tmp_path, spaced).puzzles[0]) == PUZZLE
    assert as_text(read(tmp_path, "\n".join(rows(spaced, 9))).puzzles[0]) == PUZZLE
    assert as_text(read(tmp_path, f"puzzle,rating\n{spaced},1\n").puzzles[0]) == PUZZLE
    # An outer blank counts only where the length needs it.
    assert as_text(read(tmp_path, f"  {PUZZLE} \n").puzzles[0]) == PUZZLE


def test_a_row_of_16_is_told_from_a_4x4_puzzle(tmp_path: Path) -> None:
    grid = random_grids(Box(4, 4), 1, 0)[0]
    assert read(tmp_path, "\n".join(rows(as_text(grid), 16))).box == Box(4, 4)
    small = random_grids(Box(2, 2), 16, 0)
    assert len(read(tmp_path, "\n".join(map(as_text, small)))) == 16


def test_a_line_of_dashes_is_a_row_only_where_dashes_are_blanks(tmp_path: Path) -> None:
    assert as_text(read(tmp_path, "12-4\n----\n----\n----\n").puzzles[0]) == "12.4" + "." * 12
    assert as_text(read(tmp_path, "12|.4\n--|--\n..|..\n--|--\n..|..\n..|..\n").puzzles[0]) == "12.4" + "." * 12
    assert as_text(read(tmp_path, "\n".join(["----"] * 4)).puzzles[0]) == "." * 16


def test_columns_of_a_table_are_kept(tmp_path: Path) -> None:
    text = f'"Quizzes";Solutions;Rating;Source\n{PUZZLE};{SOLUTION};2.5;"a; b"\n\n{PUZZLE};{SOLUTION};;c\n'
    file = read(tmp_path, text)
    assert file.columns == {"rating": ("2.5", ""), "source": ("a; b", "c")}
    assert file.lines.tolist() == [2, 4]
    assert read(tmp_path, text.replace(";", "\t")).columns == {"rating": ("2.5", ""), "source": ("a\t b", "c")}


def test_a_puzzle_set_is_read_too(tmp_path: Path) -> None:
    held = some_puzzles(Box(2, 3))
    held.save(tmp_path / "set.npz")
    back = read_puzzles(tmp_path / "set.npz")
    assert np.array_equal(back.puzzles, held.puzzles)
    assert back.box == held.box
    with pytest.raises(UserError, match="boxes"):
        read_puzzles(tmp_path / "set.npz", Box(3, 2))


NO_SOLUTION = ".....5.8....6.1.43..........1.5........1.6...3.......553.....61........4........."
CASES = [
    ("", "holds no puzzle"),
    ("\n# only a comment\n", "holds no puzzle"),
    ("puzzle,solution\n", "holds no puzzle"),
    ("---+---\n", "holds no puzzle"),
    (f"{PUZZLE}\n{PUZZLE[:-1]}\n", "line 2: found 80 cells"),
    (f"{PUZZLE}\n{PUZZLE}1\n", "line 2: found 82 cells"),
    (f"{PUZZLE}\n1234341221434321\n", "line 2: found a puzzle of 16 cells among puzzles of 81"),
    (f"{PUZZLE[:40]}\n", "line 1: found 40 cells"),
    (f"{PUZZLE}\n\n55{PUZZLE[2:]}\n", "line 3: contradictory puzzle: 5 stands twice in row 1"),
    (f"{PUZZLE}\n{NO_SOLUTION}\n", "line 2: contradictory puzzle: it has no solution"),
    (f"{PUZZLE[:-1]}x\n", "line 1: 'x' is no symbol of a 9x9 puzzle"),
    (f"{PUZZLE[:-1]}A\n", "'A' is no symbol"),
    (f"{PUZZLE[:-1]}٣\n", "'٣' is no symbol"),
    ("1234341221434325\n", "'5' is no symbol of a 4x4"),
    (f"{PUZZLE} {WRONG}\n", "line 1: the solution disagrees with the puzzle in row 9, column 9"),
    (f"{PUZZLE} {SOLUTION[:3]}7{SOLUTION[4:]}\n", "the solution breaks the rules: 7 stands twice in row 1"),
    (f"{PUZZLE} {PUZZLE}\n", "line 1: the solution has blanks"),
    (f"{PUZZLE},{SOLUTION[:-1]}\n", "line 1: found 80 cells"),
    (f"{PUZZLE} {SOLUTION}\n{PUZZLE}\n", "line 2: the solution is missing"),
    (f"{PUZZLE} {SOLUTION} {SOLUTION}\n", "line 1: found 243 cells"),
    (f"puzzle,solution\n{PUZZLE},{SOLUTION}\n{PUZZLE}\n", "line 3: found 1 columns where the file has 2"),
    (f"puzzle,rating\n{PUZZLE},easy\n", "line 2: the rating 'easy' is no number"),
    (f"puzzle,rating\n{PUZZLE},inf\n", "line 2: the rating 'inf' is no number"),
    (f"puzzle,puzzle\n{PUZZLE},{PUZZLE}\n", "line 1: the header names a column twice"),
    (f'puzzle,source\n{PUZZLE},"a\n', "line 2: not readable as CSV"),
    ("name,rating\na,1\n", "line 1: found 4 cells"),
    ("\n".join(rows(PUZZLE, 9)[:8]), "line 1: the puzzle ends after 8 of 9 rows"),
    ("\n".join([*rows(PUZZLE, 9), "", *rows(PUZZLE, 9)[:4], "", *rows(PUZZLE, 9)]), "line 11: the puzzle ends after 4"),
    ("[Puzzle]\n" + "\n".join(rows(PUZZLE, 9)[:6]) + "\n[State]\n", "line 2: the puzzle ends after 6"),
    ("53..7....\n6..195...\n.98...6.\n", "line 3: found 8 cells where a row has 9"),
    ("12 . 3\n", "line 1: the puzzle ends after 1 of 6 rows"),
    ("to be or not to be\n", "line 1: found"),
    ("9" * 5000, "line 1: found 5000 cells"),
]


@pytest.mark.parametrize("text, message", CASES)
def test_what_does_not_fit_is_refused_by_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert "puzzles.txt" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*missing"):
        read_puzzles(tmp_path / "missing")
    with pytest.raises(UserError, match="cannot read"):
        read_puzzles(tmp_path)
    (tmp_path / "binary").write_bytes(PUZZLE.encode() + b"\n\xff\xfe\x00")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        read_puzzles(tmp_path / "binary")
    (tmp_path / "set.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match="damaged"):
        read_puzzles(tmp_path / "set.npz")


def test_a_shape_asked_for_is_insisted_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found 81 cells where a puzzle has 36"):
        read(tmp_path, PUZZLE, Box(2, 3))
    solution = as_text(random_grids(Box(3, 2), 1, 0)[0])
    assert read(tmp_path, solution).box == Box(3, 2)
    with pytest.raises(UserError, match="stands twice in box"):
        read(tmp_path, solution, Box(2, 3))


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    held = some_puzzles(Box(2, 2))
    with pytest.raises(UserError, match="style"):
        write_puzzles(tmp_path / "a", held.box, held.puzzles, style="xml")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="need the style csv"):
        write_puzzles(tmp_path / "a", held.box, held.puzzles, held.solutions)
    with pytest.raises(UserError, match="5 entries"):
        write_puzzles(tmp_path / "a.csv", held.box, held.puzzles, columns={"rating": ("1",)})
    with pytest.raises(UserError, match="16 cells"):
        write_puzzles(tmp_path / "a", held.box, held.puzzles[:, :15])
    with pytest.raises(UserError, match="cannot write"):
        write_puzzles("/proc/none/a", held.box, held.puzzles)
    assert list(tmp_path.iterdir()) == []


@given(st.sampled_from(BOXES), st.sampled_from(["line", "csv", "grid"]), st.integers(0, 10_000), st.integers(1, 4))
def test_any_puzzles_come_back(
    tmp_path_factory: pytest.TempPathFactory, box: Box, style: str, seed: int, count: int
) -> None:
    held = some_puzzles(box, count, seed)
    path = tmp_path_factory.getbasetemp() / "round"
    solutions = held.solutions if style == "csv" else None
    write_puzzles(path, box, held.puzzles, solutions, style=style)  # pyright: ignore[reportArgumentType]
    assert np.array_equal(read_puzzles(path, box).puzzles, held.puzzles)


@given(st.binary(max_size=300), st.sampled_from([None, *BOXES]))
def test_any_bytes_are_puzzles_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes, box: Box | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(raw)
    check_outcome(path, box)


line = st.text(st.sampled_from(SYMBOLS[:5] + '.,| -+#"[x٣'), max_size=20)
whole = st.sampled_from(["puzzle,solution", PUZZLE, SOLUTION, f"{PUZZLE},{SOLUTION}", "1234341221434321", "." * 16])


@given(st.lists(line | whole, max_size=20), st.sampled_from([None, *BOXES]))
def test_almost_puzzles_are_puzzles_or_refused(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], box: Box | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "almost"
    path.write_text("\n".join(lines))
    check_outcome(path, box)


def check_outcome(path: Path, box: Box | None) -> None:
    try:
        file = read_puzzles(path, box)
    except UserError:
        return
    assert len(file) == len(file.lines) > 0
    assert box in (None, file.box)
    assert file.puzzles.shape[1] == file.box.cells
    assert file.puzzles.max() <= file.box.size
