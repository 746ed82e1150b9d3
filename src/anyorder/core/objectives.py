"""The objective of masked diffusion: as training samples it, along one fixed order, and written out in full.

For one sequence x of L positions of which N are unknown, write S(i, M) = -log p(x^i | x[M]) for the surprisal of
position i when exactly the positions of M are masked. Three sums are the same number, the negative evidence lower
bound (NELBO), which is never below -log p(x) for the law p of one-at-a-time decoding in a uniformly random order:

1. masks:   sum over mask sets M and i in M of  S(i, M) / (|M| C(N, |M|))
2. counts:  sum over n = 1..N of the mean over |M| = n of  (1/n) sum over i in M of S(i, M)
3. orders:  mean over permutations pi of  sum over j of S(pi(j), {pi(j), ..., pi(N)})

and a fourth, in continuous time, equals them for every schedule that falls from 1 to 0:

4. time:    integral over t of  weight(t) E of sum over i in M of S(i, M),
            each position being in M by itself with probability 1 - alpha(t)

Known positions (clues, a prompt) are in no M; the sums run over the unknown ones. Training samples form 2
(``masked_loss``); an autoregressive model and a pi-learner take form 3 with one pi (``order_loss`` for any denoiser,
``causal_loss`` in a single pass of a causal network). Forms 1 to 4 and the exact likelihood are enumerated here for
few unknown positions, in float64, to hold the rest of the library to.

All losses are in nats per sequence, never per masked token.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 2 and appendix C.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import open_session
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from anyorder.core.denoiser import Denoiser
    from anyorder.core.schedules import NoiseSchedule

MOST_MASKED = 16
"""The most unknown positions for which mask sets are enumerated (2**N network rows)."""
MOST_ORDERED = 8
"""The most unknown positions for which permutations are enumerated (N! of them)."""


def cross_entropy(
    logits: Float[Tensor, "n v"], targets: Int[Tensor, " n"], *, mask_token_id: int | None = None
) -> Float[Tensor, " n"]:
    """-log p(target) in nats, one value per row of ``logits``, computed in float32 or better.

    With ``mask_token_id`` the mask token is cut from the distribution first, as decoding cuts it. A target that the
    model holds impossible (logit -inf) costs infinity.
    """
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    if mask_token_id is not None:
        index = torch.tensor([mask_token_id], device=logits.device)
        logits = logits.index_fill(1, index, -torch.inf)
    return F.cross_entropy(logits, targets, reduction="none")


def masked_loss(
    logits: Float[Tensor, "n v"],
    targets: Int[Tensor, " n"],
    row_of: Int[Tensor, " n"],
    weight: Float[Tensor, " b"],
    *,
    mask_token_id: int | None = None,
    rows: int | Tensor | None = None,
) -> Float[Tensor, ""]:
    """The count form of the objective for a corrupted batch: mean NELBO per sequence, in nats, as a scalar.

    ``logits`` (n, vocabulary) and ``targets`` (n,) are those of the n masked positions in row-major order, ``row_of``
    (n,) the row of each, ``weight`` (b,) the weights of ``Corrupted``. The sum is divided by ``rows``, by default the
    b rows given; an accumulated or distributed step passes its global number of rows, so that splitting changes
    nothing.
    """
    losses = cross_entropy(logits, targets, mask_token_id=mask_token_id)
    return (losses * weight[row_of]).sum() / (len(weight) if rows is None else rows)


# ---------------------------------------------------------------- one fixed order


class AlongPermutation:
    """A causal network that was trained along one permutation, as a denoiser of sequences in their natural order.

    The network reads ``[start, x^pi(0), ..., x^pi(L-2)]``, its own mask token serving as the start, and its output
    at place j is the law of ``x^pi(j)``: so it must be causal, without a shift of its logits. The logits of a
    position rest on the positions before it in ``permutation`` (length,) alone; a mask token among those is read as
    any other token. The identity, the default, makes it an autoregressive model.
    """

    def __init__(self, network: Denoiser, permutation: Int[Tensor, " L"] | None = None) -> None:
        self.network = network
        self.permutation = permutation
        self.vocab_size, self.mask_token_id = network.vocab_size, network.mask_token_id

    def __call__(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        if attention_mask is not None and not bool(attention_mask.all()):
            raise UserError("a network along a permutation reads whole sequences; it takes no padding")
        pi = _permutation(self.permutation, tokens)
        start = torch.full_like(tokens[:, :1], self.mask_token_id)
        logits = self.network(torch.cat((start, tokens[:, pi[:-1]]), dim=1), at=at[:, pi])
        # rows come out in the order (row, place); their row-major order over positions is wanted
        place = at[:, pi].nonzero()
        back = (place[:, 0] * tokens.shape[1] + pi[place[:, 1]]).argsort()
        return logits[back]


def causal_loss(
    network: Denoiser,
    tokens: Int[Tensor, "b L"],
    permutation: Int[Tensor, " L"] | None = None,
    unknown: Bool[Tensor, "b L"] | None = None,
) -> Float[Tensor, " b"]:
    """-log p(unknown tokens), nats per row, of a causal network along ``permutation`` in a single pass.

    The loss of a pi-learner; without ``permutation``, of an autoregressive model. Differentiable. Known positions
    (not in ``unknown``; by default every position is unknown) cost nothing, and are seen by what follows them in the
    permutation: put them first.
    """
    at = torch.ones_like(tokens, dtype=torch.bool) if unknown is None else unknown
    logits = AlongPermutation(network, permutation)(tokens, at=at)
    losses = cross_entropy(logits, tokens[at], mask_token_id=network.mask_token_id)
    return losses.new_zeros(len(tokens)).index_add(0, at.nonzero()[:, 0], losses)


def order_loss(
    denoiser: Denoiser,
    tokens: Int[Tensor, "b L"],
    permutation: Int[Tensor, " L"] | None = None,
    unknown: Bool[Tensor, "b L"] | None = None,
    *,
    attention_mask: Bool[Tensor, "b L"] | None = None,
) -> Float[Tensor, " b"]:
    """-log p(unknown tokens), nats per row, revealing them one at a time along ``permutation`` (default: identity).

    Form 3 with one fixed order, for any denoiser: as many calls as the fullest row has unknown positions, each with
    the rows that have some left. Every known token is seen from the start. Differentiable.
    """
    everywhere = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
    left = everywhere.clone() if unknown is None else unknown & everywhere
    pi = _permutation(permutation, tokens)
    canvas = Canvas(tokens.masked_fill(left, denoiser.mask_token_id), left.clone(), attention_mask)
    session = open_session(denoiser, canvas)
    total = torch.zeros(len(tokens), dtype=torch.float32, device=tokens.device)
    rows = torch.arange(len(tokens), device=tokens.device)
    while True:
        going = left[rows].any(1).nonzero()[:, 0]
        if len(going) < len(rows):
            session.keep(going)
            rows = rows[going]
        if len(rows) == 0:
            return total
        position = pi[left[rows][:, pi].int().argmax(1)]  # the first of pi that is left
        at = torch.zeros_like(left[rows]).scatter(1, position[:, None], True)
        logits = session(
            torch.where(left[rows], denoiser.mask_token_id, tokens[rows]),
            attention_mask=None if attention_mask is None else attention_mask[rows],
            at=at,
        )
        target = tokens[rows].gather(1, position[:, None])[:, 0]
        total = total.index_add(0, rows, cross_entropy(logits, target, mask_token_id=denoiser.mask_token_id).float())
        left[rows, position] = False


def _permutation(permutation: Tensor | None, tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    identity = torch.arange(length, device=tokens.device)
    if permutation is None:
        return identity
    if permutation.shape != (length,) or not bool((permutation.sort().values.to(tokens.device) == identity).all()):
        raise UserError(f"a permutation of {length} positions must hold each of 0..{length - 1} once")
    return permutation.to(tokens.device)


# ---------------------------------------------------------------- the forms, enumerated


def surprisals(
    denoiser: Denoiser,
    tokens: Int[Tensor, " L"],
    unknown: Bool[Tensor, " L"],
    *,
    attention_mask: Bool[Tensor, " L"] | None = None,
    batch_size: int = 4096,
) -> Float[Tensor, "masks N"]:
    """S(i, M) in float64 nats for every mask set M of the N unknown positions of one sequence, (2**N, N).

    Row M is the set whose bits are those of its index, bit i for the i-th unknown position. Entries outside M are 0.
    Raises ``UserError`` for more than ``MOST_MASKED`` unknown positions.
    """
    where = unknown.nonzero()[:, 0]
    count = len(where)
    if count > MOST_MASKED:
        raise UserError(f"{count} unknown positions have too many mask sets to enumerate; at most {MOST_MASKED}")
    members = _members(count).to(tokens.device)
    table = torch.zeros(len(members), count, dtype=torch.float64, device=tokens.device)
    for start in range(1, len(members), batch_size):  # set 0 is empty: nothing to ask
        part = members[start : start + batch_size]
        at = torch.zeros(len(part), len(tokens), dtype=torch.bool, device=tokens.device)
        at[:, where] = part
        logits = denoiser(
            torch.where(at, denoiser.mask_token_id, tokens),
            attention_mask=None if attention_mask is None else attention_mask.expand(len(part), -1),
            at=at,
        )
        targets = tokens.expand(len(part), -1)[at]
        losses = cross_entropy(logits.double(), targets, mask_token_id=denoiser.mask_token_id)
        table[start : start + batch_size][part] = losses
    return table


def nelbo_over_masks(table: Float[Tensor, "masks N"]) -> float:
    """Form 1, from a table of ``surprisals``: every pair (i, M) with its weight."""
    size = _members(table.shape[1]).sum(1)
    weight = [0.0] + [1 / (n * math.comb(table.shape[1], n)) for n in range(1, table.shape[1] + 1)]
    weighted = table.cpu() * torch.tensor(weight, dtype=torch.float64)[size][:, None]
    return float(weighted[_members(table.shape[1])].sum())


def nelbo_over_counts(table: Float[Tensor, "masks N"]) -> float:
    """Form 2, from a table of ``surprisals``: a mean over the sets of each size, then a sum over sizes."""
    size = _members(table.shape[1]).sum(1)
    per_mask = table.cpu().sum(1)
    return math.fsum(float(per_mask[size == n].mean()) / n for n in range(1, table.shape[1] + 1))


def nelbo_over_orders(table: Float[Tensor, "masks N"]) -> float:
    """Form 3, from a table of ``surprisals``: the chain rule's mean over all N! orders, N up to ``MOST_ORDERED``."""
    count = table.shape[1]
    if count > MOST_ORDERED:
        raise UserError(f"{count} unknown positions have too many orders to enumerate; at most {MOST_ORDERED}")
    if count == 0:
        return 0.0
    orders = torch.tensor(list(itertools.permutations(range(count))))
    bits = 2**orders
    still_masked = bits.flip(1).cumsum(1).flip(1)  # as an index: pi(j) and all after it
    return float(table.cpu()[still_masked, orders].sum(1).mean())


