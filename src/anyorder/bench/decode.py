"""Where decoding spends its time: inside the network, and outside it.

Every call of the denoiser inside one decode is timed; what is left of the decode's wall time is *outside the network*:
statistics, ranking, randomness, bookkeeping. The baseline is the usual loop of public code for masked diffusion models:
logits for the whole canvas, a float64 softmax over all of them, and a Python loop over the rows that picks positions
one row at a time. Both decode the same puzzles with the same network by the margin rule, one position at a time;
repeats alternate between them and medians are reported, so that a busy machine disturbs both alike.
"""

from __future__ import annotations

import statistics as summaries
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.bench.result import BenchResult
from anyorder.bench.rounds import Progress
from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.decoding import decode
from anyorder.decoding.strategies import strategies
from anyorder.planning.statistics import Cut, statistics
from anyorder.tasks.sudoku import Box, generate

if TYPE_CHECKING:
    from torch import Tensor

    from anyorder.core.denoiser import Denoiser
    from anyorder.models.transformer import Transformer

SEED = 577_215  # of the puzzles; no training set uses it


@dataclass(eq=False)
class TimedDenoiser:
    """A denoiser that adds up the wall time of its calls; the device is idle before and after each."""

    denoiser: Denoiser
    device: torch.device
    seconds: float = 0.0
    calls: int = 0
    rows: int = field(default=0)

    @property
    def vocab_size(self) -> int:
        return self.denoiser.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.denoiser.mask_token_id

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        synchronise(self.device)
        since = time.perf_counter()
        logits = self.denoiser(tokens, attention_mask=attention_mask, at=at)
        synchronise(self.device)
        self.seconds += time.perf_counter() - since
        self.calls += 1
        self.rows += len(tokens)
        return logits


@torch.inference_mode()
def full_canvas_decode(denoiser: Denoiser, tokens: Tensor, unknown: Tensor) -> Tensor:
    """The baseline: margin order over the whole canvas, one position of every row at a time; returns the tokens."""
    tokens = torch.where(unknown, denoiser.mask_token_id, tokens)
    everywhere = torch.ones_like(unknown)
    masked = unknown.clone()
    while bool(masked.any()):
        logits = denoiser(tokens, at=everywhere).view(*tokens.shape, -1)
        logits[..., denoiser.mask_token_id] = -torch.inf
        probability = torch.softmax(logits.double(), dim=-1)
        chosen = probability.argmax(dim=-1)
        best = probability.topk(2, dim=-1).values
        confidence = torch.where(masked, best[..., 0] - best[..., 1], -torch.inf)
        transfer = torch.zeros_like(masked)
        for row in range(len(tokens)):
            if bool(masked[row].any()):
                transfer[row, confidence[row].topk(1).indices] = True
        tokens = torch.where(transfer, chosen, tokens)
        masked = masked & ~transfer
    return tokens


def bench_decode(
    model: Transformer,
    *,
    batch_size: int = 256,
    repeats: int = 5,
    strategy: str = "margin",
    progress: Progress | None = None,
) -> BenchResult:
    """Time outside the network as a share of the network's, ours and the baseline's.

    Args:
        model: a Sudoku model, on the device to measure.
        batch_size: puzzles in the one batch.
        repeats: decodes of each, alternating; one more of each goes first and is not counted.
        strategy: of ours; the baseline always uses margin, one at a time.
        progress: called with (name, done, total).

    Raises:
        UserError: the model is no Sudoku model, or a number is below 1.
    """
    if batch_size < 1 or repeats < 1:
        raise UserError(f"batch size and repeats must be at least 1, not {batch_size} and {repeats}")
    task = model.task
    if not task or task.get("name") != "sudoku":
        raise UserError("the decode benchmark needs a Sudoku model")
    box = Box(task["box_rows"], task["box_columns"])
    device = next(model.parameters()).device
    puzzles = generate(box, batch_size, SEED, grade="any", distinct="puzzle")
    tokens = torch.from_numpy(puzzles.puzzles.astype(np.int64)).to(device)
    canvas = Canvas(tokens, tokens == 0)
    parts = strategies[strategy].parts()
    decoders: dict[str, Callable[[Denoiser], Tensor]] = {
        f"anyorder, {strategy}": lambda denoiser: decode(denoiser, canvas, seed=0, **parts).tokens,
        "full-canvas baseline, margin": lambda denoiser: full_canvas_decode(denoiser, tokens, canvas.unknown),
    }
    samples: dict[str, list[dict[str, Any]]] = {name: [] for name in decoders}
    for repeat in range(repeats + 1):
        for name, decoder in decoders.items():
            sample = _time(decoder, model, device)
            if repeat:
                samples[name].append(sample)
        if progress is not None:
            progress("decodes", repeat, repeats)
    rows = []
    for name, taken in samples.items():
        middle = {key: summaries.median(sample[key] for sample in taken) for key in taken[0]}
        rows.append({"decoder": name, **middle, "puzzles_per_second": batch_size / middle["seconds"]})
    ours, theirs = rows
    return BenchResult(
        name="decode",
        title=f"Time outside the network, {box.name}, batch of {batch_size}",
        summary={
            "outside_network_share": ours["outside_network_share"],
            "baseline_outside_network_share": theirs["outside_network_share"],
            "outside_seconds_ratio": theirs["outside_seconds"] / ours["outside_seconds"],
            "count": batch_size,
        },
        columns=[
            "decoder",
            "seconds",
            "network_seconds",
            "outside_seconds",
            "outside_network_share",
            "network_calls",
            "rows_evaluated",
            "puzzles_per_second",
        ],
        rows=rows,
        notes=[f"Medians of {repeats} alternating repeats; the share is outside time over network time."],
        details={"repeats": samples},
        data={"name": f"generated {box.name}, seed {SEED}", "count": batch_size, "fingerprint": puzzles.fingerprint},
    )


