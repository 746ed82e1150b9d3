"""The forward process: which positions a training or an evaluation step masks, and the weight of each row.

Positions of a row are *eligible* (they may be masked: N of them) or known (a clue, a prompt, padding: never masked).
The objective in its count form is, for one sequence x,

    NELBO(x) = sum over n = 1..N of E over uniform masks M with |M| = n of (1/n) sum over i in M of -log p(x^i | x[M]).

Drawing n from a law q on 1..N and M uniformly, ``weight = 1 / (n q(n))`` makes

    weight * sum over i in M of -log p(x^i | x[M])

an unbiased estimate of NELBO(x), in nats per sequence: ``N / n`` for the uniform law. The counts of a batch are drawn
together, spread evenly over the unit interval (``systematic``, ``stratified``), which keeps the estimate unbiased and
lowers its variance: the loss depends on n far more than on anything else.

In continuous time every eligible position is masked by itself with probability 1 - alpha(t) at a uniform t, and the
weight is -alpha'(t) / (1 - alpha(t)); the two have the same mean.

Sources: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 2; Kingma et al., "Variational
Diffusion Models" (2107.00630), appendix I, for the low-variance draw of times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.core.schedules import NoiseSchedule, Time

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class Corrupted(NamedTuple):
    """A masked batch: ``sum_b weight_b * (sum over masked of -log p) / b`` estimates the mean NELBO per sequence."""

    tokens: Int[Tensor, "b L"]
    """The sequence with the mask token at the masked positions."""
    masked: Bool[Tensor, "b L"]
    weight: Float[Tensor, " b"]
    """float32; 0 for a row without eligible positions."""


def reveal_probability(schedule: NoiseSchedule, t: Time, s: Time) -> Tensor:
    """Probability that a position masked at time ``t`` is revealed by the earlier time ``s``, elementwise in [0, 1].

    (alpha_s - alpha_t) / (1 - alpha_t), computed as 1 - (1 - alpha_s) / (1 - alpha_t): 1 exactly at s = 0. At t = 0
    nothing is masked, and the answer is 1. Raises ``UserError`` where s > t.
    """
    after, before = schedule.masked(s), schedule.masked(t)
    if before.device.type == "cpu" and bool((after > before).any()):
        raise UserError("the reverse process runs from t down to s: s must not exceed t")
    ratio = after / torch.where(before > 0, before, 1.0)
    return (1 - ratio).clamp(0, 1)


# ---------------------------------------------------------------- numbers spread over the unit interval

UnitDraws = Callable[[int, torch.Generator], Tensor]
"""``draws(batch, generator)``: float64 numbers in [0, 1), each uniform by itself, on the generator's device."""

_BELOW_ONE = 1 - 2**-53


