"""Models as folders: ``config.json``, ``model.safetensors`` and, for people, ``README.md``. Nothing is ever pickled.

    config.json = {"model_type": "anyorder", "format_version": 1,
                   "transformer": {settings of TransformerConfig},
                   "task": {"name": "sudoku", "box_rows": 3, "box_columns": 3} or null}

A model is named by a shipped name ("sudoku-9x9"), a folder, or a hub id ("owner/name").
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from anyorder.core.errors import UserError
from anyorder.core.files import replacing_folder, sync
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig

ASSETS = Path(__file__).parent / "assets"
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT_VERSION = 1
_WANTED = (
    *(CONFIG, CARD, "*.safetensors", "*.safetensors.index.json", "generation_config.json", "chat_template.jinja"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


def shipped_models() -> list[str]:
    """The names of the models that come with the package."""
    if not ASSETS.is_dir():
        return []
    return sorted(path.name for path in ASSETS.iterdir() if (path / CONFIG).is_file())


def from_pretrained(
    name: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    revision: str | None = None,
    mask_token: str | int | None = None,
) -> Transformer:
    """Load a model in evaluation mode: one of ours, or a published checkpoint of a known family.

    Args:
        name: a folder (an existing path wins), a shipped name, or a hub id.
        device: where to put it.
        dtype: of the weights; None leaves them as they are stored.
        revision: of a hub repository: branch, tag or commit.
        mask_token: of a published checkpoint: the mask, by its spelling or id, instead of what its files say.

    Raises:
        UserError: no such model, a missing, truncated or pickled file, or weights that do not fit the config.
    """
    folder = resolve(str(name), revision)
    if is_published(folder):
        from anyorder.models.families.loading import load

        return load(folder, device=device, dtype=dtype, mask_token=mask_token)
    if mask_token is not None:
        raise UserError(f"{folder}: mask_token is for published checkpoints; this model's mask is part of its settings")
    config, task = read_config(folder)
    weights = _read_weights(folder)
    with torch.random.fork_rng(devices=[]):
        # The weights that it draws are replaced at once; the caller's generator does not notice.
        model = Transformer(config)
    _fill(model, weights, folder)
    model.task = task
    model.requires_grad_(True)
    return model.to(device=device, dtype=dtype).eval()


def is_published(folder: Path) -> bool:
    """Whether a folder says that it holds a published checkpoint, and no model of ours."""
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(values, dict) and isinstance(values.get("model_type"), str) and values["model_type"] != "anyorder"


def read_config(folder: Path) -> tuple[TransformerConfig, dict[str, Any] | None]:
    """The network's settings and the task of a model folder. Raises ``UserError`` for anything it does not know."""
    path = folder / CONFIG
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} is not a model: it has no {CONFIG}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or values.get("model_type") != "anyorder":
        kind = values.get("model_type") if isinstance(values, dict) else None
        raise UserError(f'{path} is not an anyorder model: "model_type" is {kind!r}')
    if values.get("format_version") != FORMAT_VERSION:
        version = values.get("format_version")
        raise UserError(f"{path} has format version {version!r}; this version of anyorder reads {FORMAT_VERSION}")
    unknown = sorted(set(values) - {"model_type", "format_version", "transformer", "task"})
    if unknown:
        raise UserError(f"{path} has an unknown entry {unknown[0]!r}")
    transformer, task = values.get("transformer"), values.get("task")
    if not isinstance(transformer, dict) or not (task is None or isinstance(task, dict)):
        raise UserError(f'{path}: "transformer" must be a mapping, "task" a mapping or null')
    try:
        return TransformerConfig.from_dict(transformer), task
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def save_pretrained(model: Transformer, folder: str | Path, card: str | None = None) -> Path:
    """Write a model folder, whole or not at all; an earlier model there is replaced.

    Args:
        model: to be saved, on any device.
        folder: its folder; made when missing.
        card: text of README.md; None writes a short one from the config.

    Raises:
        UserError: the folder holds something else than a model, or cannot be written.
    """
    with replacing_folder(folder, "save the model", ours=lambda there: (there / CONFIG).is_file()) as new:
        write_model(model, new, card)
    return Path(folder)


