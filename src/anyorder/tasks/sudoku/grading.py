"""How far the seven strategies go: the share of puzzles they solve, by rating or source."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

from .formats import PuzzleFile, read_puzzles
from .rules import Box
from .search import solve_exhaustively
from .solver import Solutions, solve_many
from .strategies import STRATEGIES


@dataclass(frozen=True)
class Band:
    """What the strategies make of one group of puzzles.

    ``wrong_fills`` counts cells filled with another digit than the solution's (the solver's promise is 0);
    ``not_unique`` puzzles with none or several solutions; ``hardest`` solved puzzles by the hardest strategy that the
    solver used on them; ``fills`` cells of all puzzles by the strategy that their fill rests on.
    """

    name: str
    count: int
    solved: int
    wrong_fills: int
    not_unique: int
    hardest: dict[str, int]
    fills: dict[str, int]

    @property
    def solved_share(self) -> float:
        """Share of the puzzles that the seven strategies finish."""
        return self.solved / self.count


def _bands(held: PuzzleFile, by: str | None) -> tuple[str, list[tuple[str, NDArray[np.bool_]]]]:
    """The column that groups the puzzles, and its groups in order."""
    ratings = held.ratings if by in (None, "rating") else None
    if ratings is not None and not np.isnan(ratings).all():
        # Zero stands for "no guess needed" in rated collections, so it is a band of its own.
        labels = np.array(["none" if np.isnan(r) else "0" if r == 0 else f"{int(r)} to {int(r) + 1}" for r in ratings])
        first = {label: np.nanmin(ratings[labels == label]) if label != "none" else np.inf for label in set(labels)}
        return "rating", [(label, labels == label) for label in sorted(first, key=first.__getitem__)]
    by = by or ("source" if "source" in held.columns else "all")
    if by == "all":
        return by, [("all", np.ones(len(held), bool))]
    if by not in held.columns:
        raise UserError(f"there is no column {by!r}; the file has {', '.join(held.columns) or 'none'}")
    texts = np.array(held.columns[by])
    return by, [(text, texts == text) for text in dict.fromkeys(held.columns[by])]


def _band(name: str, solved: Solutions, chosen: NDArray, wrong: NDArray, proper: NDArray) -> Band:
    # The highest strategy bit that is set names the hardest strategy used.
    used = solved.used[chosen & solved.solved].astype(np.int64)
    hardest = {title: int((used >> id == 1).sum()) for id, title in STRATEGIES.items()}
    fills = {title: int((solved.strategy[chosen] == id).sum()) for id, title in STRATEGIES.items()}
    return Band(
        name,
        int(chosen.sum()),
        int((chosen & solved.solved).sum()),
        int(wrong[chosen].sum()),
        int((chosen & ~proper).sum()),
        hardest,
        fills,
    )


def grade_puzzles(held: PuzzleFile, by: str | None = None) -> tuple[str, list[Band]]:
    """Solve all puzzles by the seven strategies and sum up by group.

    Args:
        held: the puzzles.
        by: the column to group by, or ``all``; without it the ratings in whole steps, or else the sources.

    Returns:
        the name of the grouping column, and one :class:`Band` for each group.

    Raises:
        UserError: there is no such column.
    """
    by, groups = _bands(held, by)
    found = solve_many(held.box, held.puzzles)
    solutions, counts = solve_exhaustively(held.box, held.puzzles)
    wrong = ((found.grids != 0) & (found.grids != solutions)).sum(1)
    # Of a puzzle with several solutions, the one at hand is as good as any other: nothing to compare with.
    wrong[counts != 1] = 0
    return by, [_band(name, found, chosen, wrong, counts == 1) for name, chosen in groups]


def grade_file(path: str | os.PathLike[str], box: Box | None = None, by: str | None = None) -> dict[str, Any]:
    """The share of a file's puzzles that the seven strategies solve, by group, as a plain record.

    Returns:
        ``{"file", "by", "count", "solved", "solved_share", "wrong_fills", "not_unique", "bands": [...]}``.

    Raises:
        UserError: as :func:`.formats.read_puzzles` and :func:`grade_puzzles`.
    """
    by, bands = grade_puzzles(read_puzzles(path, box), by)
    count, solved = sum(band.count for band in bands), sum(band.solved for band in bands)
    return {
        "file": Path(path).name,
        "by": by,
        "count": count,
        "solved": solved,
        "solved_share": solved / count,
        "wrong_fills": sum(band.wrong_fills for band in bands),
        "not_unique": sum(band.not_unique for band in bands),
        "bands": [asdict(band) | {"solved_share": band.solved_share} for band in bands],
    }
