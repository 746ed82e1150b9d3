"""How the tasks compile: inner functions on demand, entry points cached on disk.

Numba keys its cache by the entry point's own source file, so an edit to a function that it calls in another file would
go unnoticed and old machine code would run. `entry` therefore gives every entry point one more, unused, closure
variable, a digest of all sources that are compiled with it; closure variables are part of numba's key. Inner functions
are not cached by themselves: they are compiled into the entry points that call them.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def folder_digest(folder: Path) -> str:
    """SHA-256 over the sources of a folder that are compiled: those that import from its ``jit.py``."""
    digest = sha256()
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        if b"from .jit import" in source:
            digest.update(path.name.encode() + b"\0" + source)
    return digest.hexdigest()


def inner(function: Function) -> Function:
    """Compile a function that entry points call."""
    return cast(Function, njit(function))


def keyed_entry(function: Function, sources_digest: str) -> Function:
    """Compile an entry point, without holding Python's lock, and keep it on disk as long as the digest stays."""
    code = function.__code__.replace(co_freevars=("sources_digest",))
    cell = CellType(sources_digest)
    keyed = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, (cell,))
    keyed.__doc__, keyed.__module__, keyed.__qualname__ = function.__doc__, function.__module__, function.__qualname__
    return cast(Function, njit(cache=True, nogil=True)(keyed))
