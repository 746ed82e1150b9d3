"""Where planted constraint problems become hard and easy, and what that says of masks.

**Stability (Kesten and Stigum).** A small random change of the uniform messages grows by the factor r per iteration;
where the pairwise laws of all places agree and are symmetric,

    r^2 = (k - 1) D lambda^2,     D_KS = 1 / ((k - 1) lambda^2),

and in general r^2 = (D / k) times the spectral radius, on vectors that sum to 0, of sum over places a != b of
P(v) T_ab (x) T_ab, summed over the values v of g that are observed. Beyond D_KS a random start finds the planted values
(easy); below it none is known to. `growth` is the formula; `measured_growth` iterates the linearised messages on a
random graph, and `measured_stability` finds where they stop shrinking. On a graph the changes also have a *uniform*
mode, all messages moving alike, which grows as (k - 1) D |lambda|: it is an artefact of fixing the planted values'
shares (see `propagation`) and is projected out along the leading left and right eigenvectors of the scalar problem.

**Condensation.** The planted values can be told from none at all where the Bethe free entropy of the planted fixed
point exceeds that of the uniform messages: D_cond, the least D at which they part. Between D_cond and D_KS recovery is
possible and believed hard.

**Units.** D = kP/N throughout, each constraint counted once. The published figure counts neighbours instead,
(k - 1) kP/N for not-all-equal, and ordered pairs for colouring, 2 kP/N: `neighbours` and `ordered` convert.

**Masks (proposition 3.3).** In the L&O distribution with one observation for every ordered k-subset, a position stays
unmasked with probability 1 - alpha (alpha is the probability of the mask here). The revealed observations with g = 1
are about gamma N^k (1 - alpha), so their degree is D = gamma k N^{k-1} (1 - alpha), and the conditionals of the latents
are hard for alpha in

    [1 - D_KS / (gamma k N^{k-1}),  1 - D_cond / (gamma k N^{k-1})].

That reduction uses the observations with g = 1 only. Those with g = 0 are revealed as well and carry information, often
more of it; with all of them gamma is 1 and the thresholds are those of the ensemble ``all``.

Sources: Kim et al. (2502.06768), section 3.2, proposition 3.3 and appendix B.10; Krzakala and Zdeborova (0901.2130).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError
from anyorder.tasks.latents.propagation import FactorGraph, Observed, check_observed, scatter

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

    from anyorder.tasks.latents.predicates import Predicate


def neighbours(degree: float, k: int) -> float:
    """(k - 1) D: neighbours of a variable instead of constraints."""
    return (k - 1) * degree


def ordered(degree: float, k: int) -> float:
    """k D: every constraint counted once for each of its places; for k = 2, ordered pairs."""
    return k * degree


# ---------------------------------------------------------------- stability


def growth(predicate: Predicate, degree: float, *, observed: Observed = "satisfied") -> float:
    """r: the growth per iteration of a small random change of the uniform messages, at mean degree D.

    Raises:
        UserError: the predicate is not balanced, so that uniform messages are no fixed point.
    """
    return float(np.sqrt(degree * _growth_per_degree(predicate, observed)))


def stability_threshold(predicate: Predicate, *, observed: Observed = "satisfied") -> float:
    """D_KS by the formula; infinite where the uniform messages are stable at any degree (parity)."""
    slope = _growth_per_degree(predicate, observed)
    return float("inf") if slope < 1e-12 else 1 / slope


def _growth_per_degree(predicate: Predicate, observed: Observed) -> float:
    """r^2 / D."""
    k, m = predicate.k, predicate.m
    onto = np.eye(m) - 1 / m
    total = np.zeros((m * m, m * m))
    for value, chance in _observed_values(predicate, observed):
        laws = predicate.pairwise(value)
        for a in range(k):
            for b in range(k):
                if a != b:
                    step = onto @ laws[b, a].T @ onto
                    total += chance / k * np.kron(step, step)
    return float(np.abs(np.linalg.eigvals(total)).max())


def _observed_values(predicate: Predicate, observed: Observed) -> list[tuple[int, float]]:
    """Values of g that are observed, with their shares among what is observed."""
    check_observed(observed)
    chosen = [(1, 1.0)] if observed == "satisfied" else [(0, predicate.chance(0)), (1, predicate.chance(1))]
    for value, _ in chosen:
        if not predicate.balanced(value):
            raise UserError(
                f"{predicate.name} is not balanced at g = {value}: uniform messages are no fixed point, and no "
                "threshold of their stability exists"
            )
    return chosen


def measured_growth(
    predicate: Predicate, graph: FactorGraph, rng: np.random.Generator, *, warm_up: int = 5, steps: int = 10
) -> float:
    """r measured: the geometric mean growth of a random change over ``steps`` iterations on this graph.

    The linearised messages are iterated; the uniform mode is projected out after every one. The graph should have
    nothing planted (`propagation.scatter`): planted values add m - 1 directions of growth (k - 1) D lambda^2, which is
    r^2, and at the threshold, where all of these are 1, a finite graph pushes the largest up by a tenth.
    """
    if warm_up < 0 or steps < 1:
        raise UserError(f"need warm_up >= 0 and steps >= 1, not {warm_up} and {steps}")
    linear = _Linear(predicate, graph)
    m = predicate.m
    change = rng.standard_normal((linear.edges, m))
    rates = []
    for step in range(warm_up + steps):
        change -= change.mean(1, keepdims=True)
        change = linear.project(change)
        size = np.linalg.norm(change)
        if size == 0:
            return 0.0  # no pair of places knows anything of each other, as with parity
        change /= size
        change = linear.apply(change)
        if step >= warm_up:
            rates.append(np.log(np.linalg.norm(linear.project(change))))
    return float(np.exp(np.mean(rates)))


class _Linear:
    """The derivative of belief propagation at the uniform messages, and its uniform mode."""

    def __init__(self, predicate: Predicate, graph: FactorGraph) -> None:
        self._k, self._starts, self._order = graph.observations.k, graph.starts, graph.edges
        self._scopes = graph.observations.scopes.ravel()
        self.edges = self._scopes.size
        self._values = graph.values
        # laws[v][b, a].T carries a change at place b to place a
        self._laws = {value: predicate.pairwise(value) for value in np.unique(graph.values).tolist()}
        # the leading eigenvector of the scalar problem: from V A r = mu r follows (A r) V A = mu (A r), so l = A r
        right = np.ones((self.edges, 1))
        for _ in range(40):
            right = self._around(self._across(right))
            right /= np.linalg.norm(right)
        self._right, left = right, self._across(right)
        self._left = left / float(left[:, 0] @ right[:, 0])

    def apply(self, change: Float[np.ndarray, "E m"]) -> Float[np.ndarray, "E m"]:
        """One iteration of the change of all messages from variables to factors."""
        factors = change.reshape(-1, self._k, change.shape[1])
        moved = np.zeros_like(factors)
        for value, laws in self._laws.items():
            chosen = self._values == value
            held = factors[chosen]
            # the same law between all places, as with most predicates: one product instead of k (k - 1)
            if self._k > 1 and all(
                np.allclose(laws[a, b], laws[0, 1]) for a in range(self._k) for b in range(self._k) if a != b
            ):
                moved[chosen] = (held.sum(1, keepdims=True) - held) @ laws[0, 1]
                continue
            part = np.zeros_like(held)
            for a in range(self._k):
                for b in range(self._k):
                    if a != b:
                        part[:, a] += held[:, b] @ laws[b, a]
            moved[chosen] = part
        return self._around(moved.reshape(change.shape))

    def project(self, change: Float[np.ndarray, "E m"]) -> Float[np.ndarray, "E m"]:
        """The change without its uniform mode."""
        return change - self._right * (self._left[:, 0] @ change)

    def _across(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """At each edge, the sum over the other places of its factor."""
        factors = change.reshape(-1, self._k, change.shape[1])
        return (factors.sum(1, keepdims=True) - factors).reshape(change.shape)

    def _around(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """At each edge, the sum over the other edges of its variable."""
        running = np.zeros((self.edges + 1, change.shape[1]))
        np.cumsum(change[self._order], axis=0, out=running[1:])
        sums = running[self._starts[1:]] - running[self._starts[:-1]]
        return sums[self._scopes] - change


@dataclass(frozen=True)
class MeasuredThreshold:
    """A threshold found on random graphs.

    Attributes:
        degree: D where the measured growth is 1, the mean over graphs.
        error: its standard error over the graphs; NaN for one graph.
        growths: (D, r) of every measurement.
    """

    degree: float
    error: float
    growths: tuple[tuple[float, float], ...]


def measured_stability(
    predicate: Predicate,
    variables: int,
    rng: np.random.Generator,
    *,
    observed: Observed = "satisfied",
    start: float = 4.0,
    graphs: int = 3,
    tolerance: float = 0.003,
) -> MeasuredThreshold:
    """D_KS without the formula: from D = ``start``, D <- D / r(D)^2 on fresh graphs until r is 1 within ``tolerance``.

    r^2 is in proportion to D, so that the steps go straight there; ``graphs`` further graphs at the place found give
    the mean and its error.

    Raises:
        UserError: the changes shrink at every degree that fits the graph (D above N), as with parity.
    """
    if not start > 0 or graphs < 1:
        raise UserError(f"need start > 0 and graphs >= 1, not {start} and {graphs}")
    degree, seen = start, []

    def measure(at: float) -> float:
        r = measured_growth(predicate, scatter(predicate, variables, at, rng, observed=observed), rng)
        seen.append((at, r))
        return r

    for _ in range(12):
        r = measure(degree)
        if abs(r - 1) <= tolerance:
            break
        degree = degree / max(r, 1e-6) ** 2
        if degree > variables:
            raise UserError(f"{predicate.name}: the uniform messages are stable at every degree up to {variables}")
    estimates = np.array([degree / measure(degree) ** 2 for _ in range(graphs)])
    error = float(estimates.std(ddof=1) / np.sqrt(graphs)) if graphs > 1 else float("nan")
    return MeasuredThreshold(float(estimates.mean()), error, tuple(seen))


# ---------------------------------------------------------------- condensation


def parting(degrees: Sequence[float], differences: Sequence[float], alive: Sequence[bool]) -> float | None:
    """The D at which the planted fixed point's free entropy comes to exceed the uniform one's.

    Args:
        degrees: D, rising.
        differences: planted less uniform free entropy per variable.
        alive: whether the planted start kept an overlap there; where it did not, both starts are one.

    Returns:
        Between the last D where the planted point is absent or lower and the first beyond which it always is higher:
        by interpolation of the difference where it exists at both, else their middle. None where no such pair is.
    """
    if not len(degrees) == len(differences) == len(alive) or list(degrees) != sorted(degrees):
        raise UserError("parting needs equally many degrees, rising, differences and flags")
    higher = [here and difference > 0 for here, difference in zip(alive, differences, strict=True)]
    below = [index for index, value in enumerate(higher) if not value]
    if not below or below[-1] + 1 >= len(degrees):
        return None
    low, high = below[-1], below[-1] + 1
    if not alive[low]:
        return (degrees[low] + degrees[high]) / 2
    share = -differences[low] / (differences[high] - differences[low])
    return degrees[low] + share * (degrees[high] - degrees[low])


# ---------------------------------------------------------------- masks


@dataclass(frozen=True)
class MaskInterval:
    """Probabilities of the mask, alpha, between which the latents are believed hard to predict though known.

    ``low`` is where belief propagation stops working (D_KS), ``high`` where the observations stop telling (D_cond);
    both cut to [0, 1]. ``observed`` says which observations are counted.
    """

    low: float
    high: float
    observed: Observed


def hard_masks(
    predicate: Predicate, variables: int, d_ks: float, d_cond: float, *, observed: Observed = "satisfied"
) -> MaskInterval:
    """Proposition 3.3: the hard probabilities of the mask for N latents.

    Args:
        predicate: g, observed at every ordered k-subset.
        variables: N.
        d_ks, d_cond: thresholds in D = kP/N of the ensemble named by ``observed``.
        observed: ``satisfied`` counts the revealed observations with g = 1 only, as the proposition does; ``all``
            counts the others as well.

    Raises:
        UserError: the thresholds are negative or in the wrong order.
    """
    check_observed(observed)
    if not 0 <= d_cond <= d_ks:
        raise UserError(f"need 0 <= D_cond <= D_KS, not {d_cond:g} and {d_ks:g}")
    share = predicate.share if observed == "satisfied" else 1.0
    most = share * predicate.k * float(variables) ** (predicate.k - 1)
    return MaskInterval(max(0.0, 1 - d_ks / most), max(0.0, 1 - d_cond / most), observed)
