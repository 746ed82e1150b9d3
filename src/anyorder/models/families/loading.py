"""Opening a published folder: its settings as a `TransformerConfig`, its tensors streamed into the weights.

The headers of all files are read first and every shape is checked against the network, which so far exists without
memory. Then one published tensor after another is copied to its place, on the device and in the number format wanted:
at no time is there more than the network and one tensor.
"""

from __future__ import annotations

import fnmatch
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.models.families import FAMILIES
from anyorder.models.families.family import Family, Piece, Settings, read_json
from anyorder.models.families.special import SpecialTokens, Vocabulary, special_tokens
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_ROWS = ("embedding.weight", "head.weight", "head.bias", "head_bias")
"""Weights with a row for every token."""


def family_of(values: Mapping[str, Any], path: Path) -> Family:
    """The family of a published ``config.json``. Raises ``UserError`` for one that we do not know."""
    kind = values.get("model_type")
    for family in FAMILIES:
        if kind in family.model_types:
            return family
    known = ", ".join(family.model_types[0] for family in FAMILIES)
    raise UserError(f'{path} is not an anyorder model, nor of a known family: "model_type" is {kind!r}; known: {known}')


def load(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    mask_token: str | int | None = None,
) -> Transformer:
    """Open a published folder.

    Args:
        folder: holds ``config.json``, safetensors (one, or shards with an index) and the tokenizer's files.
        device: where the weights go, without a copy elsewhere.
        dtype: of the weights; None takes that of the stored embedding.
        mask_token: the mask, as the tokenizer spells it or by its id; None reads it from the files. A network made for
            the next token whose files name none gets a new token for it, which starts at the mean of all others.

    Returns:
        The network, in evaluation mode. Its ``task`` names the family, the tokens and the decoding of its authors.

    Raises:
        UserError: a setting that we do not support, files that are missing, damaged or pickled, or weights that do
            not fit the settings.
    """
    path = folder / "config.json"
    values = read_json(path)
    family = family_of(values, path)
    settings = Settings(values, path)
    special = special_tokens(folder, values, family)
    rows = settings.integer(family.rows, settings.integer("vocab_size"))
    count = min(special.count or rows, rows)
    mask = _mask(folder, family, special, mask_token, count)
    for name, token in (("end of text", special.end), ("padding", special.pad), ("mask", mask)):
        if token >= rows and not (name == "mask" and token == count):
            raise UserError(f"{folder}: the {name} token is {token}, but the embedding has {rows} rows")
    vocab_size = max(count, mask + 1, special.end + 1, special.pad + 1)
    try:
        config = TransformerConfig(
            vocab_size=vocab_size,
            mask_token_id=mask,
            vocab_rows=max(rows, vocab_size),
            **family.read(settings),
        )
    except UserError as error:
        raise UserError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None
    with torch.device("meta"):
        model = Transformer(config)
    weights = _stream(folder, family, model, rows, torch.device(device), dtype)
    model.load_state_dict(weights, assign=True)
    model.requires_grad_(True)
    model.task = {
        "name": "language",
        "family": family.name,
        "end_token_id": special.end,
        "end_token_ids": list(special.ends),
        "pad_token_id": special.pad,
        "strategy": family.strategy,
    }
    return model.eval()


def _mask(folder: Path, family: Family, special: SpecialTokens, wanted: str | int | None, count: int) -> int:
    """The id of the mask token."""
    if isinstance(wanted, str):
        ids = Vocabulary(folder).ids
        if wanted not in ids:
            raise UserError(f"{folder}: its tokenizer has no token {wanted!r} to serve as the mask")
        return ids[wanted]
    if wanted is not None:
        return wanted
    if special.mask is not None:
        return special.mask
    if family.adapted:
        return count
    raise UserError(f"{folder}: no file says which token is the mask; name it with mask_token")


@dataclass(frozen=True)
class _Stored:
    """Where a published tensor is."""

    file: Path
    shape: tuple[int, ...]


@dataclass(frozen=True)
class _Copy:
    """A published tensor's way into a weight: its part, and the rows that it takes there."""

    weight: str
    piece: Piece
    start: int
    rows: int


def _stream(
    folder: Path, family: Family, model: Transformer, rows: int, device: torch.device, dtype: torch.dtype | None
) -> dict[str, Tensor]:
    """All weights of a model that is on the meta device."""
    stored = _headers(folder, family)
    wanted = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    plan = _plan(folder, family, model.config, wanted, stored, rows)
    first = next(name for name, copies in plan.items() if copies[0].weight == "embedding.weight")
    if dtype is None:
        dtype = _dtype(stored[first].file, first, family)
    if not dtype.is_floating_point:
        raise UserError(f"{folder}: {first!r} holds {dtype} values, which are no weights")
    weights: dict[str, Tensor] = {}
    late: list[tuple[str, Tensor]] = []
    for path in dict.fromkeys(stored[name].file for name in plan):
        with _opened(path) as file:
            for name, copies in plan.items():
                if stored[name].file != path:
                    continue
                tensor = file.get_tensor(_spelt(file, name, family))
                if not tensor.is_floating_point():
                    raise UserError(f"{path}: {name!r} holds {tensor.dtype} values, which are no weights")
                for copy in copies:
                    part = _part(tensor, copy.piece)
                    if copy.piece.add:
                        late.append((copy.weight, part.clone()))
                        continue
                    if copy.weight not in weights:
                        weights[copy.weight] = torch.empty(wanted[copy.weight], dtype=dtype, device=device)
                    target = weights[copy.weight]
                    target.view(-1, *part.shape[1:])[copy.start : copy.start + copy.rows].copy_(part)
                del tensor
    for weight, part in late:
        weights[weight] += part.to(device=device, dtype=dtype)
    for weight in _ROWS:
        if weight in weights and len(weights[weight]) > rows:
            weights[weight][rows:] = weights[weight][:rows].float().mean(dim=0).to(dtype)
    return weights


