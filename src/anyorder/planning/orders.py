"""Orders: which positions come next.

An order gives every position a priority, float64 of shape (rows, length); only the priorities of candidates are read,
and the highest comes first, ties to the lowest position. ``draws`` is true for an order that looks at tokens drawn at
the candidates; every other order looks only at what is revealed.

Priorities are the scores of the papers, moved by a constant where that avoids cancellation: ``TopProbability`` is
p_1 - 1 and ``Margin`` is (p_1 - p_2) - 1, both exact close to 0. With ``log=True`` they are log p_1 and
log(p_1 - p_2): the same order, another scale for noise and priors to act on.

Sources: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 4, for top probability and margin;
Nie et al., "Large Language Diffusion Models" (2502.09992) for the probability of the drawn token.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, gumbel, normal, uniform
from anyorder.planning.board import Board, Ranking
from anyorder.planning.settings import View, check_flag, check_number, check_view, shown, token_set

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor


@runtime_checkable
class Order(Protocol):
    """Gives each position a priority. ``draws`` may be absent, and is then false."""

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        """Priorities, the highest first."""
        ...


@dataclass(frozen=True)
class Random:
    """A uniformly random order."""

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        return uniform(board.seeds[:, None], Purpose.ORDER, board.positions, board.visits)


@dataclass(frozen=True)
class LeftToRight:
    """The leftmost first."""

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        return -board.positions.double()


@dataclass(frozen=True)
class TopProbability:
    """The highest probability of the most probable token first: p_1 - 1, or log p_1 with ``log``."""

    log: bool = False
    view: View = "model"

    def __post_init__(self) -> None:
        check_flag(self, "log", self.log)
        check_view(self, self.view)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        statistics = board.view(self.view)
        return statistics.log_probability if self.log else -statistics.one_minus_probability


@dataclass(frozen=True)
class Margin:
    """The largest difference of the two highest probabilities first: p_1 - p_2 - 1, or log(p_1 - p_2) with ``log``."""

    log: bool = False
    view: View = "model"

    def __post_init__(self) -> None:
        check_flag(self, "log", self.log)
        check_view(self, self.view)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        complement = board.view(self.view).one_minus_margin
        return torch.log1p(-complement) if self.log else -complement


@dataclass(frozen=True)
class Entropy:
    """The lowest entropy first."""

    view: View = "model"

    def __post_init__(self) -> None:
        check_view(self, self.view)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        return -board.view(self.view).entropy


@dataclass(frozen=True)
class SampledProbability:
    """The highest probability, under the network's law, of the token just drawn: p - 1, or log p with ``log``.

    LLaDA's low-confidence remasking. A token is drawn at every candidate at every step, and the tokens kept are the
    likely ones: the result is not a sample of the model, whatever the budget.
    """

    log: bool = False

    def __post_init__(self) -> None:
        check_flag(self, "log", self.log)

    @property
    def draws(self) -> bool:
        return True

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        assert board.drawn is not None
        log_probability = board.drawn.log_probability
        return log_probability if self.log else torch.expm1(log_probability)


@dataclass(frozen=True)
class Noisy:
    """Another order's priorities plus fresh noise at every step.

    Args:
        order: the order to disturb.
        gumbel: coefficient of standard Gumbel noise; 0.5, the published value for puzzles, where neither is given.
        gaussian: standard deviation of normal noise, instead.
        anneal: multiply the noise by the share of the window that the step leaves undecided, t / T of a schedule; it
            ends at nothing.

    Noise of 0.5 on a margin that lies in [0, 1] scrambles the order. The code published with 2502.06768 adds it to
    **log** scores and anneals it: ``Noisy(Margin(log=True), gumbel=0.5)``. With ``gumbel=1, anneal=False`` on
    ``TopProbability(log=True)`` the first position is i with probability p_1(i) / sum p_1 (Gumbel-max).
    """

    order: Order
    gumbel: float | None = None
    gaussian: float | None = None
    anneal: bool = True

    def __post_init__(self) -> None:
        check_order(self, self.order)
        if self.gumbel is not None and self.gaussian is not None:
            raise UserError("Noisy: give gumbel or gaussian, not both")
        if self.gumbel is None and self.gaussian is None:
            object.__setattr__(self, "gumbel", 0.5)
        for name in ("gumbel", "gaussian"):
            if getattr(self, name) is not None:
                check_number(self, name, getattr(self, name), 0)
        check_flag(self, "anneal", self.anneal)

    @property
    def draws(self) -> bool:
        return order_draws(self.order)

    @property
    def view(self) -> View:
        return order_view(self.order)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        seeds = board.seeds[:, None]
        if self.gaussian is not None:
            noise = normal(seeds, Purpose.NOISE, board.positions, board.step) * self.gaussian
        else:
            assert self.gumbel is not None
            noise = gumbel(seeds, Purpose.NOISE, board.positions, board.step) * self.gumbel
        if self.anneal:
            noise = noise * board.time[:, None]
        return self.order(board) + noise


@dataclass(frozen=True, eq=False)
class Prior:
    """Another order's priorities plus a preference for places.

    Args:
        order: the order to bend. On a log scale (``TopProbability(log=True)``) the preference multiplies the score.
        decay: taken off for every position to the right, in the order's units.
        bias: float tensor of shape (length,), added at each position of a row, padding not counted; positions beyond
            its end get its last value.

    Source: Huang et al., "PC-Sampler: Position-Aware Calibration of Decoding Bias in Masked Diffusion Models"
    (2508.13021), whose exponential weight is ``decay`` on a log score.
    """

    order: Order
    decay: float = 0.0
    bias: Tensor | None = None

    def __post_init__(self) -> None:
        check_order(self, self.order)
        check_number(self, "decay", self.decay, -torch.finfo(torch.float64).max)
        bias = self.bias
        if bias is None:
            return
        if not isinstance(bias, torch.Tensor) or bias.dim() != 1 or not bias.is_floating_point() or not len(bias):
            raise UserError("Prior: bias must be a floating tensor of shape (length,) with at least one entry")
        if not bool(bias.isfinite().all()):
            raise UserError("Prior: bias must be finite")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Prior) or (self.order, self.decay) != (other.order, other.decay):
            return False
        if self.bias is None or other.bias is None:
            return self.bias is other.bias
        return torch.equal(self.bias, other.bias)

    def __hash__(self) -> int:
        return hash((Prior, self.order, self.decay))

    @property
    def draws(self) -> bool:
        return order_draws(self.order)

    @property
    def view(self) -> View:
        return order_view(self.order)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        priority = self.order(board) - self.decay * board.positions.double()
        if self.bias is None:
            return priority
        table = self.bias.to(board.positions.device, torch.float64)
        return priority + table[board.positions.clamp(max=len(table) - 1)]


@dataclass(frozen=True)
class Defer:
    """Another order, but positions about to receive one of some tokens come after all others.

    For end-of-text: unrestricted any-order decoding commits it too early and cuts answers short. A position is
    deferred by its most probable token, or by the token drawn where the order looks at drawn tokens.

    Args:
        order: the order within the two groups.
        tokens: a token or several.
    """

    order: Order
    tokens: int | tuple[int, ...]

    def __post_init__(self) -> None:
        check_order(self, self.order)
        object.__setattr__(self, "tokens", token_set(self, "tokens", self.tokens))

    @property
    def draws(self) -> bool:
        return order_draws(self.order)

    @property
    def view(self) -> View:
        return order_view(self.order)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        token = board.model.token if board.drawn is None else board.drawn.token
        assert isinstance(self.tokens, tuple)
        last = torch.zeros_like(board.candidates)
        for deferred in self.tokens:
            last |= token == deferred
        # Ranks, not shifted priorities: a shift would round small differences away.
        order = Ranking.of(self.order(board), board.candidates).order
        order = order.gather(1, last.gather(1, order).int().sort(dim=1, stable=True).indices)
        ranks = torch.arange(order.shape[1], device=order.device, dtype=torch.float64)
        return torch.empty(order.shape, dtype=torch.float64, device=order.device).scatter_(
            1, order, -ranks.expand(order.shape)
        )


@dataclass(frozen=True)
class Planned:
    """The order of path planning (`P2`): the token's log-probability, that of a decided position times ``eta``.

    An undecided position stands by the token drawn there, a decided one by the token that it has, both under the
    network's law. With ``eta`` above 1 decided positions are taken back more readily, with 0 never.

    Source: Peng et al., "Path Planning for Masked Diffusion Model Sampling" (2502.03540), self-planning.
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "eta", self.eta, 0)

    @property
    def draws(self) -> bool:
        return True

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        assert board.drawn is not None
        decided = board.candidates & ~board.undecided
        if not bool(decided.any()):
            return board.drawn.log_probability
        kept = board.log_probability_of(board.tokens, decided)
        # A token that the network rules out stays the last, whatever eta is.
        return torch.where(decided, torch.where(kept > -torch.inf, kept * self.eta, kept), board.drawn.log_probability)


