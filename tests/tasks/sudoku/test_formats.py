"""Puzzle files: every layout is read back as it was written, and nothing else is read at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import Box, Puzzles, random_grids
from anyorder.tasks.sudoku.formats import SYMBOLS, PuzzleFile, grid_text, read_puzzles, write_puzzles

BOXES = [Box(2, 2), Box(2, 3), Box(3, 2), Box(3, 3), Box(3, 4), Box(4, 4)]
PUZZLE = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
SOLUTION = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"


def some_puzzles(box: Box, count: int = 5, seed: int = 0) -> Puzzles:
    solutions = random_grids(box, count, seed)
    blank = np.random.default_rng(seed).random(solutions.shape) < 0.6
    return Puzzles(box, np.where(blank, 0, solutions).astype(np.uint8), solutions)


def read(folder: Path, text: str, box: Box | None = None) -> PuzzleFile:
    path = folder / "puzzles.txt"
    path.write_text(text, encoding="utf-8")
    return read_puzzles(path, box)


@pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box.box_rows}x{box.box_columns}")
def test_csv_comes_back_as_it_was_written(box: Box, tmp_path: Path) -> None:
    puzzles = some_puzzles(box)
    write_puzzles(tmp_path / "a.csv", puzzles)
    back = read_puzzles(tmp_path / "a.csv")
    assert back.box == box
    assert np.array_equal(back.puzzles, puzzles.puzzles)
    assert back.solutions is not None
    assert np.array_equal(back.solutions, puzzles.solutions)
    assert list(back.lines) == [2, 3, 4, 5, 6]


@pytest.mark.parametrize("box", BOXES, ids=lambda box: f"{box.box_rows}x{box.box_columns}")
@pytest.mark.parametrize("blank", "0.-*_")
def test_text_layouts_agree(box: Box, blank: str, tmp_path: Path) -> None:
    puzzles = some_puzzles(box)
    n, texts = box.size, [grid_text(grid).replace("0", blank) for grid in puzzles.puzzles]
    rows = [[text[k : k + n] for k in range(0, len(text), n)] for text in texts]
    layouts = {
        "a line": "\n".join(texts),
        "lower case, comments, empty lines": "# five\n\n" + "\n\n".join(texts).lower() + "\n# end\n",
        "with solution": "\n".join(f"{a} {grid_text(b)}" for a, b in zip(texts, puzzles.solutions, strict=True)),
        "windows": "\ufeff" + "\r\n".join(texts) + "\r\n",
        "rows": "\n\n".join("\n".join(grid) for grid in rows),
        "drawn": "\n".join("[Puzzle]\n" + "\n---+---\n".join(" | ".join(row) for row in grid) for grid in rows),
    }
    for name, text in layouts.items():
        back = read(tmp_path, text, box)
        assert np.array_equal(back.puzzles, puzzles.puzzles), name
        assert (back.solutions is not None) == (name == "with solution")


def test_the_shape_is_found_without_being_told(tmp_path: Path) -> None:
    for box in BOXES:
        if box != Box(3, 2):
            texts = [grid_text(grid) for grid in some_puzzles(box).puzzles]
            assert read(tmp_path, "\n".join(texts)).box == box
            n = box.size
            assert read(tmp_path, "\n".join(texts[0][k : k + n] for k in range(0, box.cells, n))).box == box


def test_spaces_are_blanks_where_a_line_has_every_cell(tmp_path: Path) -> None:
    spaced = PUZZLE.replace(".", " ")
    assert grid_text(read(tmp_path, spaced).puzzles[0]) == PUZZLE.replace(".", "0")


def test_columns_of_a_table_are_kept(tmp_path: Path) -> None:
    file = read(
        tmp_path, f'"Quizzes",Solutions,Rating,Source\n{PUZZLE},{SOLUTION},2.5,"a, b"\n{PUZZLE},{SOLUTION},,c\n'
    )
    assert file.ratings is not None
    assert file.ratings[0] == 2.5
    assert np.isnan(file.ratings[1])
    assert list(file.columns["source"]) == ["a, b", "c"]
    assert grid_text(file.solutions[1]) == SOLUTION  # pyright: ignore[reportOptionalSubscript]


WRONG = SOLUTION[:-1] + "8"
TWICE = "55" + PUZZLE[2:]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "holds no puzzle"),
        ("\n# only a comment\n", "holds no puzzle"),
        ("puzzle,solution\n", "holds no puzzle below its header"),
        ("---+---\n", "holds no puzzle"),
        (f"{PUZZLE}\n{PUZZLE[:-1]}\n", "line 2: the puzzle is cut short: 80 cells where 81"),
        (f"{PUZZLE}\n{PUZZLE}1\n", "line 2: the puzzle is too long"),
        (f"{PUZZLE[:40]}\n", "line 1: a puzzle of 40 cells"),
        (f"{PUZZLE}\n\n{TWICE}\n", "line 3: the clues contradict each other: 5 stands twice in row 1"),
        (f"{PUZZLE[:-1]}x\n", "line 1: 'x' at cell 81 of the puzzle is no digit of a 9x9 grid"),
        (f"{PUZZLE[:-1]}A\n", "'A' at cell 81"),
        (f"{PUZZLE[:-1]}٣\n", "no digit"),
        (f"{PUZZLE} {WRONG}\n", "line 1: the solution does not solve the puzzle"),
        (f"{PUZZLE} {PUZZLE}\n", "the solution does not solve"),
        (f"{PUZZLE} {SOLUTION}\n{PUZZLE}\n", "line 2: some lines have a solution"),
        (f"{PUZZLE} {SOLUTION} {SOLUTION}\n", "line 1: 3 grids"),
        (f"puzzle,solution\n{PUZZLE},{SOLUTION}\n{PUZZLE}\n", "line 3: 1 fields, but the header names 2"),
        (f"puzzle,rating\n{PUZZLE},easy\n", "line 2: the rating 'easy' is no number"),
        (f"puzzle,rating\n{PUZZLE},inf\n", "line 2: the rating 'inf'"),
        (f"puzzle,puzzle\n{PUZZLE},{PUZZLE}\n", "stands twice in the header"),
        (f"puzzle,box\n{PUZZLE},3\n", "line 2: box must look like 2x3"),
        (f"puzzle,box\n{PUZZLE},9x9\n", "line 2: a 9x9 box gives 81 digits"),
        (f"puzzle,box\n{PUZZLE},3x3\n{PUZZLE},1x9\n", "line 3: a 1x9 box"),
        ("\n".join(PUZZLE[k : k + 9] for k in range(0, 72, 9)), "breaks off after 8 of 9 rows"),
        ("53..7....\n6..195...\n.98...6.\n", "line 3: a row of 8 cells"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert "puzzles.txt" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_puzzles(tmp_path / "missing")
    with pytest.raises(UserError, match="cannot read"):
        read_puzzles(tmp_path)
    (tmp_path / "binary").write_bytes(PUZZLE.encode() + b"\n\xff\xfe\x00")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        read_puzzles(tmp_path / "binary")


def test_a_shape_asked_for_is_insisted_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="36"):
        read(tmp_path, PUZZLE, Box(2, 3))


@given(st.binary(max_size=200))
def test_any_bytes_are_puzzles_or_refused(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(raw)
    check_outcome(path)


line = st.text(st.sampled_from(SYMBOLS[:5] + '.,| -+#"x'), max_size=20)


@given(st.lists(line | st.just("puzzle,solution"), max_size=20))
def test_almost_puzzles_are_puzzles_or_refused(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "almost"
    path.write_text("\n".join(lines))
    check_outcome(path)


def check_outcome(path: Path) -> None:
    try:
        file = read_puzzles(path)
    except UserError:
        return
    assert len(file) == len(file.lines) > 0
    assert file.puzzles.shape[1] == file.box.cells
    assert file.puzzles.max() <= file.box.size
