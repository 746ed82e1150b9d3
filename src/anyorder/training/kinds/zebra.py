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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.core.errors import UserError
from anyorder.evaluation.zebra import solve_zebra
from anyorder.tasks.zebra import KINDS, Layout, Puzzles, Recipe, Size, ZebraData, generate
from anyorder.tasks.zebra.rules import parse_size
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import (
    HeldOutSet,
    beam_widths,
    check_evaluation,
    describe_puzzles,
    kept,
    strategy_parts,
)
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.evaluation.accuracy import PuzzleReport
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
        check_evaluation(self, "puzzles", "strategies", "beams")


def task_facts(task: ZebraTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    known = {name: getattr(task, name) for name in ("name", "clues", "answer", "order")}
    return {**known, "sizes": list(task.sizes)}


def task_shape(task: ZebraTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``."""
    layout = task.layout
    shape = {
        "vocab_size": layout.vocab_size,
        "mask_token_id": layout.mask_token_id,
        "length": layout.length,
        "sections": {"shapes": layout.sections},
    }
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
    data, wanted = settings.data, recipe(settings)

    def make() -> Puzzles:
        made = generate(wanted, data.count, data.seed, workers=os.cpu_count() or 1, progress=progress)
        # Orders are found anew for what a batch shows, so they need not be kept.
        return dataclasses.replace(made, order=None, rule=None)

    origin = f"generated: {wanted.name}, seed {data.seed}, {data.count}"
    return kept(run_dir / "data.npz", origin, Puzzles.load, make, "refused")


def held_out(settings: TrainSettings, data: ZebraData, run_dir: Path) -> Puzzles:
    """Generated puzzles that are no training puzzles nor symmetric copies of one; kept in ``run_dir``."""
    rules, wanted = settings.evaluation, recipe(settings)
    path = run_dir / f"heldout-{rules.seed}-{rules.puzzles}.npz"
    make = partial(generate, wanted, rules.puzzles, rules.seed, workers=os.cpu_count() or 1, avoid=data.set)
    origin = f"generated: {wanted.name}, seed {rules.seed}, not in {data.set.fingerprint}"
    return kept(path, origin, Puzzles.load, make, "made anew")


def open_evaluation(settings: TrainSettings, run_dir: Path, data: ZebraData) -> list[HeldOutSet[Puzzles]]:
    """The held-out sets of a run, the files named or else generated ones, under each strategy or beam width.

    Raises:
        UserError: an unknown strategy, or a file that cannot be read or does not fit.
    """
    rules: ZebraEvaluation = settings.evaluation
    chosen: dict[str, dict[str, Any]] = {
        name: {"parts": parts} for name, parts in strategy_parts(rules.strategies).items()
    }
    if settings.task.answer == "triples":
        chosen = {name: {"beams": beams} for name, beams in beam_widths(rules.beams).items()}
    if not rules.puzzles or not chosen:
        return []
    sets = {name: Puzzles.load(path).rows(slice(rules.puzzles)) for name, path in rules.paths.items()}
    if not sets:
        sets = {"held-out": held_out(settings, data, run_dir)}
    for puzzles in sets.values():
        data.layout.fits(puzzles)

    def answer(model: Transformer, puzzles: Puzzles, device: torch.device, how: dict[str, Any]) -> PuzzleReport:
        return solve_zebra(
            model, data.layout, puzzles, **how, seed=rules.seed, batch_size=rules.batch_size, device=device
        )

    ways = {name: partial(answer, how=how) for name, how in chosen.items()}
    return [HeldOutSet(name, puzzles, ways) for name, puzzles in sets.items() if len(puzzles)]


KIND = Kind(
    name="zebra",
    task=ZebraTask,
    data=ZebraSource,
    evaluation=ZebraEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe_puzzles,
    drawn=("augment",),
)
