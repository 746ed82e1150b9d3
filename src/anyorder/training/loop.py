"""The training loop: one for a CPU, a GPU, and many of either.

Accelerate places, wraps (DDP, FSDP) and autocasts the network; everything that has to be exact is done here or in a
module beside this one:

* a step's batch is a function of (seed, step), its loss is over the global weight (``batches``), so neither the number
  of processes nor the number of micro-batches changes the result beyond rounding;
* the state between steps is weights, their average, the optimiser's averages and a few numbers (``state``); a run that
  is killed anywhere continues from its newest checkpoint and ends with the same bits as one that was not (on the same
  machine, threads and number of processes).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.models.checkpoints import save_pretrained
from anyorder.models.transformer import Transformer
from anyorder.training.average import WeightAverage
from anyorder.training.batches import Prefetcher, StepBatch
from anyorder.training.build import gradients_kept_local, make_accelerator, make_model, wrap
from anyorder.training.card import write_card
from anyorder.training.interrupts import Interrupted, StopSignals
from anyorder.training.journal import Journal, read_journal
from anyorder.training.kinds import find_kind
from anyorder.training.optimisers import make_optimiser
from anyorder.training.planned import follow_plan
from anyorder.training.progress import Progress
from anyorder.training.rates import decay_start, multiplier
from anyorder.training.rundir import RunDirectory, find_start, run_facts
from anyorder.training.settings import TrainSettings
from anyorder.training.state import Checkpoint, copy_into, gathered, prune, save_checkpoint
from anyorder.training.sums import RunningSums

_CONTINUE, _SAVE, _STOP, _INTERRUPTED = 0, 1, 2, 3


@dataclass(frozen=True)
class TrainResult:
    """How a call of ``train`` ended.

    Attributes:
        step: optimiser steps done, over all legs.
        finished: whether that is all of them.
        model: the evaluated model (the average of the weights where one is kept); None until finished.
        model_folder: where it was saved; None until finished.
        evaluations: the records of the last evaluation.
    """

    step: int
    finished: bool
    model: Transformer | None
    model_folder: Path | None
    evaluations: list[dict[str, Any]]


def train(
    settings: TrainSettings,
    run_dir: str | Path,
    *,
    minutes: float | None = None,
    start_from: str | Path | None = None,
    allow_changes: bool = False,
    threads: int | None = None,
    show_progress: bool = False,
) -> TrainResult:
    """Train until ``settings.steps``, or for ``minutes``; continues what ``run_dir`` holds.

    Args:
        settings: the run.
        run_dir: holds the data, the checkpoints, the log and, at the end, the model.
        minutes: stop after this wall time (with a checkpoint); the same call continues.
        start_from: a checkpoint folder or an exported one to begin with where ``run_dir`` holds none.
        allow_changes: accept settings and data that differ from those of the checkpoint (never the network).
        threads: of torch on a CPU; None leaves torch's own choice.
        show_progress: a progress bar on standard error.

    Raises:
        UserError: bad settings, a damaged checkpoint, a full disk, a run directory in use, a loss that is not finite.
        Interrupted: Ctrl-C or SIGTERM came; the state was saved first.
    """
    if minutes is not None and not minutes > 0:
        raise UserError(f"minutes must be above 0, not {minutes}")
    if threads is not None and threads < 1:
        raise UserError(f"threads must be at least 1, not {threads}")
    with opened_trainer(settings, run_dir, threads=threads, show_progress=show_progress) as trainer:
        trainer.restore(start_from, allow_changes=allow_changes)
        with StopSignals() as signals:
            return trainer.run(signals, minutes)


@contextmanager
def opened_trainer(
    settings: TrainSettings,
    run_dir: str | Path,
    *,
    cpu: bool = False,
    threads: int | None = None,
    show_progress: bool = False,
) -> Iterator[Trainer]:
    """A trainer at its start, its directory locked; ``cpu`` keeps it off a GPU. Everything is let go at the end."""
    fresh = not AcceleratorState._shared_state
    accelerator: Accelerator | None = None
    try:
        accelerator = make_accelerator(settings, Path(run_dir), cpu=cpu)
        if threads is not None:
            # After Accelerate, which chooses a number of its own where several processes share a CPU.
            torch.set_num_threads(threads)
        with RunDirectory(Path(run_dir), main=accelerator.is_main_process) as run, _denormals_flushed(settings):
            trainer = Trainer(settings, run, accelerator, show_progress=show_progress)
            try:
                yield trainer
            finally:
                trainer.close()
    finally:
        if accelerator is not None:
            accelerator.end_training()
        if fresh:
            # Accelerate keeps device and precision for the life of the process; another run may want others.
            AcceleratorState._reset_state(reset_partial_state=True)


@contextmanager
def _denormals_flushed(settings: TrainSettings) -> Iterator[None]:
    """A CPU counts numbers below 1e-38 as zero: Adam's averages of idle weights get there, and would slow it down."""
    flushed_before = (torch.tensor(1e-39) * 1.0).item() == 0.0
    torch.set_flush_denormal(settings.flush_denormals or flushed_before)
    try:
        yield
    finally:
        torch.set_flush_denormal(flushed_before)


