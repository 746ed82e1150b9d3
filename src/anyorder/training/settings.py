"""The settings of a training run: one YAML file, one frozen dataclass that validates itself.

Every setting has its meaning here and nowhere else. ``load_settings`` reads a file; ``TrainSettings`` can as well be
built in code. The network's own settings are ``models.transformer.TransformerConfig``; what the task decides
(vocabulary size, mask token, length, box shape) may be left out of the file. The sections ``task``, ``data`` and
``evaluation`` are those of the task's kind (``kinds``), which ``task.name`` chooses.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anyorder.core.errors import UserError
from anyorder.training.kinds import find_kind
from anyorder.training.strict import build, plain, read_yaml, require

CONFIGS = Path(__file__).parent / "configs"
SECTIONS = ("task", "data", "evaluation")
"""The sections that belong to the task's kind."""


@dataclass(frozen=True)
class PlannedSettings:
    """Rows whose state is reached by the network's own plan, with true tokens (`anyorder.training.planned`).

    Attributes:
        share: of the rows; 0 for none.
        steps: of the plan, at most; each row takes 0 to this many.
        entropy: positions below it are revealed together, in nats.
        most: of them in a step, at most.
    """

    share: float = 0.0
    steps: int = 4
    entropy: float = 0.2
    most: int = 8

    def __post_init__(self) -> None:
        require(0 <= self.share <= 1, "objective.planned.share must lie in [0, 1]")
        require(self.steps >= 0, "objective.planned.steps must not be negative")
        require(self.entropy >= 0, "objective.planned.entropy must not be negative")
        require(self.most >= 1, "objective.planned.most must be at least 1")


@dataclass(frozen=True)
class ObjectiveSettings:
    """The loss: sum over rows b and masked positions i of w_b * -log p(x_i | unmasked), over the sum of all w_b.

    Attributes:
        form: "masked" is the above. "autoregressive" masks nothing: every unknown position is a target, and a causal
            network that reads position i's logits at i - 1 (``logits_shift``) gets the whole sequence in one pass.
        ordered: share of the rows whose masked positions are the last of the order that the data give, ties at random,
            instead of a random set: the states that decoding in that order meets. It is then no bound on the
            likelihood.
        weight: of a row with c masked positions: "row" 1/c (every row counts once; with the uniform law this is the
            masked-diffusion bound per unknown position), "root" 1/sqrt(c), "token" 1 (every masked position counts
            once), "bound" the weight that makes the sum an unbiased estimate of the bound whatever the law.
        a, b: the law of the mask count: beta-binomial on 1..U, for U unknown positions. (1, 1) is uniform; a larger
            ``a`` leans to many masks. Only "bound" corrects for the law.
        depths: of a network that loops over its blocks: "all" averages the loss over the depths, "last" takes the last.
        planned: rows masked as the network's own plan would have it; like ordered ones they are no part of a bound.
    """

    form: Literal["masked", "autoregressive"] = "masked"
    ordered: float = 0.0
    weight: Literal["row", "root", "token", "bound"] = "row"
    a: float = 1.0
    b: float = 1.0
    depths: Literal["all", "last"] = "all"
    planned: PlannedSettings = field(default_factory=PlannedSettings)

    def __post_init__(self) -> None:
        require(0 < self.a < math.inf and 0 < self.b < math.inf, "objective.a and objective.b must be above 0")
        require(0 <= self.ordered <= 1, "objective.ordered must lie in [0, 1]")
        require(self.form == "masked" or self.ordered == 0, "objective.ordered belongs to the form masked")
        alone = self.form == "masked" and self.weight != "bound"
        require(alone or self.planned.share == 0, "objective.planned belongs to the form masked without weight: bound")


@dataclass(frozen=True)
class AdamWSettings:
    """AdamW (Loshchilov and Hutter 2019); decay is decoupled and applies to matrices only unless ``decay_all``."""

    rate: float = 3e-3
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    decay_all: bool = False

    def __post_init__(self) -> None:
        require(self.rate >= 0 and math.isfinite(self.rate), "optimizer.adamw.rate must be a finite number >= 0")
        require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "optimizer.adamw: beta1 and beta2 must lie in [0, 1)")
        require(self.epsilon > 0, "optimizer.adamw.epsilon must be above 0")
        require(self.weight_decay >= 0, "optimizer.adamw.weight_decay must not be negative")


