"""Measurements that make a table or a figure: one file each, records in ``results/``.

An experiment is a module with one ``EXPERIMENT``. `run_experiment` runs it and writes ``NAME-SCALE.json`` (the record),
``.md`` (its table) and, where it draws one, ``.png``. Nothing heavy is imported before that.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Experiment, Progress, Settings
    from anyorder.experiments.records import Record

EXPERIMENTS: Mapping[str, str] = MappingProxyType(
    {
        "sudoku-strategies": "solve a puzzle file under the named strategies: shares, intervals, evaluations",
        "sudoku-6x6": "train the 6x6 model from scratch and follow margin and random order along training",
        "sudoku-bands": "share of puzzles that the seven strategies solve, for each rating band of the data files",
        "table1": "NAE-SAT and other latents-and-observations laws generated from nothing: vanilla against margin",
        "figure4": "belief propagation on planted problems: overlap against degree, thresholds, hard masks",
        "table2": "Sudoku that logic finishes: ARMs without and with the solver's order against masked diffusion",
        "table3": "Zebra puzzles: ARMs without and with the solver's order against masked diffusion",
        "table2-4x4": "the same on 4x4 grids, in minutes",
        "table5": "Sudoku that logic does not finish, with the networks of table2",
        "sampler-ablation": "which part of the published sampler makes margin and top probability differ",
        "order-analysis": "the model's order beside the solver's: rank correlation, strategies, where scores part ways",
        "remasking": "taking decided cells back, search with a self-check and lookahead against plain margin",
        "batch-invariance": "decode the same puzzles in batches of 1, 7 and 256 and compare tokens, order and logits",
        "figure2-latents": "error of a model of NAE-SAT at every masking level against the exact posterior",
        "figure2-scaling": "loss against compute of networks that learn text along one order, from near to far from it",
        "figure2-text": "loss of one text model along four orders, place by place",
        "figure3": "generative perplexity and entropy of text against the number of steps, under six orders",
        "reasoning-budgets": "arithmetic one position at a time against fixed k, MED, AR-MED, EB and thresholds",
        "reasoning-early-exit": "stop reasoning once the answer is sure: calls saved against accuracy over gamma",
        "reasoning-trace-scores": "trace score against final correctness along decoding; stop or mend weak traces",
        "posterior-traces": "traces sampled with the answer given: validity, filtered by score, against prior ones",
        "finetune-traces": "one round of fine-tuning on program and posterior traces, where facts are missing",
        "finetune-bare-answers": "the same where the facts are there and the habit of working things out is missing",
        "table4": "block size against accuracy on arithmetic, for four orders",
    }
)
"""Name -> what it measures."""

__all__ = ["EXPERIMENTS", "load_experiment", "run_experiment"]


def load_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        UserError: there is none.
    """
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(name, list(EXPERIMENTS), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(EXPERIMENTS)}"
        raise UserError(f"unknown experiment {name!r}; {hint}")
    return importlib.import_module(f"anyorder.experiments.{name.replace('-', '_')}").EXPERIMENT


def run_experiment(name: str, settings: Settings, progress: Progress) -> tuple[Record, list[Path]]:
    """Run an experiment and write its record, table and figure; returns the record and the paths.

    Raises:
        UserError: an unknown name or scale, or missing data.
        Unfinished: it stopped after ``settings.minutes``; nothing is written yet.
    """
    from anyorder.core.files import write_text
    from anyorder.experiments.records import write_record
    from anyorder.experiments.tables import report

    experiment = load_experiment(name)
    if settings.scale not in experiment.scales:
        raise UserError(f"{name} has the scales {', '.join(experiment.scales)}, not {settings.scale!r}")
    record = experiment.run(replace(settings, model=settings.model or experiment.model), progress)
    stem = settings.out / record.stem
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".json", ".md")]
    figure = stem.with_name(f"{stem.name}.png") if experiment.plot is not None else None
    if experiment.plot is not None and figure is not None:
        experiment.plot(record, figure)
    write_text(paths[1], report(record, figure=figure.name if figure is not None else None))
    write_record(paths[0], record)
    return record, paths if figure is None else [*paths, figure]
