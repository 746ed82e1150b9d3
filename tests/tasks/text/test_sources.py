"""Text files as documents: pieces join to the text, and what is wrong is told with its place."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.tasks.text import file_documents, find_files, read_pieces


@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60),
    size=st.integers(1, 9),
    packed=st.booleans(),
)
def test_pieces_join_to_the_text(tmp_path_factory: pytest.TempPathFactory, text: str, size: int, packed: bool) -> None:
    # pieces of a few bytes cut through characters and line ends
    path = tmp_path_factory.mktemp("texts") / "file"
    data = text.encode()  # never begins as gzip does, whose second byte begins no character
    path.write_bytes(gzip.compress(data) if packed else data)
    assert "".join(read_pieces(path, size)) == text.removeprefix("\ufeff")


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_line_ends_become_one_kind(tmp_path: Path, size: int) -> None:
    path = tmp_path / "ends.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree\nfour\r".encode())
    assert "".join(read_pieces(path, size)) == "one\ntwo\nthree\nfour\n"


def test_pieces_end_behind_a_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("first line\nsecond line\nthird")
    assert list(read_pieces(path, 15)) == ["first line\n", "second line\n", "third"]


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_bytes_that_are_no_text_are_told_with_line_and_byte(tmp_path: Path, size: int) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"first\nsecond caf\xe9 here\n")
    with pytest.raises(UserError, match=r"latin\.txt, line 2: not UTF-8 \(.* at byte 16\)"):
        list(read_pieces(path, size))


def test_a_character_cut_off_at_the_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "cut.txt"
    path.write_bytes("x\nné".encode()[:-1])
    with pytest.raises(UserError, match=r"line 2: not UTF-8 \(unexpected end of data at byte 3\)"):
        list(read_pieces(path))


def test_damaged_gzip_files_are_told(tmp_path: Path) -> None:
    whole = gzip.compress(b"some text " * 1000)
    for name, data in {"cut": whole[:-20], "altered": whole[:-8] + b"\0" * 8, "head": whole[:9]}.items():
        path = tmp_path / f"{name}.gz"
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"{name}.gz is a damaged gzip file"):
            list(read_pieces(path))


def test_folders_give_their_texts_sorted(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("B")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt.gz").write_bytes(gzip.compress(b"A"))
    (tmp_path / "notes.md").write_text("no")
    assert [path.name for path in find_files([tmp_path])] == ["b.txt", "a.txt.gz"]
    assert ["".join(document.pieces) for document in file_documents([tmp_path])] == ["B", "A"]


def test_paths_that_give_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "empty").mkdir()
    for paths, message in (
        ([], "name at least one"),
        ([tmp_path / "absent"], "no such file or folder"),
        ([tmp_path / "empty"], "holds no file that ends in"),
        ([tmp_path, tmp_path / "a.txt"], "named twice"),
    ):
        with pytest.raises(UserError, match=message):
            find_files(paths)
