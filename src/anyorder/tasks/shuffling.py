"""Shuffled epochs without memory or loader state: which rows of a set a training step takes.

The rows of all steps, laid end to end, run through the set epoch by epoch; within an epoch every row comes once, in an
order that is a keyed permutation of the indices, worked out element by element.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError

_ROUND_KEYS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's invertible mixer, element-wise."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def permuted(index: NDArray[np.int64], key: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """Where a keyed permutation of 0..count-1 sends each ``index``; one permutation per ``key``.

    A four-round Feistel network permutes the next power of four; an image outside 0..count-1 is sent on until it
    falls inside (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002).
    """
    half = np.uint64(max(1, (max(count - 1, 1).bit_length() + 1) // 2))
    low = np.uint64((1 << int(half)) - 1)
    value = index.astype(np.uint64)
    pending = np.ones(value.shape, bool)
    while pending.any():
        left, right = value[pending] >> half, value[pending] & low
        for round_key in _ROUND_KEYS:
            left, right = right, left ^ (_mix(right ^ _mix(key[pending] + round_key)) & low)
        value[pending] = left << half | right
        pending &= value >= np.uint64(count)
    return value.astype(np.int64)


def epoch_keys(seed: int, step: int, size: int, count: int) -> NDArray[np.uint64]:
    """(size,): a number for the epoch of each place of a step, random in seed and epoch. Errors as `rows_of_step`."""
    if seed < 0 or step < 0 or size < 1:
        raise UserError(f"a batch needs seed >= 0, step >= 0 and size >= 1, not {seed}, {step}, {size}")
    epoch = (_places(step, size) // count).astype(np.uint64)
    return _mix(epoch + _mix(np.full(size, seed, np.uint64) + _ROUND_KEYS[0]))


def rows_of_step(seed: int, step: int, size: int, count: int) -> NDArray[np.int64]:
    """(size,): the rows of a set of ``count`` that step ``step`` takes; each comes once an epoch.

    Raises:
        UserError: the seed or the step is negative, or the size is below 1.
    """
    return permuted(_places(step, size) % count, epoch_keys(seed, step, size, count), count)


def _places(step: int, size: int) -> NDArray[np.int64]:
    return np.arange(step * size, (step + 1) * size, dtype=np.int64)
