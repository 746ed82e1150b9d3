"""The model's order beside the solver's, on puzzles that logic finishes.

Margin order, one cell at a time, is compared with the order in which the seven-strategy solver fills the same puzzle:

* **rank correlation** of the two orders over the blanks of each puzzle, Kendall's tau and Spearman's rho, and the same
  for top probability, entropy and random order. The solver takes the first cell that it finds; many orders of a puzzle
  are equally logical, so no order can be expected to come close to 1. The mean *depth* tau compares with how deep a
  cell lies instead: the number of rounds until it can be filled when every round fills all cells that follow, in which
  cells of one round are tied (Kendall's tau-b).
* **strategy against step**: at which share of the decode margin fills the cells whose fill rests on each strategy.
* **accuracy by difficulty**: puzzles by the hardest strategy that they need.
* **where scores part ways**: the first step at which margin and top probability fill different cells, and what comes
  of it.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.decoding.strategies import strategies
from anyorder.evaluation.accuracy import mcnemar, wilson
from anyorder.experiments import records
from anyorder.experiments.decodes import Decodes, decode_puzzles, logic_puzzles
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS
from anyorder.experiments.puzzles import PuzzleSet
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.sudoku import STRATEGIES, Puzzles, solve_many
from anyorder.tasks.sudoku.depth import fill_depth

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 577_215  # of the puzzles; no training set uses it
COUNT = {"smoke": 3, "cpu": 100, "gpu": 2000}
ORDERS = ("margin", "top-probability", "entropy", "random")
RESAMPLES = 10_000


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode logic puzzles under each order and compare."""
    since = time.time()
    model = from_pretrained(settings.model, device=settings.device)
    made = logic_puzzles(model, COUNT[settings.scale], SEED)
    puzzles = PuzzleSet(f"generated logic puzzles, seed {SEED}", made.box, made.puzzles, made.solutions)
    decodes = {}
    for name in ORDERS:
        decodes[name] = decode_puzzles(
            model,
            puzzles,
            strategies[name],
            seed=settings.seed,
            batch_size=settings.batch_size,
            device=settings.device,
            progress=lambda done, total, name=name: progress(name, done, total),
        )
    depth = fill_depth(made.box, made.puzzles)
    rows = [_order_row(name, decodes[name], made, depth) for name in ORDERS]
    margin = decodes["margin"]
    return records.Record(
        name="order-analysis",
        scale=settings.scale,
        title=f"The model's order beside the solver's ({settings.model}, {len(puzzles)} logic puzzles)",
        summary={
            "solved_share": rows[0]["solved_share"],
            "interval": rows[0]["interval"],
            "count": len(puzzles),
            "kendall": rows[0]["kendall"],
            "depth_kendall": rows[0]["depth_kendall"],
            "parting": _parting(margin, decodes["top-probability"], made),
        },
        columns=[
            "order",
            "kendall",
            "kendall_range",
            "spearman",
            "spearman_range",
            "depth_kendall",
            "depth_kendall_range",
            "solved_share",
            "interval",
        ],
        rows=rows,
        notes=[
            "Means over puzzles of the rank correlation with the solver's order (Kendall, Spearman) and with the round "
            "at which a cell can be filled (depth), with 95 % bootstrap ranges of the mean.",
            _parting_sentence(_parting(margin, decodes["top-probability"], made)),
        ],
        details={"by_strategy": _by_strategy(margin, made), "by_difficulty": _by_difficulty(decodes, made)},
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(puzzles.name, puzzles.puzzles),
            model=records.model_facts(settings.model, model),
        ),
    )


# ---------------------------------------------------------------- rank correlation


