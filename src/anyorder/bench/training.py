"""How much of the machine's matrix-multiply rate a training step reaches.

Three things are measured in turn, several rounds of them, so that whatever else the machine does disturbs all alike:

* *square*: the product of two large square matrices, the rate that the machine is able of;
* *own shapes*: every product of the step, forward and backward, by itself at its own shape and layout, warm;
* *the step*: the training loop's own step on real data, and its parts one by one.

The achieved rate is the operations of the step's products (``training.flops``, exact: nothing recomputed, nothing
element-wise counted) over the time of the whole step. Ratios are taken within a round, and their median is reported:
``square_share`` says what the hardware could do, ``own_shapes_share`` what is lost beside the products (norms,
softmax, element-wise work, memory traffic, overhead).
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from anyorder.bench.result import BenchResult
from anyorder.bench.rounds import Progress
from anyorder.core.errors import UserError
from anyorder.training.batches import StepBatch, step_batch
from anyorder.training.flops import Product, backward_products, flops, forward_products, optimiser_flops
from anyorder.training.kinds.sudoku import SudokuEvaluation
from anyorder.training.loop import Trainer, opened_trainer
from anyorder.training.settings import CheckpointSettings, TrainSettings, load_settings

Timer = Callable[[Callable[[], Any]], float]


def bench_training(
    config: str | Path | TrainSettings = "sudoku-9x9",
    *,
    batch_size: int | None = None,
    repeats: int = 5,
    steps: int = 4,
    square: int = 2048,
    puzzles: int = 2048,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> BenchResult:
    """Measure the training step of a configuration against the machine's matrix-multiply rate.

    Args:
        config: a shipped name, a YAML file, or settings.
        batch_size: instead of the configuration's.
        repeats: rounds; one more goes first and is not counted.
        steps: training steps in a round.
        square: side of the square matrices.
        puzzles: base puzzles to generate, where the configuration names no file.
        device: "cpu" keeps a GPU out of it; None takes what training would take.
        progress: called with (name, rounds done, rounds).

    Raises:
        UserError: a bad configuration, or a number below 1.
    """
    if min(repeats, steps, square, puzzles) < 1:
        raise UserError("repeats, steps, square and puzzles must be at least 1")
    settings = config if isinstance(config, TrainSettings) else load_settings(config)
    settings = dataclasses.replace(
        settings,
        batch_size=batch_size or settings.batch_size,
        data=dataclasses.replace(settings.data, count=puzzles),
        evaluation=SudokuEvaluation(puzzles=0),
        checkpoint=CheckpointSettings(every_minutes=None),
        trackers=(),
    )
    rounds: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        opened_trainer(settings, folder, cpu=device is not None and torch.device(device).type == "cpu") as trainer,
    ):
        timer = _timer(trainer.accelerator.device)
        for number in range(repeats + 1):
            one = _round(trainer, timer, steps, square)
            if number:
                rounds.append(one)
            if progress is not None:
                progress("rounds", number, repeats)
        data = {
            "name": settings.data.path or "generated",
            "count": len(trainer.data),
            "fingerprint": trainer.data.fingerprint,
        }
    return _result(settings, rounds, square, data)


def _round(trainer: Trainer, timer: Timer, steps: int, side: int) -> dict[str, Any]:
    """One measurement of everything, times in seconds."""
    settings, device = trainer.settings, trainer.accelerator.device
    low = settings.precision == "bfloat16"
    dtype = torch.bfloat16 if low else torch.float32
    square = Product("square", side, side, side)
    square_rate = square.flops / _time_product(square, device, dtype, timer)
    whole = 0.0
    parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    batches = []
    for _ in range(steps):
        taken, batch = _step_in_parts(trainer, timer)
        batches.append(batch)
        for name, seconds in taken.items():
            parts[name] += seconds
        whole += timer(trainer.train_step)
    rows, length = settings.batch_size // settings.accumulation, batches[0].tokens.shape[1]
    masked = sum(int(batch.masked.sum()) for batch in batches) // (steps * settings.accumulation)
    all_depths = settings.objective.depths == "all"
    forward = forward_products(trainer.model.config, rows, length, masked, all_depths=all_depths)
    backward = backward_products(forward)
    own = sum(_time_product(product, device, dtype, timer) for product in (*forward, *backward))
    return {
        "square_rate": square_rate,
        "own_rate": flops([*forward, *backward]) / own,
        "own_seconds": settings.accumulation * own,
        "step_seconds": whole / steps,
        "parts": {name: seconds / steps for name, seconds in parts.items()},
        "flops": {
            "data": 0,
            "forward": settings.accumulation * flops(forward),
            "backward": settings.accumulation * flops(backward),
            "update": optimiser_flops(trainer.optimiser),
        },
        "masked": masked * settings.accumulation,
    }


PARTS = ("data", "forward", "backward", "update")


def _step_in_parts(trainer: Trainer, timer: Timer) -> tuple[dict[str, float], StepBatch]:
    """The parts of one step, one after the other; the weights move as in training."""
    settings, device = trainer.settings, trainer.accelerator.device
    drawn: list[StepBatch] = []

    def draw() -> None:
        objective, seed = settings.objective, settings.seed
        mask, size = trainer.model.mask_token_id, settings.batch_size
        drawn.append(step_batch(trainer.data, mask, objective, seed=seed, step=trainer.step, size=size))

    taken = {"data": timer(draw), "forward": 0.0, "backward": 0.0}
    size = settings.batch_size // settings.accumulation
    for start in range(0, settings.batch_size, size):
        part = drawn[0].part(start, start + size).to(device)
        losses: list[torch.Tensor] = []

        def forward(part: StepBatch = part, losses: list[torch.Tensor] = losses) -> None:
            with trainer.accelerator.autocast():
                losses.append(trainer.module(*part)[0])

        def backward(losses: list[torch.Tensor] = losses) -> None:
            trainer.accelerator.backward(losses[0])

        taken["forward"] += timer(forward)
        taken["backward"] += timer(backward)
    taken["update"] = timer(trainer.update)
    return taken, drawn[0]


def _time_product(product: Product, device: torch.device, dtype: torch.dtype, timer: Timer) -> float:
    """Seconds of all ``count`` products: the median of some warm ones times their number."""
    shape = (product.batch,) if product.batch > 1 else ()
    first = torch.randn(*shape, product.m, product.k, device=device, dtype=dtype)
    if product.weight:
        second = torch.randn(*shape, product.n, product.k, device=device, dtype=dtype).mT
    else:
        second = torch.randn(*shape, product.k, product.n, device=device, dtype=dtype)
    out = torch.empty(*shape, product.m, product.n, device=device, dtype=dtype)
    seconds = []
    begun = time.perf_counter()
    while len(seconds) < 4 or (len(seconds) < 16 and time.perf_counter() - begun < 0.05):
        seconds.append(timer(lambda: torch.matmul(first, second, out=out)))
    return statistics.median(seconds[1:]) * product.count


def _timer(device: torch.device) -> Timer:
    """Wall time of a call; a GPU is idle before and after it."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def timed(call: Callable[[], Any]) -> float:
        wait()
        since = time.perf_counter()
        call()
        wait()
        return time.perf_counter() - since

    return timed


