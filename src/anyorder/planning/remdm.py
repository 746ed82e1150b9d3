"""ReMDM: remasking diffusion, in which a revealed position may be masked again at every reverse step.

A reverse step t -> s masks each revealed position with probability sigma_t and reveals each masked one with probability

    (alpha_s - (1 - sigma_t) alpha_t) / (1 - alpha_t),

which keeps the marginals of masked diffusion, for any 0 <= sigma_t <= sigma_max = min(1, (1 - alpha_s) / alpha_t). The
published choices of sigma_t:

    cap      min(eta, sigma_max)
    rescale  eta sigma_max
    conf     eta_i sigma_max, eta_i a softmax over the revealed positions of minus the probability that the token of i
             had when it was revealed
    loop     plain diffusion until alpha reaches ``held``; then alpha stays there, with sigma = eta; then plain
             diffusion from there to the end

A reverse step that reveals nothing needs no evaluation: its remasking is done at once and the next is looked at. So a
row uses at most T evaluations, and most of those that change nothing are saved (the published code keeps the last
prediction for that). Which of the masked positions are revealed is left to the order; `Random` is the source's.

Source: Wang et al., "Remasking Discrete Diffusion Models with Inference-Time Scaling" (2503.00307) and its code, whose
settings are the defaults; there the switch of *loop* is stated as times t_on = 0.55 and t_off = 0.05.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, uniform
from anyorder.core.schedules import Linear, NoiseSchedule
from anyorder.planning.board import Board, Drawn, Progress
from anyorder.planning.budgets import Quota, check_schedule, masked_shares
from anyorder.planning.remasking import Revision, stage_count
from anyorder.planning.settings import check_choice, check_count, check_number

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

_UNITS = 2.0**32


class RemdmState(NamedTuple):
    """Memory of `ReMDM`.

    Attributes:
        step: int64 (rows,), the reverse step that comes next; the number of steps where none reveals anything more.
        count: int64 (rows,), how many positions it reveals.
        stage: int64 (rows,), the window to which these belong, -1 before the first.
        doubt: float64 (rows, length), exp(-p) with p the probability that a decided token had; 0 where undecided.
    """

    step: Int64[Tensor, " rows"]
    count: Int64[Tensor, " rows"]
    stage: Int64[Tensor, " rows"]
    doubt: Float64[Tensor, "rows length"]


@dataclass(frozen=True)
class ReMDM:
    """Remasking diffusion; see the module.

    Args:
        steps: T, in every window anew.
        rule: "cap", "rescale", "conf" or "loop".
        eta: the strength of the remasking, in [0, 1]; *conf* has none.
        on, off: times between which *loop* holds alpha, 1 > on > off > 0.
        held: the alpha that it holds.
        schedule: alpha; rescaled so that everything is masked at t = 1. *loop* has its own.
    """

    steps: int
    rule: Literal["cap", "rescale", "conf", "loop"] = "cap"
    eta: float = 0.04
    on: float = 0.55
    off: float = 0.05
    held: float = 0.9
    schedule: NoiseSchedule = Linear()  # noqa: RUF009 (frozen)

    def __post_init__(self) -> None:
        check_count(self, "steps", self.steps)
        check_choice(self, "rule", self.rule, ("cap", "rescale", "conf", "loop"))
        for name in ("eta", "on", "off", "held"):
            check_number(self, name, getattr(self, name), 0, 1)
        if not 0 < self.off < self.on < 1 or not 0 < self.held < 1:
            raise UserError(
                f"ReMDM: loop needs 0 < off < on < 1 and held inside (0, 1), not {self.off}, {self.on}, {self.held}"
            )
        check_schedule(self, self.schedule)

    def init(self, progress: Progress) -> RemdmState:
        nothing = torch.zeros(progress.unknown.shape, dtype=torch.float64, device=progress.unknown.device)
        start = torch.zeros_like(progress.stage)
        return RemdmState(start, start.clone(), torch.full_like(start, -1), nothing)

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        return self.steps * stage_count(progress)

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        return torch.zeros_like(progress.unknown)

    def count(self, progress: Progress, state: RemdmState) -> tuple[Quota, RemdmState]:
        new = progress.stage != state.stage
        if bool(new.any()):
            # A window starts with nothing decided, so the steps passed over here take nothing back.
            start = state._replace(step=torch.where(new, 0, state.step), count=torch.where(new, 0, state.count))
            started, _ = self._advance(progress, progress.open, start._replace(stage=progress.stage), new)
            state = started
        step = state.step.clamp(max=self.steps - 1)
        time = 1 - (step + 1).double() / self.steps
        return Quota(state.count, time), state

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: RemdmState
    ) -> tuple[Revision, RemdmState]:
        held = torch.where(chosen, torch.exp(-drawn.log_probability.exp()), state.doubt)
        # This reverse step masks what was revealed before it, not what it reveals.
        decided = board.window & ~board.undecided
        gone = self._masked_again(board, decided, state.step, state.doubt)
        masked = (board.open & ~chosen) | gone
        after = RemdmState(state.step + 1, torch.zeros_like(state.count), state.stage, held.masked_fill(gone, 0))
        after, masked = self._advance(board, masked, after, torch.ones_like(state.step, dtype=torch.bool))
        return Revision(chosen, masked & (chosen | ~board.undecided)), after

    def _advance(
        self, progress: Progress, masked: Tensor, state: RemdmState, going: Tensor
    ) -> tuple[RemdmState, Bool[Tensor, "rows length"]]:
        """Reverse steps up to the next that reveals something, for the rows that are ``going``; what is masked then."""
        step, count, doubt = state.step, state.count, state.doubt
        revealed, _ = self._table(step.device)
        while True:
            going = going & (step < self.steps)
            if not bool(going.any()):
                return RemdmState(step, count, state.stage, doubt), masked
            reveals = uniform(progress.seeds[:, None], Purpose.COUNT, progress.positions, step[:, None])
            opened = (masked & (reveals < revealed[step.clamp(max=self.steps)][:, None])).sum(dim=1)
            count = torch.where(going, opened, count)
            going = going & (opened == 0)
            gone = self._masked_again(progress, progress.window & ~masked, step, doubt) & going[:, None]
            masked, doubt = masked | gone, doubt.masked_fill(gone, 0)
            step = step + going

    def _masked_again(self, progress: Progress, decided: Tensor, step: Tensor, doubt: Tensor) -> Tensor:
        """Which of the decided positions a reverse step masks."""
        u = uniform(progress.seeds[:, None], Purpose.REMASK, progress.positions, step[:, None])
        rate = self._table(u.device)[1][step.clamp(max=self.steps)][:, None]
        if self.rule == "conf":
            # The sum is of integers, so that it does not depend on the padding.
            units = (doubt.masked_fill(~decided, 0) * _UNITS).round()
            total = units.long().sum(dim=1, keepdim=True).clamp(min=1)
            rate = rate * (units / total)
        return decided & (u < rate)

    def _table(self, device: torch.device) -> tuple[Float64[Tensor, " steps+1"], Float64[Tensor, " steps+1"]]:
        """For every reverse step: the probability that a masked position is revealed, and sigma (*conf*: sigma_max).

        A last entry of zeros is for rows whose steps are all done.
        """
        if self.rule == "loop":
            t = torch.arange(self.steps, -1, -1, dtype=torch.float64) / self.steps
            rising = (1 - t) * self.held / (1 - self.on)
            falling = 1 - t * (1 - self.held) / self.off
            alpha = torch.where(t > self.on, rising, torch.where(t > self.off, self.held, falling))
            # A grid without a time between the two has no held part, and no step that falls back.
            alpha = alpha.clamp(0, 1).cummax(dim=0).values
            alpha[-1] = 1.0
            holding = (t[:-1] <= self.on) & (t[:-1] > self.off)
        else:
            alpha, holding = 1 - masked_shares(self.schedule, self.steps), None
        now, then = alpha[:-1], alpha[1:]
        largest = torch.where(now > 0, (1 - then) / now.clamp(min=1e-300), 1.0).clamp(max=1.0)
        match self.rule:
            case "cap":
                sigma = largest.clamp(max=self.eta)
            case "rescale":
                sigma = self.eta * largest
            case "conf":
                sigma = largest
            case "loop":
                assert holding is not None
                sigma = torch.where(holding, largest.clamp(max=self.eta), 0.0)
        # A masked position of *conf* has no share in the softmax, so it is revealed as without remasking.
        kept = now if self.rule == "conf" else (1 - sigma) * now
        reveal = ((then - kept) / (1 - now).clamp(min=1e-300)).clamp(0, 1)
        # Nothing is left masked at the end.
        reveal[-1] = 1.0
        none = torch.zeros(1, dtype=torch.float64)
        return torch.cat((reveal, none)).to(device), torch.cat((sigma, none)).to(device)
