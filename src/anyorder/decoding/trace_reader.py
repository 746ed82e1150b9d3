"""Reading a trace file, line by line, and refusing what could not have happened.

Every row is replayed while it is read: a step can reveal unknown positions and take back decided ones, its count of
undecided positions must be right, and the end must be where the steps lead.
"""

from __future__ import annotations

import json
import math
import os
from typing import Any

from anyorder.core.canvas import State
from anyorder.core.errors import UserError, reason
from anyorder.decoding.trace_records import BoardEntry, Revealed, Trace, TraceRow, TraceStep

FORMAT = 1
_FIGURES = ("log_probability", "probability", "margin", "entropy")
_DECIDED, _UNDECIDED = int(State.DECIDED), int(State.UNDECIDED)


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read what `anyorder.decoding.trace.write_trace` wrote.

    Raises:
        UserError: where the file cannot be read or is no complete trace; the message names the line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read the trace {path}: {why}") from error
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise UserError(f"{path} is empty; a trace starts with a header line")
    header = _Line(path, *lines[0])
    if header.get("anyorder_trace", int) != FORMAT:
        raise header.error(f"the trace has format {header.get('anyorder_trace', int)}; this version reads {FORMAT}")
    length, count = header.integer("length", least=1), header.integer("rows")
    begun: dict[int, _Row] = {}
    ended: dict[int, TraceRow] = {}
    for number, content in lines[1:]:
        line = _Line(path, number, content)
        row = line.integer("row")
        if row in ended:
            raise line.error(f"row {row} has already ended")
        if row not in begun:
            begun[row] = _Row(line, length)
        elif "finish_reason" in line.values:
            ended[row] = begun[row].end(line)
        elif "step" in line.values:
            begun[row].step(line)
        else:
            raise line.error(f"row {row} has already started, and this is neither a step nor its end")
    missing = sorted(set(begun) - set(ended))
    if missing or len(ended) != count:
        what = f"row {missing[0]} has no end" if missing else f"it has {len(ended)} of {count} rows"
        raise UserError(f"{path} is cut short: {what}")
    vocabulary = header.get("vocabulary", list | None)
    if vocabulary is not None and not all(isinstance(word, str) for word in vocabulary):
        raise header.error("vocabulary must be a list of texts, or null")
    return Trace(
        model=header.get("model", str),
        strategy={str(name): str(value) for name, value in header.get("strategy", dict).items()},
        seed=header.get("seed", int | None),
        task=header.get("task", dict | None),
        vocabulary=None if vocabulary is None else tuple(vocabulary),
        length=length,
        mask_token_id=header.integer("mask_token_id"),
        rows=tuple(ended[row] for row in sorted(ended)),
    )


class _Line:
    """One line of a trace file, with access that names the line when something is wrong."""

    def __init__(self, path: str | os.PathLike[str], number: int, text: str) -> None:
        self._where = f"{path}, line {number}"
        try:
            self.values = json.loads(text, parse_constant=self._refuse)
        except UserError:
            raise
        except (ValueError, RecursionError) as error:
            raise self.error("this is not JSON; is the file cut short, or no trace?") from error
        if not isinstance(self.values, dict):
            raise self.error("a line of a trace is a JSON object")

    def _refuse(self, constant: str) -> float:
        raise self.error(f"{constant} is not a number")

    def error(self, message: str) -> UserError:
        return UserError(f"{self._where}: {message}")

    def get(self, name: str, kind: Any) -> Any:
        """The entry of that name and type; a missing one is null."""
        value = self.values.get(name)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(f"{name} is missing or of the wrong type")
        return value

    def integer(self, name: str, least: int = 0) -> int:
        """A whole number of at least ``least``."""
        value = self.get(name, int)
        if value < least:
            raise self.error(f"{name} must be at least {least}, not {value}")
        return value

    def integers(self, name: str, count: int | None = None, below: int | None = None) -> tuple[int, ...]:
        """A list of whole numbers, none negative; so many, and below a bound, where these are given."""
        values = self.get(name, list)
        if count is not None and len(values) != count:
            raise self.error(f"{name} has {len(values)} entries, but the length is {count}")
        if not all(type(value) is int and value >= 0 and (below is None or value < below) for value in values):
            raise self.error(f"{name} must be whole numbers {'of 0 or more' if below is None else f'in [0, {below})'}")
        return tuple(values)

    def positions(self, name: str, length: int) -> tuple[int, ...]:
        """Different positions of a row."""
        values = self.integers(name, below=length)
        if len(set(values)) < len(values):
            raise self.error(f"{name} names a position twice")
        return values


