"""``anyorder solve``: puzzles in, solutions out, and the share that was solved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from anyorder.cli import screen
from anyorder.cli.options import IntOption, Machine, PathOption, at_least
from anyorder.cli.parts import Decoding

if TYPE_CHECKING:
    from anyorder.evaluation.accuracy import PuzzleReport
    from anyorder.experiments.puzzles import PuzzleSet
    from anyorder.models.transformer import Transformer


@dataclass(frozen=True)
class Solve:
    """Solve the puzzles of a file and report the share solved.

    A puzzle is a line of digits (0 or . for a blank), or the `puzzle` column of a CSV file.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """puzzle file"""
    model: str
    """shipped name (sudoku-9x9), folder, or hub id"""
    decoding: Decoding = field(default_factory=Decoding)
    machine: Machine = field(default_factory=Machine)
    limit: IntOption = None
    """solve only this many puzzles, from the start of the file"""
    out: PathOption = None
    """write puzzle, filled grid, solved (1 or 0) and evaluations as CSV"""
    trace: PathOption = None
    """write how the first puzzles were decoded, for `anyorder view`"""
    trace_count: int = 4
    """puzzles in the trace"""
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--limit", self.limit, 1)
        at_least("--trace-count", self.trace_count, 1)

    def run(self) -> None:
        """Solve, write what was asked for, print the figures."""
        since = time.time()
        name, strategy = self.decoding.resolve()
        from anyorder.experiments.comparison import Contender, compare
        from anyorder.experiments.puzzles import read

        # The file is read and its clues are checked before any model is loaded: bad input fails at once.
        puzzles = read(self.file, limit=self.limit)
        device = self.machine.prepare()
        from anyorder.models.checkpoints import from_pretrained

        model = from_pretrained(self.model, device=device)
        with screen.bar(f"solving under {name}") as progress:
            (outcome,) = compare(
                model,
                puzzles,
                [Contender(name, strategy)],
                seed=self.decoding.seed,
                batch_size=self.machine.batch_size,
                device=device,
                progress=lambda _, done, total: progress(done, total),
            )
        if self.out is not None:
            _write_csv(self.out, puzzles, outcome.report)
        if self.trace is not None:
            self._write_trace(self.trace, model, puzzles)
        record = self._record(model, puzzles, name, outcome.report, since, str(device))
        if self.json is not None:
            from anyorder.experiments.records import write_record

            write_record(self.json, record)
        console = screen.output()
        console.print(screen.table(record.rows, record.columns))
        for path, what in ((self.out, "solutions"), (self.trace, "trace"), (self.json, "record")):
            if path is not None:
                console.print(f"{what}: {path}")

    def _record(
        self, model: Transformer, puzzles: PuzzleSet, name: str, report: PuzzleReport, since: float, device: str
    ) -> Any:
        from anyorder.experiments import comparison, records

        figures = comparison.groups(report, puzzles.logic)
        named = {group: comparison.GROUPS[group] for group in figures}
        summary = dict(figures["all"])
        summary |= {group: figures[group] for group in figures if group != "all"}
        columns = ["puzzles", "count", "solved_share", "interval", "nfe_mean"]
        if report.exact is not None:
            columns.insert(4, "exact_share")
        return records.Record(
            name="solve",
            title=f"{puzzles.name} under {name}",
            summary=summary,
            columns=columns,
            rows=[{"puzzles": named[group], **figures[group]} for group in figures if figures[group]["count"]],
            details={"strategy": name},
            run=records.run_facts(
                seed=self.decoding.seed,
                device=device,
                since=since,
                data=records.data_facts(puzzles.name, puzzles.puzzles),
                model=records.model_facts(self.model, model),
            ),
        )

    def _write_trace(self, path: Path, model: Transformer, puzzles: PuzzleSet) -> None:
        from anyorder.decoding.trace import write_trace
        from anyorder.experiments.traces import trace_puzzles

        chosen = puzzles.first(self.trace_count)
        write_trace(path, trace_puzzles(model, self.model, chosen, *self.decoding.resolve(), seed=self.decoding.seed))


def _write_csv(path: Path, puzzles: PuzzleSet, report: PuzzleReport) -> None:
    from anyorder.core.files import replacing
    from anyorder.tasks.sudoku.formats import as_text

    with replacing(path) as file:
        file.write("puzzle,filled,solved,evaluations\n")
        for puzzle, filled, solved, nfe in zip(puzzles.puzzles, report.filled, report.solved, report.nfe, strict=True):
            file.write(f"{as_text(puzzle, blank='0')},{as_text(filled, blank='0')},{int(solved)},{nfe}\n")
