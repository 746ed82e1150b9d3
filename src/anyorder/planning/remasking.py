"""Remasking: taking decided positions back.

A remask rule may put decided positions up for decision again (``reopen``) and may make decided ones undecided (its
call). It owns the target number of undecided positions: a rule that is a `CountBudget` as well sets the counts, and no
budget is given beside it. ``limit`` is a hard cap: the last evaluation that it allows decides everything that is left.

Source: Ghazvininejad et al., "Mask-Predict" (1904.09324); the code published with Kim et al. (2502.06768).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError
from anyorder.core.schedules import Linear, NoiseSchedule
from anyorder.planning.board import Board, Progress, RowState
from anyorder.planning.budgets import Quota, check_schedule, masked_shares
from anyorder.planning.settings import check_count, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor


@runtime_checkable
class Remask(Protocol):
    """Takes decided positions back."""

    def init(self, progress: Progress) -> RowState:
        """The per-row memory at the start."""
        ...

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        """The most evaluations a row may use, at least 1; asked once, at the start."""
        ...

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        """Decided positions that this step may decide again."""
        ...

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], state: RowState
    ) -> tuple[Bool[Tensor, "rows length"], RowState]:
        """Positions that are undecided after this step although they were decided before or are chosen now."""
        ...


class MaskPredictState(NamedTuple):
    """Memory of `MaskPredict`: steps done in the current window, and the window; int64 (rows,) each."""

    done: Int64[Tensor, " rows"]
    stage: Int64[Tensor, " rows"]


@dataclass(frozen=True)
class MaskPredict:
    """Predict every target position at every step and keep the best.

    Step k of T leaves floor(N (1 - alpha_s)), s = 1 - (k+1)/T, of a window's N positions undecided: the last ones of
    the order, which may have been decided before. All the others get the token that this step predicts, also where
    they had another. It ends when nothing is left undecided, after at most T evaluations a window.

    Args:
        steps: T.
        schedule: alpha; rescaled so that everything is masked at t = 1.
    """

    steps: int
    schedule: NoiseSchedule = Linear()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_count(self, "steps", self.steps)
        check_schedule(self, self.schedule)

    def init(self, progress: Progress) -> MaskPredictState:
        return MaskPredictState(torch.zeros_like(progress.stage), torch.full_like(progress.stage, -1))

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        ordered = progress.stages.masked_fill(~progress.unknown, -1).sort(dim=1).values
        new = torch.diff(ordered, dim=1, prepend=ordered.new_full((len(ordered), 1), -1)) != 0
        return self.steps * new.sum(dim=1).clamp(min=1)

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        return progress.window & ~progress.undecided

    def count(self, progress: Progress, state: MaskPredictState) -> tuple[Quota, MaskPredictState]:
        done = torch.where(progress.stage == state.stage, state.done, 0) + 1
        size = progress.window.sum(dim=1)
        masked = masked_shares(self.schedule, self.steps).to(size.device)
        # A whole number must not fall below itself by the rounding of the share.
        left = (size * masked[done.clamp(max=self.steps)] + 1e-9).floor().long()
        count = (size - left).clamp(min=1)
        time = 1 - done.double() / self.steps
        return Quota(count, time.clamp(min=0)), MaskPredictState(done, progress.stage)

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], state: MaskPredictState
    ) -> tuple[Bool[Tensor, "rows length"], MaskPredictState]:
        return board.window & ~board.undecided & ~chosen, state


def check_remask(remask: object) -> None:
    """Refuse what is not a remask rule; a class instead of an instance is the usual slip."""
    if isinstance(remask, type) or not isinstance(remask, Remask):
        raise UserError(f"remask: must be a remask rule such as MaskPredict(50), not {shown(remask)}")
