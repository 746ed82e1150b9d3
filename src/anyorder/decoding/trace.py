"""A decode written down step by step, in JSON lines.

The first line is the header; then come a starting line for each row, a line for each row and step, and an ending line
for each row. Lines of different rows may be mixed; the lines of one row stand in order.

    {"anyorder_trace": 1, "model": str, "strategy": {part: text}, "seed": int or null, "task": {...} or null,
     "vocabulary": [str] or null, "length": int, "rows": int, "mask_token_id": int}
    {"row": r, "tokens": [...], "state": [...], "solution": [...] or null}
    {"row": r, "step": s, "nfe": n, "revealed": [{"position", "token", "log_probability", "probability", "margin",
     "entropy"}], "remasked": [...], "undecided": k, "board": [[position, token, probability, margin, entropy]]}
    {"row": r, "finish_reason": str, "nfe": n, "tokens": [...], "state": [...]}

``state`` holds values of `State`. ``nfe`` counts the row's network evaluations, this step's included. ``board``, which
may be absent, is what the network said at the undecided positions it was asked about, before anything was revealed.
A position that is in ``remasked`` is not in ``revealed`` of the same step: one that is decided again is revealed only.
In a file that has a position in both, it was taken back first and revealed then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from anyorder.core.canvas import State
from anyorder.core.errors import UserError
from anyorder.core.files import replacing
from anyorder.decoding.decoder import stream
from anyorder.decoding.trace_reader import FORMAT, read_trace
from anyorder.decoding.trace_records import BoardEntry, Revealed, Trace, TraceRow, TraceStep

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Step
    from anyorder.decoding.strategies import Strategy

__all__ = ["BoardEntry", "Revealed", "Trace", "TraceRow", "TraceStep", "read_trace", "trace_decode", "write_trace"]


def trace_decode(
    model: Denoiser,
    canvas: Canvas,
    strategy: Strategy,
    *,
    seed: int | Int64[Tensor, " batch"] = 0,
    name: str = "",
    model_name: str = "",
    solutions: Int64[Tensor, "batch length"] | None = None,
    task: Mapping[str, Any] | None = None,
    vocabulary: Sequence[str] | None = None,
    board: bool = True,
    watch: Callable[[Step], None] | None = None,
) -> Trace:
    """Decode a canvas and write down every step.

    Args:
        model: a denoiser.
        canvas: what to fill.
        strategy: the parts.
        seed: as for `anyorder.decode`.
        name: the strategy's name, kept in the header.
        model_name: kept in the header.
        solutions: the true tokens where they are known, kept for comparison and not looked at.
        task: kept in the header, for example ``{"name": "sudoku", "box_rows": 3, "box_columns": 3}``.
        vocabulary: text of every token, kept in the header.
        board: keep the statistics of all undecided positions at every step.
        watch: is shown every step when it was taken.

    Raises:
        UserError: as `anyorder.decode`, and where ``solutions`` have another shape than the canvas.
    """
    if solutions is not None and solutions.shape != canvas.tokens.shape:
        raise UserError(f"solutions have shape {tuple(solutions.shape)}, the canvas {tuple(canvas.tokens.shape)}")
    steps: list[list[TraceStep]] = [[] for _ in range(canvas.batch)]
    decoding = stream(model, canvas, **strategy.parts(), seed=seed)
    while True:
        try:
            step = next(decoding)
        except StopIteration as end:
            result = end.value
            break
        for row, record in zip(step.rows.tolist(), _steps(step, board), strict=True):
            steps[row].append(record)
        if watch is not None:
            watch(step)
    start_tokens = canvas.tokens.masked_fill(canvas.unknown, model.mask_token_id).tolist()
    start_state = result.state.masked_fill(canvas.unknown, int(State.UNDECIDED)).tolist()
    known = None if solutions is None else solutions.tolist()
    rows = zip(start_tokens, start_state, steps, result.nfe.tolist(), strict=True)
    ends = zip(result.finish_reason, result.tokens.tolist(), result.state.tolist(), strict=True)
    return Trace(
        model=model_name,
        strategy={**({"name": name} if name else {}), **strategy.as_text()},
        seed=seed if isinstance(seed, int) else None,
        task=None if task is None else dict(task),
        vocabulary=None if vocabulary is None else tuple(vocabulary),
        length=canvas.length,
        mask_token_id=model.mask_token_id,
        rows=tuple(
            TraceRow(
                row=index,
                tokens=tuple(tokens),
                state=tuple(state),
                solution=None if known is None else tuple(known[index]),
                steps=tuple(taken),
                finish_reason=reason,
                nfe=nfe,
                final_tokens=tuple(final_tokens),
                final_state=tuple(final_state),
            )
            for index, ((tokens, state, taken, nfe), (reason, final_tokens, final_state)) in enumerate(
                zip(rows, ends, strict=True)
            )
        ),
    )


def _steps(step: Step, board: bool) -> Iterator[TraceStep]:
    """The records of one step, one for each of its rows."""
    figures = step.statistics
    top, probability = figures.token.tolist(), figures.probability.tolist()
    seen_margin, seen_entropy = figures.margin.tolist(), figures.entropy.tolist()
    tokens, log_probability = step.tokens.tolist(), step.log_probability.tolist()
    margin, entropy = step.margin.tolist(), step.entropy.tolist()
    chosen_probability = step.log_probability.exp().tolist()
    asked = step.open & (figures.token >= 0)
    for row, (left, nfe) in enumerate(zip(step.undecided.tolist(), step.nfe.tolist(), strict=True)):
        yield TraceStep(
            step=step.index,
            nfe=nfe,
            revealed=tuple(
                Revealed(
                    i,
                    tokens[row][i],
                    log_probability[row][i],
                    chosen_probability[row][i],
                    margin[row][i],
                    entropy[row][i],
                )
                for i in step.revealed[row].nonzero().squeeze(1).tolist()
            ),
            remasked=tuple(step.remasked[row].nonzero().squeeze(1).tolist()),
            undecided=left,
            board=tuple(
                BoardEntry(i, top[row][i], *(_short(x[row][i]) for x in (probability, seen_margin, seen_entropy)))
                for i in asked[row].nonzero().squeeze(1).tolist()
            )
            if board
            else None,
        )


def _short(value: float) -> float:
    """Six digits: enough for a picture, and half the file."""
    return float(f"{value:.6g}")


def write_trace(path: str | os.PathLike[str], trace: Trace) -> None:
    """Write a trace; the file appears whole or not at all.

    Raises:
        UserError: where the file cannot be written, or the trace holds what JSON cannot (a NaN in ``task``, say).
    """
    with replacing(path) as file:
        for line in _lines(trace):
            try:
                text = json.dumps(line, separators=(",", ":"), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise UserError(f"the trace cannot be written as JSON: {error}") from error
            file.write(text + "\n")


def _lines(trace: Trace) -> Iterator[dict[str, Any]]:
    yield {
        "anyorder_trace": FORMAT,
        "model": trace.model,
        "strategy": dict(trace.strategy),
        "seed": trace.seed,
        "task": trace.task,
        "vocabulary": trace.vocabulary,
        "length": trace.length,
        "rows": len(trace.rows),
        "mask_token_id": trace.mask_token_id,
    }
    for row in trace.rows:
        yield {"row": row.row, "tokens": row.tokens, "state": row.state, "solution": row.solution}
        for step in row.steps:
            line: dict[str, Any] = {
                "row": row.row,
                "step": step.step,
                "nfe": step.nfe,
                "revealed": [asdict(event) for event in step.revealed],
                "remasked": step.remasked,
                "undecided": step.undecided,
            }
            yield line if step.board is None else {**line, "board": step.board}
        yield {
            "row": row.row,
            "finish_reason": row.finish_reason,
            "nfe": row.nfe,
            "tokens": row.final_tokens,
            "state": row.final_state,
        }
