"""Strategies side by side on the same puzzles: shares with intervals, evaluations, paired differences.

Every strategy decodes a prefix of the same puzzles with the same seed, so their random draws are coupled, and a
difference between two of them is taken puzzle by puzzle (`evaluation.accuracy.paired_bootstrap`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import PuzzleReport, mcnemar, paired_bootstrap, solve_puzzles, wilson
from anyorder.experiments.plots import Point

if TYPE_CHECKING:
    import torch

    from anyorder.decoding.strategies import Strategy
    from anyorder.experiments.puzzles import PuzzleSet
    from anyorder.models.transformer import Transformer

COLUMNS = ("strategy", "count", "solved_share", "interval", "nfe_mean", "difference", "difference_interval")
GROUPS = {"all": "all", "logic": "logic-solvable", "other": "the others"}


@dataclass(frozen=True)
class Contender:
    """A strategy under its name, and how many of the puzzles it decodes (None: all)."""

    name: str
    strategy: Strategy
    count: int | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one contender made of its puzzles."""

    contender: Contender
    report: PuzzleReport
    seconds: float


def compare(
    model: Transformer,
    puzzles: PuzzleSet,
    contenders: Sequence[Contender],
    *,
    seed: int,
    batch_size: int,
    device: torch.device | str,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Outcome]:
    """Decode the puzzles under each contender in turn; ``progress(name, done, total)`` after every batch."""
    check_fits(model, puzzles)
    for contender in contenders:
        chosen = puzzles.first(contender.count)
        since = time.perf_counter()
        report = solve_puzzles(
            model,
            puzzles.box,
            chosen.puzzles,
            chosen.solutions,
            **contender.strategy.parts(),
            seed=seed,
            batch_size=batch_size,
            device=device,
            progress=None if progress is None else lambda done, total, name=contender.name: progress(name, done, total),
        )
        yield Outcome(contender, report, time.perf_counter() - since)


def check_fits(model: Any, puzzles: PuzzleSet) -> None:
    """Refuse a model that was made for something else than these puzzles."""
    box, task = puzzles.box, getattr(model, "task", None)
    length = getattr(getattr(model, "config", None), "length", 0)
    wanted = {"name": "sudoku", "box_rows": box.box_rows, "box_columns": box.box_columns}
    if task is not None and task != wanted:
        made_for = f"{task.get('name')} with {task.get('box_rows')}x{task.get('box_columns')} boxes"
        raise UserError(f"the model was made for {made_for}; these puzzles have {box.box_rows}x{box.box_columns} boxes")
    if model.vocab_size != box.size + 1 or length not in (0, box.cells):
        raise UserError(
            f"the model has {model.vocab_size} tokens and {length or 'any'} positions; "
            f"{box.name} puzzles need {box.size + 1} tokens and {box.cells} positions"
        )


def summary(report: PuzzleReport, chosen: np.ndarray | None = None) -> dict[str, Any]:
    """Share solved with its interval, count and mean evaluations, over all puzzles or the ``chosen`` (N,) ones."""
    if chosen is None:
        return report.summary()
    exact = None if report.exact is None else report.exact[chosen]
    return PuzzleReport(report.filled[chosen], report.solved[chosen], exact, report.nfe[chosen]).summary()


def groups(report: PuzzleReport, logic: np.ndarray | None) -> dict[str, dict[str, Any]]:
    """Summaries of all puzzles and, where it is known which ones seven strategies solve, of those and of the rest."""
    if logic is None:
        return {"all": summary(report)}
    chosen = {"all": None, "logic": logic[: report.count], "other": ~logic[: report.count]}
    return {name: summary(report, which) for name, which in chosen.items()}


def rows(outcomes: Sequence[Outcome], puzzles: PuzzleSet) -> list[dict[str, Any]]:
    """One row per contender and group; differences are to the first contender, on the puzzles that both decoded."""
    listed = []
    for group in GROUPS:
        for outcome in outcomes:
            row = _row(outcome, outcomes[0], group, puzzles)
            if row is not None:
                listed.append(row)
    return listed


def points(outcomes: Sequence[Outcome]) -> list[Point]:
    """The contenders as points of the figure."""
    placed = []
    for outcome in outcomes:
        solved = outcome.report.solved
        low, high = wilson(int(solved.sum()), len(solved))
        placed.append(Point(outcome.contender.name, float(outcome.report.nfe.mean()), float(solved.mean()), low, high))
    return placed


def _row(outcome: Outcome, first: Outcome, group: str, puzzles: PuzzleSet) -> dict[str, Any] | None:
    figures = groups(outcome.report, puzzles.logic).get(group)
    if figures is None or not figures["count"]:
        return None
    row: dict[str, Any] = {"strategy": outcome.contender.name, "group": GROUPS[group], **figures}
    row["seconds"] = round(outcome.seconds, 2)
    if outcome is first:
        return row
    common = min(outcome.report.count, first.report.count)
    chosen = np.ones(common, dtype=bool)
    if group != "all" and puzzles.logic is not None:
        chosen = puzzles.logic[:common] == (group == "logic")
    mine, theirs = outcome.report.solved[:common][chosen], first.report.solved[:common][chosen]
    if len(mine):
        difference = paired_bootstrap(mine, theirs, np.random.default_rng(0))
        row["difference"] = difference.mean
        row["difference_interval"] = [difference.low, difference.high]
        row["p_value"] = mcnemar(mine, theirs).p_value
    return row
