"""Checkpoints: safetensors + JSON, whole or not at all.

A checkpoint is a folder ``step-00001200`` in the run's ``checkpoints/``:

    model.safetensors      the weights
    average.safetensors    their moving average (where the run keeps one)
    optimizer.safetensors  the optimiser's moving averages, as ``{weight}/{key}``
    state.json             step, counters, settings, and the size and SHA-256 of each file above

It is written into ``.step-00001200.tmp``, every file and the folder synced to the disk, then renamed. Older checkpoints
are deleted only after that. So whatever kills the process, the newest folder that has its final name is complete, and
a leftover ``.tmp`` folder is removed at the next start.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from anyorder.core.errors import UserError, reason
from anyorder.core.files import sync
from anyorder.models.checkpoints import save_tensors

FORMAT_VERSION = 1
_NAME = re.compile(r"step-(\d{8,})")
_PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")


@dataclass(frozen=True)
class Checkpoint:
    """The content of one checkpoint: groups of named tensors ("model", "average", "optimizer") and plain data."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    data: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return int(self.data["step"])


def checkpoint_name(step: int) -> str:
    """The folder's name for a checkpoint after ``step`` steps."""
    return f"step-{step:08d}"


def list_checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """(step, path) of the complete checkpoints in ``folder``, oldest first."""
    if not folder.is_dir():
        return []
    found = ((match, path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)) and path.is_dir())
    return sorted((int(match[1]), path) for match, path in found)


def clean_leftovers(folder: Path) -> None:
    """Remove what an interrupted save or delete left in ``folder``."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith(".step-") and path.is_dir():
                shutil.rmtree(path)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint into ``folder`` (made when missing) and give its path.

    An existing checkpoint of the same step is replaced.

    Raises:
        UserError: the disk is full or the folder cannot be written; what stood there before still stands.
    """
    final = folder / checkpoint_name(checkpoint.step)
    temporary = folder / f".{final.name}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir()
        write_state(temporary, checkpoint)
        _finish(temporary, final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"cannot save the checkpoint {final}: {reason(error)}; earlier checkpoints are intact"
        ) from error
    return final


def write_state(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint's files into the existing ``folder`` and sync them; no care for atomicity."""
    files = {}
    for group, tensors in checkpoint.tensors.items():
        path = folder / f"{group}.safetensors"
        save_tensors({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
    path = folder / "state.json"
    text = json.dumps({"format_version": FORMAT_VERSION, **checkpoint.data, "files": files}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    sync(path)
    sync(folder)


def read_state(path: Path) -> dict[str, Any]:
    """The plain data of a checkpoint folder. Raises ``UserError`` where it is missing, damaged or of another format."""
    if not path.is_dir():
        raise UserError(f"no such checkpoint: {path}")
    try:
        data = json.loads((path / "state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in _PICKLES)
        if pickles:
            raise UserError(
                f"{path} holds {pickles[0]}, a pickle, which may run code when read: only safetensors are read"
            ) from None
        raise UserError(f"{path} is not a checkpoint: it has no state.json") from None
    except (OSError, ValueError) as error:
        raise UserError(f"the checkpoint {path} is damaged: state.json: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
        raise UserError(f"the checkpoint {path} has another format than version {FORMAT_VERSION}")
    if not isinstance(data.get("step"), int) or not isinstance(data.get("files"), dict):
        raise UserError(f"the checkpoint {path} is damaged: state.json lacks the step or the files")
    return data


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint folder, verifying the size and digest of every file.

    Raises:
        UserError: something is missing, damaged, or not safetensors.
    """
    data = read_state(path)
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, facts in data["files"].items():
        file = path / name
        if file.suffix != ".safetensors" or file.parent != path:
            raise UserError(f"the checkpoint {path} names {name!r}: only safetensors files are read")
        verify_file(file, facts)
        try:
            tensors[file.stem] = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(f"the checkpoint file {file} is damaged: {error}") from None
    return Checkpoint(tensors, data)


def verify_file(path: Path, facts: Mapping[str, Any]) -> None:
    """Raise ``UserError`` unless the file has the recorded size and SHA-256."""
    if not path.is_file():
        raise UserError(f"the checkpoint file {path} is missing")
    size = path.stat().st_size
    if size != facts.get("bytes"):
        raise UserError(f"the checkpoint file {path} is damaged: {size} bytes instead of {facts.get('bytes')}")
    if digest(path) != facts.get("sha256"):
        raise UserError(f"the checkpoint file {path} is damaged: its SHA-256 differs from the recorded one")


def prune(folder: Path, keep: int, pinned: Iterable[int] = ()) -> None:
    """Delete all but the newest ``keep`` checkpoints and those of the ``pinned`` steps.

    Raises:
        UserError: one cannot be deleted.
    """
    pinned = set(pinned)
    loose = [(step, path) for step, path in list_checkpoints(folder) if step not in pinned]
    newest = {step for step, _ in list_checkpoints(folder)[-keep:]}
    for step, path in loose:
        if step not in newest:
            # Renamed first: a kill in the middle of deleting leaves no half checkpoint under a good name.
            doomed = path.with_name(f".{path.name}.old")
            try:
                os.rename(path, doomed)
                shutil.rmtree(doomed)
            except OSError as error:
                raise UserError(f"cannot delete the old checkpoint {path}: {reason(error)}") from error


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy_into(target: Mapping[str, Tensor], source: Mapping[str, Tensor], what: str) -> None:
    """Copy named tensors onto tensors of the same names and shapes, sharded ones included.

    Raises:
        UserError: a name is missing or unknown, or a shape differs.
    """
    missing, unknown = sorted(set(target) - set(source)), sorted(set(source) - set(target))
    if missing or unknown:
        problem = f"lacks {missing[0]!r}" if missing else f"has an unknown {unknown[0]!r}"
        raise UserError(f"the checkpoint does not fit the model: its {what} {problem}")
    from torch.distributed.tensor import DTensor, distribute_tensor

    with torch.no_grad():
        for name, tensor in target.items():
            value = source[name]
            if value.shape != tensor.shape:
                shapes = f"{tuple(value.shape)} instead of {tuple(tensor.shape)}"
                raise UserError(f"the checkpoint does not fit the model: {what} {name!r} has shape {shapes}")
            if isinstance(tensor, DTensor):
                sharded = distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements)
                tensor.to_local().copy_(sharded.to_local())
            else:
                tensor.copy_(value)


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole copies on the CPU of tensors that may be sharded. Every process must call it."""
    from torch.distributed.tensor import DTensor

    whole = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        whole[name] = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).to("cpu", copy=True)
    return whole


def _finish(temporary: Path, final: Path) -> None:
    """Give a complete folder its name, durably."""
    if final.exists():
        aside = final.with_name(f".{final.name}.old")
        if aside.exists():
            shutil.rmtree(aside)
        os.rename(final, aside)
        os.rename(temporary, final)
        sync(final.parent)
        shutil.rmtree(aside)
        return
    os.rename(temporary, final)
    sync(final.parent)
