"""The look of every figure: one place, drawn without a display and without global state."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyorder.core.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette (2008): eight colours that colour-blind readers tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#555555", "#B8A000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h", "<", ">")
GRID = "#d9d9d9"


@dataclass(frozen=True)
class Point:
    """One strategy: evaluations per puzzle, the share solved, and the interval of that share."""

    label: str
    evaluations: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """A share along an axis, with its interval at each point."""

    label: str
    x: Sequence[float]
    share: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@contextmanager
def figure(path: str | Path, *, title: str, width: float = 7.2, height: float = 4.4) -> Iterator[Axes]:
    """Axes in the house style; the PNG appears under ``path`` when the block ends well."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), dpi=150, layout="constrained")
    axes = drawing.subplots()
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    yield axes
    picture = io.BytesIO()
    FigureCanvasAgg(drawing).print_png(picture)
    with replacing(path, binary=True) as file:
        file.write(picture.getvalue())


def accuracy_against_evaluations(points: Sequence[Point], path: str | Path, *, title: str) -> None:
    """Share solved (with intervals) against network evaluations per puzzle: up is right, left is cheap.

    Strategies that need the same number of evaluations are drawn side by side around it.
    """
    widest = max((point.evaluations for point in points), default=1.0)
    places = side_by_side([point.evaluations for point in points], 0.025 * widest)
    # The legend has a line for each.
    with figure(path, title=title, height=max(4.4, 0.24 * len(points))) as axes:
        for index, (point, place) in enumerate(zip(points, places, strict=True)):
            axes.errorbar(
                place,
                100 * point.share,
                yerr=[[100 * (point.share - point.low)], [100 * (point.high - point.share)]],
                fmt=MARKERS[index % len(MARKERS)],
                color=COLOURS[index % len(COLOURS)],
                markersize=7,
                capsize=3,
                linewidth=1.5,
                label=point.label,
            )
        axes.set_xlabel("network evaluations per puzzle (equal ones are drawn side by side)")
        axes.set_ylabel("puzzles solved (%)")
        axes.set_ylim(-3, 103)
        axes.set_xlim(0, 1.04 * max([widest, *places]))
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def side_by_side(values: Sequence[float], step: float) -> list[float]:
    """The values, those that are equal to within a quarter of ``step`` spread out around their mean, ``step`` apart."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    placed = list(values)
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or values[order[end]] - values[order[start]] >= step / 4:
            group = sorted(order[start:end])
            middle = sum(values[index] for index in group) / len(group)
            for number, index in enumerate(group):
                placed[index] = middle + step * (number - (len(group) - 1) / 2)
            start = end
    return placed


def shares_along(
    curves: Sequence[Curve], path: str | Path, *, title: str, xlabel: str, counted: str = "puzzles solved"
) -> None:
    """Shares of what is ``counted``, with their interval bands, along an axis (training steps, block sizes)."""
    with figure(path, title=title) as axes:
        for index, curve in enumerate(curves):
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(
                curve.x, [100 * share for share in curve.share], "o-", color=colour, markersize=4, label=curve.label
            )
            low, high = [100 * value for value in curve.low], [100 * value for value in curve.high]
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(f"{counted} (%)")
        axes.set_ylim(-3, 103)
        axes.legend(frameon=False, fontsize=9)