def write_model(model: Transformer, folder: Path, card: str | None = None) -> None:
    """Write the files of a model into an existing folder, synced to the disk."""
    values = {
        "model_type": "anyorder",
        "format_version": FORMAT_VERSION,
        "transformer": model.config.to_dict(),
        "task": getattr(model, "task", None),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_tensors(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    (folder / CARD).write_text(default_card(model) if card is None else card, encoding="utf-8")
    for path in (folder / CONFIG, folder / CARD, folder):
        sync(path)


def save_tensors(tensors: Mapping[str, torch.Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write contiguous tensors as a safetensors file, synced to the disk. Raises ``OSError`` where it cannot."""
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        # The library wraps the system's words in its own: "... I/O error: File too large (os error 27)".
        raise OSError(None, _one_line(error).rpartition("I/O error: ")[2].partition(" (os error")[0]) from error
    sync(path)


def default_card(model: Transformer) -> str:
    """A short card that says what the network is; training writes a longer one."""
    config, task = model.config, getattr(model, "task", None)
    count = sum(parameter.numel() for parameter in model.parameters())
    lines = [
        "---\nlibrary_name: anyorder\ntags: [masked-diffusion]\n---\n",
        f"A masked diffusion model of {count:,} weights: {config.layers} layers of width {config.width}, "
        f"vocabulary {config.vocab_size}, {config.attention} attention, {config.positions} positions.\n",
    ]
    if task is not None:
        lines.append(f"Task: {json.dumps(task)}.\n")
    return "\n".join(lines)


def push_to_hub(
    model: Transformer, repository: str, *, card: str | None = None, private: bool = False, message: str = "Add model"
) -> str:
    """Upload a model to the Hugging Face hub and give its address; needs a login of ``huggingface_hub``.

    Raises:
        UserError: the hub refused it (no login, no permission, no network).
    """
    import tempfile

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with tempfile.TemporaryDirectory() as folder:
            write_model(model, Path(folder), card)
            api = HfApi()
            api.create_repo(repository, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message))
    except (HfHubHTTPError, HFValidationError, OSError) as error:
        raise UserError(f"cannot push to {repository}: {_one_line(error)}") from error


def resolve(name: str, revision: str | None = None) -> Path:
    """The folder of a model's name. Raises ``UserError`` where there is none."""
    folder = Path(name)
    if name and folder.is_dir():
        return folder
    if name and folder.exists():
        if folder.suffix in _PICKLES:
            raise UserError(f"{name} is a pickle, which may run code when read; only safetensors folders are loaded")
        raise UserError(f"{name} is a file; name the model's folder")
    if name in shipped_models():
        return ASSETS / name
    shipped = ", ".join(shipped_models()) or "none"
    parts = name.split("/")
    if len(parts) != 2 or not all(parts) or name.startswith((".", "~", "/")):
        raise UserError(f"no model {name!r}: neither a folder, nor a hub id (owner/name), nor shipped ({shipped})")
    return _download(name, revision, shipped)


def _download(name: str, revision: str | None, shipped: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(_WANTED)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"no model {name!r}: no such folder, not shipped ({shipped}), and the hub says: {_one_line(error)}"
        ) from None


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / WEIGHTS
    if not path.is_file():
        pickles = sorted(file.name for file in folder.iterdir() if file.suffix in _PICKLES)
        if pickles:
            raise UserError(
                f"{folder} holds {pickles[0]}, a pickle, which may run code when read; only {WEIGHTS} is loaded: "
                "convert it with safetensors"
            )
        raise UserError(f"{folder} has no {WEIGHTS}")
    try:
        return load_file(path)
    except (SafetensorError, OSError, struct.error) as error:
        raise UserError(f"{path} is damaged or truncated: {_one_line(error)}") from None


def _fill(model: Transformer, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Give the model its weights; every difference is named."""
    wanted = model.state_dict()
    missing, extra = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    if missing or extra:
        problem = f"lacks {missing[0]!r}" if missing else f"has {extra[0]!r}, which the config does not"
        raise UserError(f"{folder / WEIGHTS} {problem}")
    for name, tensor in wanted.items():
        if weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)} where the config wants {tuple(tensor.shape)}"
            raise UserError(f"{folder / WEIGHTS}: {name!r} has the shape {shapes}")
        if weights[name].is_floating_point() != tensor.is_floating_point():
            raise UserError(f"{folder / WEIGHTS}: {name!r} holds {weights[name].dtype} values")
    model.load_state_dict(weights, assign=True)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