def bench_statistics(
    *,
    canvas_rows: int = 512,
    masked_rows: int = 16,
    vocabulary: int = 126_464,
    repeats: int = 5,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> BenchResult:
    """Statistics of the masked positions in one float32 pass, beside the float64 softmax of the whole canvas.

    Args:
        canvas_rows: positions of the canvas, which the baseline looks at.
        masked_rows: positions that are to be decided, which is all that matters.
        vocabulary: tokens.
        repeats: measurements of each; one more goes first and is not counted.
        device: where to measure.
        progress: called with (name, done, total).

    Raises:
        UserError: a number out of range.
    """
    if not 1 <= masked_rows <= canvas_rows or vocabulary < 3 or repeats < 1:
        raise UserError("needed: 1 <= masked rows <= canvas rows, a vocabulary of 3 or more, at least 1 repeat")
    device = torch.device(device)
    generator = torch.Generator(device=device).manual_seed(SEED)
    logits = torch.randn(canvas_rows, vocabulary, generator=generator, device=device)
    masked = torch.randperm(canvas_rows, generator=generator, device=device)[:masked_rows].sort().values
    cut = Cut(vocab_size=vocabulary, mask_token_id=vocabulary - 1)
    gathered = logits[masked]

    def ours() -> Tensor:
        return statistics(gathered, cut).token

    def whole_canvas() -> Tensor:
        cut_logits = logits.clone()
        cut_logits[:, vocabulary - 1] = -torch.inf
        probability = torch.softmax(cut_logits.double(), dim=-1)
        _margin = probability.topk(2, dim=-1).values.diff(dim=-1)
        _entropy = torch.special.entr(probability).sum(dim=-1)
        return probability.argmax(dim=-1)[masked]

    ways = {"anyorder, masked positions, float32": ours, "whole canvas, float64 softmax": whole_canvas}
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            synchronise(device)
            since = time.perf_counter()
            way()
            synchronise(device)
            if repeat:
                samples[name].append(time.perf_counter() - since)
        if progress is not None:
            progress("statistics", repeat, repeats)
    if not torch.equal(ours(), whole_canvas()):
        raise RuntimeError("the two ways disagree on the most probable token")
    rows = [{"way": name, "seconds": summaries.median(taken)} for name, taken in samples.items()]
    for row in rows:
        row["times_faster"] = rows[1]["seconds"] / row["seconds"]
    return BenchResult(
        name="statistics",
        title=f"Token, margin and entropy of {masked_rows} masked of {canvas_rows} positions, {vocabulary:,} tokens",
        summary={"times_faster": rows[0]["times_faster"], "seconds": rows[0]["seconds"]},
        columns=["way", "seconds", "times_faster"],
        rows=rows,
        notes=[f"Medians of {repeats} alternating repeats."],
        details={"repeats": samples},
    )


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _time(decoder: Callable[[Denoiser], Tensor], model: Transformer, device: torch.device) -> dict[str, float]:
    timed = TimedDenoiser(model, device)
    synchronise(device)
    since = time.perf_counter()
    decoder(timed)
    synchronise(device)
    seconds = time.perf_counter() - since
    outside = seconds - timed.seconds
    return {
        "seconds": seconds,
        "network_seconds": timed.seconds,
        "outside_seconds": outside,
        "outside_network_share": outside / timed.seconds,
        "network_calls": timed.calls,
        "rows_evaluated": timed.rows,
    }
