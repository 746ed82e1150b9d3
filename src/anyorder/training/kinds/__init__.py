"""What can be trained: one module for each kind of task, found by ``task.name``.

A kind says which settings its sections of the YAML file take, what the task decides of the network, where the training
sequences come from, and how the network is judged while it trains. A new kind is one module that holds a ``KIND``, and
one line of :data:`KINDS`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from anyorder.models.transformer import Transformer
    from anyorder.tasks.task import TaskData
    from anyorder.training.settings import TrainSettings

KINDS = {
    "arithmetic": "anyorder.training.kinds.arithmetic",
    "countdown": "anyorder.training.kinds.countdown",
    "latents": "anyorder.training.kinds.latents",
    "sudoku": "anyorder.training.kinds.sudoku",
    "sudoku-arm": "anyorder.training.kinds.sudoku_arm",
    "text": "anyorder.training.kinds.text",
    "zebra": "anyorder.training.kinds.zebra",
}
"""Name of a kind to the module that holds it."""


class HeldOut(Protocol):
    """Something that a network is judged by while it trains."""

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """Records for the log, each with a ``puzzles`` or ``set`` (of what), and its figures by name."""
        ...


@dataclass(frozen=True)
class Kind:
    """How one kind of task is trained.

    Attributes:
        name: as in ``task.name``.
        task, data, evaluation: frozen dataclasses, the settings of the sections of these names. ``task`` has a field
            ``name``, ``evaluation`` one named ``every_steps`` (int or None).
        shape: what the task decides of ``TransformerConfig``, by name.
        facts: the task as a model's ``config.json`` holds it.
        open_data: ``(settings, run_dir, progress)`` gives the training data, made once and kept in ``run_dir``;
            ``progress`` is called with (made, count).
        open_evaluation: ``(settings, run_dir, data)`` gives what the network is judged by.
        describe: the data settings (as JSON data) in words, for the card: where they come from, how they are drawn.
        drawn: names of data settings that change the batches although the data are the same.
    """

    name: str
    task: type
    data: type
    evaluation: type
    shape: Callable[[Any], dict[str, Any]]
    facts: Callable[[Any], dict[str, Any]]
    open_data: Callable[[TrainSettings, Path, Callable[[int, int], None] | None], TaskData]
    open_evaluation: Callable[[TrainSettings, Path, Any], Sequence[HeldOut]]
    describe: Callable[[dict[str, Any]], str]
    drawn: tuple[str, ...] = ()


def find_kind(name: object) -> Kind:
    """The kind of this name. Raises ``UserError`` for an unknown one, with the nearest known."""
    if not isinstance(name, str) or name not in KINDS:
        near = difflib.get_close_matches(str(name), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(KINDS)
        raise UserError(f"task.name cannot be {name!r}: {hint}")
    return importlib.import_module(KINDS[name]).KIND
