"""Training on Zebra puzzles: masked diffusion on the grid, or an autoregressive model of (attribute, house, value)
triples.

Generated puzzles are a function of the settings alone, so a run directory that lost its data file makes the same again.
Held-out puzzles are never training puzzles, nor symmetric copies of one.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.evaluation.zebra import solve_zebra
from anyorder.tasks.zebra import KINDS, Layout, Puzzles, Recipe, Size, ZebraData, generate
from anyorder.tasks.zebra.rules import parse_size
from anyorder.training.kinds import Kind
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.models.transformer import Transformer
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class ZebraTask:
    """What a sequence is.

    Attributes:
        sizes: of the puzzles, as HOUSESxATTRIBUTES; a generated puzzle has one of them, all equally likely.
        clues: the most clues of a puzzle.
        answer: "grid" for masked diffusion, "triples" for an autoregressive model.
        order: of triples: the cells in cell order ("fixed") or as the solver fills them ("solver").
    """

    name: Literal["zebra"] = "zebra"
    sizes: tuple[str, ...] = ("4x4",)
    clues: int = 20
    answer: Literal["grid", "triples"] = "grid"
    order: Literal["fixed", "solver"] = "fixed"

    def __post_init__(self) -> None:
        require(bool(self.sizes), "task.sizes names no size")
        require(len(set(self.sizes)) == len(self.sizes), "task.sizes names one twice")
        require(self.answer == "triples" or self.order == "fixed", "task.order belongs to answer: triples")
        self.layout  # noqa: B018  (checks sizes and clues)

    @property
    def all_sizes(self) -> tuple[Size, ...]:
        """The sizes, read. Raises ``UserError`` for one that is none."""
        return tuple(parse_size(text) for text in self.sizes)

    @property
    def layout(self) -> Layout:
        """How the sequences are laid out."""
        sizes = self.all_sizes
        houses, attributes = max(size.houses for size in sizes), max(size.attributes for size in sizes)
        return Layout(houses, attributes, self.clues, self.answer)


@dataclass(frozen=True)
class ZebraSource:
    """Where the training puzzles come from: generated from ``seed``, or read from ``path``.

    Attributes:
        count: base puzzles to generate (before augmentation).
        seed: seed of the generator; held-out puzzles come from another (``evaluation.seed``).
        kinds: the kinds of clues, "all" or "classic" (the published seven).
        hardest: the hardest rule that the solver may need (4 to 6).
        path: a data file (.npz) to use instead of generating.
        augment: draw a random symmetry of the puzzle each time it is used.
        limit: use only this many of the puzzles.
    """

    count: int = 60_000
    seed: int = 0
    kinds: Literal["all", "classic"] = "all"
    hardest: int = 5
    path: str | None = None
    augment: bool = True
    limit: int | None = None

    def __post_init__(self) -> None:
        require(self.count >= 1, "data.count must be at least 1")
        require(self.seed >= 0, "data.seed must not be negative")
        require(4 <= self.hardest <= 6, "data.hardest must be 4, 5 or 6")
        require(self.limit is None or self.limit >= 1, "data.limit must be at least 1")


@dataclass(frozen=True)
class ZebraEvaluation:
    """Decoding of held-out puzzles during training.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        puzzles: held-out puzzles; 0 for no evaluation at all.
        strategies: of a grid, names of ``anyorder.strategies``.
        beams: of triples, beam widths, each a record of its own; 0 is greedy decoding.
        seed: of the held-out puzzles.
        paths: files (.npz) of held-out puzzles by name, used instead (the first ``puzzles`` of each).
        batch_size: rows decoded together.
    """

    every_steps: int | None = 500
    puzzles: int = 128
    strategies: tuple[str, ...] = ("margin", "random")
    beams: tuple[int, ...] = (0,)
    seed: int = 1_000_003
    paths: dict[str, str] = field(default_factory=dict)
    batch_size: int = 128

    def __post_init__(self) -> None:
        require(self.every_steps is None or self.every_steps >= 1, "evaluation.every_steps must be at least 1")
        require(self.puzzles >= 0, "evaluation.puzzles must not be negative")
        require(self.batch_size >= 1, "evaluation.batch_size must be at least 1")
        require(all(beams >= 0 for beams in self.beams), "evaluation.beams must not be negative")
        for name in ("strategies", "beams"):
            values = getattr(self, name)
            require(len(set(values)) == len(values), f"evaluation.{name} names one twice")


def task_facts(task: ZebraTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    known = {name: getattr(task, name) for name in ("name", "clues", "answer", "order")}
    return {**known, "sizes": list(task.sizes)}


def task_shape(task: ZebraTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``."""
    layout = task.layout
    shape = {"vocab_size": layout.vocab_size, "mask_token_id": layout.mask_token_id, "length": layout.length}
    return shape if task.answer == "grid" else {**shape, "attention": "causal", "logits_shift": True}


