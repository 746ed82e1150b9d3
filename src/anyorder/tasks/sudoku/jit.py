"""How this package compiles: inner functions on demand, entry points cached on disk.

Numba keys its cache by the entry point's own source file, so an edit to a function that it calls in another file would
go unnoticed and old machine code would run. :func:`entry` therefore gives every entry point one more, unused, closure
variable, a digest of all sources of this folder; closure variables are part of numba's key. Inner functions are not
cached by themselves: they are compiled into the entry points that call them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


@cache
def sources_digest() -> str:
    """SHA-256 over the sources of this folder that are compiled."""
    digest = sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        source = path.read_bytes()
        if b"from .jit import" in source:
            digest.update(path.name.encode() + b"\0" + source)
    return digest.hexdigest()


def inner(function: Function) -> Function:
    """Compile a function that entry points call."""
    return cast(Function, njit(function))


def entry(function: Function) -> Function:
    """Compile an entry point, without holding Python's lock, and keep it on disk as long as no source changes."""
    code = function.__code__.replace(co_freevars=("sources_digest",))
    cell = CellType(sources_digest())
    keyed = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, (cell,))
    keyed.__doc__, keyed.__module__, keyed.__qualname__ = function.__doc__, function.__module__, function.__qualname__
    return cast(Function, njit(cache=True, nogil=True)(keyed))