def kendall(first: NDArray, second: NDArray, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Kendall's tau-b of each row's two rankings over its chosen places; ties count as in 1945.

    ``first``, ``second`` and ``chosen`` (N, places). NaN where a ranking has one value only.
    """
    result = np.empty(len(first))
    for row in range(len(first)):
        a, b = first[row, chosen[row]].astype(float), second[row, chosen[row]].astype(float)
        signs = np.sign(a[:, None] - a), np.sign(b[:, None] - b)
        untied = float(np.abs(signs[0]).sum()) * float(np.abs(signs[1]).sum())
        result[row] = (signs[0] * signs[1]).sum() / np.sqrt(untied) if untied else np.nan
    return result


def spearman(first: NDArray, second: NDArray, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Spearman's rho of each row's two rankings without ties over its chosen places; arrays (N, places)."""
    result = np.empty(len(first))
    for row in range(len(first)):
        a, b = (ranking[row, chosen[row]].argsort().argsort().astype(float) for ranking in (first, second))
        a, b = a - a.mean(), b - b.mean()
        norm = np.sqrt((a @ a) * (b @ b))
        result[row] = a @ b / norm if norm else np.nan
    return result


def _mean_and_range(values: NDArray[np.float64]) -> tuple[float, list[float]]:
    """The mean of what is no NaN, and its 95 % bootstrap interval."""
    values = values[~np.isnan(values)]
    draws = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[draws].mean(1)
    return float(values.mean()), np.quantile(means, [0.025, 0.975]).tolist()


def _order_row(name: str, decode: Decodes, made: Puzzles, depth: NDArray[np.int64]) -> dict[str, Any]:
    assert made.order is not None
    blank = made.puzzles == 0
    row: dict[str, Any] = {"order": name}
    for key, values in (
        ("kendall", kendall(decode.step_of, made.order, blank)),
        ("spearman", spearman(decode.step_of, made.order, blank)),
        ("depth_kendall", kendall(decode.step_of, depth, blank)),
    ):
        mean, ends = _mean_and_range(values)
        row[key], row[f"{key}_range"] = mean, f"{ends[0]:.3f} – {ends[1]:.3f}"
        row[f"{key}_ends"] = ends
    solved = int(decode.solved.sum())
    return row | {"solved_share": solved / len(blank), "interval": list(wilson(solved, len(blank)))}


# ---------------------------------------------------------------- strategies and difficulty


def _by_strategy(decode: Decodes, made: Puzzles) -> list[dict[str, Any]]:
    """For each strategy, where in the decode (0 first, 1 last) margin fills the cells that rest on it."""
    assert made.strategy is not None
    assert made.order is not None
    blank = made.puzzles == 0
    last = np.maximum(blank.sum(1, keepdims=True) - 1, 1)
    share, solver = decode.step_of / last, made.order / last
    right = decode.filled == made.solutions
    rows = []
    for id, title in STRATEGIES.items():
        cells = blank & (made.strategy == id)
        if not cells.any():
            continue
        rows.append(
            {
                "strategy": title,
                "cells": int(cells.sum()),
                "mean_place": float(share[cells].mean()),
                "quartiles": np.quantile(share[cells], [0.25, 0.5, 0.75]).tolist(),
                "solver_mean_place": float(solver[cells].mean()),
                "mean_margin": float(decode.margin[cells].mean()),
                "right_share": float(right[cells].mean()),
            }
        )
    return rows


def _by_difficulty(decodes: dict[str, Decodes], made: Puzzles) -> list[dict[str, Any]]:
    """Shares solved of the puzzles whose hardest strategy is each."""
    used = solve_many(made.box, made.puzzles).used.astype(np.int64)
    hardest = np.floor(np.log2(np.maximum(used, 1))).astype(int)
    rows = []
    for id, title in STRATEGIES.items():
        chosen = hardest == id
        if not chosen.any():
            continue
        row: dict[str, Any] = {"hardest": title, "count": int(chosen.sum())}
        for name, decode in decodes.items():
            solved = int(decode.solved[chosen].sum())
            row[name] = {"solved_share": solved / row["count"], "interval": list(wilson(solved, row["count"]))}
        rows.append(row)
    return rows


# ---------------------------------------------------------------- where scores part ways


def _parting(margin: Decodes, top: Decodes, made: Puzzles) -> dict[str, Any]:
    """The first step at which the two orders fill different cells, and what follows."""
    length = (made.puzzles == 0).sum(1)
    cells = made.puzzles.shape[1]

    def sequence(decode: Decodes) -> NDArray[np.int64]:
        """The cells in the order in which they are filled, clues last."""
        return np.where(decode.step_of < 0, cells, decode.step_of).argsort(axis=1, kind="stable")

    first, second = sequence(margin), sequence(top)
    step = np.arange(cells)
    differs = (first != second) & (step < length[:, None])
    parted = differs.any(1)
    at = differs.argmax(1)
    rows = np.arange(len(parted))
    cell_margin, cell_top = first[rows, at], second[rows, at]
    test = mcnemar(margin.solved, top.solved)
    chosen = parted.nonzero()[0]
    return {
        "parted_share": float(parted.mean()),
        "mean_place": float((at / np.maximum(length - 1, 1))[chosen].mean()) if len(chosen) else None,
        "margin_there": float(margin.margin[rows, cell_margin][chosen].mean()) if len(chosen) else None,
        "margin_right": float((margin.filled == made.solutions)[rows, cell_margin][chosen].mean())
        if len(chosen)
        else None,
        "top_probability_right": float((top.filled == made.solutions)[rows, cell_top][chosen].mean())
        if len(chosen)
        else None,
        "kendall": float(np.nanmean(kendall(margin.step_of, top.step_of, made.puzzles == 0))),
        "only_margin": test.only_first,
        "only_top_probability": test.only_second,
        "p_value": test.p_value,
    }


def _parting_sentence(parting: dict[str, Any]) -> str:
    if not parting["parted_share"]:
        return "Margin and top probability fill the same cells in the same order in every puzzle."
    return (
        f"Margin and top probability part ways in {100 * parting['parted_share']:.0f} % of the puzzles, on average "
        f"after {100 * parting['mean_place']:.0f} % of the cells, where margin's choice has a margin of "
        f"{parting['margin_there']:.2f}; the tau of the two orders is {parting['kendall']:.2f}. "
        f"{parting['only_margin']} puzzles are solved by margin alone and {parting['only_top_probability']} by top "
        f"probability alone (exact McNemar p = {parting['p_value']:.2g})."
    )


def plot(record: records.Record, path: Path) -> None:
    """Three panels: rank correlation, place by strategy, share solved by difficulty."""
    titles = ["Rank correlation with the solver", "When margin fills a cell", "Solved, by hardest strategy"]
    with panels(path, titles, width=4.8, height=3.8) as (left, middle, right):
        places = np.arange(len(record.rows))
        for index, (key, label) in enumerate((("kendall", "its order"), ("depth_kendall", "depth of the cell"))):
            values = np.array([row[key] for row in record.rows])
            ends = np.array([row[f"{key}_ends"] for row in record.rows]).T
            left.bar(places + (index - 0.5) * 0.38, values, 0.36, color=COLOURS[index], label=label)
            left.errorbar(
                places + (index - 0.5) * 0.38,
                values,
                yerr=[values - ends[0], ends[1] - values],
                fmt="none",
                ecolor="#333333",
                capsize=2,
            )
        left.set_xticks(places, [row["order"] for row in record.rows], fontsize=8)
        left.set_ylabel("Kendall's tau, mean over puzzles")
        left.legend(frameon=False, fontsize=8, loc="upper right")
        groups = record.details["by_strategy"]
        for place, group in enumerate(groups):
            low, middle_value, high = group["quartiles"]
            middle.plot([low, high], [place, place], color=COLOURS[0], linewidth=5, alpha=0.35)
            middle.plot([middle_value], [place], "o", color=COLOURS[0])
            middle.plot([group["solver_mean_place"]], [place], "x", color=COLOURS[1])
        middle.set_yticks(
            range(len(groups)), [f"{group['strategy']} ({group['cells']:,})" for group in groups], fontsize=8
        )
        middle.invert_yaxis()
        middle.set_xlim(0, 1)
        middle.set_xlabel("place in the decode (median, quartiles; x: the solver's mean)")
        bands = record.details["by_difficulty"]
        for index, name in enumerate(ORDERS):
            shares = np.array([100 * band[name]["solved_share"] for band in bands])
            right.plot(range(len(bands)), shares, "os^D"[index] + "-", color=COLOURS[index], markersize=4, label=name)
        right.set_xticks(
            range(len(bands)), [f"{band['hardest']}\n({band['count']})" for band in bands], fontsize=7, rotation=30
        )
        right.set_ylim(-3, 103)
        right.set_ylabel("puzzles solved (%)")
        right.legend(frameon=False, fontsize=8)


MODEL = "sudoku-9x9-uniform"  # trained on random masks: nobody taught it an order
EXPERIMENT = Experiment(name="order-analysis", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
