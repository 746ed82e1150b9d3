"""Seeds of a training run: every draw is a function of (run seed, purpose, step), and never of what ran before."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*keys: int | str) -> int:
    """A number in [0, 2^63) from the keys, well mixed and the same on every machine."""
    text = "/".join(str(key) for key in keys)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def derived_generator(*keys: int | str) -> torch.Generator:
    """A CPU generator seeded by the keys."""
    return torch.Generator().manual_seed(derived_seed(*keys))
