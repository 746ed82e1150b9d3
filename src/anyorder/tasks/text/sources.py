"""Plain text files as documents: each file is one, read piece by piece, so that a file may be larger than memory.

A file is UTF-8, as it is or packed by gzip (told by its first bytes, not by its name). A byte order mark is dropped and
line ends become ``\\n``. A document is a stream of pieces of about a megabyte, cut behind a line end where there is
one; joined they are its text.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from anyorder.core.errors import UserError, reason

PIECE = 1 << 20
SUFFIXES = (".txt", ".gz")
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Document:
    """A text with its name (a file, a record of a data set) and its pieces, which can be read once."""

    name: str
    pieces: Iterable[str]


def find_files(paths: Iterable[str | Path]) -> list[Path]:
    """The files named by ``paths``: files as they are, folders by what they hold that ends in .txt or .gz, sorted.

    Raises:
        UserError: a path is not there, a folder holds no text, or a file is named twice.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and file.suffix in SUFFIXES)
            if not inside:
                raise UserError(f"{path} holds no file that ends in {' or '.join(SUFFIXES)}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"no such file or folder: {path}")
    if not found:
        raise UserError("name at least one text file or folder")
    seen: set[Path] = set()
    for path in found:
        if path.resolve() in seen:
            raise UserError(f"{path} is named twice")
        seen.add(path.resolve())
    return found


def file_documents(paths: Iterable[str | Path]) -> Iterator[Document]:
    """The documents of files and folders (`find_files`), in order."""
    for path in find_files(paths):
        yield Document(str(path), read_pieces(path))


def read_pieces(path: str | Path, size: int = PIECE) -> Iterator[str]:
    """The text of one file in pieces of about ``size`` bytes.

    Raises:
        UserError: the file cannot be read, is a damaged gzip file, or is not UTF-8; with the line and the byte.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.read(2) == _GZIP
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                yield from _decoded(file, str(path), size)  # pyright: ignore[reportArgumentType]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path} is a damaged gzip file: {' '.join(str(error).lower().split())}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error


def _decoded(file: IO[bytes], name: str, size: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    kept, offset, line, first = "", 0, 1, True
    while True:
        data = file.read(size)
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            start = error.start
            line += (kept + error.object[:start].decode("utf-8", "replace")).count("\n")
            raise UserError(
                f"{name}, line {line}: not UTF-8 ({error.reason} at byte {offset - pending + start}); convert it first"
            ) from None
        offset += len(data)
        if first and text:
            text, first = text.removeprefix("\ufeff"), False
        kept += text
        if data and kept.endswith("\r"):
            continue  # half of a line end, perhaps
        cut = (kept.rfind("\n") + 1 or len(kept)) if data else len(kept)
        piece, kept = kept[:cut], kept[cut:]
        line += piece.count("\n")
        if piece:
            yield piece.replace("\r\n", "\n").replace("\r", "\n")
        if not data:
            return
