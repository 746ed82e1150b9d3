"""Belief propagation on planted constraint problems, from random and from planted starts (figure 4 of the paper).

For each mean degree D = kP/N one planted problem is made and belief propagation runs on it twice. Where the random
start finds the planted values, the problem is easy; where only the planted start keeps them and its Bethe free entropy
exceeds that of the uniform messages, it is hard: the values could be known, and nobody knows how. D_KS is given by the
formula, and measured where a small change of the uniform messages stops shrinking; D_cond is where the free entropies
part. By proposition 3.3 the two bound the hard probabilities of a mask (`tasks.latents.thresholds.hard_masks`).

The published figure counts otherwise: neighbours (k - 1) D for not-all-equal, ordered pairs 2 D for colouring. Both
units are drawn and named.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), figure 4 and appendix B.10.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS
from anyorder.tasks.latents import (
    Predicate,
    colouring,
    hard_masks,
    measured_stability,
    neighbours,
    not_all_equal,
    ordered,
    overlap,
    parting,
    plant,
    solve_planted,
    stability_threshold,
)
from anyorder.tasks.latents.propagation import Observed, certainty, null_free_entropy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VARIABLES = {"smoke": 300, "cpu": 10_000, "gpu": 10_000}
GRAPHS = {"smoke": 1, "cpu": 4, "gpu": 8}  # of the measured D_KS
MOST = {"smoke": 60, "cpu": 300, "gpu": 1500}  # iterations
TOLERANCE = 1e-4
ALIVE = 0.1  # an overlap above this is one
STARTS = ("random", "planted")
MASK_SIZES = (10, 1000)  # N of the third panel


@dataclass(frozen=True)
class Family:
    """One curve of the figure.

    Attributes:
        key: of its legs. title: in words. predicate: g. observed: which constraints are kept.
        degrees: D, rising. smoke: those of the smoke scale.
        unit: of the second axis, and ``convert`` to it.
        published: what the paper prints for (D_KS, D_cond), in the second unit.
    """

    key: str
    title: str
    predicate: Predicate
    observed: Observed
    degrees: tuple[float, ...]
    smoke: tuple[float, ...]
    unit: str
    convert: Callable[[float, int], float]
    published: tuple[float, float] | None = None


FAMILIES = (
    Family(
        "nae",
        "NAE, k = 3, m = 3",
        not_all_equal(3, 3),
        "satisfied",
        (16, 20, 23, 24, 24.5, 25, 25.5, 26, 27, 28.5, 30, 31.5, 33, 34.5, 38),
        (16, 28, 40),
        "(k - 1)kP/N, neighbours",
        neighbours,
        (64, 50),
    ),
    Family(
        "colouring",
        "5-colouring",
        colouring(5),
        "satisfied",
        (9, 11, 12, 12.5, 13, 13.25, 13.5, 14, 15, 15.75, 16.5, 17.25, 19),
        (10, 14.5, 20),
        "2D, ordered pairs",
        ordered,
        (32, 26.46),
    ),
    Family(
        "nae-all",
        "NAE, k = 3, m = 3, g = 0 observed too",
        not_all_equal(3, 3),
        "all",
        (2, 3, 3.5, 4, 4.5, 5, 6),
        (2, 6),
        "(k - 1)kP/N, neighbours",
        neighbours,
    ),
)


def run(settings: Settings, progress: Progress) -> records.Record:
    """Every point of every curve, then the thresholds."""
    since = time.time()
    variables, most = VARIABLES[settings.scale], MOST[settings.scale]
    facts = {"variables": variables, "most": most, "tolerance": TOLERANCE, "graphs": GRAPHS[settings.scale]}
    folder = folder_of(settings, "figure4", facts)
    legs = []
    for family in FAMILIES:
        measured = partial(_stability, family, variables, GRAPHS[settings.scale], settings.seed)
        legs.append(Leg(f"{family.key}-stability", measured))
        for degree in _degrees(family, settings):
            legs.append(
                Leg(f"{family.key}-{degree:g}", partial(_point, family, degree, variables, most, settings.seed))
            )
    done = run_legs(legs, folder, settings, progress, "belief propagation", workers=torch.get_num_threads())
    rows: list[dict[str, Any]] = []
    thresholds: dict[str, Any] = {}
    for family in FAMILIES:
        degrees = _degrees(family, settings)
        points = [_rounded(point) for degree in degrees for point in done[f"{family.key}-{degree:g}"]]
        rows += points
        thresholds[family.key] = _thresholds(family, degrees, points, done[f"{family.key}-stability"])
    masks = {
        "satisfied": _masks(thresholds["nae"], "satisfied"),
        "all": _masks(thresholds["nae-all"], "all"),
    }
    return records.Record(
        name="figure4",
        scale=settings.scale,
        title=f"Belief propagation on planted problems, N = {variables:,}: where it finds what was planted",
        summary={"variables": variables, "thresholds": thresholds, "hard_masks": masks},
        columns=[
            "problem",
            "degree",
            "second_unit",
            "start",
            "overlap",
            "certainty",
            "free_entropy_gain",
            "iterations",
            "converged",
        ],
        rows=rows,
        notes=_notes(thresholds, most),
        details={"published": {family.key: family.published for family in FAMILIES}, **facts},
        run=records.run_facts(seed=settings.seed, device="cpu", since=since),
    )


def _rounded(point: dict[str, Any]) -> dict[str, Any]:
    """The point without digits below what messages are iterated to."""
    return point | {name: round(point[name], 6) for name in ("overlap", "certainty", "free_entropy_gain")}


def _degrees(family: Family, settings: Settings) -> Sequence[float]:
    return family.smoke if settings.scale == "smoke" else family.degrees


def _point(family: Family, degree: float, variables: int, most: int, seed: int) -> list[dict[str, Any]]:
    """Both starts on one problem."""
    rng = np.random.default_rng([seed, round(1000 * degree), *family.key.encode()])
    planted = plant(family.predicate, variables, degree, rng, observed=family.observed)
    null = null_free_entropy(planted)
    rows = []
    for start in STARTS:
        found = solve_planted(planted, start, rng, tolerance=TOLERANCE, most=most)
        rows.append(
            {
                "problem": family.title,
                "degree": degree,
                "second_unit": family.convert(degree, family.predicate.k),
                "start": start,
                "overlap": overlap(planted, found.beliefs),
                "certainty": certainty(found.beliefs),
                "free_entropy_gain": found.free_entropy / variables - null,
                "iterations": found.iterations,
                "last_change": found.change,
                "converged": found.converged,
                "contradictions": found.contradictions,
            }
        )
    return rows


def _stability(family: Family, variables: int, graphs: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 1, *family.key.encode()])
    found = measured_stability(family.predicate, variables, rng, observed=family.observed, graphs=graphs)
    return {
        "degree": found.degree,
        "standard_error": found.error if graphs > 1 else None,
        "growths": [list(pair) for pair in found.growths],
    }


def _thresholds(
    family: Family, degrees: Sequence[float], points: list[dict[str, Any]], stability: dict[str, Any]
) -> dict[str, Any]:
    """D_KS twice, D_cond, and between which degrees the two starts differ; all in D = kP/N and in the second unit."""
    by_start = {start: [point for point in points if point["start"] == start] for start in STARTS}
    planted, random = by_start["planted"], by_start["random"]
    d_cond = parting(
        degrees, [point["free_entropy_gain"] for point in planted], [point["overlap"] > ALIVE for point in planted]
    )
    apart = [d for d, p, r in zip(degrees, planted, random, strict=True) if abs(p["overlap"] - r["overlap"]) > ALIVE]
    formula = stability_threshold(family.predicate, observed=family.observed)
    k = family.predicate.k
    if d_cond is not None:
        # where the planted values fade in continuously at D_KS, a finite graph shows them a little later
        d_cond = min(d_cond, formula)

    def both(degree: float | None) -> dict[str, float] | None:
        return None if degree is None else {"degree": degree, "second_unit": family.convert(degree, k)}

    return {
        "problem": family.title,
        "second_unit": family.unit,
        "d_ks_formula": both(formula),
        "d_ks_measured": both(stability["degree"]),
        "d_ks_standard_error": stability["standard_error"],
        "d_cond": both(d_cond),
        "starts_differ_between": [min(apart), max(apart)] if apart else None,
        "published_second_unit": family.published,
    }


def _masks(threshold: dict[str, Any], observed: Observed) -> dict[str, Any] | None:
    """The hard interval of the mask's probability at N = 10, 20, 50, 100 for not-all-equal."""
    if threshold["d_cond"] is None:
        return None
    predicate = not_all_equal(3, 3)
    d_ks = threshold["d_ks_formula"]["degree"]
    d_cond = min(threshold["d_cond"]["degree"], d_ks)
    intervals = {}
    for variables in (10, 20, 50, 100):
        found = hard_masks(predicate, variables, d_ks, d_cond, observed=observed)
        intervals[str(variables)] = [found.low, found.high]
    return {"d_ks": d_ks, "d_cond": d_cond, "intervals": intervals}


