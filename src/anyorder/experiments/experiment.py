"""What an experiment is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anyorder.core.errors import UserError
from anyorder.experiments.records import Record

Scale = Literal["smoke", "cpu", "rehearsal", "gpu", "paper"]
Progress = Callable[[str, int, int], None]
"""Called with (piece of work, done, total)."""


class Unfinished(Exception):
    """An experiment stopped before its end, as it was told to; the message says how far it is and how it goes on."""


@dataclass(frozen=True)
class Settings:
    """How an experiment is run.

    Attributes:
        scale: "smoke" takes seconds and shows that it works; "cpu" is for two cores; "gpu" for one GPU; "rehearsal" is
            "gpu" with a few hundred small steps, for a machine without one: the same networks, recipe and code;
            "paper" is the published length (most experiments only plan it).
        out: folder of the record, the table and the figure.
        work: folder of what a long run keeps to be continued.
        data: folder or file of puzzles, where the experiment reads some.
        model: shipped name, folder, or hub id, where the experiment decodes with one; "" for the experiment's own.
        seed: of every random choice.
        batch_size: puzzles decoded together.
        device: where the network runs.
        minutes: stop after this time; the same command continues.
    """

    scale: Scale = "cpu"
    out: Path = Path("results")
    work: Path = Path("runs")
    data: Path | None = None
    model: str = ""
    seed: int = 0
    batch_size: int = 256
    device: str = "cpu"
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.minutes is not None and not self.minutes > 0:
            raise UserError(f"minutes must be above 0, not {self.minutes}")

    @property
    def large(self) -> bool:
        """Whether the networks are those meant for a GPU."""
        return self.scale in ("gpu", "rehearsal")

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """Of training."""
        return "bfloat16" if self.large else "float32"

    def data_path(self, what: str) -> Path:
        """The data folder or file, which must be there."""
        if self.data is None:
            raise UserError(f"this needs {what}: name it with --data, or set ANYORDER_DATA")
        if not self.data.exists():
            raise UserError(f"no such data: {self.data}")
        return self.data


@dataclass(frozen=True)
class Experiment:
    """A measurement: ``run`` gives the record, ``plot`` draws it (None where a table says it all).

    ``model`` is the model that it decodes with where the settings name none.
    """

    name: str
    scales: tuple[Scale, ...]
    run: Callable[[Settings, Progress], Record]
    plot: Callable[[Record, Path], None] | None = None
    model: str = "sudoku-9x9"
