"""The page that replays a decode: one HTML file that holds its style, script and data and loads nothing.

The page's own content policy forbids any request and any script but the one written here (by its SHA-256), so a token
of a hostile vocabulary stays text whatever it spells.
"""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Sequence
from importlib import resources
from typing import TYPE_CHECKING

from anyorder.core.errors import UserError
from anyorder.core.files import write_text
from anyorder.viewer.payload import escaped_json, page_data

if TYPE_CHECKING:
    from anyorder.decoding.trace import Trace

MOST_TRACES = 4
SCRIPTS = ("replay.js", "board.js", "chart.js", "notes.js", "panel.js", "page.js")


def render_page(trace: Trace | Sequence[Trace]) -> str:
    """The HTML of a page that replays ``trace``, or up to four traces of the same rows side by side.

    A trace of a Sudoku is shown as a grid, any other as a strip of tokens. With one trace, up to four of its rows can
    be put side by side on the page; with several, each shows the row chosen for all.

    Args:
        trace: one trace, or a sequence of one to four that start from the same rows (same tokens, same unknowns).

    Raises:
        UserError: no trace or too many, a trace without rows, or traces that do not start from the same rows.
    """
    traces = list(trace) if isinstance(trace, Sequence) else [trace]
    if not 1 <= len(traces) <= MOST_TRACES:
        raise UserError(f"a page shows 1 to {MOST_TRACES} traces side by side, not {len(traces)}")
    if not traces[0].rows:
        raise UserError("the trace has no rows to show")
    data = page_data(traces)
    style, script = _source("page.css"), "\n".join(_source(name) for name in SCRIPTS)
    parts = {
        "policy": f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; script-src '{_digest(script)}'",
        "title": html.escape(f"{data['heading']} - anyorder".encode("utf-8", "replace").decode()),
        "style": style,
        "script": script,
        "data": escaped_json(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _source("page.html"))


def write_page(trace: Trace | Sequence[Trace], path: str | os.PathLike[str]) -> None:
    """Write `render_page` to ``path``, whole or not at all.

    Raises:
        UserError: as `render_page`, or the file cannot be written.
    """
    write_text(path, render_page(trace))


def _source(name: str) -> str:
    return resources.files("anyorder.viewer").joinpath(name).read_text("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
