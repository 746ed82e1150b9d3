"""Budgets: how many positions a step decides.

There are two kinds, told apart by their method.

- A **count** budget has ``count(progress, state)`` and knows the number before the network is asked. `Schedule` may
  give 0 to some reverse steps; they are passed over without a call.
- A **threshold** budget is called with the board and the ranking after the evaluation and returns what to decide. It
  walks the order from its best position and stops at the first that fails (``prefix=True``), or takes every position
  that passes (``prefix=False``). It decides at least one position of every row.

Memory is explicit: ``init(progress)`` makes the per-row state, and each use takes it and returns it.

Sources: Kim et al. (2502.06768) for schedules; Ben-Hamu et al., "Accelerated Sampling from Masked Diffusion Models via
Entropy Bounded Unmasking" (2505.24857); "No Compute Left Behind" (2510.19990) for entropy below a limit; Wu et al.,
"Fast-dLLM" (2505.22618) for the probability threshold and factor; Kim et al., "KLASS" (2511.05664).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, uniform
from anyorder.core.schedules import Linear, NoiseSchedule
from anyorder.planning.board import Board, Progress, Ranking, RowState
from anyorder.planning.settings import View, check_choice, check_count, check_flag, check_number, check_view, shown

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor


class Quota(NamedTuple):
    """How many positions each row decides at a step.

    Attributes:
        count: int64 (rows,), at least 1 (the loop takes a smaller one as 1, so that it ends whatever a budget says).
        time: float64 (rows,), the time t / T that the step reaches.
    """

    count: Int64[Tensor, " rows"]
    time: Float64[Tensor, " rows"]


@runtime_checkable
class CountBudget(Protocol):
    """Knows the number before the network is asked."""

    def init(self, progress: Progress) -> RowState: ...

    def count(self, progress: Progress, state: RowState) -> tuple[Quota, RowState]: ...


@runtime_checkable
class ThresholdBudget(Protocol):
    """Decides after the network has been asked."""

    def init(self, progress: Progress) -> RowState: ...

    def __call__(
        self, board: Board, ranking: Ranking, state: RowState
    ) -> tuple[Bool[Tensor, "rows length"], RowState]: ...


Budget = CountBudget | ThresholdBudget


def share_left(progress: Progress, count: int) -> Float64[Tensor, " rows"]:
    """The share of the window that is undecided once ``count`` more positions are decided."""
    left = (progress.open.sum(dim=1) - count).clamp(min=0)
    return left.double() / progress.window.sum(dim=1).clamp(min=1)


@dataclass(frozen=True)
class OneByOne:
    """One position a step."""

    def init(self, progress: Progress) -> None:
        return None

    def count(self, progress: Progress, state: None) -> tuple[Quota, None]:
        return Quota(torch.ones_like(progress.stage), share_left(progress, 1)), None


@dataclass(frozen=True)
class Fixed:
    """``k`` positions a step, fewer where fewer are left."""

    k: int

    def __post_init__(self) -> None:
        check_count(self, "k", self.k)

    def init(self, progress: Progress) -> None:
        return None

    def count(self, progress: Progress, state: None) -> tuple[Quota, None]:
        return Quota(torch.full_like(progress.stage, self.k), share_left(progress, self.k)), None


class ScheduleState(NamedTuple):
    """Memory of a `Schedule`.

    Attributes:
        times: int64 (rows, length), a reverse step for each unknown position; how many of a window's are equal to k
            is the count of its step k.
        last: int64 (rows,), the last reverse step done in the current window, -1 at its start.
        stage: int64 (rows,), the window to which ``last`` belongs.
    """

    times: Int64[Tensor, "rows length"]
    last: Int64[Tensor, " rows"]
    stage: Int64[Tensor, " rows"]


@dataclass(frozen=True)
class Schedule:
    """A fixed number of reverse steps through a noise schedule, in every window anew.

    Step k goes from t = 1 - k/T to s = 1 - (k+1)/T and decides the share (alpha_s - alpha_t) / (1 - alpha_t) of what is
    masked. ``expected`` rounds the number left, N (1 - alpha_s), so that nothing is lost; ``binomial`` draws the
    number, which is the reverse process itself.

    A position is masked at s with probability 1 - alpha_s whatever happens to the others, so binomial counts are those
    of N independent revealing times. They are drawn at the start, one uniform v for a position, which is revealed at
    the first step with 1 - alpha_s <= v; ``expected`` puts the N numbers v at (i + 1/2) / N instead. A step that
    reveals nothing is found without trying, and costs nothing.

    Args:
        steps: T.
        schedule: alpha; rescaled so that everything is masked at t = 1.
        rounding: ``expected`` or ``binomial``.
    """

    steps: int
    schedule: NoiseSchedule = Linear()  # noqa: RUF009 (frozen)
    rounding: Literal["expected", "binomial"] = "expected"

    def __post_init__(self) -> None:
        check_count(self, "steps", self.steps)
        check_choice(self, "rounding", self.rounding, ("expected", "binomial"))
        check_schedule(self, self.schedule)

    def init(self, progress: Progress) -> ScheduleState:
        if self.rounding == "binomial":
            v = uniform(progress.seeds[:, None], Purpose.COUNT, progress.positions, 0)
        else:
            v = _stratified(progress.unknown, progress.stages)
        masked = masked_shares(self.schedule, self.steps)[1:].to(v.device)
        times = torch.searchsorted(-masked, -v)
        start = torch.full_like(progress.stage, -1)
        return ScheduleState(times, start, start.clone())

    def count(self, progress: Progress, state: ScheduleState) -> tuple[Quota, ScheduleState]:
        last = torch.where(progress.stage == state.stage, state.last, -1)
        pending = progress.window & (state.times > last[:, None])
        step = state.times.masked_fill(~pending, self.steps).amin(dim=1)
        count = (pending & (state.times == step[:, None])).sum(dim=1)
        # What a remask rule took back after the last step is decided in one more.
        count = torch.where(step == self.steps, progress.open.sum(dim=1), count)
        step = step.clamp(max=self.steps - 1)
        time = 1 - (step + 1).double() / self.steps
        return Quota(count, time), ScheduleState(state.times, step, progress.stage)


def masked_shares(schedule: NoiseSchedule, steps: int) -> Float64[Tensor, " times"]:
    """(1 - alpha(t)) / (1 - alpha(1)) for t = 1, 1 - 1/steps, ..., 0, on the CPU."""
    t = torch.arange(steps, -1, -1, dtype=torch.float64) / steps
    masked = schedule.masked(t)
    return (masked / masked[0]).clamp(0, 1)


def check_schedule(part: object, schedule: object) -> None:
    """Refuse what is not a noise schedule; a class instead of an instance is the usual slip."""
    if isinstance(schedule, type) or not isinstance(schedule, NoiseSchedule):
        raise UserError(
            f"{type(part).__name__}: schedule must be a noise schedule such as Linear(), not {shown(schedule)}"
        )


def _stratified(unknown: Bool[Tensor, "rows length"], stages: Int64[Tensor, "rows length"]) -> Tensor:
    """The numbers (i + 1/2) / N, i = 0..N-1, falling to the right, at the N unknown positions of each row's stages."""
    names, stages = torch.unique(stages, return_inverse=True)
    stages = stages.masked_fill(~unknown, len(names))
    ordered, index = stages.sort(dim=1, stable=True)
    size = torch.zeros(len(stages), len(names) + 1, dtype=torch.int64, device=stages.device)
    size.scatter_add_(1, stages, torch.ones_like(stages))
    start = size.cumsum(dim=1) - size
    rank = torch.arange(stages.shape[1], device=stages.device) - start.gather(1, ordered)
    n = size.gather(1, ordered).double()
    return torch.empty_like(n).scatter_(1, index, (n - rank - 0.5) / n)


