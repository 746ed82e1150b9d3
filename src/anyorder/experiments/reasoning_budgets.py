"""How many tokens at once: accuracy against evaluations on arithmetic, every strategy on the same unseen problems.

One position at a time (by entropy anywhere, by entropy in blocks, and from left to right) against fixed k, MED, AR-MED,
EB-Sampler, probability thresholds, the factor rule and KLASS. Both holes stop at their end of text, for every strategy,
and a baseline's evaluations are counted only where they decide text, so that nothing is won on padding.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anyorder.evaluation.accuracy import wilson
from anyorder.experiments import records
from anyorder.experiments.arithmetic import (
    DECODES,
    HELD_OUT_SEED,
    MARGIN,
    MODEL,
    ORDERS,
    Contender,
    decoded,
    differences,
    ends,
    held_out_problems,
    leg_of,
    load_model,
    row,
)
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS, MARKERS
from anyorder.planning.budgets import KLASS, EntropyBelow, EntropyBound, Factor, Fixed, OneByOne, ProbabilityAbove
from anyorder.planning.orders import Entropy, TopProbability

FIXED = (2, 4, 8)
COUNTS = {"smoke": 16, "cpu": 4096, "gpu": 16_384}
PUBLISHED = {
    "entropy": "79.4 % at 256",
    "MED 0.2": "79.9 % at 94",
    "left to right": "76.95 %",
    "entropy, blocks of 8, k = 2": "62.31 %",
    "entropy, blocks of 8, k = 4": "33.58 %",
}
"""[N] on GSM8K with LLaDA-8B: accuracy, and evaluations where they are given. Fixed k there is in blocks, too."""
THRESHOLDS = {"MED 0.2": "entropy", "AR-MED 0.2": "left to right", "MED 0.2, blocks of 8": "entropy, blocks of 8"}
"""What is set against fixed k in the same order."""
COLUMNS = (
    "strategy",
    "count",
    "solved_share",
    "interval",
    "nfe_mean",
    "text_nfe_mean",
    "fewer",
    "difference",
    "difference_interval",
    "no_worse",
    "valid_share",
    "valid_difference",
    "valid_difference_interval",
    "published",
)


def contenders() -> list[Contender]:
    """Every strategy; one that takes several positions is compared with one position at a time in its own order."""

    def below(name: str, nats: float, order: str) -> Contender:
        return Contender(name, {**ORDERS[order], "budget": EntropyBelow(nats, most=8)}, order)

    listed = [Contender(order, {**parts, "budget": OneByOne()}) for order, parts in ORDERS.items()]
    listed += [below(name, 0.2, order) for name, order in THRESHOLDS.items()]
    listed += [
        below("MED 0.05", 0.05, "entropy"),
        below("MED 0.5", 0.5, "entropy"),
        below("AR-MED 0.02", 0.02, "left to right"),
        below("AR-MED 0.005", 0.005, "left to right"),
        Contender("EB 0.1", {"order": Entropy(), "budget": EntropyBound(0.1)}, "entropy"),
        Contender(
            "probability > 0.9", {"order": TopProbability(), "budget": ProbabilityAbove(0.9, prefix=False)}, "entropy"
        ),
        Contender("factor 1", {"order": TopProbability(), "budget": Factor(1.0)}, "entropy"),
        Contender("KLASS", {"order": TopProbability(), "budget": KLASS()}, "entropy"),
    ]
    listed += [
        Contender(f"{order}, k = {k}", {**parts, "budget": Fixed(k)}, order)
        for order, parts in ORDERS.items()
        for k in FIXED
    ]
    return listed


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode the problems under every strategy."""
    since = time.time()
    model = load_model(settings)
    problems = held_out_problems(model, "normal", COUNTS[settings.scale])
    facts = records.model_facts(settings.model, model)
    listed = contenders()
    legs = [
        Leg(
            leg_of(contender.name),
            lambda contender=contender: decoded(
                model, "normal", problems, {**contender.parts, "stop": ends()}, settings
            ),
        )
        for contender in listed
    ]
    folder = folder_of(settings, DECODES, {"model": facts["fingerprint"], "count": len(problems)})
    found = dict(
        zip([c.name for c in listed], run_legs(legs, folder, settings, progress, "strategies").values(), strict=True)
    )
    rows = []
    for contender in listed:
        line = row(contender.name, found[contender.name], found.get(contender.baseline or ""))
        rows.append({**line, "published": PUBLISHED.get(contender.name)})
    against = {
        f"{threshold} against {order}, k = {k}": _against(found[threshold], found[f"{order}, k = {k}"])
        for threshold, order in THRESHOLDS.items()
        for k in FIXED
    }
    questions = np.array([problem.question for problem in problems])
    by_name = {line["strategy"]: line for line in rows}
    headline = (*ORDERS, *THRESHOLDS, *(f"{order}, k = 2" for order in ORDERS), "AR-MED 0.005")
    return records.Record(
        name="reasoning-budgets",
        scale=settings.scale,
        title=f"How many tokens at once: {len(problems):,} unseen expressions ({settings.model})",
        summary={name: _brief(by_name[name]) for name in headline},
        columns=list(COLUMNS),
        rows=rows,
        details={"against": against},
        notes=[
            "Differences are to one position at a time in the same order, problem by problem; `no worse` means that "
            f"the interval ends above -{100 * MARGIN:.1f} points. `valid`: traces of which every step is true and "
            "follows. `fewer` is the evaluations on which that baseline decided text over all evaluations of the "
            "strategy. Holes stop at their end of text everywhere.",
            "`published`: LLaDA-8B on GSM8K (2510.19990), where fixed k is decoded in blocks; for the shape only.",
            *(_sentence(name, figures) for name, figures in against.items()),
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(f"held-out expressions, seed {HELD_OUT_SEED}", questions),
            model=facts,
        ),
    )