def _result(settings: TrainSettings, rounds: list[dict[str, Any]], side: int, data: dict[str, Any]) -> BenchResult:
    def middle(value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(map(value, rounds))

    def operations(one: dict[str, Any]) -> int:
        return one["flops"]["forward"] + one["flops"]["backward"]

    def achieved(one: dict[str, Any]) -> float:
        return operations(one) / one["step_seconds"]

    step = middle(lambda one: one["step_seconds"])
    rows: list[dict[str, Any]] = []
    for name in PARTS:
        seconds = middle(lambda one, name=name: one["parts"][name])
        work = middle(lambda one, name=name: one["flops"][name])
        rows.append(
            {
                "part": name,
                "milliseconds": 1e3 * seconds,
                "step_share": middle(lambda one, name=name: one["parts"][name] / sum(one["parts"].values())),
                "gigaflop": work / 1e9,
                "gigaflop_per_second": work / seconds / 1e9,
            }
        )
    work = middle(operations)
    whole = {"milliseconds": 1e3 * step, "step_share": 1.0, "gigaflop": work / 1e9}
    rows.append({"part": "whole step", **whole, "gigaflop_per_second": middle(achieved) / 1e9})
    own = {"milliseconds": 1e3 * middle(lambda one: one["own_seconds"]), "gigaflop": work / 1e9}
    share = middle(lambda one: one["own_seconds"] / one["step_seconds"])
    own_rate, square_rate = middle(lambda one: one["own_rate"]), middle(lambda one: one["square_rate"])
    rows.append({"part": "its products alone", **own, "step_share": share, "gigaflop_per_second": own_rate / 1e9})
    square = {"milliseconds": 1e3 * 2 * side**3 / square_rate, "step_share": None, "gigaflop": 2 * side**3 / 1e9}
    rows.append({"part": f"{side} x {side} product", **square, "gigaflop_per_second": square_rate / 1e9})
    return BenchResult(
        name="train",
        title=f"Training step of {settings.name}, batch {settings.batch_size}",
        summary={
            "step_seconds": step,
            "examples_per_second": settings.batch_size / step,
            "flops_per_step": work,
            "achieved_flops": middle(achieved),
            "square_flops": square_rate,
            "own_shapes_flops": own_rate,
            "square_share": middle(lambda one: achieved(one) / one["square_rate"]),
            "own_shapes_share": middle(lambda one: achieved(one) / one["own_rate"]),
        },
        columns=("part", "milliseconds", "step_share", "gigaflop", "gigaflop_per_second"),
        rows=rows,
        notes=(
            "Operations are those of the network's matrix products, counted exactly; norms, softmax and element-wise "
            "work count as none, and the whole step leaves out the optimiser's. Training draws its data in a second "
            "thread while a step runs; here it is timed by itself.",
        ),
        details={"rounds": rounds, "threads": torch.get_num_threads(), "settings": settings.to_dict()},
        data=data,
    )
