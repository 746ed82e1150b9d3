"""A checkpoint as small files, so that it can be committed to git.

``export_shards`` cuts a checkpoint into ``shard-00000.safetensors``, ``shard-00001.safetensors``, ... of at most
``limit`` bytes each, with ``state.json`` beside them. Tensors are laid end to end in the order of their names; one that
does not fit is cut along its flattened elements, the pieces named ``group/name@offset``. ``import_shards`` verifies and
joins them: the tensors come back bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.core.files import replacing_folder, sync
from anyorder.models.checkpoints import save_tensors
from anyorder.training.state import FORMAT_VERSION, Checkpoint, digest, load_checkpoint, read_state, verify_file

SHARD_LIMIT = 16 * 2**20
_HEADER = 256 * 2**10


def export_shards(checkpoint: str | Path, folder: str | Path, *, limit: int = SHARD_LIMIT) -> list[Path]:
    """Write the checkpoint folder ``checkpoint`` into ``folder`` as shards; an earlier export there is replaced.

    Args:
        checkpoint: a complete checkpoint folder of a run.
        folder: the export; made when missing.
        limit: of a file, in bytes; at least 512 KiB.

    Returns:
        The files written.

    Raises:
        UserError: a damaged checkpoint, a folder that holds something else, a full disk.
    """
    if limit < 2 * _HEADER:
        raise UserError(f"the limit of a shard must be at least {2 * _HEADER} bytes, not {limit}")
    source = load_checkpoint(Path(checkpoint))
    with replacing_folder(folder, "export to", ours=is_export) as new:
        _write(source, new, limit)
    return sorted(Path(folder).iterdir())


def import_shards(folder: str | Path) -> Checkpoint:
    """The checkpoint of an exported folder, every file verified. Raises ``UserError`` where anything is amiss."""
    folder = Path(folder)
    data = read_state(folder)
    if "tensors" not in data:
        raise UserError(f"{folder} is not an export: its state.json lists no tensors")
    flat: dict[str, list[tuple[int, Tensor]]] = {}
    for name, facts in data["files"].items():
        file = folder / name
        if file.suffix != ".safetensors" or file.parent != folder:
            raise UserError(f"the export {folder} names {name!r}: only safetensors files are read")
        verify_file(file, facts)
        try:
            pieces = load_file(file)
        except (SafetensorError, OSError) as error:
            raise UserError(f"the checkpoint file {file} is damaged: {error}") from None
        for key, piece in pieces.items():
            whole, _, offset = key.rpartition("@")
            flat.setdefault(whole, []).append((int(offset), piece))
    tensors: dict[str, dict[str, Tensor]] = {}
    for key, shape in data.pop("tensors").items():
        pieces = [piece for _, piece in sorted(flat.pop(key, []), key=lambda item: item[0])]
        joined = torch.cat(pieces) if pieces else torch.empty(0)
        group, _, name = key.partition("/")
        try:
            tensors.setdefault(group, {})[name] = joined.reshape(shape)
        except RuntimeError:
            raise UserError(f"the export {folder} is damaged: {key!r} is not whole") from None
    return Checkpoint(tensors, data)


def is_export(folder: Path) -> bool:
    """Whether a folder was written by ``export_shards``."""
    return (folder / "state.json").is_file() and any(folder.glob("shard-*.safetensors"))


def _write(source: Checkpoint, folder: Path, limit: int) -> None:
    shards: list[dict[str, Tensor]] = [{}]
    room = limit - _HEADER
    shapes: dict[str, list[int]] = {}
    for group in sorted(source.tensors):
        for name in sorted(source.tensors[group]):
            tensor = source.tensors[group][name]
            shapes[f"{group}/{name}"] = list(tensor.shape)
            flat, offset = tensor.contiguous().reshape(-1), 0
            while offset < flat.numel() or (offset == 0 and flat.numel() == 0):
                # The header holds about a hundred bytes a name; a shard is closed long before it overflows.
                if room < flat.element_size() or len(shards[-1]) * 200 > _HEADER:
                    shards.append({})
                    room = limit - _HEADER
                piece = flat[offset : offset + room // flat.element_size()]
                shards[-1][f"{group}/{name}@{offset}"] = piece.clone()
                room -= piece.numel() * piece.element_size()
                offset += max(piece.numel(), 1)
    files: dict[str, Any] = {}
    for number, shard in enumerate(shards):
        path = folder / f"shard-{number:05d}.safetensors"
        save_tensors(shard, path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
    data = {**source.data, "format_version": FORMAT_VERSION, "files": files, "tensors": shapes}
    (folder / "state.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    sync(folder / "state.json")
