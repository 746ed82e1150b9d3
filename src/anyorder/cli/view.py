"""``anyorder view``: a trace as one self-contained page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from anyorder.cli import screen
from anyorder.cli.options import existing
from anyorder.core.errors import UserError


@dataclass(frozen=True)
class View:
    """Make a page that replays a decode (`anyorder solve --trace` writes the trace)."""

    trace: Annotated[Path, tyro.conf.Positional]
    """trace file (JSONL)"""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("trace.html")
    """the page"""

    def run(self) -> None:
        """Read the trace and write the page."""
        from anyorder.decoding.trace import read_trace
        from anyorder.viewer import write_page

        trace = read_trace(existing(self.trace, "trace"))
        if self.out.exists() and self.out.samefile(self.trace):
            raise UserError(f"{self.out} is the trace itself; name another file with -o")
        write_page(trace, self.out)
        screen.output().print(f"page: {self.out}")
