"""Stopping: when enough is decided.

After each step a stop rule may close undecided positions. A closed position is never decided: it stays undecided in the
result. A row with nothing left open is finished, whatever windows would have come.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from anyorder.core.errors import UserError
from anyorder.planning.board import Board, Progress, RowState
from anyorder.planning.settings import shown, token_set

if TYPE_CHECKING:
    from jaxtyping import Bool
    from torch import Tensor


@runtime_checkable
class Stop(Protocol):
    """Closes positions.

    Attributes:
        reason: the finish reason of a row that ends with positions closed by this rule.
    """

    @property
    def reason(self) -> str: ...

    def init(self, progress: Progress) -> RowState:
        """The per-row memory at the start."""
        ...

    def __call__(
        self, progress: Progress, board: Board, state: RowState
    ) -> tuple[Bool[Tensor, "rows length"], RowState]:
        """What to leave undecided for good.

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
        _find_hole(self, self.hole, progress)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        hole = progress.holes[self.hole] & progress.unknown
        ended = hole.any(dim=1) & ~(hole & progress.undecided).any(dim=1)
        return ended[:, None] & progress.undecided, None


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
            _find_hole(self, self.hole, progress)
        return None

    def __call__(self, progress: Progress, board: Board, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        hole = progress.unknown if self.hole is None else progress.holes[self.hole] & progress.unknown
        assert isinstance(self.tokens, tuple)
        ends = progress.tokens == self.tokens[0]
        for token in self.tokens[1:]:
            ends = ends | (progress.tokens == token)
        # Open positions keep the mask token; a decided one is told from it by its state, not by its token.
        open_so_far = (hole & progress.undecided).cumsum(dim=1)
        ends = ends & hole & ~progress.undecided & (open_so_far == 0)
        return hole & progress.undecided & (ends.cumsum(dim=1) > 0), None


def _check_hole(part: object, hole: object) -> None:
    if not isinstance(hole, str) or not hole:
        raise UserError(f"{type(part).__name__}: hole must be the name of a hole, not {hole!r}")


def _find_hole(part: object, hole: str, progress: Progress) -> None:
    if hole not in progress.holes:
        known = ", ".join(map(repr, progress.holes)) or "none"
        raise UserError(f"{type(part).__name__}: the canvas has no hole {hole!r}; it has {known}")


def check_stop(stop: object) -> None:
    """Refuse what is not a stop rule; a class instead of an instance is the usual slip."""
    if isinstance(stop, type) or not isinstance(stop, Stop):
        raise UserError(f"stop: must be a stop rule such as EndOfHole('answer'), not {shown(stop)}")
