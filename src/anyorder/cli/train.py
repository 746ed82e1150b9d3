"""``anyorder train``: a training run, begun or continued."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from anyorder.cli import screen
from anyorder.cli.options import FloatOption, IntOption, PathOption, at_least


@dataclass(frozen=True)
class Train:
    """Train a model, or continue a run: the same command goes on from the newest checkpoint.

    On several processes or GPUs: `torchrun --nproc-per-node N -m anyorder.training CONFIG`.
    """

    config: Annotated[str, tyro.conf.Positional]
    """YAML file, or the name of a shipped one (sudoku-9x9)"""
    run_dir: PathOption = None
    """folder of data, checkpoints, log and model (default: runs/NAME)"""
    minutes: FloatOption = None
    """stop after this time, with a checkpoint"""
    steps: IntOption = None
    """steps of the whole run, instead of the file's"""
    start_from: Annotated[Path | None, tyro.conf.arg(name="from", help_behavior_hint="")] = None
    """checkpoint or export to begin with, where the run has none"""
    allow_changes: bool = False
    """accept settings that differ from the checkpoint's"""
    threads: IntOption = None
    """CPU threads (default: all cores)"""
    quiet: bool = False
    """no progress bar"""
    json: PathOption = None
    """write the last evaluation and the facts of the run as JSON"""

    def __post_init__(self) -> None:
        at_least("--minutes", self.minutes, 0.001)
        at_least("--steps", self.steps, 1)
        at_least("--threads", self.threads, 1)

    def run(self) -> None:
        """Train and say where the model lies, or how to go on."""
        since = time.time()
        from anyorder.core.memory import reuse_large_blocks
        from anyorder.training import load_settings, train

        reuse_large_blocks()
        settings = load_settings(self.config)
        if self.steps is not None:
            settings = dataclasses.replace(settings, steps=self.steps)
        folder = self.run_dir or Path("runs") / settings.name
        result = train(
            settings,
            folder,
            minutes=self.minutes,
            start_from=self.start_from,
            allow_changes=self.allow_changes,
            threads=self.threads,
            show_progress=not self.quiet,
        )
        if self.json is not None:
            self._write_record(settings.name, settings.seed, result, since)
        if result.finished:
            screen.output().print(f"finished {settings.name} after {result.step} steps: {result.model_folder}")
        else:
            screen.output().print(
                f"stopped {settings.name} at step {result.step} of {settings.steps}; the same command continues"
            )

    def _write_record(self, name: str, seed: int, result: Any, since: float) -> None:
        from anyorder.experiments import records

        assert self.json is not None
        rows = [dict(row) for row in result.evaluations]
        device = next(result.model.parameters()).device if result.model is not None else "cpu"
        record = records.Record(
            name=f"train-{name}",
            title=f"{name} after {result.step} steps",
            summary={"step": result.step, "finished": result.finished},
            columns=list(rows[0]) if rows else [],
            rows=rows,
            run=records.run_facts(
                seed=seed,
                device=device,
                since=since,
                model=None if result.model is None else records.model_facts(name, result.model),
            ),
        )
        records.write_record(self.json, record)
