"""The published families of L&O distributions. Each is fixed by its sizes and a seed, which draws scopes and order.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768): NAE-SAT of table 1, sparse predicates
(section 3.2), noisy sparse parity (B.1), random slab (B.4), planted constraint problems (B.10).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from math import perm
from typing import TYPE_CHECKING, Literal

import numpy as np

from anyorder.core.errors import UserError
from anyorder.tasks.latents.law import LatentLaw
from anyorder.tasks.latents.observations import FunctionObservations, LocalObservations
from anyorder.tasks.latents.predicates import Predicate, colouring, not_all_equal, one_way, parity

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Int
    from numpy.typing import NDArray

Placement = Literal["identity", "random"]
MOST_SUBSETS = 1 << 20


def nae_sat(
    latents: int, observations: int, *, seed: int = 0, k: int = 3, placement: Placement = "identity", padding: int = 0
) -> LatentLaw:
    """Binary latents; observation j is 1 - [all k latents of a random k-subset are equal]."""
    name = f"NAE-SAT ({latents}, {observations})"
    return predicate_law(name, not_all_equal(k), latents, observations, seed=seed, placement=placement, padding=padding)


def planted_colouring(
    latents: int, observations: int, *, colours: int = 5, seed: int = 0, placement: Placement = "identity"
) -> LatentLaw:
    """Latents are colours; observation j says whether a random pair of them differs."""
    name = f"{colours}-colouring ({latents}, {observations})"
    return predicate_law(name, colouring(colours), latents, observations, seed=seed, placement=placement)


def noisy_parity(
    latents: int, observations: int, *, k: int = 3, noise: float = 0.1, seed: int = 0, placement: Placement = "identity"
) -> LatentLaw:
    """Binary latents; observation j is the parity of a random k-subset, flipped with probability ``noise``."""
    name = f"parity k={k}, noise {noise:g} ({latents}, {observations})"
    return predicate_law(name, parity(k), latents, observations, seed=seed, noise=noise, placement=placement)


def one_way_bits(
    latents: int, observations: int, *, k: int = 5, seed: int = 0, placement: Placement = "identity"
) -> LatentLaw:
    """Binary latents; each observation is the bit of Goldreich's one-way function at a random ordered k-subset."""
    name = f"one-way k={k} ({latents}, {observations})"
    return predicate_law(name, one_way(k), latents, observations, seed=seed, placement=placement)


def predicate_law(
    name: str,
    predicate: Predicate,
    latents: int,
    observations: int,
    *,
    seed: int = 0,
    noise: float = 0.0,
    placement: Placement = "identity",
    padding: int = 0,
) -> LatentLaw:
    """Uniform latents; one predicate at ``observations`` random ordered k-subsets, with replacement."""
    rng = np.random.default_rng(_seeded(seed, "scopes"))
    scopes = random_scopes(latents, observations, predicate.k, rng)
    return LatentLaw(
        name,
        latents,
        LocalObservations.of(predicate, scopes, noise=noise),
        np.full(predicate.m, 1 / predicate.m),
        _placed(latents + observations, placement, seed),
        padding,
    )


def sparse_predicate(
    latents: int, predicate: Predicate, *, seed: int = 0, placement: Placement = "identity"
) -> LatentLaw:
    """Uniform latents; one observation for *every* ordered k-subset of them: P = N! / (N - k)!.

    Raises:
        UserError: there are fewer than k latents, or more than a million subsets.
    """
    if latents < predicate.k or perm(latents, predicate.k) > MOST_SUBSETS:
        raise UserError(
            f"{predicate.name} on all ordered subsets needs at least {predicate.k} latents and at most "
            f"{MOST_SUBSETS:,} subsets, not {latents} latents"
        )
    scopes = np.array(list(itertools.permutations(range(latents), predicate.k)), dtype=np.int64)
    return LatentLaw(
        f"{predicate.name} on all subsets ({latents}, {len(scopes)})",
        latents,
        LocalObservations.of(predicate, scopes),
        np.full(predicate.m, 1 / predicate.m),
        _placed(latents + len(scopes), placement, seed),
    )


@dataclass(frozen=True, eq=False)
class Slab:
    """1 where |<w_j, 2 z - 1>| <= bound, for directions w_j in {-1, 1}^N."""

    directions: NDArray[np.int64]
    bound: float

    def __call__(self, latents: Int[np.ndarray, "s N"]) -> Int[np.ndarray, "s P"]:
        # float64 products of small integers are exact, and far faster than integer ones
        inner = (2 * latents - 1).astype(np.float64) @ self.directions.T.astype(np.float64)
        return (np.abs(inner) <= self.bound).astype(np.int64)


def random_slab(
    latents: int, observations: int, *, beta: float = 0.6745, seed: int = 0, placement: Placement = "identity"
) -> LatentLaw:
    """Binary latents; observation j is whether |<w_j, 2 z - 1>| <= beta sqrt(N), w_j uniform in {-1, 1}^N.

    The default ``beta`` is the median of a standard normal's absolute value: about half of the observations are 1.
    """
    if latents < 1 or observations < 1 or not beta > 0:
        raise UserError(f"a slab needs latents, observations >= 1 and beta > 0, not {latents}, {observations}, {beta}")
    rng = np.random.default_rng(_seeded(seed, "directions"))
    slab = Slab(rng.choice(np.array([-1, 1]), (observations, latents)), beta * latents**0.5)
    return LatentLaw(
        f"slab beta={beta:g} ({latents}, {observations})",
        latents,
        FunctionObservations(slab, observations),
        order=_placed(latents + observations, placement, seed),
    )


def function_law(
    name: str,
    function: Callable[[NDArray[np.int64]], NDArray],
    latents: int,
    observations: int,
    *,
    values: int = 2,
    symbols: int = 2,
    noise: float = 0.0,
    seed: int = 0,
    placement: Placement = "identity",
) -> LatentLaw:
    """Uniform latents and any vectorised observation function (s, N) -> (s, P)."""
    if values < 2:
        raise UserError(f"latents need at least 2 values, not {values}")
    return LatentLaw(
        name,
        latents,
        FunctionObservations(function, observations, symbols, noise),
        np.full(values, 1 / values),
        _placed(latents + observations, placement, seed),
    )


def random_scopes(latents: int, count: int, k: int, rng: np.random.Generator) -> Int[np.ndarray, "count k"]:
    """``count`` uniform ordered k-subsets of the latents, with replacement.

    Raises:
        UserError: there are fewer than k latents.
    """
    if latents < k or count < 1:
        raise UserError(f"scopes of {k} need at least {k} latents and one scope, not {latents} and {count}")
    # Floyd's sampling, all scopes at once: a number already taken is replaced by the newest one, which is not
    scopes = np.empty((count, k), dtype=np.int64)
    for place in range(k):
        newest = latents - k + place
        drawn = rng.integers(0, newest + 1, count)
        taken = (scopes[:, :place] == drawn[:, None]).any(1)
        scopes[:, place] = np.where(taken, newest, drawn)
    return rng.permuted(scopes, axis=1)


def _placed(size: int, placement: Placement, seed: int) -> NDArray[np.int64]:
    if placement not in ("identity", "random"):
        raise UserError(f"placement must be 'identity' or 'random', not {placement!r}")
    if placement == "identity":
        return np.arange(size)
    return np.random.default_rng(_seeded(seed, "order")).permutation(size)


def _seeded(seed: int, purpose: str) -> list[int]:
    """Entropy for numpy's generators: one stream for each purpose."""
    if seed < 0:
        raise UserError(f"the seed must not be negative, not {seed}")
    return [seed, *purpose.encode()]
