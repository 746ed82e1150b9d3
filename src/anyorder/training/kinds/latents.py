"""Training on latents-and-observations distributions: fresh sequences at every step, judged by what is generated.

There is no data file: the law is a function of the task's settings, and the sequences of a step one of the run's seed
and the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from anyorder.evaluation.latents import ORDERS, OrderName, generate
from anyorder.tasks.latents import (
    LatentLaw,
    LatentsData,
    nae_sat,
    noisy_parity,
    not_all_equal,
    one_way_bits,
    planted_colouring,
    random_slab,
    sparse_predicate,
)
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import check_evaluation
from anyorder.training.strict import plain, require

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class LatentsTask:
    """One L&O distribution (`anyorder.tasks.latents`).

    Attributes:
        family: "nae-sat", "colouring", "parity", "one-way" and "slab" have ``observations`` random ones;
            "all-subsets" has not-all-equal on every ordered k-subset, and its number of observations follows.
        latents: N.
        observations: P; 0 for "all-subsets".
        k: latents that an observation looks at (not of "slab", and 2 for "colouring").
        values: of a latent, for "colouring" and "all-subsets".
        noise: share of flipped observations, for "parity".
        placement: "identity" puts latents first, "random" draws the permutation pi.
        padding: constant positions added at the end, given and attended to.
        seed: of scopes and permutation: another seed is another distribution.
    """

    name: Literal["latents"] = "latents"
    family: Literal["nae-sat", "all-subsets", "colouring", "parity", "one-way", "slab"] = "nae-sat"
    latents: int = 10
    observations: int = 50
    k: int = 3
    values: int = 2
    noise: float = 0.0
    placement: Literal["identity", "random"] = "identity"
    padding: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.latents >= 1, "task.latents must be at least 1")
        require((self.observations == 0) == (self.family == "all-subsets"), "task.observations: 0 is for all-subsets")
        require(self.noise == 0 or self.family == "parity", "task.noise belongs to the family parity")
        require(self.values == 2 or self.family in ("colouring", "all-subsets"), "task.values must be 2 here")
        require(self.padding == 0 or self.family == "nae-sat", "task.padding belongs to the family nae-sat")
        require(self.seed >= 0, "task.seed must not be negative")
        make_law(self)


@lru_cache(maxsize=16)
def make_law(task: LatentsTask) -> LatentLaw:
    """The distribution of a task. Raises ``UserError`` where its sizes make none."""
    sizes, seed, placement = (task.latents, task.observations), task.seed, task.placement
    match task.family:
        case "nae-sat":
            return nae_sat(*sizes, seed=seed, k=task.k, placement=placement, padding=task.padding)
        case "all-subsets":
            return sparse_predicate(task.latents, not_all_equal(task.k, task.values), seed=seed, placement=placement)
        case "colouring":
            return planted_colouring(*sizes, colours=task.values, seed=seed, placement=placement)
        case "parity":
            return noisy_parity(*sizes, k=task.k, noise=task.noise, seed=seed, placement=placement)
        case "one-way":
            return one_way_bits(*sizes, k=task.k, seed=seed, placement=placement)
        case "slab":
            return random_slab(*sizes, seed=seed, placement=placement)


@dataclass(frozen=True)
class LatentsSource:
    """Nothing is to be set: sequences are drawn from the law as they are needed."""


@dataclass(frozen=True)
class LatentsEvaluation:
    """Generation from nothing during training: ``samples`` sequences under each order.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        samples: sequences of each order; 0 for no evaluation at all, else at least 2.
        steps: reverse steps; null for one position at a time.
        orders: "random" (vanilla), "margin", "top-probability", "entropy", "left-to-right".
        seed: of the draws.
        batch_size: sequences decoded together.
    """

    every_steps: int | None = 500
    samples: int = 256
    steps: int | None = 50
    orders: tuple[OrderName, ...] = ("random", "margin")
    seed: int = 1_000_003
    batch_size: int = 256

    def __post_init__(self) -> None:
        require(self.samples == 0 or self.samples >= 2, "evaluation.samples must be 0 or at least 2")
        require(self.steps is None or self.steps >= 1, "evaluation.steps must be at least 1")
        check_evaluation(self, "samples", "orders")
        require(set(self.orders) <= set(ORDERS), f"evaluation.orders: known are {', '.join(ORDERS)}")


@dataclass(frozen=True)
class GenerationFromNothing:
    """What a network generates, order by order."""

    name: str
    law: LatentLaw
    rules: LatentsEvaluation

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """One record for each order: agreement with its interval, evaluations, diversity of the latents."""
        rules = self.rules
        records = []
        for order in rules.orders:
            made = generate(
                model,
                self.law,
                rules.samples,
                order,
                rules.steps,
                seed=rules.seed,
                batch_size=rules.batch_size,
                device=device,
            )
            records.append({"set": self.name, "strategy": order, "steps": rules.steps, **made.summary()})
        return records


def shape(task: LatentsTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``."""
    law = make_law(task)
    return {"vocab_size": law.vocab_size, "mask_token_id": law.mask_token_id, "length": law.length}


def open_data(
    settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None
) -> LatentsData:
    """The training data; nothing is made or kept."""
    del run_dir, progress
    return LatentsData(make_law(settings.task))


def open_evaluation(settings: TrainSettings, run_dir: Path, data: LatentsData) -> list[GenerationFromNothing]:
    """Generation from nothing, where any is asked for."""
    del run_dir
    rules: LatentsEvaluation = settings.evaluation
    if not rules.samples or not rules.orders:
        return []
    return [GenerationFromNothing(data.law.name, data.law, rules)]


def describe(data: dict[str, Any]) -> str:
    """The data settings in words."""
    del data
    return "drawn afresh from the distribution at every step"


KIND = Kind(
    name="latents",
    task=LatentsTask,
    data=LatentsSource,
    evaluation=LatentsEvaluation,
    shape=shape,
    facts=plain,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
)
