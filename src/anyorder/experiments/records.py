"""What was run, with what, and what came out: one JSON file per measurement.

A record holds the figures (``summary`` and ``rows``, raw numbers, shares with their intervals), the names of the
columns that its table shows, sentences that belong beside the figures (``notes``), and the facts of the run: command,
commit, seed, device, versions, fingerprints of data and model. Tables are rendered from records and never typed.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.core.errors import UserError, reason
from anyorder.core.files import write_text

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

FORMAT = 1
LIBRARIES = ("torch", "numpy", "numba", "accelerate", "safetensors")


@dataclass(frozen=True)
class Record:
    """One measurement.

    Attributes:
        name: of the experiment or benchmark.
        scale: "smoke", "cpu", "gpu", "paper", or "" where there is only one.
        title: heading of its table.
        summary: the headline figures; for puzzles ``solved_share``, ``interval``, ``count``, ``nfe_mean``.
        columns: keys of ``rows`` that the table shows, in order.
        rows: mappings of plain JSON values.
        notes: sentences printed under the table.
        run: see `run_facts`.
        details: further figures that no table shows.
    """

    name: str
    title: str
    summary: Mapping[str, Any]
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    run: Mapping[str, Any]
    scale: str = ""
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The file name without its suffix: ``NAME-SCALE``."""
        return f"{self.name}-{self.scale}" if self.scale else self.name

    def to_dict(self) -> dict[str, Any]:
        """JSON data; `read_record` undoes it."""
        return {
            "record": FORMAT,
            "name": self.name,
            "scale": self.scale,
            "title": self.title,
            "summary": dict(self.summary),
            "columns": list(self.columns),
            "rows": [dict(row) for row in self.rows],
            "notes": list(self.notes),
            "details": dict(self.details),
            "run": dict(self.run),
        }


def write_record(path: str | Path, record: Record) -> None:
    """Write ``record`` as JSON, whole or not at all; NaN and infinity are refused, as JSON has neither."""
    write_text(path, json.dumps(record.to_dict(), indent=1, allow_nan=False, default=_plain) + "\n")


def read_record(path: str | Path) -> Record:
    """Read a record.

    Raises:
        UserError: the file is missing, is no record, or is of another format.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("record") != FORMAT:
        raise UserError(f"{path} is not a record of format {FORMAT}")
    keys = [key for key in data if key != "record"]
    try:
        return Record(**{key: data[key] for key in keys})
    except TypeError as error:
        raise UserError(f"{path} is not a record: {error}") from error


def run_facts(
    *,
    seed: int | None,
    device: torch.device | str,
    since: float,
    data: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What made a record.

    Args:
        seed: of the measurement.
        device: where the network ran.
        since: ``time.time()`` at the start.
        data: see `data_facts`. model: see `model_facts`.
    """
    commit, dirty = _commit()
    return {
        "command": _command(sys.argv),
        "commit": commit,
        "dirty": dirty,
        "started": datetime.datetime.fromtimestamp(since, datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - since, 1),
        "seed": seed,
        "device": device_facts(device),
        "versions": {"anyorder": _version("anyorder"), "python": platform.python_version()}
        | {library: _version(library) for library in LIBRARIES},
        "data": None if data is None else dict(data),
        "model": None if model is None else dict(model),
    }


def _command(argv: Sequence[str]) -> str:
    """The command line, of paths outside the working directory their names alone: where they lie says nothing."""
    words = (Path(word).name if word.startswith(("/", "../")) else word for word in argv[1:])
    program = Path(argv[0])
    # `python -m anyorder...` is the command by another name
    return shlex.join(["anyorder" if program.name == "__main__.py" else program.name, *words])


def device_facts(device: torch.device | str) -> dict[str, Any]:
    """Kind and name of the device, and the threads that the CPU part may use."""
    import torch

    kind = torch.device(device)
    name = torch.cuda.get_device_name(kind) if kind.type == "cuda" else _processor()
    return {"kind": kind.type, "name": name, "threads": torch.get_num_threads()}


def data_facts(name: str, *arrays: np.ndarray) -> dict[str, Any]:
    """Name, number of rows, and a fingerprint of the content (dtype and shape included), wherever it came from."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(array.tobytes())
    return {"name": name, "count": len(arrays[0]) if arrays else 0, "fingerprint": digest.hexdigest()}


def model_facts(name: str, model: nn.Module) -> dict[str, Any]:
    """Name, number of parameters, and a fingerprint of the weights, wherever they were loaded from."""
    import torch

    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{key}{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "fingerprint": digest.hexdigest(),
    }


def _commit() -> tuple[str | None, bool | None]:
    """The commit that the package was run from and whether tracked files differ; (None, None) outside a checkout."""
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # else the package merely lies inside some checkout
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name as the system tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays, and paths, as plain JSON values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