def _dtype(path: Path, name: str, family: Family) -> torch.dtype:
    """The number format of a published tensor."""
    with _opened(path) as file:
        return file.get_tensor(_spelt(file, name, family)).dtype


def _plan(
    folder: Path,
    family: Family,
    config: TransformerConfig,
    wanted: Mapping[str, tuple[int, ...]],
    stored: Mapping[str, _Stored],
    rows: int,
) -> dict[str, list[_Copy]]:
    """The copies to make of every published tensor, all shapes checked."""
    table = family.table(config)
    plan: dict[str, list[_Copy]] = {}
    for weight, shape in wanted.items():
        if weight in _ROWS:
            shape = (min(rows, shape[0]), *shape[1:])
        layer, general = _layer(weight)
        if general not in table:
            raise AssertionError(f"the table of {family.name} has no {general}")
        start = 0
        for piece in table[general]:
            name = piece.name.replace("{i}", layer)
            if name not in stored:
                raise UserError(f"{folder}: the weights lack {name!r}, which the config asks for")
            found = _part(torch.empty(stored[name].shape, device="meta"), piece).shape
            fits = (
                found == shape[-len(found) :] if piece.add else len(found) > 0 and found[1:] == shape[-len(found) :][1:]
            )
            if not fits or (not piece.add and start + found[0] > _height(shape, len(found))):
                raise UserError(
                    f"{folder}: {name!r} has the shape {tuple(stored[name].shape)}, which does not fit the config "
                    f"({weight} has {shape})"
                )
            plan.setdefault(name, []).append(_Copy(weight, piece, start, 0 if piece.add else found[0]))
            start += 0 if piece.add else found[0]
            height = _height(shape, len(found)) if not piece.add else start
        if start != height:
            raise UserError(f"{folder}: {name!r} leaves {weight} of shape {shape} unfilled; the config asks for more")
    for name in stored:
        if name not in plan and not any(fnmatch.fnmatchcase(name, pattern) for pattern in family.ignored):
            if config.tied_head and any(piece.name == name for piece in table.get("head.weight", ())):
                continue
            raise UserError(f"{folder}: the weights have {name!r}, which the config has no use for")
    return plan


def _height(shape: tuple[int, ...], dims: int) -> int:
    """Rows of a weight seen as a stack of tensors of ``dims`` axes."""
    height = 1
    for size in shape[: len(shape) - dims + 1]:
        height *= size
    return height


def _part(tensor: Tensor, piece: Piece) -> Tensor:
    """The part of a published tensor that a piece names; an empty one where it has no such part."""
    if piece.row is not None:
        return tensor[piece.row] if tensor.dim() and len(tensor) > piece.row else tensor.new_empty(0, 0, 0)
    if piece.chunk is not None:
        index, count = piece.chunk
        if not tensor.dim() or len(tensor) % count:
            return tensor.new_empty(0, 0, 0)
        return tensor[len(tensor) // count * index : len(tensor) // count * (index + 1)]
    return tensor


def _layer(weight: str) -> tuple[str, str]:
    """The layer of a weight, and its name with ``{i}`` in the layer's place."""
    parts = weight.split(".")
    for index, part in enumerate(parts):
        if part.isdigit():
            return part, ".".join([*parts[:index], "{i}", *parts[index + 1 :]])
    return "", weight


def _headers(folder: Path, family: Family) -> dict[str, _Stored]:
    """Every published tensor: file and shape, under the name that the family's table uses."""
    index = folder / INDEX
    if index.is_file():
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
            raise UserError(f"{index} has no weight_map from names to files")
        names = sorted(set(listed.values()))
    else:
        listed = None
        names = [SINGLE] if (folder / SINGLE).is_file() else sorted(path.name for path in folder.glob("*.safetensors"))
    if not names:
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
        held = f"; it holds {pickles[0]}, a pickle, which may run code when read" if pickles else ""
        raise UserError(f"{folder} has no safetensors file{held}")
    stored: dict[str, _Stored] = {}
    for name in names:
        path = folder / name
        if Path(name).name != name or name in (".", ".."):
            raise UserError(f"{index} names {name!r}, which is no file of the folder")
        if not path.is_file():
            raise UserError(f"{folder} has no {name}, which its index names")
        with _opened(path) as file:
            for key in file.keys():  # noqa: SIM118 - the handle is no mapping
                stored[_renamed(key, family)] = _Stored(path, tuple(file.get_slice(key).get_shape()))
    missing = [name for name in listed or () if _renamed(name, family) not in stored]
    if missing:
        raise UserError(f"{folder}: the files lack {missing[0]!r}, which the index names")
    return stored


def _renamed(name: str, family: Family) -> str:
    for old, new in family.renamed:
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _spelt(file: Any, name: str, family: Family) -> str:
    """How the file spells a name of the table."""
    keys = set(file.keys())
    if name in keys:
        return name
    return next(name.removesuffix(new) + old for old, new in family.renamed if name.removesuffix(new) + old in keys)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError, struct.error) as error:
        raise UserError(f"{path} is damaged or truncated: {' '.join(str(error).split())}") from None
