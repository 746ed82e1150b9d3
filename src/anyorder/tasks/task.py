"""What every task gives: data as a pure function, and a verdict.

A task is a fixed-length sequence over a small vocabulary, of which a part is known. ``unknown`` marks the positions to
be filled; a model is trained and judged on those alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray
    from torch import Tensor


class Batch(NamedTuple):
    """Training sequences.

    tokens: (batch, length) int64, the full solution. unknown: (batch, length) bool, the positions to be filled.
    order: (batch, length) int64, the rank at which each unknown position is revealed, lowest first, where there is such
    an order. attention_mask: (batch, length) bool, false at padding, where there is some.
    """

    tokens: Tensor
    unknown: Tensor
    order: Tensor | None = None
    attention_mask: Tensor | None = None


@runtime_checkable
class TaskData(Protocol):
    """Training data without loader state: a batch depends on its arguments alone."""

    @property
    def fingerprint(self) -> str:
        """A hash of the content, recorded with every run."""
        ...

    def __len__(self) -> int: ...

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The ``size`` sequences of one step: equal arguments give equal batches, on any machine."""
        ...


@runtime_checkable
class Task(Protocol):
    """A vocabulary, a length, and a verdict on filled sequences."""

    @property
    def name(self) -> str: ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the mask included."""
        ...

    @property
    def mask_token_id(self) -> int: ...

    @property
    def length(self) -> int: ...

    def data(self, count: int, *, seed: int, workers: int = 1) -> TaskData:
        """Fresh training data: ``count`` base examples drawn from ``seed``."""
        ...

    def verify(self, given: ArrayLike, filled: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which filled sequences are complete, valid and agree with what was given."""
        ...
