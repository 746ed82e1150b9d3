"""What the page holds of a trace: the header in the clear, each row packed on its own.

A row is a JSON document, deflated (zlib, RFC 1950) and written in base64; the page unpacks a row when it is shown, so a
page of hundreds of rows opens as fast as a page of one. A step stores what it changed and nothing else:

    [evaluations so far,
     [position, token, log-probability, probability, margin, entropy] of each revealed position, end to end,
     [positions taken back],
     board or null]

The board (statistics of every undecided position) is held in thousandths and as differences to the last figures seen at
the same position: ``[positions, tokens, probabilities, margins, entropies]``, where ``positions`` is 0 when the board
covers exactly the undecided positions in ascending order.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.canvas import State
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.decoding.trace import Trace, TraceRow, TraceStep

BOARD_UNIT = 1000
MOST_TOKENS = 2**31
DIGITS = 6
# Entropies are coloured on a scale from zero to the largest one on the page, and to no less than this many nats.
LEAST_ENTROPY_SCALE = 0.5


def page_data(traces: Sequence[Trace]) -> dict[str, Any]:
    """The JSON document of a page that shows ``traces`` side by side.

    Raises:
        UserError: the traces do not describe the same rows (length, given tokens, task), or a figure is not a number.
    """
    first = traces[0]
    for number, trace in enumerate(traces[1:], start=2):
        _require_same_rows(first, trace, number)
    grid = _grid(first)
    return {
        "heading": _heading(traces, grid),
        "subtitle": _subtitle(traces, grid),
        "grid": grid,
        "entropy_most": _entropy_scale(traces),
        "traces": [_trace_data(trace) for trace in traces],
    }


def _heading(traces: Sequence[Trace], grid: Mapping[str, int] | None) -> str:
    what = f"{grid['size']} × {grid['size']} Sudoku" if grid else f"text of {traces[0].length} positions"
    ways = ("", "step by step", "in two ways", "in three ways", "in four ways")[len(traces)]
    return f"{'One' if len(traces) > 1 else 'A'} {what}, decoded {ways}"


def _subtitle(traces: Sequence[Trace], grid: Mapping[str, int] | None) -> str:
    models = " and ".join(dict.fromkeys(trace.model for trace in traces))
    same = " The start is the same; the way of decoding differs." if len(traces) > 1 else ""
    unit = "cells" if grid else "positions"
    return f"A masked diffusion model can fill open {unit} in any order.{same} Model: {models}."


def _grid(trace: Trace) -> dict[str, int] | None:
    """Box shape and size where the task is a Sudoku, else none."""
    task = trace.task
    if task is None or task.get("name") != "sudoku":
        return None
    try:
        box_rows, box_columns = int(task["box_rows"]), int(task["box_columns"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError("the trace's task is sudoku, but box_rows and box_columns are not whole numbers") from error
    size = box_rows * box_columns
    if min(box_rows, box_columns) < 1 or size * size != trace.length:
        raise UserError(
            f"the trace's task is sudoku with boxes of {box_rows} x {box_columns}, which has {size * size} cells, "
            f"but its rows have {trace.length} positions"
        )
    return {"size": size, "box_rows": box_rows, "box_columns": box_columns}


def _require_same_rows(first: Trace, other: Trace, number: int) -> None:
    def refuse(what: str) -> UserError:
        return UserError(f"trace {number} cannot stand beside trace 1: {what}; give traces of the same canvas")

    if other.length != first.length:
        raise refuse(f"it has {other.length} positions instead of {first.length}")
    if _grid(other) != _grid(first):
        raise refuse("its task differs")
    if [row.row for row in other.rows] != [row.row for row in first.rows]:
        raise refuse("its rows differ")
    for ours, theirs in zip(first.rows, other.rows, strict=True):
        known = [state not in (State.DECIDED, State.UNDECIDED) for state in ours.state]
        if list(ours.state) != list(theirs.state) or any(
            a != b for a, b, given in zip(ours.tokens, theirs.tokens, known, strict=True) if given
        ):
            raise refuse(f"row {ours.row} starts from other tokens")


def _entropy_scale(traces: Sequence[Trace]) -> float:
    """The entropy, in nats, that is coloured as wholly unsure: the largest on the page."""
    most = LEAST_ENTROPY_SCALE
    for step in (step for trace in traces for row in trace.rows for step in row.steps):
        seen = [event.entropy for event in step.revealed] + [entry[4] for entry in step.board or ()]
        most = max([most, *filter(math.isfinite, seen)])
    return math.ceil(10 * most) / 10


def _trace_data(trace: Trace) -> dict[str, Any]:
    rows = [_row_data(row) for row in trace.rows]
    vocabulary = None
    if trace.vocabulary is not None:
        known = range(len(trace.vocabulary))
        vocabulary = {token: trace.vocabulary[token] for token in sorted(_tokens_of(trace)) if token in known}
    strategy = {str(name): str(value) for name, value in trace.strategy.items()}
    return {
        "label": _label(trace),
        "model": trace.model,
        "strategy": strategy,
        "seed": None if trace.seed is None else str(trace.seed),
        "vocabulary": vocabulary,
        "rows": rows,
    }


def _label(trace: Trace) -> str:
    if trace.strategy.get("name"):
        return str(trace.strategy["name"])
    parts = [str(trace.strategy[part]) for part in ("order", "budget") if trace.strategy.get(part)]
    return ", ".join(parts) or "decode"


def _tokens_of(trace: Trace) -> set[int]:
    found: set[int] = set()
    for row in trace.rows:
        found.update(row.tokens)
        found.update(row.solution or ())
        for step in row.steps:
            found.update(event.token for event in step.revealed)
            found.update(int(entry[1]) for entry in step.board or ())
    return found


def _row_data(row: TraceRow) -> dict[str, Any]:
    undecided = sum(state == State.UNDECIDED for state in row.final_state)
    wrong = None
    if row.solution is not None:
        ends = zip(row.final_tokens, row.solution, row.final_state, strict=True)
        wrong = sum(token != true for token, true, state in ends if state == State.DECIDED)
    return {
        "row": row.row,
        "finish_reason": row.finish_reason,
        "undecided": undecided,
        "wrong": wrong,
        "data": _packed(row),
    }


def _packed(row: TraceRow) -> str:
    follower = _Follower(row)
    document = {
        "tokens": list(row.tokens),
        "state": "".join(str(int(state)) for state in row.state),
        "solution": None if row.solution is None else list(row.solution),
        "steps": [follower.step(step) for step in row.steps],
    }
    follower.require_end()
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), level=9)).decode("ascii")


def _number(value: float) -> float | int | None:
    """Rounded for the page; none where the figure is not finite (JSON has no such numbers)."""
    if not math.isfinite(value):
        return None
    rounded = round(value, DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded


class _Follower:
    """Packs the steps of a row while following its tokens and states, so that the page replays what truly happened."""

    def __init__(self, row: TraceRow) -> None:
        self.row = row
        decided = (event.token for step in row.steps for event in step.revealed)
        for token in (*row.tokens, *row.final_tokens, *(row.solution or ()), *decided):
            if not 0 <= token < MOST_TOKENS:
                raise UserError(
                    f"row {row.row}: {token} is no token; tokens are numbered from 0 and below {MOST_TOKENS}"
                )
        self.tokens = np.array(row.tokens, dtype=np.int64)
        self.state = np.array(row.state, dtype=np.int64)
        if not np.isin(self.state, [int(state) for state in State]).all():
            raise UserError(f"row {row.row}: a state is none of {', '.join(f'{int(s)} ({s.name})' for s in State)}")
        self.fixed = np.isin(self.state, (State.GIVEN, State.PADDING))
        self.last = np.zeros((len(row.tokens), 4), dtype=np.int64)

    def step(self, step: TraceStep) -> list[Any]:
        board = None if step.board is None else self._board(step, step.board)
        revealed = [event.position for event in step.revealed]
        taken = list(step.remasked)
        if self.fixed[revealed].any() or self.fixed[taken].any():
            raise self._error(step, "it changes a given position or padding")
        if len({*revealed, *taken}) != len(revealed) + len(taken):
            raise self._error(step, "it names a position twice")
        self.state[taken] = State.UNDECIDED
        self.state[revealed] = State.DECIDED
        self.tokens[revealed] = [event.token for event in step.revealed]
        flat: list[int | float | None] = []
        for event in step.revealed:
            flat += [event.position, event.token]
            flat += [_number(x) for x in (event.log_probability, event.probability, event.margin, event.entropy)]
        return [step.nfe, flat, taken, board]

    def require_end(self) -> None:
        """Refuse a row whose steps do not lead to its last line."""
        settled = self.state != State.UNDECIDED
        same_tokens = np.array_equal(self.tokens[settled], np.array(self.row.final_tokens)[settled])
        if not same_tokens or not np.array_equal(self.state, np.array(self.row.final_state)):
            raise UserError(f"row {self.row.row}: its steps do not lead to the tokens and states that it ends with")

    def _board(self, step: TraceStep, board: Sequence[Sequence[float]]) -> list[Any]:
        """The board as the change since the figures last seen at each position."""
        entries = np.asarray(board, dtype=np.float64).reshape(-1, 5)
        if not np.isfinite(entries).all():
            raise self._error(step, "its board holds a number that is not finite")
        entries = entries[np.argsort(entries[:, 0], kind="stable")]
        positions = entries[:, 0].astype(np.int64)
        if (np.diff(positions) == 0).any():
            raise self._error(step, "its board names a position twice")
        figures = np.rint(entries[:, 1:] * (1, BOARD_UNIT, BOARD_UNIT, BOARD_UNIT)).astype(np.int64)
        change = figures - self.last[positions]
        self.last[positions] = figures
        everywhere = np.array_equal(positions, np.flatnonzero(self.state == State.UNDECIDED))
        return [0 if everywhere else positions.tolist(), *change.T.tolist()]

    def _error(self, step: TraceStep, message: str) -> UserError:
        return UserError(f"row {self.row.row}, step {step.step}: {message}")


def escaped_json(data: object) -> str:
    """JSON that can stand inside a ``<script>`` element: ASCII, and without ``<``, ``>`` and ``&``."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