class _Row:
    """A row as far as it has been read: its lines so far, and the tokens and states that they lead to."""

    def __init__(self, start: _Line, length: int) -> None:
        self._start, self._length = start, length
        self._tokens = list(start.integers("tokens", length))
        self._state = list(start.integers("state", length, below=len(State)))
        if _DECIDED in self._state:
            raise start.error("a row starts with nothing decided")
        self._first_tokens, self._first_state = tuple(self._tokens), tuple(self._state)
        known = start.get("solution", list | None)
        self._solution = None if known is None else start.integers("solution", length)
        self._steps: list[TraceStep] = []

    def step(self, line: _Line) -> None:
        """Take one step."""
        last = self._steps[-1] if self._steps else None
        index = line.integer("step", least=0 if last is None else last.step + 1)
        nfe = line.integer("nfe", least=0 if last is None else last.nfe)
        board = self._board(line)
        remasked = line.positions("remasked", self._length)
        for position in remasked:
            if self._state[position] != _DECIDED:
                raise line.error(f"position {position} is taken back but was not decided")
            self._state[position] = _UNDECIDED
        revealed = tuple(self._revealed(line, event) for event in line.get("revealed", list))
        if len({event.position for event in revealed}) < len(revealed):
            raise line.error("revealed names a position twice")
        for event in revealed:
            self._state[event.position], self._tokens[event.position] = _DECIDED, event.token
        undecided = line.integer("undecided")
        if undecided != self._state.count(_UNDECIDED):
            raise line.error(f"undecided is {undecided}, but {self._state.count(_UNDECIDED)} positions are")
        self._steps.append(TraceStep(index, nfe, revealed, remasked, undecided, board))

    def _revealed(self, line: _Line, event: Any) -> Revealed:
        if not isinstance(event, dict) or set(event) != set(Revealed.__annotations__):
            raise line.error(f"a revealed position needs exactly {', '.join(Revealed.__annotations__)}")
        position, token = event["position"], event["token"]
        if type(position) is not int or not 0 <= position < self._length or type(token) is not int or token < 0:
            raise line.error(f"a revealed position lies in [0, {self._length}) and has a token")
        if not all(_is_number(event[name]) for name in _FIGURES):
            raise line.error(f"the figures of revealed position {position} must be four numbers")
        if self._state[position] not in (_DECIDED, _UNDECIDED):
            raise line.error(f"position {position} is revealed but was not unknown")
        return Revealed(**event)

    def _board(self, line: _Line) -> tuple[BoardEntry, ...] | None:
        entries = line.get("board", list | None)
        if entries is None:
            return None
        for entry in entries:
            whole = isinstance(entry, list) and len(entry) == 5 and all(type(value) is int for value in entry[:2])
            if not whole or not all(_is_number(value) for value in entry[2:]) or not 0 <= entry[0] < self._length:
                raise line.error("a board entry is [position, token, probability, margin, entropy]")
            if self._state[entry[0]] != _UNDECIDED:
                raise line.error(f"the board shows position {entry[0]}, which is not undecided")
        if len({entry[0] for entry in entries}) < len(entries):
            raise line.error("the board shows a position twice")
        return tuple(BoardEntry(*entry) for entry in entries)

    def end(self, line: _Line) -> TraceRow:
        """The whole row."""
        tokens, state = line.integers("tokens", self._length), line.integers("state", self._length)
        if list(state) != self._state:
            raise line.error("state is not what the steps lead to")
        if any(a != b for a, b, now in zip(tokens, self._tokens, state, strict=True) if now != _UNDECIDED):
            raise line.error("tokens are not what the steps lead to")
        return TraceRow(
            row=line.integer("row"),
            tokens=self._first_tokens,
            state=self._first_state,
            solution=self._solution,
            steps=tuple(self._steps),
            finish_reason=line.get("finish_reason", str),
            nfe=line.integer("nfe", least=self._steps[-1].nfe if self._steps else 0),
            final_tokens=tokens,
            final_state=state,
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
