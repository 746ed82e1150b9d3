"""``anyorder bench NAME``: speed, always beside a baseline in the same run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anyorder.cli import screen
from anyorder.cli.data import parse_box
from anyorder.cli.options import IntOption, Machine, PathOption, at_least
from anyorder.cli.parts import named_strategy

if TYPE_CHECKING:
    from anyorder.bench.result import BenchResult


@dataclass(frozen=True)
class BenchDecode:
    """Decode time outside the network as a share of the network's; baseline: the usual full-canvas loop."""

    model: str = "sudoku-9x9"
    """shipped name, folder, or hub id"""
    strategy: str = "margin"
    """named strategy of ours; the baseline uses margin, one at a time"""
    repeats: int = 5
    """decodes of each, alternating; medians are reported"""
    machine: Machine = field(default_factory=Machine)
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--repeats", self.repeats, 1)

    def run(self) -> None:
        """Measure, record, print."""
        since = time.time()
        named_strategy(self.strategy)
        device = self.machine.prepare()
        from anyorder.bench.decode import bench_decode
        from anyorder.models.checkpoints import from_pretrained

        model = from_pretrained(self.model, device=device)
        with screen.steps() as progress:
            result = bench_decode(
                model,
                batch_size=self.machine.batch_size,
                repeats=self.repeats,
                strategy=self.strategy,
                progress=progress,
            )
        from anyorder.experiments.records import model_facts

        _finish(result, self.json, since, str(device), model=model_facts(self.model, model))


@dataclass(frozen=True)
class BenchStatistics:
    """Token, margin and entropy of the masked positions; baseline: float64 softmax of the whole canvas."""

    canvas_rows: int = 512
    """positions of the canvas"""
    masked_rows: int = 16
    """of them, those to be decided"""
    vocabulary: int = 126_464
    """tokens"""
    repeats: int = 5
    """measurements of each, alternating; medians are reported"""
    machine: Machine = field(default_factory=Machine)
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def run(self) -> None:
        """Measure, record, print."""
        since = time.time()
        device = self.machine.prepare()
        from anyorder.bench.decode import bench_statistics

        with screen.steps() as progress:
            result = bench_statistics(
                canvas_rows=self.canvas_rows,
                masked_rows=self.masked_rows,
                vocabulary=self.vocabulary,
                repeats=self.repeats,
                device=device,
                progress=progress,
            )
        _finish(result, self.json, since, str(device))


@dataclass(frozen=True)
class BenchData:
    """Making and solving puzzles on one core; baseline: a SAT solver on the same puzzles (needs python-sat)."""

    box: str = "3x3"
    """box shape, rows x columns"""
    count: int = 5000
    """puzzles to make in a round"""
    peer_count: int = 200
    """of them, those that search and SAT solver both solve"""
    repeats: int = 3
    """rounds; medians are reported"""
    seed: int = 0
    """of the first round"""
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--peer-count", self.peer_count, 1)
        at_least("--repeats", self.repeats, 1)
        at_least("--seed", self.seed, 0)

    def run(self) -> None:
        """Measure, record, print."""
        since = time.time()
        from anyorder.bench.data import bench_data

        with screen.steps() as progress:
            result = bench_data(
                parse_box(self.box),
                count=self.count,
                peer_count=self.peer_count,
                repeats=self.repeats,
                seed=self.seed,
                progress=progress,
            )
        _finish(result, self.json, since, "cpu", seed=self.seed)


@dataclass(frozen=True)
class BenchZebra:
    """Making and solving Zebra puzzles on one core; baseline: a SAT solver on the same puzzles (needs python-sat)."""

    sizes: tuple[str, ...] = ("4x4", "5x5", "6x6")
    """houses x attributes, measured apart"""
    count: int = 1000
    """puzzles of each size to make in a round"""
    peer_count: int = 100
    """of them, those that search and SAT solver both solve"""
    repeats: int = 3
    """rounds; medians are reported"""
    seed: int = 0
    """of the first round"""
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--peer-count", self.peer_count, 1)
        at_least("--repeats", self.repeats, 1)
        at_least("--seed", self.seed, 0)

    def run(self) -> None:
        """Measure, record, print."""
        since = time.time()
        from anyorder.bench.zebra import bench_zebra
        from anyorder.tasks.zebra.rules import parse_size

        with screen.steps() as progress:
            result = bench_zebra(
                tuple(map(parse_size, self.sizes)),
                count=self.count,
                peer_count=self.peer_count,
                repeats=self.repeats,
                seed=self.seed,
                progress=progress,
            )
        _finish(result, self.json, since, "cpu", seed=self.seed)


@dataclass(frozen=True)
class BenchTrain:
    """Training step against the machine's matrix-multiply rate, measured in the same run."""

    config: str = "sudoku-9x9"
    """shipped name, or a YAML file"""
    batch_size: IntOption = None
    """rows of a step (default: the configuration's)"""
    repeats: int = 5
    """rounds; medians are reported"""
    steps: int = 4
    """training steps in a round"""
    square: int = 2048
    """side of the square matrices"""
    threads: IntOption = None
    """CPU threads (default: all cores)"""
    device: Literal["auto", "cpu"] = "auto"
    """cpu keeps a GPU out of it"""
    json: PathOption = None
    """write the figures and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--batch-size", self.batch_size, 1)
        at_least("--repeats", self.repeats, 1)
        at_least("--steps", self.steps, 1)
        at_least("--square", self.square, 1)

    def run(self) -> None:
        """Measure, record, print."""
        since = time.time()
        device = Machine(threads=self.threads, device=self.device).prepare()
        from anyorder.bench.training import bench_training

        with screen.steps() as progress:
            result = bench_training(
                self.config,
                batch_size=self.batch_size,
                repeats=self.repeats,
                steps=self.steps,
                square=self.square,
                device="cpu" if self.device == "cpu" else None,
                progress=progress,
            )
        _finish(result, self.json, since, str(device))


BENCHES = {
    "decode": BenchDecode,
    "statistics": BenchStatistics,
    "data": BenchData,
    "zebra": BenchZebra,
    "train": BenchTrain,
}


def _finish(
    result: BenchResult,
    json: Path | None,
    since: float,
    device: str,
    *,
    seed: int | None = None,
    model: dict[str, Any] | None = None,
) -> None:
    from anyorder.experiments import records

    record = records.Record(
        name=f"bench-{result.name}",
        title=result.title,
        summary=result.summary,
        columns=result.columns,
        rows=result.rows,
        notes=result.notes,
        details=result.details,
        run=records.run_facts(seed=seed, device=device, since=since, data=result.data, model=model),
    )
    if json is not None:
        records.write_record(json, record)
    console = screen.output()
    console.print(screen.table(record.rows, record.columns, title=record.title))
    for note in record.notes:
        console.print(note)
    if json is not None:
        console.print(f"record: {json}")
