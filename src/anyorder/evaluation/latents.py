"""Models of latents-and-observations distributions, judged: what they generate, and where they err.

**Generation.** Sequences are generated from nothing at temperature 1 in a given number of reverse steps; the share of
observation tokens that agree with the latents of their own sequence is the figure of the published table 1. With exact
conditionals one position at a time every order agrees fully, so whatever is missing is either the model's error or that
of deciding several positions at once. A model that always drew the same latents would agree as well; `diversity` says
that it did not.

**Error.** At a set M of masked positions the model's conditional q(x^i | x[M]) is held against the exact posterior p:

    error at i = KL(p(. | x[M]) || q(. | x[M])) in nats,

the part of the loss that learning could still remove, averaged over sequences of the law and over masks that hide l of
the N latents and the nearest whole number to l P/N observations.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), table 1 and figure 2 (right).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.core.randomness import row_seeds
from anyorder.decoding.decoder import decode
from anyorder.evaluation.batching import batches
from anyorder.planning.budgets import OneByOne, Schedule
from anyorder.planning.orders import Entropy, LeftToRight, Margin, Order, Random, TopProbability
from anyorder.planning.samplers import Temperature
from anyorder.tasks.latents import ExactPosterior, LatentLaw, diversity

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from anyorder.core.denoiser import Denoiser

OrderName = Literal["random", "margin", "top-probability", "entropy", "left-to-right"]
ORDERS: dict[str, Order] = {
    "random": Random(),
    "margin": Margin(),
    "top-probability": TopProbability(),
    "entropy": Entropy(),
    "left-to-right": LeftToRight(),
}
"""Orders without noise, by the names of the published comparison; ``random`` is vanilla decoding."""


@dataclass(frozen=True, eq=False)
class Generated:
    """Sequences generated from nothing.

    Attributes:
        tokens: int64 (n, length).
        agreement: float64 (n,), the share of each sequence's observations that agree with its latents.
        latents: int64 (n, N), their values (a model may have written others than those of the law).
        nfe: int64 (n,), evaluations of each sequence.
    """

    tokens: Int[np.ndarray, "n length"]
    agreement: Float[np.ndarray, " n"]
    latents: Int[np.ndarray, "n N"]
    nfe: Int[np.ndarray, " n"]

    def summary(self) -> dict[str, Any]:
        """``agreement_share`` with its 95 % normal ``interval`` over sequences, ``count``, ``nfe_mean``, diversity."""
        mean = float(self.agreement.mean())
        half = 1.96 * float(self.agreement.std(ddof=1)) / len(self.agreement) ** 0.5
        return {
            "agreement_share": mean,
            "interval": [max(0.0, mean - half), min(1.0, mean + half)],
            "count": len(self.agreement),
            "nfe_mean": float(self.nfe.mean()),
            **diversity(self.latents),
        }


def generate(
    model: Denoiser,
    law: LatentLaw,
    count: int,
    order: OrderName,
    steps: int | None,
    *,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Generated:
    """Generate ``count`` sequences at temperature 1.

    Args:
        model: a denoiser of the law's vocabulary.
        law: the distribution.
        count: sequences, at least 2 (diversity needs two).
        order: which positions first.
        steps: reverse steps over the linear schedule, expected counts; None for one position at a time.
        seed: row i draws from ``seed`` and i alone, so orders are compared on coupled draws.
        batch_size: changes the memory used and nothing else.

    Raises:
        UserError: an unknown order, too few sequences, or a model of another vocabulary.
    """
    if order not in ORDERS:
        raise UserError(f"unknown order {order!r}; choose from {', '.join(ORDERS)}")
    if count < 2:
        raise UserError(f"generate needs count >= 2, not {count}")
    check_vocabulary(model, law)
    budget = OneByOne() if steps is None else Schedule(steps)
    seeds = row_seeds(seed, count)
    start = torch.full((1, law.length), law.padding_token, dtype=torch.int64)
    unknown = torch.from_numpy(law.unknown)[None]
    tokens, nfe = np.empty((count, law.length), dtype=np.int64), np.empty(count, dtype=np.int64)
    for rows in batches(count, batch_size, progress):
        size = rows.stop - rows.start
        canvas = Canvas(start.repeat(size, 1), unknown.repeat(size, 1)).to(device)
        result = decode(
            model, canvas, order=ORDERS[order], budget=budget, sampler=Temperature(1.0), seed=seeds[rows].to(device)
        )
        tokens[rows], nfe[rows] = result.tokens.cpu().numpy(), result.nfe.cpu().numpy()
    return Generated(tokens, law.agreement(tokens), tokens[:, law.latent_positions] - 1, nfe)


def check_vocabulary(model: Denoiser, law: LatentLaw) -> None:
    """Refuse a model that was made for another law's tokens."""
    if (model.vocab_size, model.mask_token_id) != (law.vocab_size, law.mask_token_id):
        raise UserError(
            f"{law.name} has {law.vocab_size} tokens and the mask {law.mask_token_id}, but the model has "
            f"{model.vocab_size} and {model.mask_token_id}"
        )


