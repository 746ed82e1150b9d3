"""Training on arithmetic: fresh problems at every step, and held-out ones to be judged by.

There is no data file: the problems of a step are a function of the settings and the step. A question that is held out
(one in sixteen, by its hash) is never met in training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.evaluation.problems import solve_problems
from anyorder.tasks.arithmetic import (
    HARD,
    NORMAL,
    TOKENIZER,
    ArithmeticData,
    CountdownRange,
    Difficulty,
    Hidden,
    Problem,
    hole_lengths,
    make_problems,
)
from anyorder.training.kinds import Kind
from anyorder.training.kinds.shared import HeldOutSet, check_evaluation, strategy_parts
from anyorder.training.strict import plain, require

if TYPE_CHECKING:
    import torch

    from anyorder.evaluation.problems import ProblemReport
    from anyorder.models.transformer import Transformer
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class ArithmeticTask:
    """Expressions of two ranges, as bytes."""

    name: Literal["arithmetic"] = "arithmetic"
    normal: Difficulty = NORMAL
    hard: Difficulty = HARD


@dataclass(frozen=True)
class ArithmeticSource:
    """What the training rows are.

    Attributes:
        hard: share of the problems that are of the hard range.
        easy: share that are of the normal range, but with fewer operations: what they teach comes sooner.
        count: problems that count as one pass, for the log; there is no end of them.
        hidden: what rows hide.
    """

    hard: float = 0.2
    easy: float = 0.2
    count: int = 1_000_000
    hidden: Hidden = field(default_factory=Hidden)

    def __post_init__(self) -> None:
        require(self.hard >= 0 and self.easy >= 0, "data.hard and data.easy must not be negative")
        require(self.hard + self.easy <= 1, "data.hard and data.easy must sum to 1 at most")
        require(self.count >= 1, "data.count must be at least 1")


@dataclass(frozen=True)
class ArithmeticEvaluation:
    """Decoding of held-out problems during training: ``problems`` of each range, under each strategy.

    Attributes:
        every_steps: steps between evaluations; null for none but the last.
        problems: held-out problems of each range; 0 for no evaluation at all.
        strategies: names of ``anyorder.strategies``.
        seed: of the held-out problems.
        batch_size: rows decoded together.
    """

    every_steps: int | None = 1000
    problems: int = 256
    strategies: tuple[str, ...] = ("entropy", "left-to-right", "med")
    seed: int = 1_000_003
    batch_size: int = 256

    def __post_init__(self) -> None:
        check_evaluation(self, "problems", "strategies")


def task_facts(task: ArithmeticTask) -> dict[str, Any]:
    """The task as a model's ``config.json`` holds it."""
    return {"name": task.name, "normal": plain(task.normal), "hard": plain(task.hard)}


def task_shape(task: ArithmeticTask) -> dict[str, Any]:
    """What the task decides of ``TransformerConfig``: the byte vocabulary."""
    return {"vocab_size": TOKENIZER.vocab_size, "mask_token_id": TOKENIZER.mask_token_id}


def open_data(
    settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None
) -> ArithmeticData:
    """The training data; nothing is made or kept."""
    source: ArithmeticSource = settings.data
    normal: Difficulty = settings.task.normal
    fewer = dataclasses.replace(normal, operations=(1, max(1, normal.operations[1] - 1)))
    mixture = (
        (normal, 1 - source.hard - source.easy),
        (settings.task.hard, source.hard),
        (fewer, source.easy),
    )
    return ArithmeticData(mixture, source.count, source.hidden)


def held_out_problems(
    rules: ArithmeticEvaluation,
    range_: Difficulty | CountdownRange,
    sets: Mapping[str, Callable[[], Sequence[Problem]]],
) -> list[HeldOutSet[Sequence[Problem]]]:
    """Problems of a range kept from training under each strategy of ``rules``; ``sets`` makes them, by name.

    Raises:
        UserError: an unknown strategy.
    """
    chosen = strategy_parts(rules.strategies)
    if not rules.problems or not chosen:
        return []

    def answer(
        model: Transformer, problems: Sequence[Problem], device: torch.device, parts: dict[str, Any]
    ) -> ProblemReport:
        return solve_problems(
            model,
            problems,
            *hole_lengths(range_),
            parts,
            seed=rules.seed,
            batch_size=rules.batch_size,
            device=device,
        )

    ways = {name: partial(answer, parts=parts) for name, parts in chosen.items()}
    return [HeldOutSet(name, make(), ways) for name, make in sets.items()]


def open_evaluation(
    settings: TrainSettings, run_dir: Path, data: ArithmeticData
) -> list[HeldOutSet[Sequence[Problem]]]:
    """The held-out problems of both ranges. Raises ``UserError`` for an unknown strategy."""
    rules: ArithmeticEvaluation = settings.evaluation
    ranges: dict[str, Difficulty] = {"normal": settings.task.normal, "hard": settings.task.hard}
    return [
        held_out
        for name, range_ in ranges.items()
        for held_out in held_out_problems(
            rules, range_, {name: partial(make_problems, range_, rules.problems, rules.seed, "held-out")}
        )
    ]


def describe(data: dict[str, Any]) -> str:
    """The data settings in words."""
    shares = f"{100 * data['hard']:g} % of them hard, {100 * data['easy']:g} % with fewer operations"
    return f"made afresh at every step, {shares}; no held-out question is among them"


KIND = Kind(
    name="arithmetic",
    task=ArithmeticTask,
    data=ArithmeticSource,
    evaluation=ArithmeticEvaluation,
    shape=task_shape,
    facts=task_facts,
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
    drawn=("hard", "easy", "hidden"),
)
