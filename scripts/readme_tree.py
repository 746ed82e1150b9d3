"""The README's tree: one line for each file of the package, taken from the file itself, so that it cannot go stale.

A Python file is described by the first sentence of its docstring, any other by its first comment. ``--write`` puts the
tree between ``<!-- tree -->`` and ``<!-- end tree -->``; without it the tree is only compared, and the exit code says
whether it is right.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "anyorder"
SUFFIXES = {".py", ".js", ".css", ".html", ".yaml"}
AROUND = {
    "tests/": "mirror src/anyorder; `make test` runs the quick ones, `make test-slow` the long ones",
    "results/": "records of every measurement, with their tables and figures",
    "checkpoints/": "training states worth continuing, in small shards",
    "docs/": "architecture, log of what was tried, queue of runs that want a GPU",
    "scripts/": "this tree",
}
UNSAID = {"page.html": "The page's markup."}  # files in which a comment would be in the way
LONG = 112


def describe(path: Path) -> str:
    """What a file says of itself, on one line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        about = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    else:
        comment = re.match(r"\s*(?:#|//|/\*|<!--)\s*(.*?)\s*(?:\*/|-->|\n|$)", text)
        about = comment[1] if comment else UNSAID.get(path.name, "")
    sentence = re.split(r"(?<=[\w`)])\.(?:\s|$)", " ".join(about.split()), maxsplit=1)[0].replace("``", "`").rstrip(".")
    if len(sentence) > LONG:
        sentence = re.split(r"[;:] ", sentence, maxsplit=1)[0]
    if not sentence:
        raise SystemExit(f"{path.relative_to(ROOT)} says nothing of itself; begin it with a docstring or a comment")
    return sentence


def lines(folder: Path, depth: int) -> list[str]:
    """The files of a folder, then its folders, each with its own below."""
    listed = []
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith((".", "__")))
    for entry in entries:
        if entry.is_file() and entry.suffix in SUFFIXES:
            listed.append((depth, entry.name, describe(entry)))
    rendered = [f"{'  ' * level}{name:<{26 - 2 * level}} {about}" for level, name, about in listed]
    for entry in entries:
        if not entry.is_dir() or not any(path.suffix in SUFFIXES | {".safetensors"} for path in entry.rglob("*")):
            continue
        inside = entry / "__init__.py"
        about = describe(inside) if inside.exists() else _folder(entry)
        rendered.append(f"{'  ' * depth}{entry.name + '/':<{26 - 2 * depth}} {about}")
        if inside.exists() or any(path.suffix in SUFFIXES for path in entry.iterdir()):
            rendered += lines(entry, depth + 1)
    return rendered


def tree() -> str:
    """The whole tree as a fenced block."""
    rendered = [f"{'src/anyorder/':<26} {describe(PACKAGE / '__init__.py')}", *lines(PACKAGE, 1)]
    rendered += [f"{name:<26} {about}" for name, about in AROUND.items() if (ROOT / name).is_dir()]
    return "```\n" + "\n".join(rendered) + "\n```\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the tree; exit code 1 where README.md has another."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tree into README.md")
    arguments = parser.parse_args(argv)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition("<!-- tree -->\n")
    _, end, after = rest.partition("<!-- end tree -->")
    if not start or not end:
        raise SystemExit("README.md has no <!-- tree --> ... <!-- end tree -->")
    fresh = before + start + tree() + end + after
    if fresh == text:
        return 0
    if not arguments.write:
        print("the tree in README.md is stale; run `make tables`", file=sys.stderr)
        return 1
    readme.write_text(fresh, encoding="utf-8")
    return 0


def _folder(folder: Path) -> str:
    models = sorted(path.name for path in folder.iterdir() if (path / "config.json").is_file())
    return f"shipped models: {', '.join(models)}" if models else "one file per configuration"


if __name__ == "__main__":
    sys.exit(main())
