"""``anyorder compare``: strategies side by side on the same puzzles."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from anyorder.cli import screen
from anyorder.cli.options import IntOption, Machine, PathOption, at_least
from anyorder.cli.parts import named_strategy
from anyorder.core.errors import UserError

USUAL = ("margin", "top-probability", "entropy", "left-to-right", "random", "med")


@dataclass(frozen=True)
class Compare:
    """Solve the puzzles of a file under several strategies: shares, intervals, evaluations, paired differences.

    A difference is to the strategy named first, puzzle by puzzle.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """puzzle file"""
    model: str
    """shipped name (sudoku-9x9), folder, or hub id"""
    strategies: tuple[str, ...] = USUAL
    """names from `anyorder strategies`; the first is the one that the others are compared to"""
    limit: IntOption = None
    """use only this many puzzles, from the start of the file"""
    seed: int = 0
    """of every random choice; strategies are coupled by it"""
    machine: Machine = field(default_factory=Machine)
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""
    plot: PathOption = None
    """write a figure (PNG): accuracy against evaluations"""

    def __post_init__(self) -> None:
        at_least("--limit", self.limit, 1)
        if not self.strategies:
            raise UserError("--strategies needs at least one name (see `anyorder strategies`)")
        twice = [name for name in self.strategies if self.strategies.count(name) > 1]
        if twice:
            raise UserError(f"--strategies names {twice[0]!r} twice")

    def run(self) -> None:
        """Compare, write what was asked for, print the table."""
        since = time.time()
        strategies = {name: named_strategy(name) for name in self.strategies}
        from anyorder.experiments import comparison, records
        from anyorder.experiments.plots import accuracy_against_evaluations
        from anyorder.experiments.puzzles import read

        puzzles = read(self.file, limit=self.limit)
        device = self.machine.prepare()
        from anyorder.models.checkpoints import from_pretrained

        model = from_pretrained(self.model, device=device)
        contenders = [comparison.Contender(name, strategy) for name, strategy in strategies.items()]
        outcomes = screen.watch(
            contenders,
            lambda progress: comparison.compare(
                model,
                puzzles,
                contenders,
                seed=self.seed,
                batch_size=self.machine.batch_size,
                device=device,
                progress=progress,
            ),
            len(puzzles.puzzles),
        )
        rows = comparison.rows(outcomes, puzzles)
        record = records.Record(
            name="compare",
            title=f"{len(contenders)} strategies on {puzzles.name}",
            summary=comparison.summary(outcomes[0].report),
            columns=["strategy", "group", *comparison.COLUMNS[1:], "seconds"],
            rows=rows,
            run=records.run_facts(
                seed=self.seed,
                device=device,
                since=since,
                data=records.data_facts(puzzles.name, puzzles.puzzles),
                model=records.model_facts(self.model, model),
            ),
        )
        if self.json is not None:
            records.write_record(self.json, record)
        if self.plot is not None:
            accuracy_against_evaluations(comparison.points(outcomes), self.plot, title=record.title)
        console = screen.output()
        console.print(screen.table(rows, record.columns))
        for path, what in ((self.json, "record"), (self.plot, "figure")):
            if path is not None:
                console.print(f"{what}: {path}")
