"""Bit tricks, borrowed arrays and a seeded random stream for the compiled code.

The stream is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): a 64-bit counter with an odd step, passed through an
invertible mixer. It passes BigCrush, has period 2^64, and any 64-bit value is a good seed, so puzzle ``i`` of seed
``s`` simply starts at ``mix(s, i)``: what it draws depends on nothing else, whichever worker makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import inner

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(32)


def _popcount(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


def _lowest(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, False))

    return types.int64(types.int64), generate


def _highest(typing_context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], context.get_constant(types.boolean, False))
        return builder.sub(context.get_constant(types.int64, 63), zeros)

    return types.int64(types.int64), generate


def _borrow(typing_context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, value=arguments[0])
        view.meminfo = cgutils.get_null_value(view.meminfo.type)
        view.parent = cgutils.get_null_value(view.parent.type)
        return view._getvalue()

    return array(array), generate


popcount = cast(Callable[[Any], int], intrinsic(_popcount))
"""Number of set bits of an int64."""

lowest = cast(Callable[[Any], int], intrinsic(_lowest))
"""Index of the lowest set bit of a non-zero int64."""

highest = cast(Callable[[Any], int], intrinsic(_highest))
"""Index of the highest set bit of a non-zero int64."""

borrow = cast(Callable[[Any], Any], intrinsic(_borrow))
"""The same array without its owner, so that passing it on costs no atomic reference count.

Compiled functions count the references of every array at every call, which would take a quarter of the solver's time.
The memory must be held elsewhere: only arrays that Python passed in may be borrowed.
"""


@njit(inline="always")
def mixed(z):
    """SplitMix64's invertible mixer of a uint64."""
    z = (z ^ (z >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    return z ^ (z >> _S31)


@njit(inline="always")
def next_word(stream):
    """The next 64 random bits; ``stream`` (1,) uint64 is advanced."""
    stream[0] += _STEP
    return mixed(stream[0])


@inner
def start(stream, seed, index):
    """Set ``stream`` to the beginning of the stream named by (seed, index), both uint64."""
    stream[0] = seed
    key = next_word(stream)
    stream[0] = key ^ (index * _STEP)
    stream[0] = next_word(stream)


@inner
def below(stream, bound):
    """A whole number uniform on 0..bound-1, bound at most 2^31, without bias.

    Multiplies 32 random bits by the bound and keeps the high half; the few low halves that would favour some values
    are drawn again (Lemire, ACM TOMACS 2019).
    """
    limit = np.uint64(bound)
    product = (next_word(stream) >> _S32) * limit
    low = np.int64(product & np.uint64(0xFFFFFFFF))
    if low < bound:
        floor = (np.int64(4294967296) - bound) % bound
        while low < floor:
            product = (next_word(stream) >> _S32) * limit
            low = np.int64(product & np.uint64(0xFFFFFFFF))
    return np.int64(product >> _S32)


@inner
def shuffle(stream, items):
    """Put the 1-d array ``items`` into uniformly random order, in place (Fisher-Yates)."""
    for last in range(items.shape[0] - 1, 0, -1):
        other = below(stream, last + 1)
        held = items[last]
        items[last] = items[other]
        items[other] = held
