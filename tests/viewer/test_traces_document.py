"""The document on traces: its example is what the library writes, and what it says of the page is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from anyorder.decoding.trace import read_trace

DOCUMENT = Path(__file__).parents[2] / "docs" / "traces.md"


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(found) == 1
    return found[0]


def close(found: Any, expected: Any) -> bool:
    """Equal, up to the last digits of a float, which differ between machines."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == (pytest.approx(expected, abs=1e-6) if isinstance(expected, float) else expected)


def test_the_example_is_what_the_library_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), str(DOCUMENT), "exec"), {})
    written = [json.loads(line) for line in Path("trace.jsonl").read_text(encoding="utf-8").splitlines()]
    shown = [json.loads(line) for line in block("json").splitlines()]
    assert close(written, shown)
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert read_trace("trace.jsonl").rows[0].final_tokens == (1, 2, 2, 1)


def test_the_page_knows_the_address_keys_of_the_document() -> None:
    script = (DOCUMENT.parents[1] / "src/anyorder/viewer/page.js").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`[\w.]+`,? ?)+)", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    listed = {
        key: set(re.findall(r"`([\w.]+)`", values)) for key, values in rows if key in ("colour", "chart", "speed")
    }
    for key, name in (("colour", "COLOURS"), ("chart", "CHARTS"), ("speed", "SPEEDS")):
        known = re.search(rf"const {name} = {{(.*?)}};", script)
        assert known is not None
        assert listed[key] == set(re.findall(r"\"?([\w.]+)\"?:", known[1]))
