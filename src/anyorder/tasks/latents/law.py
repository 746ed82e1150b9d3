"""Latents-and-observations (L&O) distributions.

N latents z_i are drawn independently from a prior over m values, then P observations, each from its own law given the
latents (`observations`). A permutation pi of 0..L-1, L = N + P, places them: latent i stands at position pi[i] and
observation j at position pi[N + j].

Tokens: 0 is the mask, value v is the token v + 1, of latents and observations alike. A sequence may be padded to a
longer length with one constant token more, at its end, which is always given.

Generating in the order pi is easy: latents are independent, observations follow from them. Other orders must infer
latents from observations, which can be as hard as one likes: that is the point of these distributions.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), definition 3.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError
from anyorder.tasks.latents.observations import Observations

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import NDArray

MASK = 0


@dataclass(frozen=True, eq=False)
class LatentLaw:
    """One L&O distribution.

    Attributes:
        name: how it is called in records.
        latents: N.
        observations: the P observation functions.
        prior: (m,) for all latents alike, or (N, m); normalised here.
        order: pi, int64 (L,); the identity where it is left out.
        padding: constant positions added at the end.

    Raises:
        UserError: sizes disagree, the prior is no law, or the order is no permutation.
    """

    name: str
    latents: int
    observations: Observations
    prior: NDArray[np.float64] = field(default_factory=lambda: np.full(2, 0.5))
    order: NDArray[np.int64] | None = None
    padding: int = 0
    pi: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.latents < 1 or self.padding < 0:
            raise UserError(f"a law needs latents >= 1 and padding >= 0, not {self.latents} and {self.padding}")
        if not isinstance(self.observations, Observations):
            raise UserError(f"observations must have count, symbols and law, not {type(self.observations).__name__}")
        prior = np.asarray(self.prior, dtype=np.float64)
        prior = np.broadcast_to(prior, (self.latents, prior.shape[-1] if prior.ndim else 0))
        if prior.shape[1] < 2 or not np.isfinite(prior).all() or (prior < 0).any() or (prior.sum(1) <= 0).any():
            raise UserError("the prior must be (m,) or (N, m) with m >= 2, not negative, and not all zero in any row")
        object.__setattr__(self, "prior", prior / prior.sum(1, keepdims=True))
        size = self.latents + self.observations.count
        pi = np.arange(size) if self.order is None else np.asarray(self.order, dtype=np.int64)
        if pi.shape != (size,) or not np.array_equal(np.sort(pi), np.arange(size)):
            raise UserError(f"order must be a permutation of 0..{size - 1}")
        object.__setattr__(self, "pi", pi)
        scopes = getattr(self.observations, "scopes", None)
        if scopes is not None and scopes.max() >= self.latents:
            raise UserError(f"an observation looks at latent {scopes.max()}, but there are {self.latents}")
        if getattr(self.observations, "values", self.values) != self.values:
            raise UserError(f"the prior has {self.values} values, the observations expect another number")

    # ------------------------------------------------------------ sizes

    @property
    def values(self) -> int:
        """m, the values of a latent."""
        return self.prior.shape[1]

    @property
    def symbols(self) -> int:
        """q, the values of an observation."""
        return self.observations.symbols

    @property
    def count(self) -> int:
        """P, the number of observations."""
        return self.observations.count

    @property
    def size(self) -> int:
        """L = N + P, without padding."""
        return self.latents + self.count

    @property
    def length(self) -> int:
        """Positions of a sequence, padding included."""
        return self.size + self.padding

    @property
    def mask_token_id(self) -> int:
        return MASK

    @property
    def padding_token(self) -> int:
        """The constant token of the padding; in the vocabulary only where there is padding."""
        return max(self.values, self.symbols) + 1

    @property
    def vocab_size(self) -> int:
        """Mask, values, and the padding token where there is padding."""
        return max(self.values, self.symbols) + 1 + (self.padding > 0)

    @property
    def latent_positions(self) -> NDArray[np.int64]:
        """(N,): where the latents stand."""
        return self.pi[: self.latents]

    @property
    def observation_positions(self) -> NDArray[np.int64]:
        """(P,): where the observations stand."""
        return self.pi[self.latents :]

    @property
    def unknown(self) -> Bool[np.ndarray, " length"]:
        """(length,): every position but the padding."""
        return np.arange(self.length) < self.size

    @property
    def ranks(self) -> Int[np.ndarray, " length"]:
        """(length,): 0 at latents, 1 at observations, 2 at padding: the order in which generating is easy."""
        ranks = np.full(self.length, 2, dtype=np.int64)
        ranks[self.latent_positions] = 0
        ranks[self.observation_positions] = 1
        return ranks

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the sizes, the prior, the order, and what the observations say of 256 settings of the latents."""
        rng = np.random.Generator(np.random.Philox(0))
        settings = rng.integers(0, self.values, (256, self.latents))
        digest = hashlib.sha256(f"{self.latents} {self.count} {self.values} {self.symbols} {self.padding}\n".encode())
        for array in (self.prior, self.pi, self.observations.law(settings)):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    # ------------------------------------------------------------ sequences

    def sample(self, count: int, rng: np.random.Generator) -> Int[np.ndarray, "count length"]:
        """``count`` independent sequences of tokens, int64."""
        cumulative = self.prior.cumsum(1)
        latents = _inverse(cumulative, rng.random((count, self.latents, 1)))
        law = self.observations.law(latents)
        return self.join(latents, _inverse(law.cumsum(-1), rng.random((*law.shape[:2], 1))))

    def join(self, latents: Int[np.ndarray, "b N"], observed: Int[np.ndarray, "b P"]) -> Int[np.ndarray, "b length"]:
        """Tokens of these values."""
        tokens = np.full((len(latents), self.length), self.padding_token, dtype=np.int64)
        tokens[:, self.latent_positions] = latents + 1
        tokens[:, self.observation_positions] = observed + 1
        return tokens

    def split(self, tokens: Int[np.ndarray, "b length"]) -> tuple[Int[np.ndarray, "b N"], Int[np.ndarray, "b P"]]:
        """Values of latents and of observations; -1 stands where the mask does.

        Raises:
            UserError: a shape or a token that this law does not have.
        """
        tokens = np.asarray(tokens)
        if tokens.ndim != 2 or tokens.shape[1] != self.length:
            raise UserError(f"{self.name} has sequences of {self.length} tokens, not an array of shape {tokens.shape}")
        latents, observed = tokens[:, self.latent_positions] - 1, tokens[:, self.observation_positions] - 1
        for what, values, size in (("latent", latents, self.values), ("observation", observed, self.symbols)):
            if values.size and not (values.min() >= -1 and values.max() < size):
                raise UserError(f"a token stands at a {what} that is no value of it")
        return latents, observed

    def agreement(self, tokens: Int[np.ndarray, "b length"]) -> Float[np.ndarray, " b"]:
        """The share of each row's observations that have their most probable value given the row's own latents.

        1 for any possible sequence where observations are functions of the latents; under noise,
        `expected_agreement` is what the law itself reaches. A model may write any token anywhere: an observation that
        is no value of one disagrees, and so do all of a row in which some latent is none. Raises ``UserError`` for rows
        that hold masks.
        """
        tokens = np.asarray(tokens)
        latents, observed = tokens[:, self.latent_positions] - 1, tokens[:, self.observation_positions] - 1
        if (latents < 0).any() or (observed < 0).any():
            raise UserError("agreement is a figure of complete sequences, and these hold masks")
        possible = (latents < self.values).all(1)
        best = self.observations.law(latents.clip(0, self.values - 1)).argmax(-1)
        return (best == observed).mean(1) * possible

    def expected_agreement(self, rng: np.random.Generator, count: int = 4096) -> float:
        """Mean agreement of the law's own samples."""
        return float(self.agreement(self.sample(count, rng)).mean())