def nelbo_over_time(table: Float[Tensor, "masks N"], schedule: NoiseSchedule, *, nodes: int = 257) -> float:
    """Form 4, from a table of ``surprisals``: the integral over t, by tanh-sinh quadrature with ``nodes`` nodes.

    The rule puts its nodes ever closer to both ends, so that a weight that is infinite at t = 0 does no harm. For a
    schedule that stops at alpha(1) > 0 this is the part of the objective that it covers.
    """
    count = table.shape[1]
    size = _members(count).sum(1)
    per_mask = table.cpu().sum(1)
    u = torch.linspace(-5.5, 5.5, nodes, dtype=torch.float64)
    stretch = math.pi * torch.sinh(u)
    t = torch.sigmoid(stretch)
    dt = t * torch.sigmoid(-stretch) * math.pi * torch.cosh(u) * float(u[1] - u[0])
    masked, stays = schedule.masked(t), schedule.alpha(t)
    total = torch.zeros_like(t)
    for n in range(1, count + 1):
        total += masked**n * stays ** (count - n) * per_mask[size == n].sum()
    return float((schedule.weight(t) * total * dt).sum())


def negative_log_likelihood(table: Float[Tensor, "masks N"]) -> float:
    """-log p(x) of decoding one position at a time in a uniformly random order, from a table of ``surprisals``.

    p is the mean over all orders of the product of the chain rule, by recursion over mask sets:
    P(M) = (1/|M|) sum over i in M of exp(-S(i, M)) P(M without i). The NELBO is above it by Jensen's inequality, and
    equal when the conditionals are those of one joint distribution.
    """
    count = table.shape[1]
    log_p = torch.zeros(2**count, dtype=torch.float64)
    members = _members(count)
    size, bit = members.sum(1), 2 ** torch.arange(count)
    for n in range(1, count + 1):
        sets = (size == n).nonzero()[:, 0]
        # bits outside the set are masked away below; xor only has to stay inside the table
        terms = log_p[sets[:, None] ^ bit] - table.cpu()[sets]
        log_p[sets] = terms.masked_fill(~members[sets], -math.inf).logsumexp(1) - math.log(n)
    return 0.0 - float(log_p[-1])


def _members(count: int) -> Bool[Tensor, "masks N"]:
    return (torch.arange(2**count)[:, None] >> torch.arange(count)) % 2 == 1
