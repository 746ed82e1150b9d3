"""Predicates g: {0..m-1}^k -> {0, 1}, and what their laws say of a planted constraint problem.

Draw x uniformly. gamma = P(g = 1). Given the value v of g, the pairwise law between the places a and b is the matrix

    T_ab[c, d] = P(x_b = d | x_a = c, g = v),

which belief propagation applies to a small change of a message. Where P(x_a = c | g = v) = 1/m for every a and c (the
predicate is *balanced* at v) the uniform messages are a fixed point, and the change of a uniform one is carried from
place a to place b by T_ab on the vectors that sum to 0. For predicates that look alike at every pair of places, with a
symmetric T, the only number that matters is its second eigenvalue lambda, the largest in absolute value after the 1 of
the uniform vector: -1/8 for not-all-equal with k = m = 3, -1/(m - 1) for the colouring of graphs.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.2 and appendix B.10.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Bool, Float, Int
    from numpy.typing import NDArray

    Table = NDArray[np.bool_]

MOST_TABLE = 1 << 20  # entries of a truth table


@dataclass(frozen=True, eq=False)
class Predicate:
    """A function of k values out of m, as its truth table.

    Attributes:
        name: how it is called in records.
        table: bool, k axes of size m each; ``table[x_1, ..., x_k]`` is g(x_1, ..., x_k).

    Raises:
        UserError: the axes differ in size, there is none, m is below 2, or g is constant.
    """

    name: str
    table: Table

    def __post_init__(self) -> None:
        table = np.ascontiguousarray(self.table, dtype=bool)
        if table.ndim < 1 or len(set(table.shape)) != 1 or table.shape[0] < 2:
            raise UserError(f"a predicate needs k axes of one size m >= 2, not a table of shape {table.shape}")
        if table.all() or not table.any():
            raise UserError(f"the predicate {self.name} is constant, so observing it says nothing")
        table.setflags(write=False)
        object.__setattr__(self, "table", table)

    @property
    def k(self) -> int:
        """Number of places."""
        return self.table.ndim

    @property
    def m(self) -> int:
        """Number of values."""
        return self.table.shape[0]

    @property
    def share(self) -> float:
        """gamma = P(g = 1) for uniform values."""
        return float(self.table.mean())

    def __call__(self, values: Int[np.ndarray, "... k"]) -> Bool[np.ndarray, "..."]:
        """g of the last axis."""
        values = np.asarray(values)
        if values.shape[-1:] != (self.k,):
            raise UserError(f"{self.name} takes {self.k} values, not an array of shape {values.shape}")
        return self.table[tuple(np.moveaxis(values, -1, 0))]

    def chance(self, value: int) -> float:
        """P(g = value)."""
        return self.share if value else 1 - self.share

    def pairwise(self, value: int = 1) -> Float[np.ndarray, "k k m m"]:
        """T_ab[c, d] = P(x_b = d | x_a = c, g = value); 0 where c is impossible, the identity where a = b."""
        weight = (self.table == bool(value)).astype(np.float64)
        laws = np.zeros((self.k, self.k, self.m, self.m))
        for a, b in itertools.product(range(self.k), repeat=2):
            if a == b:
                laws[a, a] = np.eye(self.m)
                continue
            joint = weight.sum(tuple(axis for axis in range(self.k) if axis not in (a, b)))
            joint = joint if a < b else joint.T
            total = joint.sum(1, keepdims=True)
            laws[a, b] = np.divide(joint, total, out=np.zeros_like(joint), where=total > 0)
        return laws

    def balanced(self, value: int = 1) -> bool:
        """Whether every place is uniform given g = value, so that uniform messages are a fixed point."""
        weight = (self.table == bool(value)).astype(np.float64)
        for place in range(self.k):
            law = weight.sum(tuple(axis for axis in range(self.k) if axis != place))
            if not np.allclose(law, law.mean(), rtol=1e-12):
                return False
        return True

    @cached_property
    def symmetries(self) -> Int[np.ndarray, "n m"]:
        """The renamings of the m values that leave g as it is; the truth can be found only up to these.

        All m! are tried up to m = 7; beyond that only the identity is returned.
        """
        if self.m > 7:
            return np.arange(self.m)[None]
        kept = [
            p
            for p in itertools.permutations(range(self.m))
            if np.array_equal(self.table[np.ix_(*[p] * self.k)], self.table)
        ]
        return np.array(kept)


def second_eigenvalue(predicate: Predicate, value: int = 1) -> float:
    """lambda: the eigenvalue of the pairwise law, given g = value, that is largest in absolute value after the 1.

    Raises:
        UserError: the pairwise laws of the places differ, or are not symmetric, so that no single number says it all;
            `thresholds.growth` takes such predicates.
    """
    laws = predicate.pairwise(value)
    if predicate.k < 2:
        raise UserError(f"{predicate.name} has one place, so it has no pairwise law")
    pairs = [laws[a, b] for a, b in itertools.permutations(range(predicate.k), 2)]
    if not all(np.allclose(law, pairs[0]) and np.allclose(law, law.T) for law in pairs):
        raise UserError(f"the pairwise laws of {predicate.name} differ from place to place: no single lambda exists")
    # the uniform vector has eigenvalue 1 (or, where it is impossible for some value, what is left of it)
    values = np.linalg.eigvalsh(pairs[0] - np.full((predicate.m, predicate.m), pairs[0].sum() / predicate.m**2))
    return float(values[np.argmax(np.abs(values))])


def predicate_of(name: str, k: int, m: int, function: Callable[[NDArray[np.int64]], NDArray]) -> Predicate:
    """A predicate from a vectorised function of values (n, k), which returns (n,) truth values.

    Raises:
        UserError: k or m is out of range, the table would be too large, or the function returns another shape.
    """
    if k < 1 or m < 2 or m**k > MOST_TABLE:
        raise UserError(f"a predicate needs k >= 1, m >= 2 and m^k <= {MOST_TABLE:,}, not k = {k}, m = {m}")
    values = np.stack(np.unravel_index(np.arange(m**k), (m,) * k), axis=1)
    truth = np.asarray(function(values))
    if truth.shape != (len(values),):
        raise UserError(f"the function of {name} must return ({len(values)},) truth values, not {truth.shape}")
    return Predicate(name, truth.astype(bool).reshape((m,) * k))


def not_all_equal(k: int = 3, m: int = 2) -> Predicate:
    """1 unless all k values are equal."""
    return predicate_of(f"NAE k={k} m={m}", k, m, lambda x: (x != x[:, :1]).any(1))


def colouring(m: int) -> Predicate:
    """1 where two neighbours have different colours, out of m."""
    return predicate_of(f"{m}-colouring", 2, m, lambda x: x[:, 0] != x[:, 1])


def parity(k: int) -> Predicate:
    """The sum of k bits modulo 2."""
    return predicate_of(f"parity k={k}", k, 2, lambda x: x.sum(1) % 2 == 1)


def exactly(count: int, k: int) -> Predicate:
    """1 where ``count`` of k bits are 1: 1-in-k satisfiability for ``count`` 1."""
    return predicate_of(f"{count}-in-{k}", k, 2, lambda x: x.sum(1) == count)


def one_way(k: int = 5) -> Predicate:
    """The bit of Goldreich's one-way function: x_1 + x_2 + ... + x_{k-2} + x_{k-1} x_k modulo 2.

    Cheap to compute and, on random places, believed hard to invert (Goldreich 2000, "Candidate one-way functions based
    on expander graphs"; the XOR-AND predicate of Mossel, Shpilka and Trevisan 2003).
    """
    if k < 3:
        raise UserError(f"the one-way predicate needs k >= 3, not {k}")
    return predicate_of(f"one-way k={k}", k, 2, lambda x: (x[:, : k - 2].sum(1) + x[:, k - 2] * x[:, k - 1]) % 2 == 1)
