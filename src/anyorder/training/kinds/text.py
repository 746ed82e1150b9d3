"""Training on text: masked diffusion, an autoregressive model, or a pi-learner, from one folder of tokens.

``task.order`` names what is learned. Without one it is masked diffusion (objective.form: masked). ``left-to-right`` is
an autoregressive model. ``identity``, ``much-closer``, ``closer`` and ``uniform`` are pi-learners: the same causal
network on sequences permuted by one fixed pi. Rotary phases would tell such a network which tokens are neighbours *in
the permuted sequence*, and favour orders near the identity by construction, so pi-learners take learned positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.evaluation.generation import teacher_forced
from anyorder.evaluation.likelihood import likelihood_bound
from anyorder.tasks.text.data import TextData
from anyorder.tasks.text.permutations import make_permutation
from anyorder.tasks.text.shards import TokenSet
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import check_evaluation
from anyorder.training.strict import require

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer
    from anyorder.tasks.task import Batch
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class TextTask:
    """Sequences of tokens.

    Attributes:
        length: tokens of text in a sequence (an autoregressive network sees a start token in front).
        tokenizer: name of the tokenizer, as the folder of tokens has it.
        vocab_size: its tokens; the mask is the last one.
        order: null for masked diffusion, "left-to-right" for an autoregressive model, the others are pi-learners.
        draw: which draw of a random order.
    """

    name: Literal["text"] = "text"
    length: int = 1024
    tokenizer: str = "bytes"
    vocab_size: int = 259
    order: Literal["left-to-right", "identity", "much-closer", "closer", "uniform"] | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        require(self.length >= 1, "task.length must be at least 1")
        require(self.vocab_size >= 4, "task.vocab_size must be at least 4")
        require(self.draw >= 0, "task.draw must not be negative")

    @property
    def learns_permutation(self) -> bool:
        """Whether this is a pi-learner."""
        return self.order not in (None, "left-to-right")

    @property
    def permutation(self) -> torch.Tensor | None:
        """pi, (length,) int64; None for masked diffusion."""
        if self.order is None:
            return None
        return make_permutation(self.order if self.learns_permutation else "identity", self.length, self.draw)


@dataclass(frozen=True)
class TextSource:
    """Where the tokens are: ``path``, a folder made by ``anyorder data text``."""

    path: str = ""


@dataclass(frozen=True)
class TextEvaluation:
    """The loss on held-out text, in nats per token: exact along an order, the bound of masked diffusion else.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        sequences: of the validation split, spread evenly over it; 0 for no evaluation at all.
        draws: masks drawn for each sequence (masked diffusion only).
        seed: of these masks.
        batch_size: sequences in a forward pass.
    """

    every_steps: int | None = 500
    sequences: int = 64
    draws: int = 16
    seed: int = 1_000_003
    batch_size: int = 16

    def __post_init__(self) -> None:
        check_evaluation(self, "sequences")
        require(self.draws >= 2, "evaluation.draws must be at least 2")
        require(self.seed >= 0, "evaluation.seed must not be negative")


def shape(task: TextTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``."""
    known: dict[str, Any] = {"vocab_size": task.vocab_size, "mask_token_id": task.vocab_size - 1}
    if task.order is None:
        return {**known, "length": task.length, "attention": "bidirectional", "logits_shift": False}
    known |= {"length": task.length + 1, "attention": "causal", "logits_shift": True}
    return {**known, "positions": "learned"} if task.learns_permutation else known


def facts(task: TextTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    names = ("name", "length", "tokenizer", "vocab_size", "order", "draw")
    return {name: getattr(task, name) for name in names}


def open_split(settings: TrainSettings, split: Literal["train", "validation"]) -> TextData:
    """A split of the folder of tokens as sequences of the task.

    Raises:
        UserError: no folder, tokens of another tokenizer, or an objective that does not belong to the order.
    """
    task: TextTask = settings.task
    require(settings.data.path != "", "data.path is missing: name a folder made by anyorder data text")
    form = "masked" if task.order is None else "autoregressive"
    if settings.objective.form != form:
        raise UserError(f"task.order: {task.order or 'null'} is trained by objective.form: {form}")
    tokens = TokenSet(settings.data.path, split)
    index = tokens.index
    if (index.tokenizer, index.vocab_size) != (task.tokenizer, task.vocab_size):
        raise UserError(
            f"{settings.data.path} holds tokens of {index.tokenizer} (vocab_size {index.vocab_size}), but the task "
            f"says {task.tokenizer} (vocab_size {task.vocab_size})"
        )
    require(index.mask_token_id == index.vocab_size - 1, f"{settings.data.path}: the mask must be the last token")
    return TextData(tokens, task.length, task.permutation)


def open_data(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None) -> TextData:
    """The training sequences; nothing is made, so ``run_dir`` and ``progress`` are not used."""
    return open_split(settings, "train")


@dataclass(frozen=True, eq=False)
class HeldOutText:
    """The validation sequences of a run."""

    batch: Batch
    rules: TextEvaluation
    masked: bool

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """One record: nats per token with its standard error, the same in bits, sequences and tokens."""
        tokens, unknown = self.batch.tokens.to(device), self.batch.unknown.to(device)
        if self.masked:
            generator = torch.Generator(device).manual_seed(self.rules.seed)
            bound = likelihood_bound(
                model,
                Canvas(tokens, unknown),
                generator,
                rounds=2,
                draws=self.rules.draws // 2,
                batch_size=self.rules.batch_size,
            )
            nats = bound.mean
        else:
            nats = teacher_forced(model, tokens, unknown, batch_size=self.rules.batch_size)
        per_token = nats / unknown.sum(1).cpu()
        rows = len(per_token)
        return [
            {
                "set": "validation",
                "nats_per_token": float(per_token.mean()),
                # over sequences, the noise of the drawn masks included
                "standard_error": float(per_token.std()) / math.sqrt(rows) if rows > 1 else None,
                "bits_per_token": float(per_token.mean()) / math.log(2),
                "sequences": rows,
                "tokens": int(unknown.sum()),
            }
        ]


def open_evaluation(settings: TrainSettings, run_dir: Path, data: TextData) -> list[HeldOutText]:
    """The validation split of the folder of tokens, where sequences of it are asked for."""
    rules: TextEvaluation = settings.evaluation
    if not rules.sequences:
        return []
    batch = open_split(settings, "validation").evenly(rules.sequences)
    return [HeldOutText(batch, rules, settings.objective.form == "masked")]


def describe(data: dict[str, Any]) -> str:
    """The data settings in words."""
    return f"the folder of tokens {Path(data['path']).name}"


KIND = Kind(
    name="text",
    task=TextTask,
    data=TextSource,
    evaluation=TextEvaluation,
    shape=shape,
    facts=facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
)
