"""Stopping: when enough is decided.

After each step a stop rule may end undecided positions, in one of two ways (`Ending`): a *closed* position is never
decided and stays undecided in the result; a position that is to be *decided* gets its token at once, from the
evaluation that the step was taken on. A row with nothing left open is finished, whatever windows would have come.

Sources: "No Compute Left Behind" (2510.19990) for the answer's entropy; Li et al., "Diffusion Language Models Know the
Answer Before Decoding" (2508.19982) for Prophet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError
from anyorder.planning.board import Board, Progress, RowState
from anyorder.planning.settings import check_number, shown, token_set
from anyorder.planning.windows import hole_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas

_UNITS = 2.0**32


class Ending(NamedTuple):
    """What a stop rule ends after a step; both bool (rows, length), and only undecided positions are touched.

    Attributes:
        close: what stays undecided for good.
        decide: what is decided at once; these positions must have been asked for (candidates, or watched). ``None``
            for nothing.
        rule: int64 (rows,), for a combination: which of its ``reasons`` holds for a row in which something ends now.
    """

    close: Bool[Tensor, "rows length"]
    decide: Bool[Tensor, "rows length"] | None = None
    rule: Int64[Tensor, " rows"] | None = None


@runtime_checkable
class Stop(Protocol):
    """Ends positions. Optional: ``watch(canvas)``, bool (batch, length), positions whose logits it reads at every step.

    Attributes:
        reason: the finish reason of a row in which this rule ended something.
    """

    @property
    def reason(self) -> str: ...

    def init(self, progress: Progress) -> RowState:
        """The per-row memory at the start."""
        ...

    def __call__(self, progress: Progress, board: Board, state: RowState) -> tuple[Ending, RowState]:
        """What to end.

        Args:
            progress: the rows after the step.
            board: the statistics the step was decided on.
            state: the per-row memory.
        """
        ...


@dataclass(frozen=True)
class EndOfHole:
    """The row ends when a named hole is complete: for an answer that is wanted and nothing else."""

    hole: str

    def __post_init__(self) -> None:
        _check_hole(self, self.hole)

    @property
    def reason(self) -> str:
        return "end_of_hole"

    def init(self, progress: Progress) -> None:
        hole_of(progress, self.hole, type(self).__name__)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Ending, None]:
        hole = progress.holes[self.hole] & progress.unknown
        ended = hole.any(dim=1) & ~(hole & progress.undecided).any(dim=1)
        return Ending(ended[:, None] & progress.undecided), None


@dataclass(frozen=True)
class EndOfText:
    """What comes after an end-of-text token is left undecided.

    The rest of a hole is closed once one of ``tokens`` is decided in it and nothing to its left in the hole is
    undecided. Other holes go on.

    Args:
        tokens: the end-of-text token, or several.
        hole: the named hole to which this applies; ``None`` for all unknown positions as one.
    """

    tokens: int | tuple[int, ...]
    hole: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", token_set(self, "tokens", self.tokens))
        if self.hole is not None:
            _check_hole(self, self.hole)

    @property
    def reason(self) -> str:
        return "end_of_text"

    def init(self, progress: Progress) -> None:
        if self.hole is not None:
            hole_of(progress, self.hole, type(self).__name__)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Ending, None]:
        hole = progress.unknown if self.hole is None else progress.holes[self.hole] & progress.unknown
        assert isinstance(self.tokens, tuple)
        ends = progress.tokens == self.tokens[0]
        for token in self.tokens[1:]:
            ends = ends | (progress.tokens == token)
        # Open positions keep the mask token; a decided one is told from it by its state, not by its token.
        open_so_far = (hole & progress.undecided).cumsum(dim=1)
        ends = ends & hole & ~progress.undecided & (open_so_far == 0)
        return Ending(hole & progress.undecided & (ends.cumsum(dim=1) > 0)), None


@dataclass(frozen=True)
class AnswerEntropy:
    """Reasoning ends once the answer is clear: early exit.

    H_UB = sum over the answer's undecided positions of H(p(a_j | revealed)) bounds the answer's entropy from above. It
    is read off the evaluation that a step was decided on, whatever block is being decoded, at no extra call. Once it is
    below ``limit``, everything undecided outside the answer is closed, and the answer goes on to be decoded (what of
    it the same step decided stays). An answer that is all given never ends anything.

    Args:
        limit: gamma, in nats.
        hole: the name of the answer's hole.
    """

    limit: float
    hole: str = "answer"

    def __post_init__(self) -> None:
        check_number(self, "limit", self.limit, 0)
        _check_hole(self, self.hole)

    @property
    def reason(self) -> str:
        return "answer_entropy"

    def watch(self, canvas: Canvas) -> Bool[Tensor, "batch length"]:
        return hole_of(canvas, self.hole, type(self).__name__) & canvas.unknown

    def init(self, progress: Progress) -> None:
        hole_of(progress, self.hole, type(self).__name__)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Ending, None]:
        answer = progress.holes[self.hole] & progress.unknown
        clear = answer.any(dim=1) & (total_entropy(board, answer & board.undecided) < self.limit)
        return Ending(clear[:, None] & progress.undecided & ~answer), None


@dataclass(frozen=True)
class Prophet:
    """Everything is decided at once as soon as the network is sure of the answer.

    The gap between the two highest logits, log(p_1 / p_2), is averaged over the undecided positions of the answer. Once
    it reaches the threshold of the phase, every undecided position gets its token from this evaluation. The phase is
    the share of the unknown positions that is decided: ``early`` below a third, ``middle`` below two thirds, ``late``
    after that. Decided positions of an answer say nothing more and are not counted; an answer without undecided
    positions has been decided, and the rest follows at once.

    Args:
        early, middle, late: thresholds in nats.
        hole: the name of the answer's hole; ``None`` for everything unknown.
    """

    early: float = 7.5
    middle: float = 5.0
    late: float = 2.5
    hole: str | None = None

    def __post_init__(self) -> None:
        for name in ("early", "middle", "late"):
            check_number(self, name, getattr(self, name), 0)
        if self.hole is not None:
            _check_hole(self, self.hole)

    @property
    def reason(self) -> str:
        return "prophet"

    def watch(self, canvas: Canvas) -> Bool[Tensor, "batch length"]:
        if self.hole is not None:
            hole_of(canvas, self.hole, type(self).__name__)
        return canvas.unknown

    def init(self, progress: Progress) -> None:
        if self.hole is not None:
            hole_of(progress, self.hole, type(self).__name__)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Ending, None]:
        hole = progress.unknown if self.hole is None else progress.holes[self.hole] & progress.unknown
        answer = hole & board.undecided
        # log p_2 = log(1 - margin - (1 - p_1)); a gap beyond what float64 holds is as good as any.
        second = (board.model.one_minus_margin - board.model.one_minus_probability).clamp(min=1e-300)
        gap = (board.model.log_probability - second.log()).clamp(max=1e3).masked_fill(~answer, 0)
        # The sum is of integers, so that it does not depend on the padding.
        total = (gap * _UNITS).round().long().sum(dim=1).double() / _UNITS
        unknown = progress.unknown.sum(dim=1)
        done = unknown - board.undecided.sum(dim=1)
        later = torch.where(3 * done < 2 * unknown, self.middle, self.late)
        threshold = torch.where(3 * done < unknown, self.early, later)
        sure = hole.any(dim=1) & (total >= threshold * answer.sum(dim=1))
        return Ending(torch.zeros_like(progress.undecided), sure[:, None] & progress.undecided), None


@dataclass(frozen=True, init=False, repr=False)
class Stops:
    """Several stop rules: what any of them ends is ended. Where one closes and another decides, it is closed.

    Args:
        rules: one or more stop rules. The row's finish reason is that of the first that ended something in it.
    """

    rules: tuple[Stop, ...]

    def __init__(self, *rules: Stop) -> None:
        if not rules:
            raise UserError("Stops: give one stop rule or more")
        for rule in rules:
            check_stop(rule)
        object.__setattr__(self, "rules", rules)

    def __repr__(self) -> str:
        return f"Stops({', '.join(map(repr, self.rules))})"

    @property
    def reason(self) -> str:
        return self.rules[0].reason

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(rule.reason for rule in self.rules)

    def watch(self, canvas: Canvas) -> Bool[Tensor, "batch length"]:
        watched = torch.zeros_like(canvas.unknown)
        for rule in self.rules:
            watch = getattr(rule, "watch", None)
            watched = watched if watch is None else watched | watch(canvas)
        return watched

    def init(self, progress: Progress) -> tuple[RowState, ...]:
        return tuple(rule.init(progress) for rule in self.rules)

    def __call__(self, progress: Progress, board: Board, state: tuple[RowState, ...]) -> tuple[Ending, RowState]:
        close, decide = torch.zeros_like(progress.undecided), torch.zeros_like(progress.undecided)
        first = torch.full_like(progress.stage, -1)
        kept = []
        for index, (rule, memory) in enumerate(zip(self.rules, state, strict=True)):
            ending, memory = rule(progress, board, memory)
            kept.append(memory)
            close = close | ending.close
            decide = decide if ending.decide is None else decide | ending.decide
            ended = ((close | decide) & progress.undecided).any(dim=1)
            first = torch.where(ended & (first < 0), index, first)
        return Ending(close, decide & ~close, first.clamp(min=0)), tuple(kept)


def total_entropy(board: Board, where: Bool[Tensor, "rows length"]) -> Float64[Tensor, " rows"]:
    """Sum of the entropies at some positions, all asked for; nats, float64 (rows,).

    The sum is of integers, multiples of 2^-32 nats, so that it does not depend on the padding.
    """
    units = (board.model.entropy.masked_fill(~where, 0) * _UNITS).round().long()
    return units.sum(dim=1).double() / _UNITS


def _check_hole(part: object, hole: object) -> None:
    if not isinstance(hole, str) or not hole:
        raise UserError(f"{type(part).__name__}: hole must be the name of a hole, not {hole!r}")


def check_stop(stop: object) -> None:
    """Refuse what is not a stop rule; a class instead of an instance is the usual slip."""
    if isinstance(stop, type) or not isinstance(stop, Stop):
        raise UserError(f"stop: must be a stop rule such as EndOfHole('answer'), not {shown(stop)}")