def _notes(thresholds: dict[str, Any], most: int) -> list[str]:
    notes = [
        "D = kP/N, each constraint counted once; the second unit is the paper's: neighbours (k - 1)kP/N for NAE, "
        "ordered pairs 2D for colouring. The free entropy gain is per variable, over the uniform messages. "
        f"A start has at most {most} iterations."
    ]
    for found in thresholds.values():
        measured, cond, between = found["d_ks_measured"], found["d_cond"], found["starts_differ_between"]
        error = found["d_ks_standard_error"]
        text = (
            f"{found['problem']}: D_KS = {found['d_ks_formula']['degree']:.4g} by the formula, {measured['degree']:.4g}"
        )
        text += f" (standard error {error:.2g})" if error is not None else ""
        text += f" measured ({measured['second_unit']:.4g} in {found['second_unit']})"
        text += f"; D_cond = {cond['degree']:.4g} ({cond['second_unit']:.4g})" if cond else "; no D_cond on this grid"
        text += f"; the starts differ from D = {between[0]:g} to {between[1]:g}." if between else "; the starts agree."
        notes.append(text)
    return notes


# ---------------------------------------------------------------- the figure


def plot(record: records.Record, path: Path) -> None:
    """Overlap against degree for each problem, and the hard masks against N."""
    thresholds = record.summary["thresholds"]
    titles = [*(family.title for family in FAMILIES), "Hard masks (prop. 3.3), NAE m = 3"]
    with panels(path, titles, columns=2, width=6.0, height=4.3) as axes:
        for one, family in zip(axes, FAMILIES, strict=False):
            _overlaps(
                one, family, [row for row in record.rows if row["problem"] == family.title], thresholds[family.key]
            )
        _hard(axes[-1], record.summary["hard_masks"])


