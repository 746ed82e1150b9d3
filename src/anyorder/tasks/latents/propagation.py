"""Belief propagation for planted constraint problems, and its planted ensembles.

Variables i = 1..N take m values and have a prior; a factor S looks at k of them and weighs their values by g_S >= 0.
Messages are laws over the m values,

    m_{i->S}(c)  ~  prior_i(c) prod over T containing i, T != S, of m_{T->i}(c),
    m_{S->i}(c)  ~  sum over the values of the other variables of S, with x_i = c, of g_S prod of their messages,

and at a fixed point the beliefs b_i ~ prior_i prod of all m_{T->i} are the marginals, exactly so on trees. The Bethe
free entropy

    Phi = sum_i log Z_i + sum_S log Z_S - sum_(i, S) log Z_iS

is then log of the sum over all values of prior times prod of g_S.

**Planted ensembles.** Draw x uniformly. Either observe the predicate at P uniform k-subsets (`observed="all"`), or keep
only subsets where it is 1 (`observed="satisfied"`), P of them. The mean degree is D = kP/N, each constraint counted
once. In the second ensemble a subset is drawn with probability 1 / (number of satisfied subsets under x), so the
posterior of x carries a factor F(x)^-P, F the share of satisfied subsets, which favours balanced values. Among messages
it is a field on every variable, h_c = D (F_c / F - 1) with F_c the slope of F in the share of value c. Without it the
messages have a uniform mode, all moving to one value and back, that grows as D (k-1) |lambda| and is no property of the
posterior; with it (``conserve=True``) that mode is cancelled to first order.

Sources: Kim et al. (2502.06768), appendix B.10; Krzakala and Zdeborova, "Hiding quiet solutions in random constraint
satisfaction problems" (0901.2130); Decelle et al., "Asymptotic analysis of the stochastic block model" (1109.3041) for
the field of a planted ensemble.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from anyorder.core.errors import UserError
from anyorder.tasks.latents import kernels
from anyorder.tasks.latents.families import random_scopes
from anyorder.tasks.latents.observations import LocalObservations

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from numpy.typing import NDArray

    from anyorder.tasks.latents.predicates import Predicate

Observed = Literal["satisfied", "all"]
Start = Literal["uniform", "random", "planted"]


@dataclass(frozen=True, eq=False)
class FactorGraph:
    """Factors of one arity k over N variables with m values.

    Attributes:
        observations: scopes and tables; the weight of factor j is its table at ``values[j]``.
        values: int64 (P,), the value of each observation, -1 where it is absent.
        prior: float64 (N, m), normalised here.

    Raises:
        UserError: shapes disagree or a value is out of range.
    """

    observations: LocalObservations
    values: NDArray[np.int64]
    prior: NDArray[np.float64]
    starts: NDArray[np.int64] = field(init=False, repr=False)
    edges: NDArray[np.int64] = field(init=False, repr=False)
    digits: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        seen, values = self.observations, np.ascontiguousarray(self.values, dtype=np.int64)
        prior = np.array(self.prior, dtype=np.float64)
        if values.shape != (seen.count,) or (values < -1).any() or (values >= seen.symbols).any():
            raise UserError(f"a graph needs a value in -1..{seen.symbols - 1} for each of {seen.count} observations")
        if prior.ndim != 2 or prior.shape[1] != seen.values or (prior < 0).any() or (prior.sum(1) <= 0).any():
            raise UserError(f"the prior must be (N, {seen.values}), not negative, and not all zero in any row")
        if seen.scopes.max() >= len(prior):
            raise UserError(f"a scope names variable {seen.scopes.max()}, but there are {len(prior)}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "prior", prior / prior.sum(1, keepdims=True))
        starts, edges = incidence(seen.scopes, len(prior))
        object.__setattr__(self, "starts", starts)
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "digits", setting_digits(seen.k, seen.values))

    @property
    def variables(self) -> int:
        """N."""
        return len(self.prior)

    @property
    def degree(self) -> float:
        """D = kP/N over the factors that are present."""
        return self.observations.k * int((self.values >= 0).sum()) / self.variables

    def arrays(self) -> tuple[Any, ...]:
        """What the kernels call a graph: k, starts, edges, which, tables, digits, observed."""
        seen = self.observations
        return seen.k, self.starts, self.edges, seen.which, seen.flat, self.digits, self.values


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """Where belief propagation came to rest, or stopped.

    Attributes:
        beliefs: (N, m) approximate marginals.
        messages: (P k, m) from variables to factors.
        free_entropy: Bethe's approximation of log sum prior prod g, in nats, the field not counted.
        iterations: done. change: the largest change of a message in the last one. converged: it is within tolerance.
        contradictions: messages of the last iteration that excluded every value and were passed over.
    """

    beliefs: Float[np.ndarray, "N m"]
    messages: Float[np.ndarray, "E m"]
    free_entropy: float
    iterations: int
    change: float
    converged: bool
    contradictions: int


def propagate(
    graph: FactorGraph,
    *,
    messages: Float[np.ndarray, "E m"] | None = None,
    conserve: bool = False,
    damping: float = 0.0,
    tolerance: float = 1e-9,
    most: int = 1000,
) -> FixedPoint:
    """Run belief propagation, all messages together, until none moves by more than ``tolerance``.

    Args:
        graph: the problem.
        messages: where to start, laws (P k, m) from variables to factors; uniform where not given.
        conserve: add the field of the ensemble of satisfied constraints; all factors must then have one weight table.
        damping: share of the old message that is kept, in [0, 1).
        tolerance: on the largest change of a message.
        most: iterations at most.

    Raises:
        UserError: settings out of range, messages of another shape, or ``conserve`` with factors of several kinds.
    """
    if not 0 <= damping < 1 or not tolerance >= 0 or most < 1:
        raise UserError(f"need 0 <= damping < 1, tolerance >= 0 and most >= 1, not {damping}, {tolerance}, {most}")
    seen, m = graph.observations, graph.prior.shape[1]
    shape = (seen.count * seen.k, m)
    if messages is None:
        start = np.full(shape, 1 / m)
    else:
        start = np.array(messages, dtype=np.float64)
        if start.shape != shape or (start < 0).any() or not np.allclose(start.sum(1), 1):
            raise UserError(f"messages must be laws of shape {shape}")
    present = graph.values >= 0
    if conserve and len(np.unique(np.stack((seen.which[present], graph.values[present])), axis=1).T) > 1:
        raise UserError("conserve is for the ensemble of satisfied constraints, where all factors are of one kind")
    beliefs, outgoing, prior, iterations, change, failed = kernels.propagate(
        graph.arrays(), graph.prior, start, conserve, damping, tolerance, most
    )
    free = kernels.bethe(graph.arrays(), prior, start, outgoing)
    if conserve:
        # the mean of the field's energy is taken back: it stood in Z_i
        free -= float((beliefs * np.log(prior / graph.prior)).sum())
    return FixedPoint(beliefs, start, float(free), int(iterations), float(change), change <= tolerance, int(failed))


# ---------------------------------------------------------------- planted ensembles


@dataclass(frozen=True, eq=False)
class Planted:
    """A graph and the values (N,) that it was planted with."""

    graph: FactorGraph
    truth: NDArray[np.int64]
    predicate: Predicate
    observed: Observed


def plant(
    predicate: Predicate, variables: int, degree: float, rng: np.random.Generator, *, observed: Observed = "satisfied"
) -> Planted:
    """A planted problem of mean degree D = kP/N; P is rounded to the nearest integer.

    ``degree`` counts the constraints that are kept: those with g = 1, or all of them.

    Raises:
        UserError: fewer variables than k, or no constraint at all.
    """
    check_observed(observed)
    count = round(degree * variables / predicate.k)
    if variables < predicate.k or count < 1:
        raise UserError(f"no constraint: N = {variables}, D = {degree:g}, k = {predicate.k}")
    truth = rng.integers(0, predicate.m, variables)
    if observed == "all":
        scopes = random_scopes(variables, count, predicate.k, rng)
    else:
        kept: list[NDArray[np.int64]] = []
        missing = count
        while missing > 0:
            drawn = random_scopes(variables, int(1.1 * missing / predicate.share) + 16, predicate.k, rng)
            kept.append(drawn[predicate(truth[drawn])][:missing])
            missing -= len(kept[-1])
            if not len(kept[-1]) and not predicate(truth[drawn]).any() and len(np.unique(truth)) < 2:
                raise UserError(
                    f"no subset of {variables} variables satisfies {predicate.name} under the planted values"
                )
        scopes = np.concatenate(kept)
    seen = LocalObservations.of(predicate, scopes)
    values = predicate(truth[scopes]).astype(np.int64)
    prior = np.full((variables, predicate.m), 1 / predicate.m)
    return Planted(FactorGraph(seen, values, prior), truth, predicate, observed)


def scatter(
    predicate: Predicate, variables: int, degree: float, rng: np.random.Generator, *, observed: Observed = "satisfied"
) -> FactorGraph:
    """A graph of the same degree with nothing planted: uniform scopes, and values of g drawn for themselves."""
    check_observed(observed)
    count = round(degree * variables / predicate.k)
    if variables < predicate.k or count < 1:
        raise UserError(f"no constraint: N = {variables}, D = {degree:g}, k = {predicate.k}")
    scopes = random_scopes(variables, count, predicate.k, rng)
    values = np.ones(count, np.int64) if observed == "satisfied" else (rng.random(count) < predicate.share).astype(int)
    prior = np.full((variables, predicate.m), 1 / predicate.m)
    return FactorGraph(LocalObservations.of(predicate, scopes), values, prior)


def starting_messages(
    planted: Planted, start: Start, rng: np.random.Generator | None = None
) -> Float[np.ndarray, "E m"]:
    """Messages to start from: ``uniform``, ``random`` (on the simplex, from ``rng``), or ``planted`` (the truth)."""
    scopes, m = planted.graph.observations.scopes, planted.predicate.m
    shape = (scopes.size, m)
    if start == "uniform":
        return np.full(shape, 1 / m)
    if start == "planted":
        return np.eye(m)[planted.truth[scopes.ravel()]]
    if start == "random" and rng is not None:
        drawn = rng.standard_exponential(shape)
        return drawn / drawn.sum(1, keepdims=True)
    raise UserError(f"start must be uniform, random (with a generator) or planted, not {start!r}")


def solve_planted(
    planted: Planted,
    start: Start,
    rng: np.random.Generator | None = None,
    *,
    damping: float = 0.3,
    tolerance: float = 1e-4,
    most: int = 500,
) -> FixedPoint:
    """Belief propagation on a planted problem, with the field that its ensemble asks for.

    Messages that start far from uniform ones may oscillate for ever without some damping, even where the planted values
    are easy to find.
    """
    return propagate(
        planted.graph,
        messages=starting_messages(planted, start, rng),
        conserve=planted.observed == "satisfied",
        damping=damping,
        tolerance=tolerance,
        most=most,
    )


def overlap(planted: Planted, beliefs: Float[np.ndarray, "N m"]) -> float:
    """How much of the truth the beliefs know: 0 for a guess, 1 for all of it.

    (share of variables whose most probable value is the planted one - 1/m) / (1 - 1/m), under the renaming of values
    that leaves the predicate as it is and fits best. Values within 0.001 of the most probable one tie and share the
    vote, so a uniform belief counts 1/m whatever is left of its start.
    """
    m = planted.predicate.m
    best = beliefs >= beliefs.max(1, keepdims=True) - 1e-3
    votes = best / best.sum(1, keepdims=True)
    confusion = np.zeros((m, m))
    np.add.at(confusion, planted.truth, votes)
    renamings = planted.predicate.symmetries
    right = confusion[np.arange(m), renamings].sum(1).max() / len(beliefs)
    return float((right - 1 / m) / (1 - 1 / m))


def certainty(beliefs: Float[np.ndarray, "N m"]) -> float:
    """(mean over i of sum_c b_i(c)^2 - 1/m) / (1 - 1/m): what the overlap would be if the beliefs were right."""
    m = beliefs.shape[1]
    return float(((beliefs**2).sum(1).mean() - 1 / m) / (1 - 1 / m))


def null_free_entropy(planted: Planted) -> float:
    """Free entropy per variable of the uniform messages: (D/k) sum over values v of g of P(v) log P(v), in nats.

    The prior is counted as 1/m for each value, as everywhere here; under ``satisfied`` only v = 1 occurs.

    Raises:
        UserError: the predicate is not balanced, so uniform messages are no fixed point.
    """
    values = planted.graph.values
    total = 0.0
    for value in (0, 1):
        count = int((values == value).sum())
        if count:
            if not planted.predicate.balanced(value):
                raise UserError(f"{planted.predicate.name} is not balanced: uniform messages are no fixed point")
            total += count * float(np.log(planted.predicate.chance(value)))
    return total / planted.graph.variables


# ---------------------------------------------------------------- shared with the denoiser


def incidence(scopes: Int[np.ndarray, "P k"], variables: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Edges of each variable, in order: ``edges[starts[i] : starts[i + 1]]``, edge = factor * k + place."""
    flat = scopes.ravel()
    edges = np.argsort(flat, kind="stable")
    starts = np.zeros(variables + 1, dtype=np.int64)
    np.cumsum(np.bincount(flat, minlength=variables), out=starts[1:])
    return starts, edges


def setting_digits(k: int, m: int) -> NDArray[np.int64]:
    """(m^k, k): the values of every setting of k variables, in the order of a flattened table."""
    return np.stack(np.unravel_index(np.arange(m**k), (m,) * k), axis=1).astype(np.int64)


def check_observed(observed: str) -> None:
    """Refuse what is neither ``satisfied`` nor ``all``."""
    if observed not in ("satisfied", "all"):
        raise UserError(f"observed must be 'satisfied' or 'all', not {observed!r}")
