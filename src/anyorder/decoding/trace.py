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
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from anyorder.core.canvas import State
from anyorder.core.errors import UserError
from anyorder.core.files import replacing
from anyorder.decoding.decoder import stream

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Step
    from anyorder.decoding.strategies import Strategy

FORMAT = 1


class BoardEntry(NamedTuple):
    """What the network said at one undecided position: the most probable token, its probability, margin, entropy."""

    position: int
    token: int
    probability: float
    margin: float
    entropy: float


@dataclass(frozen=True)
class Revealed:
    """A decision: the token, and the network's law at the position when it was made (entropy in nats)."""

    position: int
    token: int
    log_probability: float
    probability: float
    margin: float
    entropy: float


@dataclass(frozen=True)
class TraceStep:
    """One step of one row."""

    step: int
    nfe: int
    revealed: tuple[Revealed, ...]
    remasked: tuple[int, ...]
    undecided: int
    board: tuple[BoardEntry, ...] | None = None


@dataclass(frozen=True)
class TraceRow:
    """One row: how it started, its steps, how it ended."""

    row: int
    tokens: tuple[int, ...]
    state: tuple[int, ...]
    solution: tuple[int, ...] | None
    steps: tuple[TraceStep, ...]
    finish_reason: str
    nfe: int
    final_tokens: tuple[int, ...]
    final_state: tuple[int, ...]


@dataclass(frozen=True)
class Trace:
    """A recorded decode."""

    model: str
    strategy: Mapping[str, str]
    seed: int | None
    task: Mapping[str, Any] | None
    vocabulary: tuple[str, ...] | None
    length: int
    mask_token_id: int
    rows: tuple[TraceRow, ...]


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
    probability, margin = figures.probability.tolist(), figures.margin.tolist()
    entropy, top = figures.entropy.tolist(), figures.token.tolist()
    tokens, log_probability = step.tokens.tolist(), step.log_probability.tolist()
    chosen_probability = step.log_probability.exp().tolist()
    asked = step.open & (figures.token >= 0)
    for row, left in enumerate(step.undecided.tolist()):
        yield TraceStep(
            step=step.index,
            nfe=step.nfe,
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
                BoardEntry(i, top[row][i], *(_short(x[row][i]) for x in (probability, margin, entropy)))
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
        UserError: where the file cannot be written.
    """
    with replacing(path) as file:
        for line in _lines(trace):
            file.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n")


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


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read what `write_trace` wrote.

    Raises:
        UserError: where the file cannot be read or is no complete trace; the message names the line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read the trace {path}: {reason}") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty; a trace starts with a header line")
    header = _Line(path, *lines[0])
    if header.get("anyorder_trace", int) != FORMAT:
        raise header.error(f"the trace has format {header.get('anyorder_trace', int)}; this version reads {FORMAT}")
    length, mask = header.get("length", int), header.get("mask_token_id", int)
    if length < 1:
        raise header.error(f"length must be at least 1, not {length}")
    begun: dict[int, _Line] = {}
    taken: dict[int, list[TraceStep]] = {}
    rows: dict[int, TraceRow] = {}
    for number, content in lines[1:]:
        line = _Line(path, number, content)
        row = line.get("row", int)
        if row in rows:
            raise line.error(f"row {row} has already ended")
        if row not in begun:
            line.integers("tokens", length)
            line.integers("state", length)
            begun[row], taken[row] = line, []
        elif "finish_reason" in line.values:
            rows[row] = _ended(begun[row], taken[row], line, length)
        elif "step" in line.values:
            taken[row].append(_step_of(line, length))
        else:
            raise line.error(f"row {row} has already started, and this is neither a step nor its end")
    missing = sorted(set(begun) - set(rows))
    if missing or len(rows) != header.get("rows", int):
        what = f"row {missing[0]} has no end" if missing else f"it has {len(rows)} of {header.get('rows', int)} rows"
        raise UserError(f"{path} is cut short: {what}")
    vocabulary = header.get("vocabulary", list | None)
    return Trace(
        model=header.get("model", str),
        strategy={str(name): str(value) for name, value in header.get("strategy", dict).items()},
        seed=header.get("seed", int | None),
        task=header.get("task", dict | None),
        vocabulary=None if vocabulary is None else tuple(map(str, vocabulary)),
        length=length,
        mask_token_id=mask,
        rows=tuple(rows[row] for row in sorted(rows)),
    )


class _Line:
    """One line of a trace file, with access that names the line when something is wrong."""

    def __init__(self, path: str | os.PathLike[str], number: int, text: str) -> None:
        self._where = f"{path}, line {number}"
        try:
            self.values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise self.error("this is not JSON; is the file cut short, or no trace?") from error
        if not isinstance(self.values, dict):
            raise self.error("a line of a trace is a JSON object")

    def error(self, message: str) -> UserError:
        return UserError(f"{self._where}: {message}")

    def get(self, name: str, kind: Any) -> Any:
        """The entry of that name and type; a missing one is null."""
        value = self.values.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(f"{name} is missing or of the wrong type")
        return value

    def integers(self, name: str, count: int | None = None, most: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers, of that length, each below ``most`` and not negative."""
        values = self.get(name, list)
        if not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            raise self.error(f"{name} must be whole numbers")
        if count is not None and len(values) != count:
            raise self.error(f"{name} has {len(values)} entries, but the length is {count}")
        if most is not None and not all(0 <= value < most for value in values):
            raise self.error(f"{name} must lie in [0, {most})")
        return tuple(values)


def _step_of(line: _Line, length: int) -> TraceStep:
    events = []
    for event in line.get("revealed", list):
        try:
            revealed = Revealed(**event)
        except TypeError as error:
            raise line.error(f"a revealed position needs exactly {', '.join(Revealed.__annotations__)}") from error
        figures = (revealed.log_probability, revealed.probability, revealed.margin, revealed.entropy)
        whole = isinstance(revealed.position, int) and isinstance(revealed.token, int)
        if not whole or not 0 <= revealed.position < length or not all(_is_number(x) for x in figures):
            raise line.error(f"a revealed position must lie in [0, {length}), with a token and four numbers")
        events.append(revealed)
    board = line.get("board", list | None)
    if board is not None:
        for entry in board:
            good = isinstance(entry, list) and len(entry) == 5 and all(_is_number(x) for x in entry)
            if not good or entry[0] not in range(length):
                raise line.error("a board entry is [position, token, probability, margin, entropy]")
        board = tuple(BoardEntry(*entry) for entry in board)
    return TraceStep(
        step=line.get("step", int),
        nfe=line.get("nfe", int),
        revealed=tuple(events),
        remasked=line.integers("remasked", most=length),
        undecided=line.get("undecided", int),
        board=board,
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _ended(start: _Line, steps: list[TraceStep], end: _Line, length: int) -> TraceRow:
    return TraceRow(
        row=start.get("row", int),
        tokens=start.integers("tokens", length),
        state=start.integers("state", length),
        solution=None if start.get("solution", list | None) is None else start.integers("solution", length),
        steps=tuple(steps),
        finish_reason=end.get("finish_reason", str),
        nfe=end.get("nfe", int),
        final_tokens=end.integers("tokens", length),
        final_state=end.integers("state", length),
    )