def independent(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """Numbers that know nothing of each other."""
    return torch.rand(batch, dtype=torch.float64, generator=generator, device=generator.device)


def stratified(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """One number in each of ``batch`` equal cells, the cells in random order over the rows."""
    cell = torch.randperm(batch, generator=generator, device=generator.device)
    return ((cell + independent(batch, generator)) / max(batch, 1)).clamp_max(_BELOW_ONE)


def systematic(batch: int, generator: torch.Generator) -> Float[Tensor, " b"]:
    """An evenly spaced grid with one random offset, its points in random order over the rows."""
    cell = torch.randperm(batch, generator=generator, device=generator.device)
    return ((cell + independent(1, generator)) / max(batch, 1)).clamp_max(_BELOW_ONE)


# ---------------------------------------------------------------- laws of the mask count


class CountLaw(Protocol):
    """A law q of the mask count n on 1..N, for every N."""

    def quantile(self, u: Float[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The least n with u < q(1) + ... + q(n), for N = ``eligible``; 0 where N is 0."""
        ...

    def probability(self, counts: Int[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        """q(n) for N = ``eligible``, float64. Only asked for counts that can occur."""
        ...


@dataclass(frozen=True)
class UniformCount:
    """q(n) = 1 / N: the law of the objective itself. The weight of a row is N / n."""

    def quantile(self, u: Float[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        # the cap is for u so near 1 that u N rounds up to N
        return torch.minimum((u * eligible).floor().to(torch.int64) + 1, eligible)

    def probability(self, counts: Int[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return 1 / eligible.clamp_min(1).double()


@dataclass(frozen=True)
class BetaCount:
    """n - 1 is beta-binomial: a masked share r ~ Beta(a, b), then each of N - 1 positions is masked with probability r.

    ``BetaCount(1, 1)`` is the uniform law; ``a > b`` leans to many masks, ``b > a`` to few. Both are positive.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value > 0 for value in (self.a, self.b)):
            raise UserError(f"the parameters of a beta law must be positive numbers, not {self.a}, {self.b}")

    def _table(self, eligible: Int[Tensor, " b"]) -> Float[Tensor, "b N"]:
        most = int(eligible.max()) if eligible.numel() else 0
        k = torch.arange(most, dtype=torch.float64, device=eligible.device)
        rest = (eligible[:, None] - 1 - k).double()
        left = rest.clamp_min(0)

        def log_beta(x: Tensor, y: Tensor) -> Tensor:
            return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)

        # C(N-1, k) = 1 / (N B(k + 1, N - k)); N and the constant B(a, b) go with the normalisation
        log_q = log_beta(k + self.a, left + self.b) - log_beta(k + 1, left + 1)
        return _normalised(log_q.masked_fill(rest < 0, -math.inf))

    def quantile(self, u: Float[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        return _invert(self._table(eligible), u, eligible)

    def probability(self, counts: Int[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return _look_up(self._table(eligible), counts)


@dataclass(frozen=True)
class TableCount:
    """q(n) in proportion to ``weights[n - 1]``, cut to 1..N; a row with N beyond the last weight is refused.

    Every weight is positive: a count that is never drawn would be missing from the estimate.
    """

    weights: tuple[float, ...]

    def __init__(self, weights: Sequence[float]) -> None:
        object.__setattr__(self, "weights", tuple(float(value) for value in weights))
        if not self.weights or not all(math.isfinite(value) and value > 0 for value in self.weights):
            raise UserError("the table of a count law must hold positive numbers, one for each count from 1")

    def _table(self, eligible: Int[Tensor, " b"]) -> Float[Tensor, "b N"]:
        most = int(eligible.max()) if eligible.numel() else 0
        if most > len(self.weights):
            raise UserError(f"the table of the count law ends at {len(self.weights)}, but a row has {most} to mask")
        n = torch.arange(1, most + 1, device=eligible.device)
        log_q = torch.tensor(self.weights[:most], dtype=torch.float64, device=eligible.device).log()
        return _normalised(log_q.expand(len(eligible), most).masked_fill(n > eligible[:, None], -math.inf))

    def quantile(self, u: Float[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        return _invert(self._table(eligible), u, eligible)

    def probability(self, counts: Int[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
        return _look_up(self._table(eligible), counts)


def _normalised(log_q: Float[Tensor, "b N"]) -> Float[Tensor, "b N"]:
    """Rows of probabilities; a row with nothing possible is all zero."""
    return torch.nan_to_num(torch.softmax(log_q, dim=1))


def _invert(q: Float[Tensor, "b N"], u: Float[Tensor, " b"], eligible: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    if q.shape[1] == 0:
        return torch.zeros_like(eligible)
    cumulative = q.cumsum(1)
    # scaled by the total, so that rounding cannot leave u above the last step
    counts = torch.searchsorted(cumulative, u[:, None] * cumulative[:, -1:], right=True)[:, 0] + 1
    return torch.minimum(counts, eligible)


def _look_up(q: Float[Tensor, "b N"], counts: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    if q.shape[1] == 0:
        return torch.zeros(len(counts), dtype=torch.float64, device=q.device)
    return q.gather(1, (counts - 1).clamp_min(0)[:, None])[:, 0]


def mask_counts(
    eligible: Int[Tensor, " b"],
    generator: torch.Generator,
    *,
    law: CountLaw | None = None,
    draws: UnitDraws = systematic,
) -> Int[Tensor, " b"]:
    """A mask count in 1..N for every row, N = ``eligible`` (0 where N is 0), drawn together for the whole batch.

    Each row's count follows ``law`` (default ``UniformCount()``); ``draws`` says how the rows share the unit interval.
    """
    u = draws(len(eligible), generator).to(eligible.device)
    return (UniformCount() if law is None else law).quantile(u, eligible)


# ---------------------------------------------------------------- masks


def mask_uniformly(
    eligible: Bool[Tensor, "b L"],
    counts: Int[Tensor, " b"],
    generator: torch.Generator,
    *,
    order: Int[Tensor, "b L"] | None = None,
) -> Bool[Tensor, "b L"]:
    """A uniformly random set of exactly ``counts[b]`` eligible positions in every row.

    With ``order``, the ranks at which positions are revealed: those of the highest ranks, ties at random.
    Raises ``UserError`` where a row has fewer eligible positions than its count.
    """
    if bool((counts > eligible.sum(1)).any()) or bool((counts < 0).any()):
        raise UserError("a mask count must lie between 0 and the number of eligible positions of its row")
    keys = torch.rand(eligible.shape, dtype=torch.float64, generator=generator, device=generator.device)
    keys = keys.to(eligible.device)
    if order is not None:
        keys = keys - order
    by_key = keys.masked_fill(~eligible, math.inf).argsort(dim=1, stable=True)
    first = torch.arange(eligible.shape[1], device=eligible.device) < counts[:, None]
    return torch.zeros_like(eligible).scatter(1, by_key, first)


def mask_independently(
    eligible: Bool[Tensor, "b L"], probability: Float[Tensor, " b"], generator: torch.Generator
) -> Bool[Tensor, "b L"]:
    """Every eligible position by itself with its row's ``probability``: the forward process at one time."""
    draw = torch.rand(eligible.shape, dtype=torch.float64, generator=generator, device=generator.device)
    return eligible & (draw.to(eligible.device) < probability[:, None])


def corrupt(
    tokens: Int[Tensor, "b L"],
    eligible: Bool[Tensor, "b L"],
    mask_token_id: int,
    generator: torch.Generator,
    *,
    law: CountLaw | None = None,
    draws: UnitDraws = systematic,
    reweight: bool = True,
    order: Int[Tensor, "b L"] | None = None,
) -> Corrupted:
    """Mask a batch by the count form of the objective.

    ``tokens`` (b, L) is the full sequence, ``eligible`` (b, L) says which positions may be masked. ``law`` is the law
    of the mask count, ``UniformCount()`` unless told otherwise. With ``reweight`` the weight is 1 / (n q(n)) and the
    estimate is unbiased under any law. Without it the weight is N / n whatever the law: an explicit choice to train
    on a tilted objective, which is then not a bound on the likelihood. ``order`` (b, L) masks the positions that are
    revealed last instead of a random set (`mask_uniformly`): no bound either, where it is not constant.
    """
    _check(tokens, eligible)
    law = UniformCount() if law is None else law
    size = eligible.sum(1)
    counts = mask_counts(size, generator, law=law, draws=draws)
    masked = mask_uniformly(eligible, counts, generator, order=order)
    q = law.probability(counts, size) if reweight else UniformCount().probability(counts, size)
    weight = torch.where(counts > 0, 1 / (counts.clamp_min(1) * torch.where(counts > 0, q, 1.0)), 0.0)
    return Corrupted(torch.where(masked, mask_token_id, tokens), masked, weight.float())


def corrupt_at(
    tokens: Int[Tensor, "b L"],
    eligible: Bool[Tensor, "b L"],
    mask_token_id: int,
    generator: torch.Generator,
    schedule: NoiseSchedule,
    *,
    draws: UnitDraws = systematic,
) -> Corrupted:
    """Mask a batch by the continuous-time form: t uniform, each position by itself, weight -alpha' / (1 - alpha).

    The same mean as ``corrupt`` for every schedule that reaches 0, and more variance; a row may have no mask at all.
    """
    _check(tokens, eligible)
    t = 1 - draws(len(tokens), generator).to(tokens.device)  # in (0, 1]: the weight is finite
    masked = mask_independently(eligible, schedule.masked(t), generator)
    return Corrupted(torch.where(masked, mask_token_id, tokens), masked, schedule.weight(t).float())


def _check(tokens: Tensor, eligible: Tensor) -> None:
    if tokens.ndim != 2 or tokens.shape != eligible.shape:
        shapes = f"{tuple(tokens.shape)} and {tuple(eligible.shape)}"
        raise UserError(f"tokens and eligible must share one shape (batch, length), not {shapes}")
    if eligible.dtype != torch.bool:
        raise UserError(f"eligible must be a boolean mask, not {eligible.dtype}")