@dataclass(frozen=True)
class MuonSettings:
    """Muon (Jordan 2024) for the matrices inside the network; see ``optimisers.MuonAdamW`` for the update.

    Attributes:
        rate: learning rate, before the factor named by ``scale``.
        momentum: of the gradient's moving sum.
        nesterov: look one momentum step ahead.
        weight_decay: decoupled, times the (scheduled) rate.
        iterations: Newton-Schulz iterations.
        scale: "spectral" multiplies the rate by sqrt(max(1, rows/columns)) (rates near 0.02); "rms" by
            0.2 sqrt(max(rows, columns)), which gives the update AdamW's size (rates near 1e-3).
        split: orthogonalise the query, key and value parts of a fused projection each for itself.
        precision: of Newton-Schulz: "auto" is bfloat16 on a GPU and float32 elsewhere.
    """

    rate: float = 0.02
    momentum: float = 0.95
    nesterov: bool = True
    weight_decay: float = 0.0
    iterations: int = 5
    scale: Literal["spectral", "rms"] = "spectral"
    split: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        require(self.rate >= 0 and math.isfinite(self.rate), "optimizer.muon.rate must be a finite number >= 0")
        require(0 <= self.momentum < 1, "optimizer.muon.momentum must lie in [0, 1)")
        require(self.weight_decay >= 0, "optimizer.muon.weight_decay must not be negative")
        require(1 <= self.iterations <= 20, "optimizer.muon.iterations must lie in 1..20")


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW for everything, or (``muon`` given) Muon for inner matrices and AdamW for the rest.

    ``clip`` bounds the norm of the gradient of the weights that AdamW updates, taken together. Muon's update does not
    depend on the size of its gradient and needs no bound.
    """

    adamw: AdamWSettings = field(default_factory=AdamWSettings)
    muon: MuonSettings | None = None
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        require(self.clip is None or self.clip > 0, "optimizer.clip must be above 0 (or null for none)")


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning-rate multiplier over the steps; see ``schedule.multiplier``.

    Attributes:
        shape: after the warm-up: "constant", "cosine", "linear" (both from the start), or "flat-then-linear".
        warmup_steps: steps of the linear warm-up from 0.
        decay_share: of all steps, spent in the decay of "flat-then-linear".
        floor: multiplier at the end.
    """

    shape: Literal["constant", "cosine", "linear", "flat-then-linear"] = "flat-then-linear"
    warmup_steps: int = 100
    decay_share: float = 0.4
    floor: float = 0.0

    def __post_init__(self) -> None:
        require(self.warmup_steps >= 0, "schedule.warmup_steps must not be negative")
        require(0 < self.decay_share <= 1, "schedule.decay_share must lie in (0, 1]")
        require(0 <= self.floor <= 1, "schedule.floor must lie in [0, 1]")


