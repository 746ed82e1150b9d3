"""``anyorder strategies``: the named strategies and their parts."""

from __future__ import annotations

import json
from dataclasses import dataclass

from anyorder.cli import screen
from anyorder.cli.options import PathOption

PARTS = ("order", "budget", "sampler", "window", "remask", "stop")


@dataclass(frozen=True)
class Strategies:
    """List the named strategies and their parts."""

    json: PathOption = None
    """write the list as JSON"""

    def run(self) -> None:
        """Print the list."""
        from anyorder.decoding.strategies import strategies

        rows = []
        for name, strategy in strategies.items():
            parts = {part: getattr(strategy, part) for part in PARTS}
            named = {part: None if value is None else repr(value) for part, value in parts.items()}
            rows.append({"name": name, **named, "what it does": strategy.description, "source": strategy.source})
        if self.json is not None:
            from anyorder.core.files import write_text

            write_text(self.json, json_text(rows))
        used = [column for column in rows[0] if any(row[column] is not None for row in rows)]
        screen.output().print(screen.table(rows, used))


def json_text(rows: list[dict[str, str | None]]) -> str:
    """The list as JSON text."""
    return json.dumps({"strategies": rows}, indent=1) + "\n"
