"""Observation functions O_j: what each observation token tells of the latents.

An observation is drawn from its law given the latents, independently of the others:

    law(z)[j, v] = P(o_j = v | z),  j = 1..P, v = 0..q-1,

one-hot where the observation is a function of the latents. `LocalObservations` look at k latents each and are given by
tables, which is what belief propagation needs. `FunctionObservations` take any vectorised function of all the latents,
with or without noise; posteriors under them are enumerated.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int
    from numpy.typing import NDArray

    from anyorder.tasks.latents.predicates import Predicate

    Scopes = NDArray[np.int64]
    Tables = NDArray[np.float64]


@runtime_checkable
class Observations(Protocol):
    """P observations of N latents."""

    @property
    def count(self) -> int:
        """P."""
        ...

    @property
    def symbols(self) -> int:
        """q, the number of values that an observation may take."""
        ...

    def law(self, latents: Int[np.ndarray, "s N"]) -> Float[np.ndarray, "s P q"]:
        """P(o_j = v | z) in float64 for each of s settings of the latents, values 0..m-1."""
        ...


@dataclass(frozen=True, eq=False)
class LocalObservations:
    """Observations of k latents each.

    Attributes:
        scopes: int64 (P, k), the distinct latents of each observation, in the order of its arguments.
        tables: float64 (T, q, m, ..., m), k axes of m: the probability of each value given the arguments.
        which: int64 (P,), the table of each observation.

    Raises:
        UserError: shapes disagree, a scope names a latent twice or a negative one, or a table is no law.
    """

    scopes: Scopes
    tables: Tables
    which: NDArray[np.int64]
    flat: Tables = field(init=False, repr=False)  # (T, q, m^k)

    def __post_init__(self) -> None:
        scopes = np.ascontiguousarray(self.scopes, dtype=np.int64)
        tables = np.ascontiguousarray(self.tables, dtype=np.float64)
        which = np.ascontiguousarray(self.which, dtype=np.int64)
        if scopes.ndim != 2 or scopes.shape[1] < 1 or len(scopes) < 1:
            raise UserError(f"scopes must have shape (P, k) with P, k >= 1, not {scopes.shape}")
        k = scopes.shape[1]
        if tables.ndim != k + 2 or len(set(tables.shape[2:])) != 1 or tables.shape[1] < 2:
            raise UserError(f"tables of {k} arguments must have shape (T, q, m, ..., m), not {tables.shape}")
        ordered = np.sort(scopes, axis=1)
        if (scopes < 0).any() or (ordered[:, 1:] == ordered[:, :-1]).any():
            raise UserError("every scope must name distinct latents, counted from 0")
        if which.shape != scopes.shape[:1] or (which < 0).any() or (which >= len(tables)).any():
            raise UserError(f"which must name one of {len(tables)} tables for each of {len(scopes)} observations")
        if not np.isfinite(tables).all() or (tables < 0).any() or not np.allclose(tables.sum(1), 1, atol=1e-9):
            raise UserError("the tables of observations must hold probabilities that sum to 1 over the values")
        for name, value in {"scopes": scopes, "tables": tables, "which": which}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "flat", tables.reshape(*tables.shape[:2], -1))

    @classmethod
    def of(cls, predicate: Predicate, scopes: Int[np.ndarray, "P k"], *, noise: float = 0.0) -> LocalObservations:
        """One predicate at every scope, its value flipped with probability ``noise``."""
        check_noise(noise)
        truth = np.stack((~predicate.table, predicate.table)).astype(np.float64)
        tables = (1 - noise) * truth + noise * truth[::-1]
        return cls(np.asarray(scopes), tables[None], np.zeros(len(scopes), dtype=np.int64))

    @property
    def count(self) -> int:
        return len(self.scopes)

    @property
    def symbols(self) -> int:
        return self.tables.shape[1]

    @property
    def values(self) -> int:
        """m, the number of values of a latent."""
        return self.tables.shape[2]

    @property
    def k(self) -> int:
        """Latents that an observation looks at."""
        return self.scopes.shape[1]

    def law(self, latents: Int[np.ndarray, "s N"]) -> Float[np.ndarray, "s P q"]:
        arguments = np.zeros((len(latents), self.count), dtype=np.int64)
        for place in range(self.k):
            arguments *= self.values
            arguments += latents[:, self.scopes[:, place]]
        return np.moveaxis(self.flat, 1, 2)[self.which, arguments]


@dataclass(frozen=True, eq=False)
class FunctionObservations:
    """Any functions of the latents, computed together.

    Attributes:
        function: takes int64 (s, N) values 0..m-1 and returns integers (s, P) in 0..q-1. Row by row: it must not mix
            rows, as it is called on any number of them.
        count: P.
        symbols: q.
        noise: with this probability an observation is replaced by one of the other q - 1 values, uniformly.
    """

    function: Callable[[NDArray[np.int64]], NDArray]
    count: int
    symbols: int = 2
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.symbols < 2:
            raise UserError(f"observations need count >= 1 and symbols >= 2, not {self.count} and {self.symbols}")
        check_noise(self.noise)

    def law(self, latents: Int[np.ndarray, "s N"]) -> Float[np.ndarray, "s P q"]:
        values = np.asarray(self.function(latents))
        if values.shape != (len(latents), self.count):
            raise UserError(
                f"the observation function must return shape ({len(latents)}, {self.count}), not {values.shape}"
            )
        if values.dtype != bool and not np.issubdtype(values.dtype, np.integer):
            raise UserError(f"the observation function must return integers or booleans, not {values.dtype}")
        if values.size and not (values.min() >= 0 and values.max() < self.symbols):
            raise UserError(f"the observation function returned a value outside 0..{self.symbols - 1}")
        law = np.full((*values.shape, self.symbols), self.noise / (self.symbols - 1))
        np.put_along_axis(law, values.astype(np.int64)[..., None], 1 - self.noise, axis=-1)
        return law


def check_noise(noise: float) -> None:
    """Refuse a share of flipped observations outside [0, 1)."""
    if not 0 <= noise < 1:
        raise UserError(f"noise must lie in [0, 1), not {noise}")