# ---------------------------------------------------------------- error against the exact posterior


@dataclass(frozen=True, eq=False)
class LevelError:
    """Errors at one masking level, over sequences and masks.

    Attributes:
        hidden: l, latents that were masked; ``hidden_observations`` the observations.
        error: float64 (L,), mean KL(exact || model) in nats at each token of the law, latents first; NaN where never
            masked. ``entropy``: (L,), mean entropy of the exact conditional there: what no model can remove.
        latent, observation: mean errors over all masked positions of the kind, in nats.
        latent_error, observation_error: standard errors of those, over sequences.
        latent_entropy, observation_entropy: mean entropies of the exact conditionals there.
    """

    hidden: int
    hidden_observations: int
    error: Float[np.ndarray, " L"]
    entropy: Float[np.ndarray, " L"]
    latent: float
    observation: float
    latent_error: float
    observation_error: float
    latent_entropy: float
    observation_entropy: float


def level_masks(law: LatentLaw, hidden: int, count: int, rng: np.random.Generator) -> Bool[np.ndarray, "count length"]:
    """Masks that hide ``hidden`` random latents and the nearest whole number to hidden P/N random observations.

    Raises:
        UserError: ``hidden`` is not in 1..N.
    """
    if not 1 <= hidden <= law.latents:
        raise UserError(f"hidden must lie in 1..{law.latents}, not {hidden}")
    masked = np.zeros((count, law.length), dtype=bool)
    parts = ((law.latent_positions, hidden), (law.observation_positions, hidden_observations(law, hidden)))
    for positions, number in parts:
        ranks = rng.random((count, len(positions))).argsort(1).argsort(1)
        masked[:, positions] = ranks < number
    return masked


def hidden_observations(law: LatentLaw, hidden: int) -> int:
    """Observations that are masked beside ``hidden`` latents, at least one."""
    return max(1, round(hidden * law.count / law.latents))


@torch.no_grad()
def level_error(
    model: Denoiser,
    exact: ExactPosterior,
    hidden: int,
    count: int,
    *,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> LevelError:
    """The error of ``model`` at one masking level, over ``count`` sequences with a mask each.

    Raises:
        UserError: a model of another vocabulary, or a level that the law does not have.
    """
    law = exact.law
    check_vocabulary(model, law)
    if count < 2:
        raise UserError(f"level_error needs count >= 2, not {count}")
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, hidden])))
    tokens, masked = law.sample(count, rng), level_masks(law, hidden, count, rng)
    sums = np.zeros((3, law.length))
    per_row = np.empty((count, 2))
    kinds = [np.isin(np.arange(law.length), at) for at in (law.latent_positions, law.observation_positions)]
    for rows in batches(count, batch_size):
        at = torch.from_numpy(masked[rows])
        seen = torch.from_numpy(tokens[rows]).masked_fill(at, law.mask_token_id)
        p = exact.conditionals(seen, at=at)
        logits = model(seen.to(device), at=at.to(device)).cpu().double()[:, : law.vocab_size]
        # the mask is no token: decoding cuts it before anything is read off the logits
        logits[:, law.mask_token_id] = -torch.inf
        log_q = logits.log_softmax(1)
        entropy = torch.special.entr(p).sum(1)
        # where p is 0 the term is 0, whatever the model says
        cross = -torch.where(p > 0, p * log_q, 0.0).sum(1)
        spread = torch.zeros(2, *at.shape, dtype=torch.float64)
        spread[0][at], spread[1][at] = cross - entropy, entropy
        error = spread.numpy()
        sums[:2] += error.sum(1)
        sums[2] += masked[rows].sum(0)
        for index, kind in enumerate(kinds):
            per_row[rows, index] = (error[0] * kind).sum(1) / (masked[rows] & kind).sum(1)
    with np.errstate(invalid="ignore"):
        means = sums[:2] / np.where(sums[2] > 0, sums[2], np.nan)
    pi = law.pi
    spread_of = per_row.std(0, ddof=1) / count**0.5
    entropies = [float(sums[1][kind].sum() / sums[2][kind].sum()) for kind in kinds]
    return LevelError(
        hidden=hidden,
        hidden_observations=hidden_observations(law, hidden),
        error=means[0][pi],
        entropy=means[1][pi],
        latent=float(per_row[:, 0].mean()),
        observation=float(per_row[:, 1].mean()),
        latent_error=float(spread_of[0]),
        observation_error=float(spread_of[1]),
        latent_entropy=entropies[0],
        observation_entropy=entropies[1],
    )
