"""The fixed orders: permutations, at the stated distance from the identity, uniform where they say so."""

from __future__ import annotations

import math

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.text import PERMUTATIONS, make_permutation
from anyorder.tasks.text.permutations import moved, transpositions


def cycles(pi: torch.Tensor) -> int:
    """The fewest transpositions that make pi: its length less its number of cycles."""
    left, count = set(range(len(pi))), 0
    while left:
        count += 1
        place = next(iter(left))
        while place in left:
            left.remove(place)
            place = int(pi[place])
    return len(pi) - count


@pytest.mark.parametrize("order", PERMUTATIONS)
@pytest.mark.parametrize("length", [1, 2, 3, 10, 257])
def test_every_order_is_a_permutation_and_a_function_of_its_draw(order: str, length: int) -> None:
    pi = make_permutation(order, length, 3)
    assert pi.sort().values.tolist() == list(range(length))
    assert torch.equal(pi, make_permutation(order, length, 3))


def test_distances_from_the_identity() -> None:
    length = 1024
    assert moved(make_permutation("identity", length)) == 0
    assert (transpositions("much-closer", length), transpositions("closer", length)) == (32, 102)
    for order, count in {"much-closer": 32, "closer": 102}.items():
        for draw in range(3):
            # transpositions that meet in a cycle of length c move c positions and count c - 1; parity never changes
            needed = cycles(make_permutation(order, length, draw))
            assert needed <= count
            assert needed % 2 == count % 2
            assert needed > 0.7 * count
    assert moved(make_permutation("uniform", length)) > 1000


def test_draws_and_lengths_are_different_orders() -> None:
    for order in PERMUTATIONS[1:]:
        draws = {tuple(make_permutation(order, 100, draw).tolist()) for draw in range(3)}
        assert len(draws) == 3


def test_uniform_orders_are_uniform() -> None:
    # 24 permutations of 4 places in 2,400 draws; the chi-square of 23 degrees stays below its 1 - 1e-5 quantile
    counts: dict[tuple[int, ...], int] = {}
    for draw in range(2400):
        pi = tuple(make_permutation("uniform", 4, draw).tolist())
        counts[pi] = counts.get(pi, 0) + 1
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 61


def test_a_place_is_moved_as_often_as_random_transpositions_move_it() -> None:
    # L = 9, three transpositions: a place keeps its token with 1 - 2/L, gets it back with 1 / (number of pairs)
    kept = 1.0
    for _ in range(3):
        kept = kept * (1 - 2 / 9) + (1 - kept) / 36
    draws = 1000
    found = sum(int(make_permutation("much-closer", 9, draw)[4] == 4) for draw in range(draws)) / draws
    assert abs(found - kept) < 4.4 * math.sqrt(kept * (1 - kept) / draws)  # fails once in 100,000 seeds


@pytest.mark.parametrize("arguments", [("reversed", 4, 0), ("uniform", 0, 0), ("uniform", 4, -1)])
def test_what_is_no_order_is_refused(arguments: tuple[str, int, int]) -> None:
    with pytest.raises(UserError, match=r"unknown order|needs length"):
        make_permutation(*arguments)
