"""Samplers: which token goes where a position is decided.

A sampler is a law: it takes cut logits to the logits of the distribution that is drawn from. Samplers compose with
``|``, applied from left to right: ``Temperature(0.8) | TopP(0.95)``. `Greedy` takes the most probable token and draws
nothing.

Drawing inverts the cumulative distribution with a 53-bit uniform u. Weights are float32, w_j = exp(l_j - max l); their
cumulative sum is taken in float64 over sums of blocks of the vocabulary, and then inside the chosen block, so a token
of probability 1e-9 in a vocabulary of 126,000 is drawn as often as it should be, and no float64 copy of the logits is
made.

Sources: top-k, Fan et al. (1805.04833); top-p, Holtzman et al. (1904.09751); min-p, Nguyen et al. (2407.01082).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch.nn import functional as F

from anyorder.core.errors import UserError
from anyorder.planning.settings import check_count, check_number, shown
from anyorder.planning.statistics import Cut

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64
    from torch import Tensor

_BLOCK = 256
_CHUNK_ELEMENTS = 1 << 22


@runtime_checkable
class Sampler(Protocol):
    """The law that tokens are drawn from. Optional: ``joint(board, where) -> Drawn``, which draws all tokens of a step
    itself, where they are not independent; it may ask the network further (`Board.ask`).

    Attributes:
        keeps_law: true where the law drawn from is the network's own.
    """

    @property
    def keeps_law(self) -> bool: ...

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        """Logits of the law, up to a constant per row, from cut logits, which it may overwrite."""
        ...


class Composable:
    """Gives a sampler ``|``."""

    def __or__(self, other: Sampler) -> Chain:
        return Chain((*_links(self), *_links(other)))


def _links(sampler: object) -> tuple[Sampler, ...]:
    check_sampler(sampler)
    assert isinstance(sampler, Sampler)
    return sampler.samplers if isinstance(sampler, Chain) else (sampler,)


@dataclass(frozen=True)
class Greedy:
    """The most probable token, the lowest of equals."""

    @property
    def keeps_law(self) -> bool:
        return True

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        return logits


@dataclass(frozen=True)
class Temperature(Composable):
    """Draws from p^(1/t), normalised. ``t`` lies in [1e-20, 1e20]; for t = 0 use `Greedy`."""

    t: float = 1.0

    def __post_init__(self) -> None:
        if self.t == 0 and not isinstance(self.t, bool):
            raise UserError("Temperature: t must be above 0, not 0; for the most probable token use Greedy()")
        check_number(self, "t", self.t, 1e-20, 1e20)

    @property
    def keeps_law(self) -> bool:
        return self.t == 1

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        if self.t == 1:
            return logits
        # From the top downwards, so that a low temperature cannot overflow.
        return logits.sub_(logits.amax(dim=1, keepdim=True)).div_(self.t)


@dataclass(frozen=True)
class TopK(Composable):
    """Keeps the ``k`` most probable tokens; of equals at the edge, the lowest."""

    k: int

    def __post_init__(self) -> None:
        check_count(self, "k", self.k)

    @property
    def keeps_law(self) -> bool:
        return False

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        if self.k >= logits.shape[1]:
            return logits
        edge = logits.topk(self.k, dim=1).values[:, -1:]
        return _keep_best(logits, edge, torch.full_like(edge, self.k, dtype=torch.int64))


@dataclass(frozen=True)
class TopP(Composable):
    """Keeps the smallest set of most probable tokens that holds at least the share ``p`` of the law."""

    p: float

    def __post_init__(self) -> None:
        check_number(self, "p", self.p, 0, 1, low_open=True)

    @property
    def keeps_law(self) -> bool:
        return self.p == 1

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        if self.p == 1:
            return logits
        total = logits.logsumexp(dim=1, keepdim=True)
        # The set is mostly small: a sort of the whole vocabulary is left for when it is not.
        for width in (256, 4096, logits.shape[1]):
            ordered = logits.topk(min(width, logits.shape[1]), dim=1).values
            short = (ordered - total).exp().cumsum(dim=1) < self.p
            if not bool(short[:, -1].any()):
                break
        count = short.sum(dim=1, keepdim=True).add_(1).clamp_(max=logits.shape[1])
        return _keep_best(logits, ordered.gather(1, count - 1), count)


@dataclass(frozen=True)
class MinP(Composable):
    """Keeps tokens at least ``p`` times as probable as the most probable one."""

    p: float

    def __post_init__(self) -> None:
        check_number(self, "p", self.p, 0, 1)

    @property
    def keeps_law(self) -> bool:
        return self.p == 0

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        if self.p == 0:
            return logits
        edge = logits.amax(dim=1, keepdim=True) + math.log(self.p)
        return logits.masked_fill_(logits < edge, -torch.inf)


@dataclass(frozen=True)
class Chain(Composable):
    """Samplers applied one after the other; what ``|`` makes."""

    samplers: tuple[Sampler, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "samplers", tuple(self.samplers))
        if not self.samplers:
            raise UserError("Chain: needs at least one sampler")
        for sampler in self.samplers:
            check_sampler(sampler)
            if isinstance(sampler, Greedy | Chain):
                raise UserError(f"Chain: {type(sampler).__name__} cannot be a link; use it alone")

    @property
    def keeps_law(self) -> bool:
        return all(sampler.keeps_law for sampler in self.samplers)

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        for sampler in self.samplers:
            logits = sampler.law(logits)
        return logits


def _keep_best(
    logits: Float32[Tensor, "n vocab"], edge: Float32[Tensor, "n 1"], count: Int64[Tensor, "n 1"]
) -> Float32[Tensor, "n vocab"]:
    """Cut all but the ``count`` largest logits of each row, the least of which is ``edge``; of equals the lowest."""
    above, equal = logits > edge, logits == edge
    room = count - above.sum(dim=1, keepdim=True)
    kept = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))
    return logits.masked_fill_(~kept, -torch.inf)


def check_sampler(sampler: object) -> None:
    """Refuse what is not a sampler; a class instead of an instance is the usual slip."""
    if isinstance(sampler, type) or not isinstance(sampler, Sampler):
        raise UserError(f"sampler: must be a sampler such as Greedy() or Temperature(1.0), not {shown(sampler)}")


def draw(
    logits: Float[Tensor, "n columns"], cut: Cut, sampler: Sampler, u: Float64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """One token for each row, by inversion of the cumulative distribution of ``sampler``'s law.

    Args:
        logits: shape (n, columns), as the denoiser gave them.
        cut: the columns that can be chosen.
        sampler: the law to draw from.
        u: uniform numbers in (0, 1), shape (n,).

    Returns:
        int64 tokens, shape (n,). A row's token does not depend on the other rows.
    """
    n = logits.shape[0]
    tokens = torch.empty(n, dtype=torch.int64, device=logits.device)
    rows = max(2, _CHUNK_ELEMENTS // max(1, cut.vocab_size))
    for start in range(0, n, rows):
        end = min(start + rows, n)
        block, numbers = logits[start:end], u[start:end]
        if end - start == 1:
            # As in `statistics`: a lone row would be summed by another algorithm.
            block, numbers = block.expand(2, -1), numbers.expand(2)
        work = sampler.law(cut.working_copy(block))
        weights = work.sub_(work.amax(dim=1, keepdim=True)).exp_()
        tokens[start:end] = _invert(weights, numbers)[: end - start]
    return tokens


def _invert(weights: Float32[Tensor, "n vocab"], u: Float64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The first index at which the cumulative sum of the weights exceeds u times their total."""
    vocab = weights.shape[1]
    if vocab <= 4 * _BLOCK:
        return _first_above(weights.double().cumsum(dim=1), u)[0]
    padded = F.pad(weights, (0, -vocab % _BLOCK))
    blocks = padded.view(len(weights), -1, _BLOCK)
    chosen, rest = _first_above(blocks.sum(dim=2).double().cumsum(dim=1), u)
    inner = blocks[torch.arange(len(weights), device=weights.device), chosen].double().cumsum(dim=1)
    return chosen * _BLOCK + _first_above(inner, rest)[0]


def _first_above(cumulative: Float64[Tensor, "n k"], u: Float64[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """The first index whose cumulative sum exceeds u times the total, and where in that index's own part u fell."""
    total = cumulative[:, -1:]
    # u is at most 1 - 2^-53, and so the rounded product is less than the total: there always is such an index.
    target = u[:, None] * total
    index = torch.searchsorted(cumulative, target, right=True)
    above = cumulative.gather(1, index)
    below = cumulative.gather(1, (index - 1).clamp(min=0)).masked_fill(index == 0, 0.0)
    return index[:, 0], ((target - below) / (above - below))[:, 0]
