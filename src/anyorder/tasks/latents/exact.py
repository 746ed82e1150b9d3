"""Exact posteriors of L&O distributions: a denoiser that enumerates the latents.

With E the tokens that are not masked, the weight of a setting z of the latents is

    w(z) = prior(z) [z agrees with the known latents] prod over known observations j of P(o_j | z),

and every conditional is a ratio of sums over the m^N settings,

    P(z_i = v | E) = sum_z w(z) [z_i = v] / sum_z w(z),     P(o_j = v | E) = sum_z w(z) P(o_j = v | z) / sum_z w(z).

Both are matrix products with the (m^N, N m + P q) table of P(token | z), taken in chunks of settings. So the error of
the best possible model is known for every masking problem, and need not be guessed from a longer training.

Evidence of probability 0 has no posterior; several tokens drawn at once can produce it. With ``strict=False`` it is
then that of the settings which contradict the fewest observations: the limit of a noise on the observations that goes
to 0. A known latent outweighs all observations. With ``strict=True`` such evidence is a ``UserError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from anyorder.core.denoiser import FromConditionals
from anyorder.core.errors import UserError
from anyorder.tasks.latents.law import MASK, LatentLaw

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

MOST_SETTINGS = 1 << 22
KEPT_BYTES = 1 << 28
CHUNK_BYTES = 1 << 26


class _Chunk(NamedTuple):
    """Some settings of the latents: P(token | z), where it is not 0, its logarithm there (None: 0), log prior."""

    law: Float[Tensor, "s K"]
    possible: Float[Tensor, "s K"]
    log: Float[Tensor, "s K"] | None
    prior: Float[Tensor, " s"]


class _Sums(NamedTuple):
    """Sums over settings for each row, in units of exp(top), over the settings of the least cost met so far."""

    cost: Float[Tensor, " b"]
    top: Float[Tensor, " b"]
    total: Float[Tensor, " b"]
    columns: Float[Tensor, "b K"]


class ExactPosterior(FromConditionals):
    """The denoiser of a law, exact in float64.

    Args:
        law: with at most ``most`` settings of its latents.
        strict: refuse evidence of probability 0 instead of answering with the least contradicted settings.
        most: m^N must not exceed it.
        device: where it computes, whatever the device of the canvas.

    Raises:
        UserError: the law has too many settings to enumerate.
    """

    def __init__(
        self, law: LatentLaw, *, strict: bool = True, most: int = MOST_SETTINGS, device: torch.device | str = "cpu"
    ) -> None:
        settings = law.values**law.latents
        if settings > most:
            raise UserError(
                f"{law.name} has {law.values}^{law.latents} settings of its latents, more than {most:,}: "
                "use BeliefDenoiser, or fewer latents"
            )
        self.law, self.strict, self.device = law, strict, torch.device(device)
        self.vocab_size, self.mask_token_id = law.vocab_size, law.mask_token_id
        self.settings = settings
        self._sizes = (law.latents * law.values, law.count * law.symbols)
        # a setting's cost: more for one wrong latent than for all observations together
        self._price = torch.cat((torch.full((self._sizes[0],), law.count + 1.0), torch.ones(self._sizes[1]))).to(
            self.device, torch.float64
        )
        self._kept: list[_Chunk] | None = None
        rows = sum(self._sizes) * 8 * 3
        self._step = max(1, min(settings, CHUNK_BYTES // rows))
        if settings * rows <= KEPT_BYTES:
            self._kept = list(self._made())

    # ------------------------------------------------------------ the denoiser

    def conditionals(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        """P(x^i = v | evidence) in float64, for the positions of ``at``; a known position is certain of its token.

        Raises:
            UserError: tokens that the law does not have, or (where strict) evidence of probability 0.
        """
        sequence, place = aligned(self.law, tokens, attention_mask)
        needed = at.any(1)
        laws = torch.zeros(*sequence.shape, self.vocab_size, dtype=torch.float64, device=tokens.device)
        laws[needed] = self._laws(sequence[needed])
        row, column = at.nonzero(as_tuple=True)
        return laws[row, place[row, column]]

    def log_prob(self, tokens: Int[Tensor, "b L"]) -> Float[Tensor, " b"]:
        """log P of each row's evidence in nats, masked positions summed over; -inf where it is impossible."""
        sums = self._summed(self._evidence(aligned(self.law, tokens, None)[0]), columns=False)
        return torch.where(sums.cost == 0, sums.total.log() + sums.top, -torch.inf).to(tokens.device)

    # ------------------------------------------------------------ enumeration

    def _laws(self, sequence: Int[Tensor, "b L"]) -> Float[Tensor, "b L v"]:
        law = self.law
        laws = sequence.new_zeros(*sequence.shape, self.vocab_size, dtype=torch.float64)
        for rows in torch.arange(len(sequence)).split(self._rows()):
            sums = self._summed(self._evidence(sequence[rows]))
            if self.strict and bool((sums.cost > 0).any()):
                row = sequence[rows][(sums.cost > 0).cpu()][0].tolist()
                raise UserError(f"the tokens {row} (mask {MASK}) have probability 0 under {law.name}")
            shares = (sums.columns / sums.total[:, None]).to(sequence.device)
            latents, observed = shares.split(self._sizes, dim=1)
            part = laws[rows]
            part[:, law.latent_positions, 1 : law.values + 1] = latents.unflatten(1, (law.latents, law.values))
            part[:, law.observation_positions, 1 : law.symbols + 1] = observed.unflatten(1, (law.count, law.symbols))
            laws[rows] = part
        if law.padding:
            laws[:, law.size :, law.padding_token] = 1
        known = sequence != MASK
        laws[known] = torch.nn.functional.one_hot(sequence[known], self.vocab_size).double()
        return laws

    def _evidence(self, sequence: Int[Tensor, "b L"]) -> Float[Tensor, "b K"]:
        """One-hot columns of the known tokens."""
        law = self.law
        parts = []
        for positions, size in ((law.latent_positions, law.values), (law.observation_positions, law.symbols)):
            held = sequence[:, positions]
            if bool(((held < 0) | (held > size)).any()):
                raise UserError(f"tokens of {law.name} must lie in 0..{size} at these positions (mask {MASK})")
            parts.append(torch.nn.functional.one_hot(held, size + 1)[..., 1:].flatten(1))
        return torch.cat(parts, dim=1).to(self.device, torch.float64)

    def _summed(self, evidence: Float[Tensor, "b K"], *, columns: bool = True) -> _Sums:
        rows = len(evidence)
        priced = evidence * self._price
        known = priced.sum(1)
        zero = known.new_zeros(rows)
        sums = _Sums(zero + torch.inf, zero - torch.inf, zero, evidence.new_zeros(rows, sum(self._sizes)))
        for chunk in self._chunks():
            # how much of the evidence each setting could have produced at all; exact in float64
            cost = known[:, None] - priced @ chunk.possible.T
            cost = cost + torch.where(torch.isinf(chunk.prior), known.new_tensor(2.0**40), 0.0)
            least = cost.amin(1)
            weight = chunk.prior.expand(rows, -1) if chunk.log is None else evidence @ chunk.log.T + chunk.prior
            weight = torch.where(cost == least[:, None], weight, -torch.inf)
            top = weight.amax(1)
            weight = (weight - top[:, None]).exp()
            part = weight @ chunk.law if columns else sums.columns
            sums = _merged(sums, _Sums(least, top, weight.sum(1), part))
        return sums

    def _rows(self) -> int:
        """Rows that are looked at together."""
        return max(1, CHUNK_BYTES // (8 * self._step * 4))

    def _chunks(self) -> Iterator[_Chunk]:
        return iter(self._kept) if self._kept is not None else self._made()

    def _made(self) -> Iterator[_Chunk]:
        law = self.law
        with np.errstate(divide="ignore"):
            log_prior = np.log(law.prior)
        for start in range(0, self.settings, self._step):
            index = np.arange(start, min(start + self._step, self.settings))
            latents = np.stack(np.unravel_index(index, (law.values,) * law.latents), axis=1)
            shown = np.eye(law.values)[latents].reshape(len(index), -1)
            observed = law.observations.law(latents).reshape(len(index), -1)
            table = torch.from_numpy(np.concatenate((shown, observed), axis=1)).to(self.device)
            certain = bool(((table == 0) | (table == 1)).all())
            possible = table if certain else (table > 0).double()
            log = None if certain else torch.where(table > 0, table, 1.0).log()
            prior = torch.from_numpy(log_prior[np.arange(law.latents), latents].sum(1)).to(self.device)
            yield _Chunk(table, possible, log, prior)


def _merged(a: _Sums, b: _Sums) -> _Sums:
    """The sums over the settings of both, of which only those of the least cost count."""
    cost = torch.minimum(a.cost, b.cost)
    left, right = (torch.where(part.cost == cost, part.top, -torch.inf) for part in (a, b))
    top = torch.maximum(left, right)
    left, right = (left - top).exp(), (right - top).exp()
    return _Sums(cost, top, a.total * left + b.total * right, a.columns * left[:, None] + b.columns * right[:, None])


def aligned(
    law: LatentLaw, tokens: Int[Tensor, "b L"], attention_mask: Bool[Tensor, "b L"] | None
) -> tuple[Int[Tensor, "b length"], Int[Tensor, "b L"]]:
    """Each row's attended tokens, which must be as many as the law has, and the place of every column among them.

    Raises:
        UserError: a row attends to another number of positions.
    """
    if attention_mask is None:
        attention_mask = torch.ones_like(tokens, dtype=torch.bool)
    attended = attention_mask.sum(1)
    if bool((attended != law.length).any()):
        raise UserError(
            f"{law.name} has {law.length} positions, but a row has {int(attended[attended != law.length][0])}"
        )
    sequence = tokens[attention_mask].reshape(len(tokens), law.length)
    return sequence, (attention_mask.cumsum(1) - 1).clamp_min(0)