@dataclass(frozen=True, eq=False)
class Calibrated:
    """Probability of the most probable token, weighted by how rare the token is: log min(p_1 (-log f), ``clip``).

    Args:
        frequencies: float tensor of shape (vocab,), f, how often each token occurs in a reference text; clamped from
            below at 1e-12.
        clip: the most that a position can score.

    With `Prior` and its ``decay`` this is the PC sampler: ``Prior(Calibrated(f), decay=0.25)``.

    Source: Huang et al., "PC-Sampler: Position-Aware Calibration of Decoding Bias in Masked Diffusion Models"
    (2508.13021).
    """

    frequencies: Tensor
    clip: float = 10.0

    def __post_init__(self) -> None:
        table = self.frequencies
        if not isinstance(table, torch.Tensor) or table.dim() != 1 or not table.is_floating_point() or not len(table):
            raise UserError("Calibrated: frequencies must be a floating tensor of shape (vocab,)")
        if not bool((table.isfinite() & (table >= 0) & (table <= 1)).all()):
            raise UserError("Calibrated: frequencies must lie in [0, 1]")
        check_number(self, "clip", self.clip, 0, low_open=True)

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        token = board.model.token.clamp(min=0)
        if bool((token >= len(self.frequencies)).any()):
            raise UserError(f"Calibrated: there are {len(self.frequencies)} frequencies, fewer than tokens")
        table = -self.frequencies.to(token.device, torch.float64).clamp(min=1e-12).log()
        return (board.model.probability * table[token]).clamp(min=1e-300, max=self.clip).log()


def order_draws(order: Order | None) -> bool:
    """Whether an order looks at tokens drawn at the candidates."""
    return bool(getattr(order, "draws", False))


def order_view(order: Order) -> View:
    """The view of the statistics that an order reads."""
    return getattr(order, "view", "model")


def check_order(part: object, order: object) -> None:
    """Refuse what is not an order; a class instead of an instance is the usual slip."""
    if isinstance(order, type) or not callable(order):
        name = part if isinstance(part, str) else type(part).__name__
        raise UserError(f"{name}: order must be an order such as Margin(), not {shown(order)}")
