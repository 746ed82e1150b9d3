"""Tables are made from records.

``markdown(record)`` renders one; the README and the pages of ``docs/`` hold each between two markers,

    <!-- record: NAME -->
    ...
    <!-- end record -->

and ``python -m anyorder.experiments.tables --write`` fills them from ``results/NAME.json``. ``--check`` changes nothing
and fails where the text differs. A column's name decides its form: a ``..._share`` is a percentage, an ``...interval``
a range of percentages, ``...nats...`` a number of three decimals, anything else a number or a word.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.core.files import write_text
from anyorder.experiments.records import Record, read_record

HEADINGS = {
    "solved_share": "solved",
    "interval": "95 % interval",
    "nfe_mean": "evaluations per puzzle",
    "count": "puzzles",
    "difference_interval": "95 % interval of the difference",
}
_BLOCK = re.compile(r"(<!-- record: (?P<name>[\w.-]+) -->\n).*?(<!-- end record -->)", re.DOTALL)


def heading(column: str) -> str:
    """The words over a column."""
    return HEADINGS.get(column, column.removesuffix("_share").replace("_", " "))


def cell(column: str, value: Any) -> str:
    """One figure as text, in the form that its column's name asks for."""
    if value is None:
        return "–"
    if column.endswith("interval"):
        low, high = value
        return f"{_percent(low)} – {_percent(high)} %"
    if column.endswith("_share") or column in ("difference", "valid_difference"):
        return f"{_percent(value)} %"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and "nats" in column:
        return f"{value:.3f}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}"
    return str(value).replace("|", "\\|")


def markdown(record: Record, stem: str | None = None) -> str:
    """The record's table, its notes, and where it comes from; ``stem`` is its file's, if that differs."""
    lines = [
        "| " + " | ".join(heading(column) for column in record.columns) + " |",
        "|" + "|".join(" --- " if _is_text(record, column) else " ---: " for column in record.columns) + "|",
    ]
    lines += [
        "| " + " | ".join(cell(column, row.get(column)) for column in record.columns) + " |" for row in record.rows
    ]
    for note in record.notes:
        lines += ["", note]
    commit = record.run.get("commit")
    source = f"`{record.run['command']}`" + (f", commit {commit[:10]}" if commit else "")
    device = record.run["device"]
    lines += [
        "",
        f"{source}; {device['name']}, {device['threads']} threads; figures in `results/{stem or record.stem}.json`.",
    ]
    return "\n".join(lines) + "\n"


def report(record: Record, *, figure: str | None = None) -> str:
    """A page of its own for one record: title, figure, table."""
    picture = f"![{record.title}]({figure})\n\n" if figure else ""
    return f"# {record.title}\n\n{picture}{markdown(record)}"


def fill(text: str, results: Path) -> str:
    """``text`` with every marked block rendered from ``results``.

    Raises:
        UserError: a block names a record that is not there, or a marker has no end.
    """
    if text.count("<!-- record:") != len(_BLOCK.findall(text)):
        raise UserError("a '<!-- record: NAME -->' marker has no '<!-- end record -->' after it")
    return _BLOCK.sub(
        lambda found: found[1] + markdown(read_record(results / f"{found['name']}.json"), found["name"]) + found[3],
        text,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Check or write; exit code 1 where a page and the results differ, 2 where one of them cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m anyorder.experiments.tables", description="Make the tables of README and docs from records."
    )
    parser.add_argument("--write", action="store_true", help="fill the blocks (default: only check them)")
    parser.add_argument("--check", action="store_true", help="check the blocks and change nothing")
    pages = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
    parser.add_argument("--pages", type=Path, nargs="+", default=pages, help="default: README.md and docs/*.md")
    parser.add_argument("--results", type=Path, default=Path("results"))
    arguments = parser.parse_args(argv)
    differing = False
    try:
        for page in arguments.pages:
            if not page.is_file():
                raise UserError(f"no such file: {page}")
            text = page.read_text(encoding="utf-8")
            filled = fill(text, arguments.results)
            if filled != text and arguments.write and not arguments.check:
                write_text(page, filled)
            elif filled != text:
                differing = True
                print(f"{page} differs from {arguments.results}/; run `make tables`", file=sys.stderr)
    except UserError as error:
        print(f"anyorder: error: {error}", file=sys.stderr)
        return 2
    return int(differing)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _is_text(record: Record, column: str) -> bool:
    return any(isinstance(row.get(column), str) for row in record.rows)


if __name__ == "__main__":
    sys.exit(main())
