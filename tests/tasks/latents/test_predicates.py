"""Predicates: truth tables, shares, pairwise laws against brute force, eigenvalues known in closed form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.latents import (
    Predicate,
    colouring,
    exactly,
    not_all_equal,
    one_way,
    parity,
    predicate_of,
    second_eigenvalue,
)

ALL = [not_all_equal(3, 3), not_all_equal(4, 2), colouring(5), parity(3), exactly(1, 3), one_way(5)]


@pytest.mark.parametrize("predicate", ALL, ids=lambda p: p.name)
def test_pairwise_laws_are_those_of_a_satisfied_constraint(predicate: Predicate) -> None:
    settings = list(itertools.product(range(predicate.m), repeat=predicate.k))
    for value in (0, 1):
        kept = [s for s in settings if bool(predicate(np.array(s))) == bool(value)]
        assert len(kept) / len(settings) == pytest.approx(predicate.chance(value))
        laws = predicate.pairwise(value)
        for a, b in itertools.permutations(range(predicate.k), 2):
            for c in range(predicate.m):
                among = [s for s in kept if s[a] == c]
                for d in range(predicate.m):
                    wanted = sum(s[b] == d for s in among) / len(among) if among else 0.0
                    assert laws[a, b, c, d] == pytest.approx(wanted)


def test_known_values() -> None:
    assert second_eigenvalue(not_all_equal(3, 3)) == pytest.approx(-1 / 8)
    assert second_eigenvalue(not_all_equal(3, 3), value=0) == pytest.approx(1)
    assert second_eigenvalue(colouring(5)) == pytest.approx(-1 / 4)
    assert second_eigenvalue(parity(3)) == pytest.approx(0)
    assert not_all_equal(3, 3).share == pytest.approx(8 / 9)
    assert not_all_equal(3, 2).share == pytest.approx(3 / 4)
    assert exactly(1, 3).balanced() is False
    assert not_all_equal(4, 3).balanced()
    assert parity(4).balanced(0)


def test_one_way_is_the_xor_of_some_and_the_and_of_two() -> None:
    g = one_way(5)
    for x in itertools.product((0, 1), repeat=5):
        assert bool(g(np.array(x))) == bool((x[0] + x[1] + x[2] + x[3] * x[4]) % 2)


def test_values_are_looked_up_along_the_last_axis() -> None:
    values = np.array([[[0, 0, 0], [0, 1, 0]], [[1, 1, 1], [1, 1, 0]]])
    assert not_all_equal(3, 2)(values).tolist() == [[False, True], [False, True]]


def test_symmetries() -> None:
    assert len(colouring(4).symmetries) == 24
    assert exactly(1, 3).symmetries.tolist() == [[0, 1]]
    assert len(not_all_equal(2, 8).symmetries) == 1


def test_bad_predicates_are_refused() -> None:
    with pytest.raises(UserError, match="constant"):
        Predicate("none", np.zeros((2, 2)))
    with pytest.raises(UserError, match="one size"):
        Predicate("odd", np.eye(3)[:2])
    with pytest.raises(UserError, match="m >= 2"):
        predicate_of("big", 30, 3, lambda x: x[:, 0] > 0)
    with pytest.raises(UserError, match="truth values"):
        predicate_of("wrong", 2, 2, lambda x: x)
    with pytest.raises(UserError, match="takes 3 values"):
        not_all_equal(3, 2)(np.zeros((4, 2), int))
    with pytest.raises(UserError, match="k >= 3"):
        one_way(2)
    uneven = predicate_of("x and not y", 2, 2, lambda x: (x[:, 0] == 1) & (x[:, 1] == 0))
    with pytest.raises(UserError, match="no single lambda"):
        second_eigenvalue(predicate_of("uneven", 3, 2, lambda x: (x[:, 0] == x[:, 1]) & (x[:, 2] == 1)))
    with pytest.raises(UserError, match="one place"):
        second_eigenvalue(predicate_of("bit", 1, 2, lambda x: x[:, 0] == 1))
    assert not uneven.balanced()
