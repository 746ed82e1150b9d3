"""The directory of a run, and where training starts in it.

data.npz        the generated training data
heldout-*.npz   the held-out puzzles
log.jsonl       the log
checkpoints/    the resumable state
model/          the finished model
.lock           held by the process that trains here
"""

from __future__ import annotations

import fcntl
import platform
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from accelerate import Accelerator

import anyorder.training.state as state
from anyorder.core.errors import UserError, reason
from anyorder.training.build import model_config
from anyorder.training.kinds import find_kind
from anyorder.training.settings import TrainSettings
from anyorder.training.shards import import_shards, is_export

_FREE = ("evaluation", "checkpoint", "log_every_steps", "trackers", "distributed", "accumulation", "compile", "name")


class RunDirectory:
    """A run's directory, held for one training at a time while entered (the lock dies with the process)."""

    def __init__(self, path: Path, *, main: bool = True) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._main = main
        self._lock = None

    def __enter__(self) -> RunDirectory:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self._main:
                self._lock = (self.path / ".lock").open("w")
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                state.clean_leftovers(self.checkpoints)
        except BlockingIOError:
            raise UserError(f"another training is running in {self.path}; choose another --run-dir") from None
        except OSError as error:
            raise UserError(f"cannot use {self.path} as the run's directory: {reason(error)}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @staticmethod
    def check_settings(
        settings: TrainSettings, checkpoint: state.Checkpoint, path: Path, *, allow_changes: bool
    ) -> dict[str, list[Any]]:
        """What differs from the checkpoint's settings, as {name: [then, now]}.

        Raises:
            UserError: the network differs, also by what the task decides of it, or, without ``allow_changes``,
                anything that changes the result. ``steps`` may grow while the decay has not begun.
        """
        before = TrainSettings.from_dict(checkpoint.data["settings"])
        then, now = before.to_dict(), settings.to_dict()
        # What a file leaves out has its default, then as now; what the data are is told by their fingerprint.
        then["model"], now["model"] = model_config(before).to_dict(), model_config(settings).to_dict()
        drawn = find_kind(settings.task.name).drawn
        then["data"], now["data"] = ({name: values["data"].get(name) for name in drawn} for values in (then, now))
        changes = {
            name: [then.get(name), now.get(name)]
            for name in sorted({*then, *now})
            if then.get(name) != now.get(name) and name not in _FREE
        }
        if "model" in changes:
            raise UserError(f"the checkpoint {path} was trained with another model; choose another --run-dir")
        refused = [name for name in changes if name != "steps"]
        if refused and not allow_changes:
            names = ", ".join(_differing(then, now, name) for name in refused)
            raise UserError(f"the settings differ from the checkpoint {path}: {names} (--allow-changes accepts this)")
        return changes


def find_start(run_dir: Path, start_from: str | Path | None) -> tuple[state.Checkpoint, Path] | None:
    """The newest checkpoint of the run, else ``start_from`` (a checkpoint or an export), else None."""
    checkpoints = state.list_checkpoints(run_dir / "checkpoints")
    if checkpoints:
        path = checkpoints[-1][1]
        return state.load_checkpoint(path), path
    if start_from is None:
        return None
    path = Path(start_from)
    return (import_shards(path) if is_export(path) else state.load_checkpoint(path)), path


def run_facts(accelerator: Accelerator) -> dict[str, Any]:
    """What the run ran on: device, processes, threads, library versions."""
    import accelerate

    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": f"{device.type}: {name}",
        "processes": accelerator.num_processes,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "accelerate": accelerate.__version__,
        },
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _differing(then: dict[str, Any], now: dict[str, Any], name: str) -> str:
    """The innermost name that differs, with both values."""
    before, after = then.get(name), now.get(name)
    if isinstance(before, dict) and isinstance(after, dict):
        for inner in sorted({*before, *after}):
            if before.get(inner) != after.get(inner):
                return f"{name}." + _differing(before, after, inner)
    return f"{name} was {before!r} and is {after!r}"
