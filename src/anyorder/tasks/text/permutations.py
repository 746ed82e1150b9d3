"""The fixed orders of pi-learners, from left-to-right to a uniformly random one.

``identity``; ``much-closer``, the identity after sqrt(L) random transpositions; ``closer``, after L / 10 of them;
``uniform``, a draw from Unif(S_L). A transposition exchanges two distinct positions, chosen uniformly. The draws are
those of the counter-based hash, so a permutation is a function of (order, length, draw) on every machine.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.2 and appendix C.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import torch

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, fold, uniform

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

PermutationName = Literal["identity", "much-closer", "closer", "uniform"]
PERMUTATIONS: tuple[str, ...] = get_args(PermutationName)
"""From the order of the text to one that has nothing of it."""


def transpositions(order: str, length: int) -> int:
    """How many random transpositions of the identity ``order`` takes: round(sqrt(L)), round(L / 10), or none."""
    return {"much-closer": round(math.sqrt(length)), "closer": round(length / 10)}.get(order, 0)


def make_permutation(order: str, length: int, draw: int = 0) -> Int64[Tensor, " length"]:
    """pi: place j of the permuted sequence holds the token of position ``pi[j]``.

    Args:
        order: one of `PERMUTATIONS`.
        length: L, at least 1.
        draw: which draw of the order (the identity has one only).

    Raises:
        UserError: an unknown order, or a length or draw out of range.
    """
    if order not in PERMUTATIONS:
        raise UserError(f"unknown order {order!r}; choose from {', '.join(PERMUTATIONS)}")
    if length < 1 or draw < 0:
        raise UserError(f"a permutation needs length >= 1 and draw >= 0, not {length} and {draw}")
    seed = fold(fold(PERMUTATIONS.index(order), length), draw)
    if order == "uniform":
        return uniform(seed, Purpose.ORDER, torch.arange(length), 0).argsort(stable=True)
    pi = torch.arange(length)
    count = transpositions(order, length) if length > 1 else 0
    draws = uniform(seed, Purpose.ORDER, torch.arange(2), torch.arange(count)[:, None])
    first = (draws[:, 0] * length).long().clamp(max=length - 1)
    second = (draws[:, 1] * (length - 1)).long().clamp(max=length - 2)
    second = second + (second >= first).long()
    for i, j in torch.stack((first, second), dim=1).tolist():
        pi[i], pi[j] = pi[j].clone(), pi[i].clone()
    return pi


def moved(pi: Int64[Tensor, " length"]) -> int:
    """How many positions a permutation moves."""
    return int((pi != torch.arange(len(pi), device=pi.device)).sum())