def _against(mine: dict, theirs: dict) -> dict:
    """A threshold beside a fixed k: shares paired by problem, and what each costs."""
    return {
        **differences(mine, theirs),
        "nfe_mean": float(np.mean(mine["nfe"])),
        "fixed_nfe_mean": float(np.mean(theirs["nfe"])),
    }


def _sentence(name: str, figures: dict) -> str:
    def points(of: str) -> str:
        low, high = figures[f"{of}_interval"]
        return f"{100 * figures[of]:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"

    return (
        f"{name}: {points('difference')} of right answers and {points('valid_difference')} of valid traces at "
        f"{figures['nfe_mean']:.1f} against {figures['fixed_nfe_mean']:.1f} evaluations."
    )


def _brief(line: dict) -> dict:
    shares = ("solved_share", "interval", "count", "difference", "no_worse", "valid_share", "valid_difference")
    kept = (*shares, "nfe_mean", "text_nfe_mean", "fewer")
    return {name: line[name] for name in kept if name in line}


def plot(record: records.Record, path: Path) -> None:
    """Right answers and valid traces against evaluations: a panel for each order, a curve for each kind of budget."""
    lines = {line["strategy"]: line for line in record.rows}
    curves: dict[str, dict[str, list[Mapping[str, Any]]]] = {order: {} for order in ORDERS}
    for contender in contenders():
        family = curves[contender.baseline or contender.name].setdefault(_family(contender.name), [])
        family.append(lines[contender.name])
    families = list(dict.fromkeys(family for panel in curves.values() for family in panel))
    measures = {"solved_share": "right answers (%)", "valid_share": "valid traces (%)"}
    least = 100 * min(line[measure] for line in record.rows for measure in measures)
    with panels(path, list(ORDERS) * 2, columns=len(ORDERS), width=5.2, height=4.0) as drawn:
        for axes, (measure, order) in zip(drawn, itertools.product(measures, ORDERS), strict=True):
            for family, found in curves[order].items():
                found = sorted(found, key=lambda line: line["nfe_mean"])
                x, y = [line["nfe_mean"] for line in found], [100 * line[measure] for line in found]
                ends_at = [wilson(round(line[measure] * line["count"]), line["count"]) for line in found]
                error = [
                    [abs(100 * interval[end] - value) for interval, value in zip(ends_at, y, strict=True)]
                    for end in (0, 1)
                ]
                index = families.index(family)
                look: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)], "marker": MARKERS[index % len(MARKERS)]}
                axes.errorbar(x, y, yerr=error, linewidth=1.3, markersize=6, capsize=3, label=family, **look)
            axes.set_xscale("log")
            axes.set_xticks([3, 5, 10, 25], ["3", "5", "10", "25"])
            axes.minorticks_off()
            axes.set_ylim(max(0.0, least - 4), 102)
            axes.set_xlabel("network evaluations per expression")
            axes.set_ylabel(measures[measure])
            axes.legend(frameon=False, fontsize=8, loc="lower right")


def _family(name: str) -> str:
    """What a strategy shares a curve with."""
    if "MED" in name:
        return "MED, limit 0.005 to 0.5 nats"
    return f"fixed k = 1, {', '.join(map(str, FIXED))}" if name in ORDERS or ", k = " in name else name


EXPERIMENT = Experiment(name="reasoning-budgets", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