def walk(
    ranking: Ranking, passes: Bool[Tensor, "rows length"], prefix: bool, most: int | None
) -> Bool[Tensor, "rows length"]:
    """What a threshold takes.

    Args:
        ranking: candidates, best first.
        passes: by position.
        prefix: stop at the first that fails; the best is taken whether it passes or not. Otherwise take all that
            pass, and the best where none does.
        most: no more than so many, the best ones.
    """
    if not prefix and most is None:
        return ranking.at_least_one(passes)
    taken = ranking.ranked(passes) & ranking.is_ranked
    if prefix:
        taken[:, 0] = True
        taken = taken.cummin(dim=1).values
    else:
        taken[:, 0] |= ~taken.any(dim=1)
    if most is not None:
        taken = taken & (taken.cumsum(dim=1) <= most)
    return ranking.unrank(taken)


@dataclass(frozen=True)
class EntropyBelow:
    """Decide while the entropy is below ``limit`` nats, at most ``most`` a step.

    With the order `Entropy` this is MED, with `LeftToRight` AR-MED: KL(joint || product) of what is decided at once is
    at most (k - 1) limit.
    """

    limit: float
    most: int | None = None
    prefix: bool = True
    view: View = "sampled"

    def __post_init__(self) -> None:
        check_number(self, "limit", self.limit, 0)
        _check_walk(self, self.most, self.prefix, self.view)

    def init(self, progress: Progress) -> None:
        return None

    def __call__(self, board: Board, ranking: Ranking, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        return walk(ranking, board.view(self.view).entropy < self.limit, self.prefix, self.most), None


@dataclass(frozen=True)
class EntropyBound:
    """Decide the longest prefix of the order with sum H - max H at most ``total`` nats (EB-Sampler).

    Sums are of multiples of 2^-32 nats in integers, so that no device's order of summation matters.
    """

    total: float
    most: int | None = None
    view: View = "sampled"

    def __post_init__(self) -> None:
        check_number(self, "total", self.total, 0, 2.0**20)
        _check_walk(self, self.most, True, self.view)

    def init(self, progress: Progress) -> None:
        return None

    def __call__(self, board: Board, ranking: Ranking, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        entropy = ranking.ranked(board.view(self.view).entropy).masked_fill(~ranking.is_ranked, 0.0)
        units = (entropy * 2.0**32).round().long()
        spread = units.cumsum(dim=1) - units.cummax(dim=1).values
        taken = (spread <= round(self.total * 2.0**32)) & ranking.is_ranked
        if self.most is not None:
            taken[:, self.most :] = False
        return ranking.unrank(taken), None


@dataclass(frozen=True)
class ProbabilityAbove:
    """Decide while the highest probability is above ``limit``; Fast-dLLM's threshold with ``prefix=False``."""

    limit: float
    most: int | None = None
    prefix: bool = True
    view: View = "model"

    def __post_init__(self) -> None:
        check_number(self, "limit", self.limit, 0, 1)
        _check_walk(self, self.most, self.prefix, self.view)

    def init(self, progress: Progress) -> None:
        return None

    def __call__(self, board: Board, ranking: Ranking, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        passes = board.view(self.view).one_minus_probability < 1 - self.limit
        return walk(ranking, passes, self.prefix, self.most), None


@dataclass(frozen=True)
class Draft:
    """Decide every position whose highest probability is above ``limit``, but not too many: WINO's wide draft.

    At most the share ``share`` of the window's undecided positions, where that is below ``least`` that many, and never
    more than ``most``; the best one where none passes. The numbers are those of the source's code.

    Source: Hong et al., "Wide-In, Narrow-Out" (2507.18578).
    """

    limit: float = 0.6
    share: float = 0.7
    least: int = 5
    most: int = 20
    view: View = "model"

    def __post_init__(self) -> None:
        check_number(self, "limit", self.limit, 0, 1)
        check_number(self, "share", self.share, 0, 1)
        check_count(self, "least", self.least)
        check_count(self, "most", self.most, self.least)
        check_view(self, self.view)

    def init(self, progress: Progress) -> None:
        return None

    def __call__(self, board: Board, ranking: Ranking, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        # A whole number must not fall below itself by the rounding of the share.
        most = (board.open.sum(dim=1) * self.share + 1e-9).floor().long().clamp(self.least, self.most)
        passes = board.view(self.view).one_minus_probability < 1 - self.limit
        return ranking.at_least_one(passes & ranking.take(most)), None


@dataclass(frozen=True)
class Factor:
    """Decide the longest prefix of the order in which the n-th probability is at least 1 - f / (n + 1) (Fast-dLLM)."""

    f: float
    most: int | None = None
    view: View = "model"

    def __post_init__(self) -> None:
        check_number(self, "f", self.f, 0)
        _check_walk(self, self.most, True, self.view)

    def init(self, progress: Progress) -> None:
        return None

    def __call__(self, board: Board, ranking: Ranking, state: None) -> tuple[Bool[Tensor, "rows length"], None]:
        doubt = ranking.ranked(board.view(self.view).one_minus_probability)
        n = torch.arange(1, doubt.shape[1] + 1, device=doubt.device)
        taken = (doubt * (n + 1) <= self.f) & ranking.is_ranked
        taken[:, 0] = True
        taken = taken.cummin(dim=1).values
        if self.most is not None:
            taken[:, self.most :] = False
        return ranking.unrank(taken), None


@dataclass(frozen=True, eq=False)
class KlassState:
    """Memory of `KLASS`.

    Attributes:
        seen: bool (rows, length), where the last evaluation's law is remembered.
        laws: float32 (k, vocab), log-probabilities at the true positions of ``seen``, row-major.
        stable: int64 (rows, length), for how many evaluations in a row the law has hardly changed.
    """

    seen: Bool[Tensor, "rows length"]
    laws: Tensor
    stable: Int64[Tensor, "rows length"]

    def keep(self, rows: Tensor) -> KlassState:
        slot = (self.seen.flatten().cumsum(0) - 1).view(self.seen.shape)[rows]
        seen = self.seen[rows]
        return KlassState(seen, self.laws[slot[seen]], self.stable[rows])


@dataclass(frozen=True)
class KLASS:
    """Decide every position whose probability is above ``limit`` and whose law has settled; else the best one.

    The law has settled where KL(p_now || p_before) was below ``divergence`` nats at each of the last ``history``
    evaluations. A law of the vocabulary's size is kept for every candidate.
    """

    limit: float = 0.9
    divergence: float = 0.01
    history: int = 2
    most: int | None = None
    prefix: bool = False

    def __post_init__(self) -> None:
        check_number(self, "limit", self.limit, 0, 1)
        check_number(self, "divergence", self.divergence, 0)
        check_count(self, "history", self.history)
        _check_walk(self, self.most, self.prefix, "model")

    def init(self, progress: Progress) -> KlassState:
        laws = torch.empty(0, 0, device=progress.tokens.device)
        return KlassState(torch.zeros_like(progress.unknown), laws, torch.zeros_like(progress.tokens))

    def __call__(
        self, board: Board, ranking: Ranking, state: KlassState
    ) -> tuple[Bool[Tensor, "rows length"], KlassState]:
        now = board.gathered.log_probabilities(board.candidates)
        both = board.candidates & state.seen
        stable = torch.zeros_like(state.stable)
        if len(state.laws):
            new = now[both[board.candidates]]
            old = state.laws[both[state.seen]]
            change = torch.where(new > -torch.inf, new.exp() * (new - old), 0.0).sum(dim=1)
            stable[both] = torch.where(change < self.divergence, state.stable[both] + 1, 0)
        sure = board.model.one_minus_probability < 1 - self.limit
        taken = walk(ranking, sure & (stable >= self.history), self.prefix, self.most)
        return taken, KlassState(board.candidates, now, stable)


def _check_walk(part: object, most: object, prefix: object, view: object) -> None:
    if most is not None:
        check_count(part, "most", most)
    check_flag(part, "prefix", prefix)
    check_view(part, view)


def check_budget(budget: object) -> None:
    """Refuse what is not a budget; a class instead of an instance is the usual slip."""
    if isinstance(budget, type) or not isinstance(budget, CountBudget | ThresholdBudget):
        raise UserError(f"budget: must be a budget such as OneByOne() or Fixed(2), not {shown(budget)}")
