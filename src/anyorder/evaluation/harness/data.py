"""Documents of the task files: from a folder where they lie, else from the hub.

The folder is ``language`` in the one that the environment variable ``ANYORDER_DATA`` names, with files
``NAME.jsonl`` or ``NAME.jsonl.gz``, a document in each line.
"""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.models.families.family import extra


def local_file(name: str) -> Path | None:
    """The file of documents of that name, where there is one."""
    root = os.environ.get("ANYORDER_DATA")
    for ending in (".jsonl.gz", ".jsonl") if root else ():
        path = Path(str(root)) / "language" / f"{name}{ending}"
        if path.is_file():
            return path
    return None


def read_documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a file. Raises ``UserError`` for what is no JSON object."""
    documents = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    document = json.loads(line)
                    if not isinstance(document, dict):
                        raise UserError(f"{path}, line {number}: a document is a JSON object")
                    documents.append(document)
    except (OSError, EOFError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    return documents


def documents(files: dict[str, str], hub: str, configuration: str | None = None) -> dict[str, Any]:
    """Data sets by split.

    Args:
        files: the local name of each split's file; all of them are needed, else the hub is asked.
        hub: data set on the hub. configuration: its configuration.

    Raises:
        UserError: neither here nor on the hub.
    """
    datasets = extra("datasets", "an evaluation", "eval")
    found = {split: local_file(name) for split, name in files.items()}
    if all(found.values()):
        return {
            split: datasets.Dataset.from_list(read_documents(path)) for split, path in found.items() if path is not None
        }
    try:
        return dict(datasets.load_dataset(hub, configuration))
    except Exception as error:  # whatever the hub, the network and the data set's own format raise
        names = ", ".join(files.values())
        raise UserError(
            f"no data: {names} in ANYORDER_DATA/language, nor {hub} on the hub: {' '.join(str(error).split())[:200]}"
        ) from None


def split_line(document: dict[str, Any]) -> dict[str, Any]:
    """A single-line problem whose line is cut inside: its beginning stays in the prompt, the rest is to be filled.

    The place is drawn by the problem's name, so it is the same in every run.
    """
    line = document["canonical_solution"]
    body = len(line) - len(line.lstrip())
    places = range(body + 1, max(body + 2, len(line.rstrip("\n"))))
    cut = random.Random(document["task_id"]).choice(places)
    return {**document, "prompt": document["prompt"] + line[:cut], "canonical_solution": line[cut:] or "\n"}
