"""``anyorder experiment``: a table or a figure, with its record."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from anyorder.cli import screen
from anyorder.cli.options import FloatOption, Machine, PathOption, TextOption, at_least
from anyorder.core.errors import UserError
from anyorder.experiments import EXPERIMENTS, load_experiment, run_experiment
from anyorder.experiments.experiment import Scale, Settings, Unfinished


@dataclass(frozen=True)
class Experiment:
    """Make a table or a figure and its record: results/NAME-SCALE.json, .md, .png."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help="one of: " + ", ".join(EXPERIMENTS))]
    scale: Scale = "cpu"
    """smoke (under a minute), cpu (two cores), gpu (one GPU), rehearsal (gpu in a few small steps, anywhere), paper
    (the published length; mostly a plan)"""
    data: PathOption = None
    """folder or file of puzzles, where the experiment reads some (default: $ANYORDER_DATA)"""
    model: TextOption = None
    """shipped name, folder, or hub id (default: the experiment's own)"""
    out: Path = Path("results")
    """folder of the record, the table and the figure"""
    work: Path = Path("runs")
    """folder of what a long run keeps to be continued"""
    seed: int = 0
    """of every random choice"""
    minutes: FloatOption = None
    """stop after this time; the same command continues"""
    machine: Machine = field(default_factory=Machine)
    json: PathOption = None
    """write the record here as well"""

    def __post_init__(self) -> None:
        at_least("--minutes", self.minutes, 0.01)

    def run(self) -> None:
        """Run it and say where the results lie."""
        load_experiment(self.name)  # an unknown name is refused before any work
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; name a folder")
        environment = os.environ.get("ANYORDER_DATA")
        settings = Settings(
            scale=self.scale,
            out=self.out,
            work=self.work,
            data=self.data or (Path(environment) if environment else None),
            model=self.model or "",
            seed=self.seed,
            batch_size=self.machine.batch_size,
            device=str(self.machine.prepare()),
            minutes=self.minutes,
        )
        console = screen.output()
        try:
            with screen.steps() as progress:
                record, paths = run_experiment(self.name, settings, progress)
        except Unfinished as stopped:
            console.print(str(stopped))
            return
        if self.json is not None:
            from anyorder.experiments.records import write_record

            write_record(self.json, record)
            paths = [*paths, self.json]
        console.print(screen.table(record.rows, record.columns, title=record.title))
        for note in record.notes:
            console.print(note)
        for path in paths:
            console.print(f"written: {path}")
