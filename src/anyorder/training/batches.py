"""What one optimiser step sees: a pure function of (run seed, step), cut into the parts of processes and micro-batches.

Sequences, masks, weights and dropout seeds are drawn for the whole global batch of B rows, on every process alike (it
costs microseconds a row), and only then cut: process r of R, micro-batch k of K takes rows

    r B / R + k B / (R K)  ...  r B / R + (k + 1) B / (R K).

So the draws depend on neither R nor K, the mask counts stay spread evenly over the global batch, and the global weight

    W = sum over rows b of w_b c_b       (c_b masked positions of weight w_b)

that normalises the loss is known everywhere without communication.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from anyorder.core.corruption import BetaCount, UniformCount, corrupt
from anyorder.core.errors import UserError
from anyorder.training.dropout import dropout_seeds
from anyorder.training.seeds import derived_generator, derived_seed
from anyorder.training.settings import ObjectiveSettings

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from anyorder.tasks.task import TaskData


class StepBatch(NamedTuple):
    """The rows of one step (or a part of them), masked.

    ``weight`` is that of a masked position of the row, already over the global weight W: the loss is the plain sum of
    ``weight[row] * -log p``. ``seed`` keys the row's dropout. ``attention_mask`` is false at padding; None without any.
    """

    tokens: Int[Tensor, "b L"]
    targets: Int[Tensor, "b L"]
    masked: Bool[Tensor, "b L"]
    weight: Float[Tensor, " b"]
    seed: Int[Tensor, " b"]
    attention_mask: Bool[Tensor, "b L"] | None = None

    def part(self, start: int, stop: int) -> StepBatch:
        """The rows from ``start`` up to ``stop``."""
        return StepBatch(*(None if tensor is None else tensor[start:stop] for tensor in self))  # pyright: ignore

    def to(self, device: torch.device) -> StepBatch:
        """The same on another device."""
        return StepBatch(*(None if one is None else one.to(device, non_blocking=True) for one in self))  # pyright: ignore


def step_batch(
    data: TaskData, mask_token_id: int, objective: ObjectiveSettings, *, seed: int, step: int, size: int
) -> StepBatch:
    """The global batch of ``size`` rows of step ``step``: the same on every machine and for every way of cutting it."""
    tokens, unknown, order, attention_mask = data.batch(derived_seed(seed, "data"), step, size)
    generator = derived_generator(seed, "masks", step)
    if objective.form == "autoregressive":
        masked_tokens, masked, bound_weight = tokens, unknown, torch.ones(size)
    else:
        if objective.ordered and order is None:
            raise UserError("objective.ordered needs data that have an order; set it to 0")
        law = UniformCount() if (objective.a, objective.b) == (1.0, 1.0) else BetaCount(objective.a, objective.b)
        ranks = None if order is None else _some_ordered(order, objective.ordered, seed, step)
        masked_tokens, masked, bound_weight = corrupt(tokens, unknown, mask_token_id, generator, law=law, order=ranks)
        planned = (planned_rows(objective, seed, step, size) >= 0)[:, None]
        masked = masked | (unknown & planned)
        masked_tokens = masked_tokens.masked_fill(masked, mask_token_id)
    weight = row_weights(masked, objective.weight, bound_weight)
    if not weight.any():
        raise UserError(f"step {step}: none of the {size} sequences has an unknown position to learn from")
    seeds = dropout_seeds(derived_seed(seed, "dropout", step), size)
    return StepBatch(masked_tokens, tokens, masked, weight, seeds, attention_mask)


def row_weights(
    masked: Bool[Tensor, "b L"],
    rule: Literal["row", "root", "token", "bound"],
    bound: Float[Tensor, " b"] | None = None,
) -> Float[Tensor, " b"]:
    """The weight of a masked position of each row, over the global weight W; 0 everywhere where nothing is masked.

    Args:
        masked: the rows of the whole step.
        rule: ``objective.weight``.
        bound: the weights of the rule "bound".
    """
    counts = masked.sum(1).double()
    match rule:
        case "row":
            weight = 1 / counts.clamp(min=1)
        case "root":
            weight = counts.clamp(min=1).rsqrt()
        case "token":
            weight = torch.ones_like(counts)
        case "bound":
            assert bound is not None
            weight = bound.double()
    total = (weight * counts).sum()
    return (weight / total if total > 0 else torch.zeros_like(weight)).float()


def planned_rows(objective: ObjectiveSettings, seed: int, step: int, size: int) -> Int[Tensor, " b"]:
    """Steps of the plan that each row of a step is moved on by, 0 to ``planned.steps``; -1 in rows without a plan.

    As many rows as the share says, up to rounding, are planned: their number is the same at every step.
    """
    rules = objective.planned
    generator = derived_generator(seed, "planned", step)
    steps = torch.randint(rules.steps + 1, (size,), generator=generator)
    rank = torch.randperm(size, generator=generator)
    return torch.where(rank < round(rules.share * size), steps, -1)


def _some_ordered(order: Int[Tensor, "b L"], share: float, seed: int, step: int) -> Int[Tensor, "b L"]:
    """The order in a random ``share`` of the rows; in the others every position ranks alike."""
    chosen = torch.rand(len(order), dtype=torch.float64, generator=derived_generator(seed, "ordered", step)) < share
    return torch.where(chosen[:, None], order, 0)


class Prefetcher:
    """Draws the next step's batch in a thread while the present one is used."""

    def __init__(
        self, data: TaskData, mask_token_id: int, objective: ObjectiveSettings, *, seed: int, size: int
    ) -> None:
        self._arguments = (data, mask_token_id, objective)
        self._seed, self._size = seed, size
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[int, Future[StepBatch]] | None = None

    def get(self, step: int, last: bool) -> StepBatch:
        """The batch of ``step``; starts on that of ``step + 1`` unless ``last``."""
        future = self._next[1] if self._next is not None and self._next[0] == step else self._submit(step)
        batch = future.result()
        self._next = None if last else (step + 1, self._submit(step + 1))
        return batch

    def close(self) -> None:
        """Drop what is under way."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, step: int) -> Future[StepBatch]:
        return self._pool.submit(step_batch, *self._arguments, seed=self._seed, step=step, size=self._size)
