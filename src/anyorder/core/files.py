"""Files and folders are written whole or not at all.

New content goes to a temporary name in the target's folder, is synced to the disk and renamed over the target
(POSIX ``rename`` is atomic), so a reader never sees half a file. After a failure the earlier file stands and the
temporary one is gone. Devices and pipes (``/dev/stdout``) cannot be renamed over and are written directly.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from anyorder.core.errors import UserError, reason


@contextmanager
def replacing(path: str | os.PathLike[str], *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open ``path`` for writing; the file appears under its name when the block ends well, else not at all.

    The folder is created when it is missing. Text is UTF-8 with ``\\n`` line ends.

    Raises:
        UserError: the path is a folder, or it cannot be written (no permission, full disk).
    """
    # A link keeps pointing where it points: its target is what is replaced.
    target = Path(path).resolve()
    kind: dict[str, Any] = {"mode": "wb"} if binary else {"mode": "w", "encoding": "utf-8", "newline": "\n"}
    if target.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; name a file")
    special = target.exists() and not target.is_file()
    temporary = target if special else target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _failure(f"write {path}", error) from error
    try:
        with open(temporary, **kind) as file:
            yield file
            file.flush()
            if not special:
                os.fsync(file.fileno())
        if not special:
            os.replace(temporary, target)
            sync(target.parent)
    except OSError as error:
        # A failed write names no file, or ours; an error about another file belongs to the caller. A closed pipe is no
        # failure either: the reader has seen enough, and the command line ends quietly on it.
        ours = error.filename is None or str(error.filename) in (str(temporary), str(target))
        if not ours or isinstance(error, BrokenPipeError):
            raise
        raise _failure(f"write {path}", error) from error
    finally:
        if not special:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str], to_do: str, *, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """A new folder to write into, which takes the place of ``path`` when the block ends well, else nothing changes.

    Args:
        path: the folder; its parents are made when missing.
        to_do: what is done with it, for messages: "save the model".
        ours: whether a folder that holds something is an earlier one of the kind, which may be replaced.

    Raises:
        UserError: it is a file, holds something else, or cannot be written (no permission, full disk).
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"cannot {to_do} {folder}: it is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not ours(folder):
        raise UserError(f"cannot {to_do} {folder}: it holds other files; name an empty or a new folder")
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.tmp")
    aside = temporary.with_suffix(".old")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync(temporary)
        if folder.is_dir():
            os.rename(folder, aside)
        os.rename(temporary, folder)
        sync(folder.parent)
    except OSError as error:
        raise _failure(f"{to_do} {folder}", error) from error
    finally:
        if aside.exists() and not folder.exists():
            os.rename(aside, folder)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def _failure(to_do: str, error: OSError) -> UserError:
    return UserError(f"cannot {to_do}: {reason(error)}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path``, whole or not at all; raises `UserError` as `replacing` does."""
    with replacing(path) as file:
        file.write(text)


def sync(path: str | os.PathLike[str]) -> None:
    """Make a file, or the renames inside a folder, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
