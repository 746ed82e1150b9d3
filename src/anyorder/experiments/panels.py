"""Figures of several panels, in the look of `plots`."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anyorder.core.files import replacing
from anyorder.experiments.plots import GRID

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def panels(
    path: str | Path, titles: Sequence[str], *, columns: int = 0, width: float = 4.6, height: float = 4.0
) -> Iterator[list[Axes]]:
    """One set of axes for each title, in rows of ``columns`` (0: one row); the PNG appears when the block ends well.

    ``width`` and ``height`` are those of one panel, in inches. Places left over in the last row stay empty.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or len(titles)
    lines = -(-len(titles) // columns)
    drawing = Figure(figsize=(width * columns, height * lines), dpi=150, layout="constrained")
    grid = drawing.subplots(lines, columns, squeeze=False)
    axes = list(grid.flat)
    for one in axes[len(titles) :]:
        one.remove()
    for one, title in zip(axes, titles, strict=False):
        one.set_title(title, loc="left", fontsize=10, fontweight="bold")
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, color=GRID, linewidth=0.6)
        one.set_axisbelow(True)
    yield axes[: len(titles)]
    picture = io.BytesIO()
    FigureCanvasAgg(drawing).print_png(picture)
    with replacing(path, binary=True) as file:
        file.write(picture.getvalue())