class Trainer:
    """The state of a run between steps, and the step."""

    def __init__(
        self, settings: TrainSettings, run: RunDirectory, accelerator: Accelerator, *, show_progress: bool
    ) -> None:
        self.settings, self.run_dir, self.accelerator = settings, run, accelerator
        processes = accelerator.num_processes
        if settings.batch_size % (processes * settings.accumulation):
            raise UserError(
                f"batch_size {settings.batch_size} is not a multiple of {processes} processes x "
                f"{settings.accumulation} micro-batches"
            )
        self.progress = Progress(settings, enabled=show_progress and accelerator.is_main_process)
        self.kind = find_kind(settings.task.name)
        self.model = make_model(settings)
        with accelerator.main_process_first():
            counter = self.progress.counter("making training data")
            self.data = self.kind.open_data(settings, run.path, counter)
            self.held_out = self.kind.open_evaluation(settings, run.path, self.data)
        self.module = wrap(self.model, settings, accelerator)
        weights = dict(self.model.named_parameters())
        self.optimiser = make_optimiser(self.model, settings.optimizer)
        self.average = WeightAverage(weights, settings.ema) if settings.ema is not None else None
        self.step, self.seconds = 0, 0.0
        self.pending = RunningSums(accelerator)
        self.journal = Journal(run.path / "log.jsonl") if accelerator.is_main_process else None
        self.batches = Prefetcher(
            self.data, self.model.mask_token_id, settings.objective, seed=settings.seed, size=settings.batch_size
        )

    # ------------------------------------------------------------------ the state

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The groups of live tensors that make up the state (sharded ones as they are)."""
        groups = {"model": dict(self.model.named_parameters()), "optimizer": self.optimiser.named_state()}
        return groups if self.average is None else {**groups, "average": self.average.tensors}

    def restore(self, start_from: str | Path | None, *, allow_changes: bool) -> None:
        """Take up the newest checkpoint of the run directory (or ``start_from``), if there is one."""
        found = find_start(self.run_dir.path, start_from)
        if found is None:
            self._rewind(-1)
            self._record("start", **self._facts())
            return
        checkpoint, path = found
        changes = self.run_dir.check_settings(self.settings, checkpoint, path, allow_changes=allow_changes)
        fingerprints = [checkpoint.data["data_fingerprint"], self.data.fingerprint]
        if fingerprints[0] != fingerprints[1]:
            if not allow_changes:
                raise UserError(
                    f"the training data are not those of the checkpoint {path}: their fingerprints differ "
                    "(--allow-changes accepts this)"
                )
            changes["data_fingerprint"] = fingerprints
        live = self.tensors()
        if set(live) != set(checkpoint.tensors):
            raise UserError(f"the checkpoint {path} does not fit: it holds {', '.join(sorted(checkpoint.tensors))}")
        for group, tensors in live.items():
            copy_into(tensors, checkpoint.tensors[group], group)
        self.step, self.seconds = checkpoint.step, float(checkpoint.data["seconds"])
        self.optimiser.updates = checkpoint.step
        self.pending.load(checkpoint.data["pending"])
        self._rewind(self.step)
        self._record("resume", checkpoint=str(path), changes=changes, **self._facts())

    def save(self) -> None:
        """Write a checkpoint of the present step; every process must call it."""
        pending = self.pending.dump()
        groups = {name: gathered(tensors) for name, tensors in self.tensors().items()}
        if self.accelerator.is_main_process:
            data = {
                "step": self.step,
                "examples": self.step * self.settings.batch_size,
                "seconds": self.seconds,
                "pending": pending,
                "data_fingerprint": self.data.fingerprint,
                "settings": self.settings.to_dict(),
                "threads": torch.get_num_threads(),
                "processes": self.accelerator.num_processes,
                "torch": torch.__version__,
            }
            save_checkpoint(self.run_dir.checkpoints, Checkpoint(groups, data))
            prune(self.run_dir.checkpoints, self.settings.checkpoint.keep, self._pinned())
            self._record("checkpoint", seconds=round(self.seconds, 3))
        self.accelerator.wait_for_everyone()

    # ------------------------------------------------------------------ the loop

    def run(self, signals: StopSignals, minutes: float | None) -> TrainResult:
        """Steps until the end, the time limit or a signal."""
        settings = self.settings
        begun = last_saved = time.monotonic()
        saved_step, decision = self.step, _CONTINUE
        self.progress.start(self.step)
        evaluations: list[dict[str, Any]] = []
        while self.step < settings.steps:
            started = time.perf_counter()
            self.train_step()
            self.seconds += time.perf_counter() - started
            self.step += 1
            if self.step % settings.log_every_steps == 0 or self.step == settings.steps:
                self._log_step()
            if self._evaluation_due():
                evaluations = self._evaluate()
            now = time.monotonic()
            decision = self._save_due(now - last_saved)
            if minutes is not None and now - begun >= 60 * minutes:
                decision = _STOP
            decision = self._agreed(decision if signals.received is None else _INTERRUPTED)
            if decision != _CONTINUE or self.step == settings.steps:
                self.save()
                last_saved, saved_step = time.monotonic(), self.step
            if decision in (_STOP, _INTERRUPTED):
                break
        if saved_step != self.step:
            self.save()
        self.progress.stop()
        if self.step < settings.steps:
            if decision == _INTERRUPTED:
                raise Interrupted(
                    f"interrupted by {signals.received or 'a signal'} at step {self.step} of {settings.steps}; "
                    f"the checkpoint is in {self.run_dir.checkpoints}, the same command continues"
                )
            return TrainResult(self.step, False, None, None, evaluations)
        return self._finish(evaluations)

    def train_step(self) -> None:
        """One step: a batch, its gradients, an update. The caller counts ``step`` up."""
        batch = self.batches.get(self.step, last=self.step + 1 == self.settings.steps)
        if self.settings.objective.planned.share:
            batch = follow_plan(self.model, batch, self.settings.objective, seed=self.settings.seed, step=self.step)
        self.module.train()
        losses = self._gradients(batch)
        norm = self.update()
        self.pending.add(losses, norm)
        self.progress.advance(self.step + 1)

    def _gradients(self, batch: StepBatch) -> Tensor:
        """Leave the gradients of this process's share of a global batch; gives its part of the two losses."""
        settings, accelerator = self.settings, self.accelerator
        rows = settings.batch_size // accelerator.num_processes
        mine = batch.part(accelerator.process_index * rows, (accelerator.process_index + 1) * rows)
        size = rows // settings.accumulation
        total: Tensor | None = None
        for k in range(settings.accumulation):
            part = mine.part(k * size, (k + 1) * size).to(accelerator.device)
            if k + 1 < settings.accumulation:
                with gradients_kept_local(self.module, accelerator):
                    losses = self._backward(part)
            else:
                losses = self._backward(part)
            total = losses if total is None else total + losses
        assert total is not None
        return total

    def _backward(self, part: StepBatch) -> Tensor:
        with self.accelerator.autocast():
            losses: Tensor = self.module(*part)
        # DDP and FSDP average the gradients of the processes; the loss is a sum over all of them.
        self.accelerator.backward(losses[0] * self.accelerator.num_processes)
        return losses.detach()

    def update(self) -> Tensor:
        """Move the weights by their gradients, and the average after them; gives the gradient's norm."""
        settings = self.settings
        self.optimiser.set_multiplier(multiplier(settings.schedule, self.step, settings.steps))
        norm = self.optimiser.clip(settings.optimizer.clip)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.step + 1)
        return norm

    # ------------------------------------------------------------------ decisions and records

    def _pinned(self) -> set[int]:
        start = decay_start(self.settings.schedule, self.settings.steps)
        flat = self.settings.schedule.shape == "flat-then-linear" and 0 < start < self.settings.steps
        return {*self.settings.checkpoint.keep_steps, *([start] if flat else [])}

    def _save_due(self, seconds: float) -> int:
        rules = self.settings.checkpoint
        by_time = rules.every_minutes is not None and seconds >= 60 * rules.every_minutes
        by_steps = rules.every_steps is not None and self.step % rules.every_steps == 0
        return _SAVE if by_time or by_steps or self.step in self._pinned() else _CONTINUE

    def _agreed(self, decision: int) -> int:
        """The strongest decision of all processes: clocks and signals differ between them."""
        if self.accelerator.num_processes == 1:
            return decision
        votes = self.accelerator.gather(torch.tensor([decision], device=self.accelerator.device))
        return int(votes.max())  # pyright: ignore[reportAttributeAccessIssue]

    def _evaluation_due(self) -> bool:
        every = self.settings.evaluation.every_steps
        return self.step == self.settings.steps or (every is not None and self.step % every == 0)

    def _evaluate(self) -> list[dict[str, Any]]:
        if not self.held_out:
            return []
        model = self._evaluation_model()
        records: list[dict[str, Any]] = []
        if self.accelerator.is_main_process:
            started = time.perf_counter()
            with torch.inference_mode():
                for one in self.held_out:
                    records += one.measure(model, self.accelerator.device)
            seconds = round(time.perf_counter() - started, 3)
            for record in records:
                self._record("evaluation", examples=self.step * self.settings.batch_size, **record)
            self.progress.show_evaluations(self.step, records, seconds)
        self.accelerator.wait_for_everyone()
        return records

    def _evaluation_model(self) -> Transformer:
        """A network on its own with the averaged weights. Every process must call it."""
        source = self.average.tensors if self.average is not None else dict(self.model.named_parameters())
        weights = gathered(source)
        with torch.random.fork_rng(devices=[]):
            model = Transformer(self.model.config)
        copy_into(dict(model.named_parameters()), weights, "average")
        model.task = self.kind.facts(self.settings.task)
        return model.to(self.accelerator.device).eval()

    def _log_step(self) -> None:
        values = self.pending.take(self.model.config.loops)
        rate = multiplier(self.settings.schedule, self.step - 1, self.settings.steps)
        examples = self.step * self.settings.batch_size
        record = {**values, "rate": rate, "examples": examples, "seconds": round(self.seconds, 3)}
        self._record("train", **record)
        self.accelerator.log(values | {"rate": rate, "examples": examples}, step=self.step)
        self.progress.show_loss(self.step, values["loss"])

    def _facts(self) -> dict[str, Any]:
        count = sum(parameter.numel() for parameter in self.model.parameters())
        facts = run_facts(self.accelerator)
        facts["settings"] = self.settings.to_dict()
        return {**facts, "weights": count, "data_count": len(self.data), "data_fingerprint": self.data.fingerprint}

    def _rewind(self, step: int) -> None:
        """Forget what was logged after the checkpoint, or without ever reaching one: it is about to happen again."""
        if self.journal is not None:
            self.journal.rewind(step)

    def _record(self, kind: str, **values: Any) -> None:
        if self.journal is not None:
            self.journal.write(kind, self.step, **values)

    def _finish(self, evaluations: list[dict[str, Any]]) -> TrainResult:
        model = self._evaluation_model()
        folder = self.run_dir.path / "model"
        if self.accelerator.is_main_process:
            self._record("end", examples=self.step * self.settings.batch_size, seconds=round(self.seconds, 3))
            save_pretrained(model, folder, write_card(self.run_dir.path, model))
            if not evaluations:
                # A run that had finished before: what its log says.
                past = read_journal(self.run_dir.path / "log.jsonl")
                evaluations = [one for one in past if one["kind"] == "evaluation" and one["step"] == self.step]
        self.accelerator.wait_for_everyone()
        return TrainResult(self.step, True, model, folder, evaluations)

    def close(self) -> None:
        """Let go of threads, files and the wrapped module."""
        self.progress.stop()
        self.batches.close()
        # Torch's reducer holds the process group. As its last holder it would end it without giving up Python's lock,
        # and wait for ever where a thread of the group wants that lock at that moment.
        del self.module
        self.accelerator.free_memory()
        if self.journal is not None:
            self.journal.close()