def recipe(settings: TrainSettings) -> Recipe:
    """What the generator makes for these settings."""
    task, data = settings.task, settings.data
    return Recipe(task.all_sizes, KINDS[data.kinds], data.hardest, most_clues=task.clues)


def open_data(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None) -> ZebraData:
    """The training data: read from ``data.path``, or generated and kept as ``data.npz`` in ``run_dir``.

    ``progress`` is called with (puzzles made, count) while generating.

    Raises:
        UserError: a file that cannot be read or does not fit, or an objective that does not belong to the answer.
    """
    form = "masked" if settings.task.answer == "grid" else "autoregressive"
    if settings.objective.form != form:
        raise UserError(f"task.answer: {settings.task.answer} is trained by objective.form: {form}")
    puzzles = Puzzles.load(settings.data.path) if settings.data.path else _generated(settings, run_dir, progress)
    if settings.data.limit is not None:
        puzzles = puzzles.rows(slice(settings.data.limit))
    ordered = settings.task.order if form == "autoregressive" else "solver" if settings.objective.ordered else "fixed"
    return ZebraData(puzzles, settings.task.layout, order=ordered, augment=settings.data.augment)


def _generated(settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None) -> Puzzles:
    path, wanted = run_dir / "data.npz", recipe(settings)
    origin = f"generated: {wanted.name}, seed {settings.data.seed}, {settings.data.count}"
    if path.exists():
        puzzles = Puzzles.load(path)
        if puzzles.origin != origin:
            raise UserError(
                f"{path} was made by other settings ({puzzles.origin}); delete it, or choose another --run-dir"
            )
        return puzzles
    made = generate(wanted, settings.data.count, settings.data.seed, workers=os.cpu_count() or 1, progress=progress)
    # Orders are found anew for what a batch shows, so they need not be kept.
    puzzles = dataclasses.replace(made, order=None, rule=None, origin=origin)
    puzzles.save(path)
    return puzzles


def held_out(settings: TrainSettings, data: ZebraData, run_dir: Path) -> Puzzles:
    """Generated puzzles that are no training puzzles nor symmetric copies of one; kept in ``run_dir``."""
    rules, wanted = settings.evaluation, recipe(settings)
    path = run_dir / f"heldout-{rules.seed}-{rules.puzzles}.npz"
    origin = f"generated: {wanted.name}, seed {rules.seed}, not in {data.set.fingerprint}"
    if path.exists():
        known = Puzzles.load(path)
        if known.origin == origin:
            return known
    made = generate(wanted, rules.puzzles, rules.seed, workers=os.cpu_count() or 1, avoid=data.set)
    fresh = dataclasses.replace(made, origin=origin)
    fresh.save(path)
    return fresh


@dataclass(frozen=True)
class HeldOutZebra:
    """Puzzles kept from training, and the ways to decode them."""

    name: str
    puzzles: Puzzles
    layout: Layout
    rules: ZebraEvaluation

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """One record for each way: solved share with its 95 % interval, count, evaluations a puzzle."""
        shared: dict[str, Any] = {"seed": self.rules.seed, "batch_size": self.rules.batch_size, "device": device}
        if self.layout.answer == "grid":
            ways = {name: {"parts": strategies[name].parts()} for name in self.rules.strategies}
        else:
            ways = {f"beam-{beams}" if beams else "greedy": {"beams": beams} for beams in self.rules.beams}
        records = []
        for name, way in ways.items():
            report = solve_zebra(model, self.layout, self.puzzles, **way, **shared)
            records.append({"puzzles": self.name, "strategy": name, **report.summary()})
        return records


def open_evaluation(settings: TrainSettings, run_dir: Path, data: ZebraData) -> list[HeldOutZebra]:
    """The held-out sets of a run: the files named, or else puzzles that are generated.

    Raises:
        UserError: an unknown strategy, or a file that cannot be read or does not fit.
    """
    rules: ZebraEvaluation = settings.evaluation
    unknown = [name for name in rules.strategies if name not in strategies]
    if unknown:
        raise UserError(f"evaluation.strategies: unknown {unknown[0]!r}; known: {', '.join(strategies)}")
    if not rules.puzzles or not (rules.strategies if settings.task.answer == "grid" else rules.beams):
        return []
    sets = {name: Puzzles.load(path).rows(slice(rules.puzzles)) for name, path in rules.paths.items()}
    if not sets:
        sets = {"held-out": held_out(settings, data, run_dir)}
    for puzzles in sets.values():
        data.layout.fits(puzzles)
    return [HeldOutZebra(name, puzzles, data.layout, rules) for name, puzzles in sets.items() if len(puzzles)]


def describe(data: dict[str, Any]) -> str:
    """The data settings in words."""
    source = f"the file {Path(data['path']).name}" if data["path"] else f"generated with seed {data['seed']}"
    return f"{source}, {'a random symmetry at each use' if data['augment'] else 'used as they are'}"


KIND = Kind(
    name="zebra",
    task=ZebraTask,
    data=ZebraSource,
    evaluation=ZebraEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
    drawn=("augment",),
)
