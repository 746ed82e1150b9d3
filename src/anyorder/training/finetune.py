"""One round of supervised fine-tuning of any denoiser that is a module: all of its weights, or low-rank updates (LoRA).

The loss is that of training (`step`, `batches`): positions of each row's unknown part are masked, and the network is
asked for them. What a round learns from are whole rows, of a task's data or `Sequences`: (prompt, trace, answer) with
the prompt known. The model that is given is left as it is; a new one comes back.

LoRA (Hu et al. 2021, 2106.09685) is PEFT's, which is imported only where it is asked for: each chosen linear layer W
becomes W + (alpha / rank) B A, A and B are trained, and the sum is folded into W at the end.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from anyorder.core.errors import UserError
from anyorder.tasks.task import Batch
from anyorder.training.batches import step_batch
from anyorder.training.optimisers import make_optimiser
from anyorder.training.rates import multiplier
from anyorder.training.seeds import derived_seed
from anyorder.training.settings import AdamWSettings, ObjectiveSettings, OptimizerSettings, ScheduleSettings
from anyorder.training.step import MaskedLoss
from anyorder.training.strict import require

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor

    from anyorder.tasks.task import TaskData

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank updates.

    Attributes:
        rank: of each update.
        alpha: the update is scaled by ``alpha / rank``.
        targets: names of the linear layers that get one, as their last part or whole.
        dropout: of the update's input.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ("qkv", "out", "up", "down", "gate")
    dropout: float = 0.0

    def __post_init__(self) -> None:
        require(self.rank >= 1, "lora.rank must be at least 1")
        require(self.alpha > 0 and math.isfinite(self.alpha), "lora.alpha must be above 0")
        require(bool(self.targets), "lora.targets must name at least one layer")
        require(0 <= self.dropout < 1, "lora.dropout must lie in [0, 1)")


@dataclass(frozen=True)
class FinetuneSettings:
    """One round.

    Attributes:
        steps: optimiser steps.
        batch_size: rows of a step.
        objective, optimizer, schedule: as in `TrainSettings`.
        lora: low-rank updates instead of all weights; None for all weights.
        seed: of batches, masks, dropout and the starting updates.
    """

    steps: int = 300
    batch_size: int = 64
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=lambda: OptimizerSettings(adamw=AdamWSettings(rate=5e-4)))
    schedule: ScheduleSettings = field(default_factory=lambda: ScheduleSettings("linear", warmup_steps=20))
    lora: LoraSettings | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps must be at least 1")
        require(self.batch_size >= 1, "batch_size must be at least 1")
        require(self.seed >= 0, "seed must not be negative")
        require(self.objective.planned.share == 0, "objective.planned belongs to training; fine-tuning follows no plan")


@dataclass(frozen=True, eq=False)
class Sequences:
    """Rows that are trained on as they are, drawn at random: a `TaskData`.

    Attributes:
        tokens: int64 (rows, length), whole.
        unknown: bool (rows, length), what is learned; the rest is known.
        attention_mask: bool (rows, length), false at padding; None without any.
    """

    tokens: Int64[Tensor, "rows length"]
    unknown: Bool[Tensor, "rows length"]
    attention_mask: Bool[Tensor, "rows length"] | None = None

    def __post_init__(self) -> None:
        if not len(self.tokens):
            raise UserError("fine-tuning needs at least one row")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def fingerprint(self) -> str:
        """A hash of the rows."""
        digest = hashlib.sha256()
        for tensor in (self.tokens, self.unknown, self.attention_mask):
            digest.update(b"none" if tensor is None else tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step, without repeats within an epoch; reading order goes with them."""
        place = np.arange(step * size, (step + 1) * size)
        index = np.empty(size, np.int64)
        for epoch in np.unique(place // len(self)):
            order = np.random.default_rng([seed, int(epoch)]).permutation(len(self))
            chosen = place // len(self) == epoch
            index[chosen] = order[place[chosen] % len(self)]
        rows = torch.from_numpy(index)
        mask = None if self.attention_mask is None else self.attention_mask[rows]
        tokens = self.tokens[rows]
        order = torch.arange(tokens.shape[1]).expand(tokens.shape)
        return Batch(tokens, self.unknown[rows], order=order, attention_mask=mask)


def finetune(
    model: Model,
    data: TaskData,
    settings: FinetuneSettings,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """A copy of ``model`` after one round on ``data``, in evaluation mode, on the model's device.

    Args:
        model: a denoiser that is a module: ``model(tokens, attention_mask=..., at=...)``, with ``mask_token_id``.
        data: what to learn from, for example `Sequences`.
        settings: of the round.
        progress: called with (steps done, steps).

    Raises:
        UserError: LoRA without PEFT installed, or naming no layer of the model; a loss that is not finite.
    """
    mask_token_id = getattr(model, "mask_token_id", None)
    if not isinstance(model, nn.Module) or not isinstance(mask_token_id, int):
        raise UserError(f"finetune: {type(model).__name__} is no denoiser that is a torch module")
    learner = copy.deepcopy(model)
    device = next(learner.parameters()).device
    updates = None if settings.lora is None else _add_updates(learner, settings.lora, settings.seed)
    if updates is None:
        learner.requires_grad_(True)
    loss_of = MaskedLoss(learner, all_depths=settings.objective.depths == "all")
    optimiser = make_optimiser(learner, settings.optimizer)
    learner.train()
    for step in range(settings.steps):
        batch = step_batch(
            data, mask_token_id, settings.objective, seed=settings.seed, step=step, size=settings.batch_size
        ).to(device)
        loss = loss_of(*batch)[0]
        if not bool(loss.isfinite()):
            raise UserError(f"fine-tuning: the loss is not finite at step {step}; lower the rates")
        loss.backward()
        optimiser.set_multiplier(multiplier(settings.schedule, step, settings.steps))
        optimiser.clip(settings.optimizer.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if progress is not None:
            progress(step + 1, settings.steps)
    if updates is not None:
        updates.merge_and_unload()
    learner.requires_grad_(True)
    return learner.eval()


def _add_updates(model: nn.Module, settings: LoraSettings, seed: int) -> Any:
    """Put low-rank updates into ``model``, in place; only they stay trainable. Returns PEFT's handle."""
    try:
        # By name: training has to run where PEFT is not installed.
        peft = importlib.import_module("peft")
    except ImportError:
        raise UserError("LoRA needs PEFT: pip install 'anyorder[hf]'") from None
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    whole = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets = [name for name in settings.targets if name in names or name in whole]
    if not targets:
        raise UserError(
            f"lora.targets {', '.join(settings.targets)}: the model has no such linear layer; it has "
            f"{', '.join(sorted(names))}"
        )
    config = peft.LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, target_modules=targets, lora_dropout=settings.dropout, bias="none"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "lora"))
        return peft.LoraModel(model, config, "default")
