"""The log of a run: one JSON object a line in ``log.jsonl``, each with its ``kind`` and ``step``.

Kinds: "start" (settings, data, versions, device), "resume", "train" (loss, rate, gradient norm, speed), "evaluation"
(one line per grade and strategy), "checkpoint", "end". A run that was killed and resumed goes back to its checkpoint:
records of later steps are dropped first, so the log never tells a step twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError, reason
from anyorder.core.files import replacing


class Journal:
    """Appends records to a JSONL file; each line is handed to the system at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = None

    def rewind(self, step: int) -> None:
        """Drop the records of steps after ``step``, and a last line that a kill cut off."""
        if self.path.exists():
            records = read_journal(self.path)
            kept = [record for record in records if record.get("step", 0) <= step and record["kind"] != "end"]
            with replacing(self.path) as file:
                file.writelines(json.dumps(record) + "\n" for record in kept)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record. Raises ``UserError`` when the disk is full."""
        try:
            if self._file is None:
                self._file = self.path.open("a", encoding="utf-8")
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {reason(error)}") from error

    def close(self) -> None:
        """Close the file; a later ``write`` opens it again."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a log file. An unfinished last line is left out.

    Raises:
        UserError: the file is missing, or a line in the middle is not JSON.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            if number == len(lines):
                return
            raise UserError(f"{path}, line {number}: not a JSON record") from None
        yield record
