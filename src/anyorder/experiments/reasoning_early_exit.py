"""Stop reasoning when the answer is sure: calls saved against accuracy, over the limit gamma.

The exit closes the trace once the bound on the answer's entropy falls below gamma, and the answer is decoded from what
is there. Measured one position at a time, in blocks (where the answer is watched), and together with MED.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from anyorder.experiments import records
from anyorder.experiments.arithmetic import (
    DECODES,
    HELD_OUT_SEED,
    MARGIN,
    MODEL,
    ORDERS,
    Contender,
    decoded,
    ends,
    held_out_problems,
    leg_of,
    load_model,
    row,
)
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.plots import Curve, shares_along
from anyorder.planning.budgets import EntropyBelow, OneByOne
from anyorder.planning.stopping import AnswerEntropy, Stops

COUNTS = {"smoke": 16, "cpu": 4096, "gpu": 16_384}
GAMMAS = {"smoke": (0.1,), "cpu": (0.01, 0.1, 0.5), "gpu": (0.01, 0.03, 0.1, 0.2, 0.5, 1.0)}
GAMMA = 0.1
PUBLISHED = {
    "entropy": "256 calls, 79.4 %",
    "entropy, exit 0.1": "193 calls, 78.6 %",
    "MED 0.2": "94 calls, 79.9 %",
    "MED 0.2, exit 0.1": "77 calls, 79.3 %",
}
COLUMNS = (
    "strategy",
    "gamma",
    "count",
    "solved_share",
    "interval",
    "nfe_mean",
    "fewer",
    "saved_share",
    "difference",
    "difference_interval",
    "no_worse",
    "published",
)
BASES = {
    "entropy": {**ORDERS["entropy"], "budget": OneByOne()},
    "MED 0.2": {**ORDERS["entropy"], "budget": EntropyBelow(0.2, most=8)},
    "left to right": {**ORDERS["left to right"], "budget": OneByOne()},
    "AR-MED 0.2": {**ORDERS["left to right"], "budget": EntropyBelow(0.2, most=8)},
    "entropy, blocks of 8": {**ORDERS["entropy, blocks of 8"], "budget": OneByOne()},
}
BASELINES = {"MED 0.2": "entropy", "AR-MED 0.2": "left to right"}


def contenders(scale: str) -> list[tuple[Contender, float | None]]:
    """Every base without and with an exit; the whole range of gamma for two of them."""
    listed: list[tuple[Contender, float | None]] = []
    for name, parts in BASES.items():
        baseline = BASELINES.get(name)
        listed.append((Contender(name, {**parts, "stop": ends()}, baseline), None))
        gammas = GAMMAS[scale] if name in ("entropy", "MED 0.2") else (GAMMA,)
        for gamma in gammas:
            stop = Stops(ends(), AnswerEntropy(gamma))
            listed.append((Contender(f"{name}, exit {gamma:g}", {**parts, "stop": stop}, baseline or name), gamma))
    return listed


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode the problems with and without an exit."""
    since = time.time()
    model = load_model(settings)
    problems = held_out_problems(model, "normal", COUNTS[settings.scale])
    facts = records.model_facts(settings.model, model)
    listed = contenders(settings.scale)
    legs = [
        Leg(
            leg_of(contender.name),
            lambda parts=contender.parts: decoded(model, "normal", problems, parts, settings),
        )
        for contender, _ in listed
    ]
    folder = folder_of(settings, DECODES, {"model": facts["fingerprint"], "count": len(problems)})
    results = run_legs(legs, folder, settings, progress, "gammas").values()
    found = dict(zip([contender.name for contender, _ in listed], results, strict=True))
    rows = []
    for contender, gamma in listed:
        line = row(contender.name, found[contender.name], found.get(contender.baseline or ""))
        base = contender.name.split(", exit")[0]
        if gamma is not None:
            # Against the same strategy without the exit, by its evaluations on text.
            line["saved_share"] = 1 - line["nfe_mean"] / float(np.mean(found[base]["text_nfe"]))
        rows.append({**line, "gamma": gamma, "published": PUBLISHED.get(contender.name)})
    by_name = {line["strategy"]: line for line in rows}
    kept = ("solved_share", "interval", "count", "nfe_mean", "saved_share", "fewer", "difference", "no_worse")
    headline = ("entropy", f"entropy, exit {GAMMA:g}", "MED 0.2", f"MED 0.2, exit {GAMMA:g}")
    return records.Record(
        name="reasoning-early-exit",
        scale=settings.scale,
        title=f"Stopping when the answer is sure: {len(problems):,} unseen expressions ({settings.model})",
        summary={name: {key: by_name[name][key] for key in kept if key in by_name[name]} for name in headline},
        columns=list(COLUMNS),
        rows=rows,
        notes=[
            "Differences are to one position at a time in the same order (blocks: to the same blocks without exit); "
            f"`no worse`: the interval ends above -{100 * MARGIN:.1f} points. `saved`: calls saved by the exit, "
            "against the evaluations on which the same strategy decided text without it; `fewer`: evaluations on text "
            "of one position at a time over all evaluations here.",
            "`published`: LLaDA-8B on GSM8K (2510.19990).",
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(
                f"held-out expressions, seed {HELD_OUT_SEED}", np.array([problem.question for problem in problems])
            ),
            model=facts,
        ),
    )


def plot(record: records.Record, path: Path) -> None:
    """Accuracy along evaluations: one curve over gamma for one position at a time, one for MED."""
    curves = []
    for base in ("entropy", "MED 0.2"):
        lines = [line for line in record.rows if line["strategy"].split(", exit")[0] == base]
        lines.sort(key=lambda line: line["nfe_mean"])
        low, high = zip(*(line["interval"] for line in lines), strict=True)
        curves.append(
            Curve(base, [line["nfe_mean"] for line in lines], [line["solved_share"] for line in lines], low, high)
        )
    xlabel = "network evaluations per problem (right: no exit)"
    shares_along(curves, path, title=record.title, xlabel=xlabel, counted="right answers")


EXPERIMENT = Experiment(name="reasoning-early-exit", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
