"""Counter-based randomness: a uniform is a hash of (row seed, purpose, visit, position), and of nothing else.

There is no generator state. What a row draws does not depend on its batch, on the padding, on the device or on how
many draws came before, and two strategies decoded from one seed draw the same numbers at the same positions.

The hash is a chain of splitmix64 finalisers (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014, with Stafford's constants "Mix13"): each argument is added to the running key as a multiple of an odd
constant and the sum is mixed. Integer arithmetic modulo 2^64, so every device gives the same bits.

A uniform is (k + 1/2) 2^-52 with k the top 52 bits: a multiple of 2^-53 that is never 0 and never 1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

import torch

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from torch import Tensor


class Purpose(IntEnum):
    """What a random number is for; numbers for different purposes are independent."""

    ORDER = 0
    NOISE = 1
    COUNT = 2
    TOKEN = 3
    REMASK = 4


def _signed(value: int) -> int:
    """The integer modulo 2^64, as a signed 64-bit number."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


_GOLDEN = _signed(0x9E37_79B9_7F4A_7C15)
_MIX_1 = _signed(0xBF58_476D_1CE4_E5B9)
_MIX_2 = _signed(0x94D0_49BB_1331_11EB)
_VISIT = _signed(0xD6E8_FEB8_6659_FD93)
_POSITION = _signed(0xA076_1D64_78BD_642F)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift of an int64 tensor."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _multiple(counter: int | Tensor, constant: int) -> int | Tensor:
    """(counter + 1) times a constant, modulo 2^64."""
    return (counter + 1) * constant if isinstance(counter, torch.Tensor) else _signed((counter + 1) * constant)


def _mix(x: Tensor) -> Tensor:
    """The splitmix64 finaliser: a bijection of 64-bit numbers that spreads every bit."""
    x = (x ^ _shift(x, 30)) * _MIX_1
    x = (x ^ _shift(x, 27)) * _MIX_2
    return x ^ _shift(x, 31)


def fold(seed: int | Tensor, index: int | Tensor) -> Int64[Tensor, "..."]:
    """A new seed from a seed and an index.

    Args:
        seed: an int (taken modulo 2^64) or an int64 tensor.
        index: an int or an int64 tensor, broadcast against the seed.

    Returns:
        int64 of the broadcast shape.
    """
    key = seed if isinstance(seed, torch.Tensor) else torch.tensor(_signed(seed))
    counter = index if isinstance(index, torch.Tensor) else torch.tensor(_signed(index), device=key.device)
    if key.dim() == 0:
        key = key.to(counter.device)
    return _mix(_mix(key + _GOLDEN) + (counter + 1) * _POSITION)


def row_seeds(seed: int | Tensor, batch: int, device: torch.device | str = "cpu") -> Int64[Tensor, " batch"]:
    """One seed for each row: row i gets ``fold(seed, i)`` of an int, or its own entry of a tensor.

    Args:
        seed: an int, or an int64 tensor of shape (batch,).
        batch: number of rows.
        device: where the seeds are wanted.

    Raises:
        UserError: where the seed is neither.
    """
    if isinstance(seed, torch.Tensor):
        if seed.dtype != torch.int64 or seed.shape != (batch,):
            raise UserError(
                f"seed: a tensor of seeds must be int64 of shape ({batch},), not {seed.dtype} of {tuple(seed.shape)}"
            )
        return seed.to(device)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError(f"seed: must be an int or an int64 tensor of shape (batch,), not {seed!r}")
    return fold(seed, torch.arange(batch, device=device))


def uniform(
    seeds: Int64[Tensor, "..."], purpose: Purpose, positions: int | Tensor, visits: int | Tensor
) -> Float64[Tensor, "..."]:
    """Uniform numbers strictly between 0 and 1.

    Args:
        seeds: int64, row seeds.
        purpose: what the numbers are for.
        positions: int or int64 tensor, index of the position in its row.
        visits: int or int64 tensor, how many numbers were drawn there for this purpose before.

    Returns:
        float64 of the shape to which the arguments broadcast.
    """
    # The visit goes in before the position: a visit per row is then mixed at the row's shape, not at the canvas's.
    key = _mix(seeds + _signed(_GOLDEN * (int(purpose) + 1)))
    key = _mix(key + _multiple(visits, _VISIT))
    key = _mix(key + _multiple(positions, _POSITION))
    return (_shift(key, 12).to(torch.float64) + 0.5) * 2.0**-52


def gumbel(
    seeds: Int64[Tensor, "..."], purpose: Purpose, positions: int | Tensor, visits: int | Tensor
) -> Float64[Tensor, "..."]:
    """Standard Gumbel numbers, -log(-log u); arguments as for `uniform`."""
    return -torch.log(-torch.log(uniform(seeds, purpose, positions, visits)))


def normal(
    seeds: Int64[Tensor, "..."], purpose: Purpose, positions: int | Tensor, visits: int | Tensor
) -> Float64[Tensor, "..."]:
    """Standard normal numbers by the inverse distribution function; arguments as for `uniform`."""
    return torch.special.ndtri(uniform(seeds, purpose, positions, visits))
