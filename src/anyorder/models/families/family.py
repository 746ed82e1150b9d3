"""What a family of checkpoints is: its settings in our terms, its weights by name, its tokens from its own files.

A family is data. ``read`` turns the published ``config.json`` into the shape of one `Transformer`; ``table`` says of
which published tensors every weight is made; nothing of a published repository is ever run.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError, reason
from anyorder.models.transformer_config import TransformerConfig

MOST = 2**24
"""The largest number that a setting may have: above any network's, and no product of two of them overflows."""
MOST_LAYERS = 1024


@dataclass(frozen=True)
class Piece:
    """A published tensor, or a part of one, as a part of a weight.

    Attributes:
        name: of the published tensor; ``{i}`` stands for the layer.
        chunk: (index, count): this of so many equal parts along the first axis.
        row: this row alone.
        add: added to the weight, broadcast, after the other pieces were laid end to end along the first axis.
    """

    name: str
    chunk: tuple[int, int] | None = None
    row: int | None = None
    add: bool = False


Table = Mapping[str, Sequence[Piece]]
"""For every weight of the network (``{i}`` stands for the layer), the published tensors that it is made of."""


@dataclass(frozen=True)
class Family:
    """A family of published checkpoints.

    Attributes:
        name: as people call it.
        model_types: what its ``config.json`` has as ``model_type``.
        read: settings to the arguments of `TransformerConfig`, without the vocabulary and its tokens.
        table: the weights, for a config.
        ignored: patterns of published tensors that the network does not need.
        renamed: ends of published names that older files spell otherwise, as (old, new).
        rows: the name of the setting that holds the rows of the embedding.
        tokens: spellings of the special tokens ``mask``, ``end`` and ``pad``, where the files leave them out. Their
            ids are in the files.
        tokenizer: the class of transformers that reads the tokenizer's files where there is no ``tokenizer.json``.
        adapted: the network was made for the next token: it needs a mask token that its files need not have.
        strategy: what its authors decode with, a name of `anyorder.strategies`; "" where they name none.
        source: where it is published.
    """

    name: str
    model_types: tuple[str, ...]
    read: Callable[[Settings], dict[str, Any]]
    table: Callable[[TransformerConfig], Table]
    ignored: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    rows: str = "vocab_size"
    tokens: Mapping[str, str] = field(default_factory=dict)
    tokenizer: str = ""
    adapted: bool = False
    strategy: str = ""
    source: str = ""


class Settings:
    """A published ``config.json``, read with a check of every value."""

    def __init__(self, values: Mapping[str, Any], path: Path) -> None:
        self.values, self.path = values, path

    def error(self, message: str) -> UserError:
        """An error that names the file."""
        return UserError(f"{self.path}: {message}")

    def integer(self, name: str, default: int | None = None, *, least: int = 1, most: int = MOST) -> int:
        """A whole number; ``default`` where it is missing or null."""
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise self.error(f"{name} is missing")
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.error(f"{name} must be a whole number in [{least}, {most}], not {_shown(value)}")
        return value

    def number(self, name: str, default: float) -> float:
        """A positive number."""
        value = self.values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e30:
            raise self.error(f"{name} must be a positive number, not {_shown(value)}")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"{name} must be true or false, not {_shown(value)}")
        return value

    def choice(self, name: str, default: str, choices: Mapping[str, str]) -> str:
        """One of the names that we have a word for."""
        value = self.values.get(name)
        value = default if value is None else value
        if not isinstance(value, str) or value not in choices:
            raise self.error(f"{name} {_shown(value)} is not supported; known are {', '.join(choices)}")
        return choices[value]

    def want(self, name: str, value: Any, default: Any) -> None:
        """Refuse the file unless this setting has this value."""
        found = self.values.get(name)
        found = default if found is None else found
        if found != value or isinstance(found, bool) != isinstance(value, bool):
            raise self.error(f"{name} {_shown(found)} is not supported; only {_shown(value)} is")

    def rotary_base(self, default: float = 10_000.0) -> float:
        """The base of the rotary phases; scaled phases are refused, since no family here was published with them."""
        parameters = self.values.get("rope_parameters")
        scaling = self.values.get("rope_scaling")
        if parameters is None:
            parameters = scaling if isinstance(scaling, dict) and "rope_theta" in scaling else {}
        if not isinstance(parameters, dict) or not (scaling is None or isinstance(scaling, dict)):
            raise self.error("rope_parameters and rope_scaling must be mappings")
        for found in (parameters, scaling or {}):
            kind = found.get("rope_type", found.get("type", "default"))
            if kind != "default":
                raise self.error(f"rope_scaling of type {_shown(kind)} is not supported")
        inner = Settings(parameters, self.path)
        return inner.number("rope_theta", self.number("rope_theta", default))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ``UserError`` where the file cannot be read or holds something else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = reason(error) if isinstance(error, OSError) else " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {why}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a JSON object")
    return values


def extra(module: str, what: str, group: str = "hf") -> Any:
    """A module of an optional group of dependencies. Raises ``UserError`` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"{what} needs {module.partition('.')[0]}; install anyorder[{group}]") from None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu-tanh",
    "gelu_pytorch_tanh": "gelu-tanh",
    "silu": "silu",
    "swish": "silu",
    "relu2": "relu-squared",
}
"""Names of activations in published settings."""
