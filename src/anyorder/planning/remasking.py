"""Remasking: taking decided positions back.

A remask rule may put decided positions up for decision again (``reopen``), may make decided ones undecided, and may
send a row back to an earlier state of its own (`Revision`). It owns the target number of undecided positions: a rule
that is a `CountBudget` as well sets the counts, and no budget is given beside it. ``limit`` is a hard cap: the last
evaluation that it allows decides everything that is left.

A rule is asked after tokens were drawn and before they are written, so it sees the whole step and can still refuse it.

Sources: Ghazvininejad et al., "Mask-Predict" (1904.09324), and the code published with Kim et al. (2502.06768); Peng et
al., "Path Planning for Masked Diffusion Model Sampling" (2502.03540) for P2; Hong et al., "Wide-In, Narrow-Out:
Revokable Decoding for Efficient and Effective DLLMs" (2507.18578) for WINO, limits as in its code. ReMDM is in
`anyorder.planning.remdm`, search with take-back in `anyorder.planning.reconsider`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError
from anyorder.core.schedules import Linear, NoiseSchedule
from anyorder.planning.board import Board, Drawn, Progress, Ranking, RowState
from anyorder.planning.budgets import Quota, check_schedule, masked_shares
from anyorder.planning.settings import check_count, check_number, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from torch import Tensor


_FIRST_ACCEPTED = 30
"""What WINO takes the step before the first one to have decided."""


class Revision(NamedTuple):
    """What a remask rule makes of a step. A row keeps states of its own in numbered slots, empty at the start.

    The order of events: ``before`` is kept, the chosen tokens are written, ``after`` is kept, ``load`` replaces the
    row, ``back`` is masked.

    Attributes:
        chosen: bool (rows, length), what this step decides: all that was chosen, or less.
        back: bool (rows, length), decided positions that become undecided.
        before: int64 (rows,), the slot that gets the row as it was before the step; -1 for none, and so below.
        after: int64 (rows,), the slot that gets the row with this step's tokens.
        load: int64 (rows,), the slot whose state the row returns to; a slot that was never filled changes nothing. On
            the last evaluation that the cap allows, only a state with nothing undecided is returned to.
    """

    chosen: Bool[Tensor, "rows length"]
    back: Bool[Tensor, "rows length"]
    before: Int64[Tensor, " rows"] | None = None
    after: Int64[Tensor, " rows"] | None = None
    load: Int64[Tensor, " rows"] | None = None


@runtime_checkable
class Remask(Protocol):
    """Takes decided positions back. Three things are optional:

    - ``slots`` (int): how many states of itself a row can keep, 0 where absent;
    - ``look(progress, state)``: bool (rows, length), positions whose law the rule reads though they are no candidates;
    - ``ruled_out(progress, state)``: int64 (rows, k, 2) with entries (position, token), -1 where there is none: tokens
      that this step cannot decide on there. They are cut before any statistic is taken; one must be left.
    """

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
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: RowState
    ) -> tuple[Revision, RowState]:
        """What to make of a step.

        Args:
            board: the statistics that the step was decided on.
            chosen: what the step is about to decide.
            drawn: the tokens for it.
            state: the per-row memory.
        """
        ...


class WindowState(NamedTuple):
    """Memory of a rule that counts: steps done in the current window, and the window; int64 (rows,) each."""

    done: Int64[Tensor, " rows"]
    stage: Int64[Tensor, " rows"]


class WinoState(NamedTuple):
    """Memory of `WINO`: how many the last step decided in the current window, and the window; int64 (rows,) each."""

    accepted: Int64[Tensor, " rows"]
    stage: Int64[Tensor, " rows"]


@dataclass(frozen=True)
class _Revisiting:
    """A rule of T steps a window that asks every position of it again, and decides a growing share of them."""

    steps: int
    schedule: NoiseSchedule = Linear()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_count(self, "steps", self.steps)
        check_schedule(self, self.schedule)

    def init(self, progress: Progress) -> WindowState:
        return _first(progress)

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        return self.steps * stage_count(progress)

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        return progress.window & ~progress.undecided

    def count(self, progress: Progress, state: WindowState) -> tuple[Quota, WindowState]:
        return _decided_share(progress, state, self.schedule, self.steps)


@dataclass(frozen=True)
class MaskPredict(_Revisiting):
    """Predict every target position at every step and keep the best.

    Step k of T leaves floor(N (1 - alpha_s)), s = 1 - (k+1)/T, of a window's N positions undecided: the last ones of
    the order, which may have been decided before. All the others get the token that this step predicts, also where
    they had another. It ends when nothing is left undecided, after at most T evaluations a window.

    Args:
        steps: T.
        schedule: alpha; rescaled so that everything is masked at t = 1.
    """

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: WindowState
    ) -> tuple[Revision, WindowState]:
        return Revision(chosen, board.window & ~board.undecided & ~chosen), state


@dataclass(frozen=True)
class P2(_Revisiting):
    """Path planning with the denoiser as its own planner.

    Step k of T leaves floor(N (1 - alpha_s)) of a window's N positions undecided, as `MaskPredict` does, but a decided
    position that is kept keeps its token. Use it with the order `Planned`, which ranks undecided positions by the
    log-probability of the token drawn and decided ones by ``eta`` times that of the token they have.

    Args:
        steps: T.
        schedule: alpha; kappa(k / T) of the source is alpha there. Rescaled so that everything is masked at t = 1.
    """

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: WindowState
    ) -> tuple[Revision, WindowState]:
        return Revision(chosen & board.undecided, board.window & ~board.undecided & ~chosen), state


@dataclass(frozen=True)
class WINO:
    """Draft low, verify high: what the network no longer believes is taken back.

    After a step that decides more than one position, the decided positions of the window whose token now has a
    probability below ``verify`` are taken back, but fewer than the step before decided (of more, the least probable
    ones), so that progress is made; the first step may take back up to 29. Use it with a budget that drafts boldly:
    ``Draft(0.6)``.

    What is read at a decided position is the denoiser's law there. The source hides each token from itself with a
    shadow block of masks. A network that sees the token it is asked about, and was trained on masked positions alone,
    says nothing of use: wrap it in `LeaveOut`.

    Args:
        verify: probability below which a token is taken back.
    """

    verify: float = 0.9

    def __post_init__(self) -> None:
        check_number(self, "verify", self.verify, 0, 1)

    def init(self, progress: Progress) -> WinoState:
        return WinoState(torch.full_like(progress.stage, _FIRST_ACCEPTED), progress.stage)

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        return progress.unknown.sum(dim=1).clamp(min=1)

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        return torch.zeros_like(progress.unknown)

    def look(self, progress: Progress, state: WinoState) -> Bool[Tensor, "rows length"]:
        return progress.window & ~progress.undecided

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: WinoState
    ) -> tuple[Revision, WinoState]:
        before = torch.where(board.stage == state.stage, state.accepted, _FIRST_ACCEPTED)
        accepted = chosen.sum(dim=1)
        decided = self.look(board, state)
        now = board.log_probability_of(board.tokens, decided)
        doubted = decided & (now < torch.tensor(self.verify, dtype=torch.float64).log()) & (accepted > 1)[:, None]
        back = Ranking.of(-now.nan_to_num(nan=0.0), doubted).take(before - 1)
        return Revision(chosen, back), WinoState(accepted, board.stage)


def stage_count(progress: Progress) -> Int64[Tensor, " rows"]:
    """How many windows with something unknown each row has, at least 1."""
    ordered = progress.stages.masked_fill(~progress.unknown, -1).sort(dim=1).values
    new = torch.diff(ordered, dim=1, prepend=ordered.new_full((len(ordered), 1), -1)) != 0
    return new.sum(dim=1).clamp(min=1)


def _first(progress: Progress) -> WindowState:
    return WindowState(torch.zeros_like(progress.stage), torch.full_like(progress.stage, -1))


def _decided_share(
    progress: Progress, state: WindowState, schedule: NoiseSchedule, steps: int
) -> tuple[Quota, WindowState]:
    """How many of the window's positions are decided after the next of the steps."""
    done = torch.where(progress.stage == state.stage, state.done, 0) + 1
    size = progress.window.sum(dim=1)
    masked = masked_shares(schedule, steps).to(size.device)
    # A whole number must not fall below itself by the rounding of the share.
    left = (size * masked[done.clamp(max=steps)] + 1e-9).floor().long()
    time = 1 - done.double() / steps
    return Quota((size - left).clamp(min=1), time.clamp(min=0)), WindowState(done, progress.stage)


def check_remask(remask: object) -> None:
    """Refuse what is not a remask rule; a class instead of an instance is the usual slip."""
    if isinstance(remask, type) or not isinstance(remask, Remask):
        raise UserError(f"remask: must be a remask rule such as MaskPredict(50), not {shown(remask)}")