@dataclass(frozen=True)
class CheckpointSettings:
    """When the state is saved. A newer checkpoint replaces the older ones once it is complete on the disk.

    Attributes:
        every_minutes: minutes between checkpoints; null for none by time.
        every_steps: steps between checkpoints; null for none by steps.
        keep: checkpoints kept, the newest.
        keep_steps: steps whose checkpoints are written and never deleted. The step at which a "flat-then-linear"
            decay begins is always among them: from there a longer run continues.
    """

    every_minutes: float | None = 10.0
    every_steps: int | None = None
    keep: int = 1
    keep_steps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        require(self.every_minutes is None or self.every_minutes > 0, "checkpoint.every_minutes must be above 0")
        require(self.every_steps is None or self.every_steps >= 1, "checkpoint.every_steps must be at least 1")
        require(self.keep >= 1, "checkpoint.keep must be at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """One training run.

    Attributes:
        name: of the model, and of the run's directory.
        model: settings of ``TransformerConfig``, by name.
        task, data, evaluation: of the task's kind; what is left out has the kind's defaults.
        seed: decides the weights' start, the batches, the masks and the dropout.
        steps: optimiser steps of the whole run.
        batch_size: rows of an optimiser step, over all processes and micro-batches.
        accumulation: micro-batches of a step; changes memory, not the result.
        precision: "float32", or "bfloat16" autocast with float32 weights.
        ema: decay of the moving average of the weights, which is what gets evaluated and shipped; null for none.
            The average starts as a plain mean: its decay at step s is min(ema, (1 + s) / (10 + s)).
        distributed: how several processes share the work: "ddp" (each holds all weights) or "fsdp" (sharded).
        compile: compile the network with torch.compile.
        flush_denormals: let a CPU count numbers below 1e-38 as zero.
        log_every_steps: steps between records of the log.
        trackers: further trackers of accelerate ("tensorboard", "wandb", ...), which must be installed.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    task: Any = None
    data: Any = None
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    evaluation: Any = None
    checkpoint: CheckpointSettings = field(default_factory=CheckpointSettings)
    seed: int = 0
    steps: int = 1000
    batch_size: int = 128
    accumulation: int = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    ema: float | None = 0.999
    distributed: Literal["ddp", "fsdp"] = "ddp"
    compile: bool = False
    flush_denormals: bool = True
    log_every_steps: int = 10
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        kind = find_kind("sudoku" if self.task is None else self.task.name)
        for section in SECTIONS:
            if getattr(self, section) is None:
                object.__setattr__(self, section, getattr(kind, section)())
            wanted, given = getattr(kind, section), getattr(self, section)
            require(
                isinstance(given, wanted),
                f"{section} of a {kind.name} run must be {wanted.__name__}, not {type(given).__name__}",
            )
        require(bool(self.name) and "/" not in self.name and not self.name.startswith("."), f"bad name {self.name!r}")
        require(0 <= self.seed < 2**63, "seed must lie in 0 .. 2^63 - 1")
        require(self.steps >= 1, "steps must be at least 1")
        require(self.batch_size >= 1, "batch_size must be at least 1")
        require(self.accumulation >= 1, "accumulation must be at least 1")
        require(
            self.batch_size % self.accumulation == 0,
            f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}",
        )
        require(self.ema is None or 0 <= self.ema < 1, "ema must lie in [0, 1) (or null for none)")
        require(self.log_every_steps >= 1, "log_every_steps must be at least 1")

    def shortened(self, steps: int | None = None, batch_size: int | None = None) -> TrainSettings:
        """The same for another number of steps, of which at most half warm up, and another batch; None keeps them."""
        steps = self.steps if steps is None else steps
        schedule = dataclasses.replace(self.schedule, warmup_steps=min(self.schedule.warmup_steps, steps // 2))
        return dataclasses.replace(self, steps=steps, batch_size=batch_size or self.batch_size, schedule=schedule)

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON data; ``from_dict`` undoes it."""
        return {name.name: plain(getattr(self, name.name)) for name in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Settings from JSON or YAML data. Raises ``UserError`` for anything unknown or of the wrong type."""
        if not isinstance(values, Mapping):
            return build(cls, values)
        task = values.get("task")
        kind = find_kind(task.get("name", "sudoku") if isinstance(task, Mapping) else "sudoku")
        sections = {name: build(getattr(kind, name), values[name], name) for name in SECTIONS if name in values}
        return build(cls, {**values, **sections})


def load_settings(path: str | Path) -> TrainSettings:
    """The settings of a YAML file, or of a shipped configuration named without its directory and suffix."""
    path = Path(path)
    if not path.exists() and path.suffix == "" and (CONFIGS / f"{path}.yaml").exists():
        path = CONFIGS / f"{path}.yaml"
    if not path.exists():
        shipped = sorted(file.stem for file in CONFIGS.glob("*.yaml"))
        raise UserError(f"no such configuration file: {path} (shipped: {', '.join(shipped) or 'none'})")
    try:
        return TrainSettings.from_dict(read_yaml(path))
    except UserError as error:
        raise error if str(path) in str(error) else UserError(f"{path}: {error}") from None
