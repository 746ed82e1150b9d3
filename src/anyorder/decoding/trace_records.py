"""The parts of a trace. What they mean is said in `anyorder.decoding.trace`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


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
