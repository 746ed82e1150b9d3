"""A folder of byte tokens, several shards of it, made of known text."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.core.tokenizers import ByteTokenizer
from anyorder.tasks.text import Document, write_tokens

LINE = "call me Ishmael some years ago never mind how long precisely having little or no money"
WORDS = LINE.split()


def made_up(count: int) -> str:
    return "".join(f"{WORDS[k % 15]} {WORDS[(k * 7) % 16]} {k}.\n" for k in range(count))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return [made_up(300), "short\n", made_up(120)[::-1]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> Path:
    """Blocks of 64 tokens, every fifth for validation, shards of 1,000 tokens."""
    path = tmp_path_factory.mktemp("tokens") / "bytes"
    documents = [Document(f"text {k}", (text[:50], text[50:])) for k, text in enumerate(texts)]
    write_tokens(path, documents, ByteTokenizer(), origin="test", validation_every=5, block=64, shard=1000)
    return path