def _inverse(cumulative: Float[np.ndarray, "... q"], u: Float[np.ndarray, "... 1"]) -> Int[np.ndarray, "..."]:
    """The least value whose cumulative probability exceeds u; never one of probability 0."""
    total = cumulative[..., -1:]
    reached = np.where(cumulative >= total * (1 - 1e-12), np.inf, cumulative)
    return (reached <= u * total).sum(-1)


def diversity(latents: Int[np.ndarray, "b N"]) -> dict[str, float]:
    """How different the latents of samples are, so that agreement cannot be had by always drawing the same ones.

    Returns:
        ``distinct_share``: distinct rows over rows. ``latent_entropy``: mean over latents of the entropy of its values
        in nats. ``pair_distance``: mean share of latents in which two different rows differ.
    """
    rows, count = len(latents), latents.shape[1]
    if rows < 2:
        raise UserError("the diversity of samples needs at least two of them")
    sizes = np.stack([(latents == value).sum(0) for value in range(int(latents.max()) + 1)]).astype(np.float64)
    shares = sizes / rows
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(0)
    same = (sizes * (sizes - 1)).sum() / (rows * (rows - 1) * count)
    return {
        "distinct_share": len(np.unique(latents, axis=0)) / rows,
        "latent_entropy": float(entropy.mean()),
        "pair_distance": float(1 - same),
    }
