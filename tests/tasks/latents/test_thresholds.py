"""Thresholds: known values by the formula, measured on graphs, condensation, units, masks."""

from __future__ import annotations

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.latents import (
    Predicate,
    colouring,
    exactly,
    growth,
    hard_masks,
    measured_stability,
    neighbours,
    not_all_equal,
    ordered,
    parity,
    parting,
    predicate_of,
    second_eigenvalue,
    stability_threshold,
)
from anyorder.tasks.latents.propagation import scatter
from anyorder.tasks.latents.thresholds import measured_growth


@pytest.mark.parametrize(
    ("predicate", "wanted"), [(not_all_equal(3, 3), 32.0), (colouring(5), 16.0), (colouring(3), 4.0)]
)
def test_the_formula(predicate: Predicate, wanted: float) -> None:
    assert stability_threshold(predicate) == pytest.approx(wanted)
    slope = (predicate.k - 1) * second_eigenvalue(predicate) ** 2
    assert growth(predicate, 7.0) == pytest.approx((7 * slope) ** 0.5)
    assert growth(predicate, wanted) == pytest.approx(1)


def test_all_observations_together() -> None:
    # NAE, k = m = 3: 2 (8/9 / 64 + 1/9) D = 1
    assert stability_threshold(not_all_equal(3, 3), observed="all") == pytest.approx(4)


def test_parity_is_never_found_from_nothing() -> None:
    assert stability_threshold(parity(3)) == float("inf")


def test_places_that_differ_need_the_general_formula() -> None:
    # g = 1 where x = y, whatever z is: pairs (x, y) carry lambda = 1, all others 0; each variable stands at each
    # place alike, so r^2 = D / 3 * 2
    lame = predicate_of("x = y", 3, 2, lambda x: x[:, 0] == x[:, 1])
    assert stability_threshold(lame) == pytest.approx(1.5)


def test_an_unbalanced_predicate_has_no_such_threshold() -> None:
    with pytest.raises(UserError, match="not balanced"):
        stability_threshold(exactly(1, 3))


@pytest.mark.parametrize(("predicate", "degree"), [(not_all_equal(3, 3), 20.0), (colouring(5), 9.0)])
def test_measured_growth_is_that_of_the_formula(predicate: Predicate, degree: float) -> None:
    """The uniform mode, (k - 1) D |lambda| = 5 and 2.25 here, would hide it; N = 3000 leaves 3 %, N = 10,000 0.3 %."""
    rng = np.random.default_rng(0)
    found = measured_growth(predicate, scatter(predicate, 3000, degree, rng), rng)
    assert found == pytest.approx(growth(predicate, degree), rel=0.03)


def test_measured_thresholds() -> None:
    for predicate, observed, wanted in (
        (colouring(3), "satisfied", 4.0),
        (colouring(5), "satisfied", 16.0),
        (not_all_equal(3, 3), "all", 4.0),
    ):
        found = measured_stability(predicate, 3000, np.random.default_rng(1), observed=observed, graphs=2)  # pyright: ignore
        assert found.degree == pytest.approx(wanted, rel=0.08)
        assert found.error < 0.1 * wanted
    with pytest.raises(UserError, match="stable at every degree"):
        measured_stability(parity(3), 200, np.random.default_rng(0))


@pytest.mark.slow
@pytest.mark.parametrize(("predicate", "wanted"), [(not_all_equal(3, 3), 32.0), (colouring(5), 16.0)])
def test_measured_thresholds_at_size(predicate: Predicate, wanted: float) -> None:
    found = measured_stability(predicate, 10_000, np.random.default_rng(0), graphs=2)
    assert found.degree == pytest.approx(wanted, rel=0.03)


def test_parting() -> None:
    degrees = [10.0, 12.0, 14.0, 16.0]
    # absent, lower, higher, higher: between 12 and 14, at the zero of the line through -1 and 3
    assert parting(degrees, [0.0, -1.0, 3.0, 5.0], [False, True, True, True]) == pytest.approx(12.5)
    # it appears higher at once: the middle of where it was absent and where it is there
    assert parting(degrees, [0.0, 0.0, 3.0, 5.0], [False, False, True, True]) == pytest.approx(13)
    assert parting(degrees, [1.0, 2.0, 3.0, 5.0], [True] * 4) is None
    assert parting(degrees, [0.0, 0.0, 0.0, -1.0], [False] * 4) is None
    with pytest.raises(UserError, match="rising"):
        parting([2.0, 1.0], [0.0, 1.0], [True, True])


def test_units() -> None:
    assert neighbours(32, 3) == 64
    assert ordered(16, 2) == 32


def test_hard_masks() -> None:
    predicate = not_all_equal(3, 3)
    found = hard_masks(predicate, 20, 32.0, 25.5)
    most = 8 / 9 * 3 * 400
    assert found.low == pytest.approx(1 - 32 / most)
    assert found.high == pytest.approx(1 - 25.5 / most)
    # the degree that is revealed at the low end is D_KS again
    assert (1 - found.low) * predicate.share * 20**3 * 3 / 20 == pytest.approx(32)
    every = hard_masks(predicate, 20, 4.0, 3.9, observed="all")
    assert every.low == pytest.approx(1 - 4 / 1200)
    assert hard_masks(predicate, 2, 32.0, 25.5).low == 0
    with pytest.raises(UserError, match="D_cond <= D_KS"):
        hard_masks(predicate, 20, 25.0, 32.0)
    with pytest.raises(UserError, match="observed"):
        hard_masks(predicate, 20, 32.0, 25.0, observed="none")  # pyright: ignore[reportArgumentType]
