"""``anyorder strategies``: the named strategies and their parts."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyorder.cli import screen
from anyorder.cli.options import PathOption


@dataclass(frozen=True)
class Strategies:
    """List the named strategies and their parts."""

    json: PathOption = None
    """write the list as JSON"""

    def run(self) -> None:
        """Print the list."""
        from anyorder.decoding.strategies import strategies

        listed = []
        for name, strategy in strategies.items():
            chosen = {part: compact(value) for part, value in strategy.parts().items() if value is not None}
            listed.append(
                {"name": name, "parts": chosen, "description": strategy.description, "source": strategy.source}
            )
        if self.json is not None:
            write_list(self.json, listed)
        console = screen.output()
        for entry in listed:
            console.print(entry["name"], style="bold")
            console.print(f"    {' + '.join(entry['parts'].values())}", soft_wrap=True, markup=False)
            console.print(f"    {entry['description']} [{entry['source']}]", soft_wrap=True, markup=False, style="dim")


def write_list(path: Path, listed: list[dict[str, Any]]) -> None:
    """The list as a JSON file."""
    from anyorder.core.files import write_text

    write_text(path, json.dumps({"strategies": listed}, indent=1) + "\n")


def compact(part: Any) -> str:
    """A part as it would be written in code, without what is at its default."""
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        return repr(part)
    arguments = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            arguments.append(compact(value))
        elif value != (field.default if field.default_factory is dataclasses.MISSING else field.default_factory()):
            arguments.append(f"{field.name}={compact(value)}")
    return f"{type(part).__name__}({', '.join(arguments)})"
