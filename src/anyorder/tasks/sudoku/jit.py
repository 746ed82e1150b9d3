"""How this package compiles: as :mod:`anyorder.tasks.jit` says, with a digest of this folder as the key."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from anyorder.tasks.jit import Function, folder_digest, inner, keyed_entry

__all__ = ["entry", "inner", "sources_digest"]


@cache
def sources_digest() -> str:
    """SHA-256 over the sources of this folder that are compiled."""
    return folder_digest(Path(__file__).parent)


def entry(function: Function) -> Function:
    """Compile an entry point and keep it on disk as long as no source changes."""
    return keyed_entry(function, sources_digest())
