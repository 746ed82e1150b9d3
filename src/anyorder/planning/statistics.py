"""What one look at the logits tells about a position: token, probabilities, margin and entropy, in one pass.

Let m be the largest logit of a position, at token j1, and m2 the second. With e_j = exp(l_j - m2) for j != j1,

    S = sum_j e_j,   g = m - m2,   r = exp(-g),   q = r S   (the odds against j1),   Z = 1 + q,
    log p_1    = -log(1 + q)
    1 - p_1    = q / Z
    1 - margin = 1 - p_1 + p_2 = (q + r) / Z                       (= 2 p_2 + the rest)
    H          = log(1 + q) + (r / Z) sum_j e_j (m - l_j)          (nats)

Every term is positive, so nothing cancels: a margin of 1 - 1e-30 and one of 1 - 1e-31 are told apart, where
``p_1 - p_2`` is 1 for both. The pass over the vocabulary is float32 and works on a few rows at a time; only the sums,
one number a position, are float64. The logits are never copied whole.

The mask token, padded columns of the vocabulary and suppressed tokens are cut before anything else, so no statistic
ever counts them. Ties go to the lowest token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Float, Float32, Float64, Int64
    from torch import Tensor

_CHUNK_ELEMENTS = 1 << 22
_SMALLEST_EXPONENT = -200.0
_LARGEST_GAP = 1e300


@dataclass(frozen=True)
class Cut:
    """The columns of the logits that can be chosen: those of the vocabulary, less the mask token and the suppressed.

    Args:
        vocab_size: number of tokens; columns beyond it are padding.
        mask_token_id: the mask token.
        suppressed: further tokens never to choose.

    Raises:
        UserError: where a suppressed token lies outside the vocabulary or nothing is left.
    """

    vocab_size: int
    mask_token_id: int
    suppressed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for token in self.suppressed:
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < self.vocab_size:
                raise UserError(f"suppress: {token!r} is not a token of a vocabulary of {self.vocab_size}")
        if len({self.mask_token_id, *self.suppressed}) >= self.vocab_size:
            raise UserError("suppress: no token is left to choose")

    def working_copy(self, logits: Float[Tensor, "n columns"]) -> Float32[Tensor, "n vocab"]:
        """A float32 copy in which what is cut is minus infinity."""
        work = logits[:, : self.vocab_size].to(torch.float32, copy=True)
        for token in (self.mask_token_id, *self.suppressed) if len(self.suppressed) < 8 else ():
            work[:, token] = -torch.inf
        if len(self.suppressed) >= 8:
            columns = torch.tensor([self.mask_token_id, *self.suppressed], device=work.device)
            work.index_fill_(1, columns, -torch.inf)
        return work


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of some positions; every field has the same shape, (n,) or, laid out on a canvas, (batch, length).

    Attributes:
        token: int64, the most probable token, the lowest where several are; -1 where there is no statistic.
        values: float64, shape (5, ...): the rows are the properties below, NaN where there is no statistic.
    """

    token: Int64[Tensor, "..."]
    values: Float64[Tensor, "5 ..."]

    @property
    def log_probability(self) -> Float64[Tensor, "..."]:
        """log p_1 of the most probable token."""
        return self.values[0]

    @property
    def one_minus_probability(self) -> Float64[Tensor, "..."]:
        """1 - p_1, without cancellation."""
        return self.values[1]

    @property
    def one_minus_margin(self) -> Float64[Tensor, "..."]:
        """1 - (p_1 - p_2), without cancellation."""
        return self.values[2]

    @property
    def entropy(self) -> Float64[Tensor, "..."]:
        """Entropy in nats."""
        return self.values[3]

    @property
    def log_normaliser(self) -> Float64[Tensor, "..."]:
        """log of the sum of exp(logit) over the tokens that can be chosen."""
        return self.values[4]

    @property
    def probability(self) -> Float64[Tensor, "..."]:
        """p_1."""
        return self.values[0].exp()

    @property
    def margin(self) -> Float64[Tensor, "..."]:
        """p_1 - p_2."""
        return 1 - self.values[2]

    def lay_out(self, at: Int64[Tensor, " n"], shape: tuple[int, int]) -> Statistics:
        """The statistics of n gathered positions on a canvas of ``shape``, whose flat positions are ``at``."""
        size = shape[0] * shape[1]
        token = self.token.new_full((size,), -1)
        token[at] = self.token
        values = self.values.new_full((len(self.values), size), torch.nan)
        values[:, at] = self.values
        return Statistics(token.view(shape), values.view(-1, *shape))


