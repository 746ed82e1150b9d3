"""Machine code is kept on disk only as long as no compiled source changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from anyorder.tasks.sudoku import jit


@pytest.fixture(autouse=True)
def _fresh_digest() -> Iterator[None]:
    jit.sources_digest.cache_clear()
    yield
    jit.sources_digest.cache_clear()


def twice(x: int) -> int:
    """Twice a number."""
    return 2 * x


def test_the_digest_follows_compiled_sources_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    (tmp_path / "state.py").write_text("from .jit import inner\n")
    (tmp_path / "rules.py").write_text("import numpy\n")

    def digest() -> str:
        jit.sources_digest.cache_clear()
        return jit.sources_digest()

    first = digest()
    (tmp_path / "rules.py").write_text("import numpy as np\n")
    assert digest() == first
    (tmp_path / "state.py").write_text("from .jit import inner\n\n")
    second = digest()
    assert second != first
    (tmp_path / "state.py").rename(tmp_path / "other.py")
    assert digest() not in (first, second)


def test_another_digest_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What numba keys its cache by differs, though the function and its file are the same."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def compiled_under(digest: str) -> tuple[int, int]:
        monkeypatch.setattr(jit, "sources_digest", lambda: digest)
        function = jit.entry(twice)
        assert function(21) == 42
        assert function.__doc__ == "Twice a number."
        stats = function.stats  # pyright: ignore[reportFunctionMemberAccess]
        return sum(stats.cache_hits.values()), sum(stats.cache_misses.values())

    for digest in ("one", "two"):
        assert compiled_under(digest) == (0, 1)
        assert compiled_under(digest) == (1, 0)
    assert compiled_under("one") == (1, 0)