def _overlaps(axes: Axes, family: Family, rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> None:
    k = family.predicate.k
    for start, colour, marker in (("planted", COLOURS[0], "o"), ("random", COLOURS[1], "s")):
        points = [row for row in rows if row["start"] == start]
        axes.plot(
            [row["degree"] for row in points],
            [row["overlap"] for row in points],
            marker + "-",
            color=colour,
            markersize=4.5,
            label=f"{start} start",
        )
    lines = [("D_KS", found["d_ks_formula"], COLOURS[6], "-"), ("D_cond", found["d_cond"], COLOURS[2], "--")]
    for name, value, colour, style in lines:
        if value is not None:
            label = f"{name} = {value['degree']:.4g} ({value['second_unit']:.4g})"
            axes.axvline(value["degree"], color=colour, linestyle=style, linewidth=1.2, label=label)
    for number, value in enumerate(family.published or ()):
        label = None if number else "published (second unit)"
        axes.axvline(value / family.convert(1.0, k), color=COLOURS[3], linestyle=":", linewidth=2.2, label=label)
    axes.set_xlabel("D = kP/N")
    axes.set_ylabel("overlap with what was planted")
    axes.set_ylim(-0.05, 1.05)
    factor = family.convert(1.0, k)
    other = (lambda degree: np.asarray(degree) * factor, lambda degree: np.asarray(degree) / factor)
    above = axes.secondary_xaxis(-0.2, functions=other)
    above.set_xlabel(family.unit, fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _hard(axes: Axes, masks: dict[str, Any]) -> None:
    sizes = np.geomspace(*MASK_SIZES, 60)
    predicate = not_all_equal(3, 3)
    styles = (("satisfied", "g = 1 only", COLOURS[0]), ("all", "all observations", COLOURS[1]))
    for observed, words, colour in styles:
        found = masks[observed]
        if found is None:
            continue
        most = (predicate.share if observed == "satisfied" else 1.0) * predicate.k * sizes ** (predicate.k - 1)
        low, high = found["d_cond"] / most, found["d_ks"] / most
        axes.fill_between(sizes, low, high, color=colour, alpha=0.3, linewidth=0, label=f"hard, counting {words}")
        axes.plot(sizes, high, color=colour, linewidth=1.5)
        axes.plot(sizes, low, color=colour, linewidth=1.5, linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("N latents, an observation for every ordered triple")
    axes.set_ylabel("1 - alpha, probability to be revealed")
    axes.legend(frameon=False, fontsize=8)
    axes.annotate(
        "above: easy (D > D_KS)\nbelow: no information (D < D_cond)", (0.04, 0.06), xycoords="axes fraction", fontsize=8
    )


EXPERIMENT = Experiment(name="figure4", scales=("smoke", "cpu", "gpu"), run=run, plot=plot)