Law = Callable[["Float32[Tensor, 'n vocab']"], "Float32[Tensor, 'n vocab']"]
"""Logits to the logits of another law; may overwrite what it is given."""


def statistics(logits: Float[Tensor, "n columns"], cut: Cut, law: Law | None = None) -> Statistics:
    """Statistics of n positions.

    Args:
        logits: shape (n, columns) with at least ``cut.vocab_size`` columns; any floating dtype, computed in float32.
        cut: the columns that can be chosen.
        law: applied to the cut logits first (temperature and truncation); ``None`` for the network's own law.

    Returns:
        `Statistics` of shape (n,). A position's figures do not depend on the other positions.

    Raises:
        UserError: where a position has no finite largest logit (NaN, +inf, or nothing that can be chosen).
    """
    n = logits.shape[0]
    token = torch.empty(n, dtype=torch.int64, device=logits.device)
    values = torch.empty(5, n, dtype=torch.float64, device=logits.device)
    rows = max(2, _CHUNK_ELEMENTS // max(1, cut.vocab_size))
    for start in range(0, n, rows):
        end = min(start + rows, n)
        block = logits[start:end]
        if end - start == 1:
            # A lone row would be summed by another algorithm than one among others, and round differently.
            block = block.expand(2, -1)
        work = cut.working_copy(block)
        if law is not None:
            work = law(work)
        block_token, block_values = _reduce(work)
        token[start:end] = block_token[: end - start]
        values[:, start:end] = block_values[:, : end - start]
    if n and not bool(values[4].isfinite().all()):
        raise UserError("denoiser: a position has no finite largest logit (NaN, infinity, or every token ruled out)")
    return Statistics(token, values)


def _reduce(work: Tensor) -> tuple[Tensor, Tensor]:
    """Token (n,) and values (5, n) of cut logits, which are overwritten."""
    top, token = work.max(dim=1)
    work.scatter_(1, token[:, None], -torch.inf)
    second = work.amax(dim=1)
    gap = (top.double() - second.double()).clamp_(max=_LARGEST_GAP)
    work.sub_(second.masked_fill(second == -torch.inf, 0.0)[:, None]).clamp_(min=_SMALLEST_EXPONENT)
    share = work.exp()
    total = share.sum(dim=1).double()
    depth = -work.mul_(share).sum(dim=1).double()
    ratio = torch.exp(-gap)
    odds = ratio * total
    log_z = torch.log1p(odds)
    scale = 1 / (1 + odds)
    values = torch.stack(
        (
            -log_z,
            odds * scale,
            (odds + ratio) * scale,
            log_z + ratio * scale * (gap * total + depth),
            top.double() + log_z,
        )
    )
    return token, values


def reference_statistics(logits: Float[Tensor, "n columns"], cut: Cut) -> Statistics:
    """The same by the textbook formulae in float64: slow, cancelling, and there to test the fast path against."""
    kept = logits[:, : cut.vocab_size].double().clone()
    kept[:, [cut.mask_token_id, *cut.suppressed]] = -torch.inf
    log_p = torch.log_softmax(kept, dim=1)
    p = log_p.exp()
    first = p.sort(dim=1, descending=True).values
    second = first[:, 1] if p.shape[1] > 1 else torch.zeros_like(first[:, 0])
    entropy = -torch.where(p > 0, p * log_p, 0.0).sum(dim=1)
    log_top, token = log_p.max(dim=1)
    values = (log_top, 1 - first[:, 0], 1 - (first[:, 0] - second), entropy, torch.logsumexp(kept, dim=1))
    return Statistics(token, torch.stack(values))
