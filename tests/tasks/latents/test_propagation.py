"""Belief propagation: exact on trees, close to enumeration on small loopy graphs, and its planted ensembles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.latents import (
    FactorGraph,
    LocalObservations,
    Predicate,
    colouring,
    exactly,
    not_all_equal,
    overlap,
    plant,
    propagate,
    solve_planted,
)
from anyorder.tasks.latents.propagation import certainty, null_free_entropy, starting_messages


def enumerated(graph: FactorGraph) -> tuple[np.ndarray, float]:
    """Exact marginals and log of the sum over all values."""
    seen, (variables, m) = graph.observations, graph.prior.shape
    values = np.array(list(itertools.product(range(m), repeat=variables)))
    weight = graph.prior[np.arange(variables), values].prod(1)
    for scope, which, value in zip(seen.scopes, seen.which, graph.values, strict=True):
        if value >= 0:
            weight *= seen.tables[(which, value, *values[:, scope].T)]
    marginals = np.stack([(weight[:, None] * (values == value)).sum(0) for value in range(m)], axis=1)
    return marginals / weight.sum(), float(np.log(weight.sum()))


def random_tables(rng: np.random.Generator, count: int, q: int, m: int, k: int) -> np.ndarray:
    tables = rng.exponential(size=(count, q, *[m] * k))
    tables[rng.random(tables.shape) < 0.2] = 0  # hard constraints among them
    tables[:, 0] += 1e-3
    return tables / tables.sum(1, keepdims=True)


def random_tree(k: int, factors: int, rng: np.random.Generator) -> np.ndarray:
    """Scopes of a factor graph without loops: every new factor shares one variable with what is there."""
    scopes, size = [], 1
    for _ in range(factors):
        scope = [int(rng.integers(size)), *range(size, size + k - 1)]
        scopes.append(rng.permutation(scope))
        size += k - 1
    return np.array(scopes)


@pytest.mark.parametrize(("k", "m", "factors"), [(2, 2, 8), (2, 5, 4), (3, 3, 3), (4, 2, 3), (1, 3, 2)])
@pytest.mark.parametrize("seed", range(3))
def test_trees_are_exact(k: int, m: int, factors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scopes = random_tree(k, factors, rng)
    variables = max(int(scopes.max()) + 1, 2)
    seen = LocalObservations(scopes, random_tables(rng, 3, 2, m, k), rng.integers(0, 3, factors))
    values = rng.integers(0, 2, factors)
    values[0] = 0
    values[-1] = -1 if factors > 2 else values[-1]
    graph = FactorGraph(seen, values, rng.exponential(size=(variables, m)))
    wanted, log_total = enumerated(graph)
    for damping in (0.0, 0.4):
        found = propagate(graph, damping=damping, tolerance=1e-13, most=500)
        assert found.converged
        assert found.contradictions == 0
        assert np.abs(found.beliefs - wanted).max() < 1e-8
        assert found.free_entropy == pytest.approx(log_total, abs=1e-8)


def test_small_loopy_graphs_are_close_to_enumeration() -> None:
    """NAE with k = m = 3, soft by 30 % noise, 9 variables, D = 3: mean error below 0.01, largest below 0.05."""
    errors = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        planted = plant(not_all_equal(3, 3), 9, 3.0, rng, observed="all")
        soft = LocalObservations.of(planted.predicate, planted.graph.observations.scopes, noise=0.3)
        graph = FactorGraph(soft, planted.graph.values, rng.exponential(size=(9, 3)))
        wanted, _ = enumerated(graph)
        found = propagate(graph, damping=0.2, tolerance=1e-10)
        assert found.converged
        errors.append(np.abs(found.beliefs - wanted))
    assert np.mean(errors) < 0.01
    assert np.max(errors) < 0.05


def test_an_empty_graph_gives_the_prior() -> None:
    seen = LocalObservations.of(colouring(3), np.array([[0, 1]]))
    prior = np.array([[1.0, 2, 1], [1, 1, 0], [3, 1, 1]])
    found = propagate(FactorGraph(seen, np.array([-1]), prior))
    assert found.converged
    assert np.allclose(found.beliefs, prior / prior.sum(1, keepdims=True))
    assert found.free_entropy == pytest.approx(0)


def test_contradictions_are_counted_and_passed_over() -> None:
    seen = LocalObservations.of(colouring(2), np.array([[0, 1], [0, 1]]))
    found = propagate(FactorGraph(seen, np.array([0, 1]), np.array([[1.0, 0], [0.5, 0.5]])))
    assert found.contradictions > 0
    assert np.isfinite(found.beliefs).all()
    assert np.allclose(found.beliefs.sum(1), 1)


@pytest.mark.parametrize("observed", ["satisfied", "all"])
def test_planted_problems(observed: str) -> None:
    predicate = not_all_equal(3, 3)
    planted = plant(predicate, 900, 12.0, np.random.default_rng(0), observed=observed)  # pyright: ignore
    assert planted.graph.degree == pytest.approx(12)
    scopes = planted.graph.observations.scopes
    truth = predicate(planted.truth[scopes])
    assert np.array_equal(truth, planted.graph.values == 1)
    assert truth.mean() == pytest.approx(1.0 if observed == "satisfied" else predicate.share, abs=0.02)
    degrees = np.bincount(scopes.ravel(), minlength=900)
    assert degrees.var() == pytest.approx(12, rel=0.25)  # Poisson


@pytest.mark.parametrize(("predicate", "degree"), [(not_all_equal(3, 3), 20.0), (colouring(5), 11.0)])
def test_below_condensation_every_start_forgets(predicate: Predicate, degree: float) -> None:
    """The uniform mode would blow up here (D (k - 1) |lambda| is 5 and 2.75); the field of the ensemble holds it."""
    planted = plant(predicate, 2000, degree, np.random.default_rng(1))
    for start in ("planted", "random"):
        found = solve_planted(planted, start, np.random.default_rng(2), most=300)
        assert found.converged
        assert overlap(planted, found.beliefs) < 0.1
        assert certainty(found.beliefs) < 1e-3
        assert found.free_entropy / 2000 == pytest.approx(null_free_entropy(planted), abs=1e-4)


@pytest.mark.parametrize(("predicate", "degree"), [(not_all_equal(3, 3), 42.0), (colouring(5), 22.0)])
def test_beyond_stability_every_start_finds_the_planted_values(predicate: Predicate, degree: float) -> None:
    planted = plant(predicate, 1500, degree, np.random.default_rng(1))
    found = [solve_planted(planted, start, np.random.default_rng(2), most=300) for start in ("planted", "random")]
    overlaps = [overlap(planted, one.beliefs) for one in found]
    assert min(overlaps) > 0.8
    assert overlaps[0] == pytest.approx(overlaps[1], abs=0.02)
    # on the Nishimori line beliefs are as sure as they are right
    assert certainty(found[0].beliefs) == pytest.approx(overlaps[0], abs=0.1)
    assert found[0].free_entropy / 1500 > null_free_entropy(planted)


def test_overlap() -> None:
    planted = plant(colouring(4), 400, 3.0, np.random.default_rng(0))
    right = np.eye(4)[planted.truth]
    assert overlap(planted, right) == pytest.approx(1)
    assert overlap(planted, right[:, [2, 0, 3, 1]]) == pytest.approx(1)  # colours have no names
    assert overlap(planted, np.full((400, 4), 0.25)) == pytest.approx(0, abs=1e-12)
    fixed = plant(exactly(1, 3), 300, 3.0, np.random.default_rng(0))
    assert overlap(fixed, np.eye(2)[1 - fixed.truth]) < -0.9  # here they have
    assert certainty(right) == pytest.approx(1)
    assert certainty(np.full((5, 4), 0.25)) == pytest.approx(0)


def test_starting_messages() -> None:
    planted = plant(colouring(3), 50, 4.0, np.random.default_rng(0))
    drawn = starting_messages(planted, "random", np.random.default_rng(1))
    assert np.allclose(drawn.sum(1), 1)
    assert np.allclose(starting_messages(planted, "uniform"), 1 / 3)
    known = starting_messages(planted, "planted").argmax(1)
    assert np.array_equal(known, planted.truth[planted.graph.observations.scopes.ravel()])
    with pytest.raises(UserError, match="random"):
        starting_messages(planted, "random")


def test_bad_problems_are_refused() -> None:
    seen = LocalObservations.of(colouring(3), np.array([[0, 1]]))
    with pytest.raises(UserError, match="a value in"):
        FactorGraph(seen, np.array([2]), np.ones((2, 3)))
    with pytest.raises(UserError, match="prior"):
        FactorGraph(seen, np.array([1]), np.ones((2, 2)))
    with pytest.raises(UserError, match="names variable 1"):
        FactorGraph(seen, np.array([1]), np.ones((1, 3)))
    graph = FactorGraph(seen, np.array([1]), np.ones((2, 3)))
    with pytest.raises(UserError, match="damping"):
        propagate(graph, damping=1.0)
    with pytest.raises(UserError, match="laws of shape"):
        propagate(graph, messages=np.ones((2, 3)))
    two = FactorGraph(LocalObservations.of(colouring(3), np.array([[0, 1], [0, 1]])), np.array([0, 1]), np.ones((2, 3)))
    with pytest.raises(UserError, match="one kind"):
        propagate(two, conserve=True)
    with pytest.raises(UserError, match="no constraint"):
        plant(colouring(3), 1, 2.0, np.random.default_rng(0))
    with pytest.raises(UserError, match="observed"):
        plant(colouring(3), 9, 2.0, np.random.default_rng(0), observed="some")  # pyright: ignore
    with pytest.raises(UserError, match="not balanced"):
        null_free_entropy(plant(exactly(1, 3), 30, 3.0, np.random.default_rng(0)))
