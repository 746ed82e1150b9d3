"""Training on Countdown: fresh questions at every step, held-out ones to be judged by; in the frame of `arithmetic`.

A question is ``15,44,79,50`` (the last number is the target, and the answer), a trace ``44-15=29,79-29=50``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.tasks.arithmetic import (
    TOKENIZER,
    ArithmeticData,
    CountdownRange,
    Hidden,
    Problem,
    make_countdowns,
    read_countdown,
)
from anyorder.training.kinds import Kind
from anyorder.training.kinds.arithmetic import ArithmeticEvaluation, held_out_problems
from anyorder.training.kinds.shared import HeldOutSet
from anyorder.training.strict import plain, require

if TYPE_CHECKING:
    from anyorder.training.settings import TrainSettings


@dataclass(frozen=True)
class CountdownTask:
    """Questions of one range, as bytes."""

    name: Literal["countdown"] = "countdown"
    range: CountdownRange = CountdownRange()  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class CountdownSource:
    """What the training rows are.

    Attributes:
        count: problems that count as one pass, for the log; there is no end of them.
        hidden: what rows hide.
    """

    count: int = 1_000_000
    hidden: Hidden = field(default_factory=Hidden)

    def __post_init__(self) -> None:
        require(self.count >= 1, "data.count must be at least 1")


@dataclass(frozen=True)
class CountdownEvaluation(ArithmeticEvaluation):
    """As for arithmetic; ``path`` names a file of problems (.jsonl) to be judged by as well."""

    path: str | None = None


def open_data(
    settings: TrainSettings, run_dir: Path, progress: Callable[[int, int], None] | None = None
) -> ArithmeticData:
    """The training data; nothing is made or kept."""
    source: CountdownSource = settings.data
    return ArithmeticData(((settings.task.range, 1.0),), source.count, source.hidden)


def open_evaluation(
    settings: TrainSettings, run_dir: Path, data: ArithmeticData
) -> list[HeldOutSet[Sequence[Problem]]]:
    """Held-out questions, and those of the file. Raises ``UserError`` for an unknown strategy or a bad file."""
    rules: CountdownEvaluation = settings.evaluation
    range_: CountdownRange = settings.task.range
    sets: dict[str, Callable[[], Sequence[Problem]]] = {
        "held-out": partial(make_countdowns, range_, rules.problems, rules.seed, "held-out")
    }
    if (path := rules.path) is not None:
        sets["file"] = lambda: read_countdown(path)[: rules.problems]
    return held_out_problems(rules, range_, sets)


def describe(data: dict[str, Any]) -> str:
    """The data settings in words."""
    return "made afresh at every step; no held-out question is among them"


KIND = Kind(
    name="countdown",
    task=CountdownTask,
    data=CountdownSource,
    evaluation=CountdownEvaluation,
    shape=lambda task: {"vocab_size": TOKENIZER.vocab_size, "mask_token_id": TOKENIZER.mask_token_id},
    facts=lambda task: {"name": task.name, "range": plain(task.range)},
    open_data=open_data,
    open_evaluation=open_evaluation,
    describe=describe,
    drawn=("hidden",),
)
