"""The settings of a training run: one YAML file, one frozen dataclass that validates itself.

Every setting has its meaning here and nowhere else. ``load_settings`` reads a file; ``TrainSettings`` can as well be
built in code. The network's own settings are ``models.transformer.TransformerConfig``; what the task decides
(vocabulary size, mask token, length, box shape) may be left out of the file.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from anyorder.core.errors import UserError
from anyorder.training.strict import build, plain, read_yaml

CONFIGS = Path(__file__).parent / "configs"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)


@dataclass(frozen=True)
class TaskSettings:
    """What the sequences are. Only Sudoku so far: ``box_rows`` x ``box_columns`` boxes, n = their product digits."""

    name: Literal["sudoku"] = "sudoku"
    box_rows: int = 3
    box_columns: int = 3

    def __post_init__(self) -> None:
        _require(self.box_rows >= 1 and self.box_columns >= 1, "task.box_rows and box_columns must be at least 1")
        _require(2 <= self.size <= 36, f"task: a {self.box_rows}x{self.box_columns} box gives {self.size} digits")

    @property
    def size(self) -> int:
        """Digits, rows and columns of the grid."""
        return self.box_rows * self.box_columns

    @property
    def length(self) -> int:
        """Positions of a sequence."""
        return self.size**2


@dataclass(frozen=True)
class DataSettings:
    """Where the training sequences come from: generated from ``seed``, or read from ``path``.

    Attributes:
        count: base puzzles to generate (before augmentation).
        seed: seed of the generator; held-out puzzles come from another (``evaluation.seed``).
        grade: grade of the generated puzzles: "logic" (the seven strategies finish), "hard" (they do not), "any".
        distinct: "symmetry" makes no symmetric copy of another puzzle, "puzzle" only no equal one (small boxes have
            few puzzles up to symmetry). Held-out puzzles keep the same distance from the training puzzles.
        path: a data file (.npz, or a table or text with solutions) to use instead of generating.
        augment: draw a random symmetry of the puzzle each time it is used.
        limit: use only this many of the puzzles.
    """

    count: int = 60_000
    seed: int = 0
    grade: Literal["any", "logic", "hard"] = "any"
    distinct: Literal["symmetry", "puzzle"] = "symmetry"
    path: str | None = None
    augment: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        _require(self.count >= 1, "data.count must be at least 1")
        _require(self.seed >= 0, "data.seed must not be negative")
        _require(self.limit is None or self.limit >= 1, "data.limit must be at least 1")


@dataclass(frozen=True)
class ObjectiveSettings:
    """The loss: sum over rows b and masked positions i of w_b * -log p(x_i | unmasked), over the sum of all w_b.

    Attributes:
        weight: of a row with c masked positions: "row" 1/c (every row counts once; with the uniform law this is the
            masked-diffusion bound per unknown position), "root" 1/sqrt(c), "token" 1 (every masked position counts
            once), "bound" the weight that makes the sum an unbiased estimate of the bound whatever the law.
        a, b: the law of the mask count: beta-binomial on 1..U, for U unknown positions. (1, 1) is uniform; a larger
            ``a`` leans to many masks. Only "bound" corrects for the law.
        depths: of a network that loops over its blocks: "all" averages the loss over the depths, "last" takes the last.
    """

    weight: Literal["row", "root", "token", "bound"] = "row"
    a: float = 1.0
    b: float = 1.0
    depths: Literal["all", "last"] = "all"

    def __post_init__(self) -> None:
        _require(0 < self.a < math.inf and 0 < self.b < math.inf, "objective.a and objective.b must be above 0")


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
        _require(self.rate >= 0 and math.isfinite(self.rate), "optimizer.adamw.rate must be a finite number >= 0")
        _require(0 <= self.beta1 < 1 and 0 <= self.beta2 < 1, "optimizer.adamw: beta1 and beta2 must lie in [0, 1)")
        _require(self.epsilon > 0, "optimizer.adamw.epsilon must be above 0")
        _require(self.weight_decay >= 0, "optimizer.adamw.weight_decay must not be negative")


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
        _require(self.rate >= 0 and math.isfinite(self.rate), "optimizer.muon.rate must be a finite number >= 0")
        _require(0 <= self.momentum < 1, "optimizer.muon.momentum must lie in [0, 1)")
        _require(self.weight_decay >= 0, "optimizer.muon.weight_decay must not be negative")
        _require(1 <= self.iterations <= 20, "optimizer.muon.iterations must lie in 1..20")


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
        _require(self.clip is None or self.clip > 0, "optimizer.clip must be above 0 (or null for none)")


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
        _require(self.warmup_steps >= 0, "schedule.warmup_steps must not be negative")
        _require(0 < self.decay_share <= 1, "schedule.decay_share must lie in (0, 1]")
        _require(0 <= self.floor <= 1, "schedule.floor must lie in [0, 1]")


@dataclass(frozen=True)
class EvaluationSettings:
    """Decoding of held-out puzzles during training: ``puzzles`` of each grade, under each strategy.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        puzzles: held-out puzzles of each grade; 0 for no evaluation at all.
        grades: the grades, evaluated apart ("any": whatever the generator makes).
        strategies: names of ``anyorder.strategies``.
        seed: of the held-out puzzles.
        paths: files of held-out puzzles by name, evaluated as well (the first ``puzzles`` of each).
        batch_size: rows decoded together.
    """

    every_steps: int | None = 500
    puzzles: int = 128
    grades: tuple[Literal["logic", "hard", "any"], ...] = ("logic", "hard")
    strategies: tuple[str, ...] = ("margin", "random")
    seed: int = 1_000_003
    paths: dict[str, str] = field(default_factory=dict)
    batch_size: int = 128

    def __post_init__(self) -> None:
        _require(self.every_steps is None or self.every_steps >= 1, "evaluation.every_steps must be at least 1")
        _require(self.puzzles >= 0, "evaluation.puzzles must not be negative")
        _require(self.batch_size >= 1, "evaluation.batch_size must be at least 1")
        _require(len(set(self.strategies)) == len(self.strategies), "evaluation.strategies names one twice")


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
        _require(self.every_minutes is None or self.every_minutes > 0, "checkpoint.every_minutes must be above 0")
        _require(self.every_steps is None or self.every_steps >= 1, "checkpoint.every_steps must be at least 1")
        _require(self.keep >= 1, "checkpoint.keep must be at least 1")


@dataclass(frozen=True)
class TrainSettings:
    """One training run.

    Attributes:
        name: of the model, and of the run's directory.
        model: settings of ``TransformerConfig``, by name.
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
    task: TaskSettings = field(default_factory=TaskSettings)
    data: DataSettings = field(default_factory=DataSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    schedule: ScheduleSettings = field(default_factory=ScheduleSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
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
        _require(bool(self.name) and "/" not in self.name and not self.name.startswith("."), f"bad name {self.name!r}")
        _require(0 <= self.seed < 2**63, "seed must lie in 0 .. 2^63 - 1")
        _require(self.steps >= 1, "steps must be at least 1")
        _require(self.batch_size >= 1, "batch_size must be at least 1")
        _require(self.accumulation >= 1, "accumulation must be at least 1")
        _require(
            self.batch_size % self.accumulation == 0,
            f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}",
        )
        _require(self.ema is None or 0 <= self.ema < 1, "ema must lie in [0, 1) (or null for none)")
        _require(self.log_every_steps >= 1, "log_every_steps must be at least 1")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON data; ``from_dict`` undoes it."""
        return {name.name: plain(getattr(self, name.name)) for name in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Settings from JSON or YAML data. Raises ``UserError`` for anything unknown or of the wrong type."""
        return build(cls, values)


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
