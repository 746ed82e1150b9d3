"""L&O laws: tokens and places, sampling against the law, families, diversity."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.latents import (
    FunctionObservations,
    LatentLaw,
    LocalObservations,
    diversity,
    function_law,
    nae_sat,
    noisy_parity,
    not_all_equal,
    one_way_bits,
    planted_colouring,
    random_slab,
    sparse_predicate,
)
from anyorder.tasks.latents.families import random_scopes

LAWS = [
    nae_sat(8, 20, seed=3, placement="random", padding=4),
    planted_colouring(6, 12, colours=4, seed=1),
    noisy_parity(7, 15, k=3, noise=0.2, seed=2, placement="random"),
    one_way_bits(8, 12, seed=5),
    sparse_predicate(5, not_all_equal(2, 3)),
    random_slab(9, 14, seed=4, placement="random"),
    function_law("sum", lambda z: z.sum(1, keepdims=True) % 5, 4, 1, values=3, symbols=5),
]
names = [law.name for law in LAWS]


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_samples_follow_the_law(law: LatentLaw) -> None:
    tokens = law.sample(4000, np.random.default_rng(0))
    assert tokens.shape == (4000, law.length)
    assert tokens.min() >= 1
    assert tokens.max() < law.vocab_size
    latents, observed = law.split(tokens)
    assert np.array_equal(law.join(latents, observed), tokens)
    counts = np.stack([(latents == value).mean(0) for value in range(law.values)], 1)
    assert np.abs(counts - law.prior).max() < 5 * (0.25 / 4000) ** 0.5
    chance = np.take_along_axis(law.observations.law(latents), observed[..., None], -1)[..., 0]
    assert (chance > 0).all()
    # mean log-probability of what was drawn is minus the law's entropy given the latents
    laws = law.observations.law(latents)
    entropy = -(laws * np.log(np.where(laws > 0, laws, 1))).sum(-1).mean()
    assert -np.log(chance).mean() == pytest.approx(entropy, abs=0.02)


@pytest.mark.parametrize("law", LAWS, ids=names)
def test_places_and_fingerprints(law: LatentLaw) -> None:
    assert sorted([*law.latent_positions, *law.observation_positions]) == list(range(law.size))
    assert law.unknown.sum() == law.size == law.length - law.padding
    assert (law.ranks[law.latent_positions] == 0).all()
    assert (law.ranks[law.observation_positions] == 1).all()
    assert (
        law.fingerprint == LatentLaw("again", law.latents, law.observations, law.prior, law.pi, law.padding).fingerprint
    )
    assert len({other.fingerprint for other in LAWS}) == len(LAWS)


def test_nae_observations_by_hand() -> None:
    law = nae_sat(6, 30, seed=7)
    scopes = law.observations.scopes  # pyright: ignore[reportAttributeAccessIssue]
    assert all(len(set(scope)) == 3 for scope in scopes.tolist())
    latents, observed = law.split(law.sample(50, np.random.default_rng(1)))
    for z, o in zip(latents, observed, strict=True):
        for scope, value in zip(scopes, o, strict=True):
            assert value == (len(set(z[scope])) > 1)


def test_the_seed_draws_the_distribution() -> None:
    assert nae_sat(8, 20, seed=1).fingerprint == nae_sat(8, 20, seed=1).fingerprint
    assert nae_sat(8, 20, seed=1).fingerprint != nae_sat(8, 20, seed=2).fingerprint
    shuffled = nae_sat(8, 20, seed=1, placement="random")
    assert not np.array_equal(shuffled.pi, np.arange(28))
    plain = nae_sat(8, 20, seed=1).sample(5, np.random.default_rng(0))
    assert np.array_equal(shuffled.sample(5, np.random.default_rng(0))[:, shuffled.pi], plain)


def test_all_ordered_subsets() -> None:
    law = sparse_predicate(4, not_all_equal(3, 2))
    assert law.count == 24
    scopes = law.observations.scopes  # pyright: ignore[reportAttributeAccessIssue]
    assert {tuple(scope) for scope in scopes.tolist()} == set(permutations(range(4), 3))


def test_slab_by_hand() -> None:
    law = random_slab(11, 9, beta=0.8, seed=2)
    latents, observed = law.split(law.sample(40, np.random.default_rng(3)))
    directions = law.observations.function.directions  # pyright: ignore[reportAttributeAccessIssue]
    for z, o in zip(latents, observed, strict=True):
        inner = np.abs(directions @ (2 * z - 1))
        assert np.array_equal(o, inner <= 0.8 * 11**0.5)


def test_scopes_are_uniform() -> None:
    scopes = random_scopes(5, 60_000, 3, np.random.default_rng(0))
    _, counts = np.unique(scopes, axis=0, return_counts=True)
    assert len(counts) == 60
    # chi-square with 59 degrees of freedom; 1e-4 of its mass lies beyond 108
    assert ((counts - 1000) ** 2 / 1000).sum() < 108


def test_agreement() -> None:
    law = nae_sat(8, 40, seed=1)
    tokens = law.sample(10, np.random.default_rng(0))
    assert (law.agreement(tokens) == 1).all()
    wrong = tokens.copy()
    wrong[:, law.observation_positions[:10]] = 3 - wrong[:, law.observation_positions[:10]]
    assert np.allclose(law.agreement(wrong), 0.75)
    assert law.expected_agreement(np.random.default_rng(0)) == 1
    noisy = noisy_parity(7, 15, noise=0.2)
    assert noisy.expected_agreement(np.random.default_rng(0)) == pytest.approx(0.8, abs=0.02)
    foreign = tokens.copy()
    foreign[0, law.latent_positions[0]] = 3  # no value of a latent: nothing agrees with it
    foreign[1, law.observation_positions[0]] = 3
    assert law.agreement(foreign)[:3].tolist() == [0, 39 / 40, 1]
    wrong[0, 0] = law.mask_token_id
    with pytest.raises(UserError, match="masks"):
        law.agreement(wrong)


def test_diversity() -> None:
    same = np.tile([0, 1, 1], (6, 1))
    assert diversity(same) == {"distinct_share": pytest.approx(1 / 6), "latent_entropy": 0, "pair_distance": 0}
    rng = np.random.default_rng(0)
    free = diversity(rng.integers(0, 2, (2000, 12)))
    assert free["latent_entropy"] == pytest.approx(np.log(2), abs=0.001)
    assert free["pair_distance"] == pytest.approx(0.5, abs=0.001)
    pair = diversity(np.array([[0, 0], [0, 1]]))
    assert pair["pair_distance"] == pytest.approx(0.5)
    with pytest.raises(UserError, match="at least two"):
        diversity(same[:1])


def test_bad_laws_are_refused() -> None:
    seen = LocalObservations.of(not_all_equal(3, 2), np.array([[0, 1, 5]]))
    with pytest.raises(UserError, match="latent 5"):
        LatentLaw("x", 4, seen)
    with pytest.raises(UserError, match="another number"):
        LatentLaw("x", 6, seen, np.ones(3))
    with pytest.raises(UserError, match="permutation"):
        LatentLaw("x", 6, seen, order=np.zeros(7, int))
    with pytest.raises(UserError, match="prior"):
        LatentLaw("x", 6, seen, np.array([-1.0, 2.0]))
    with pytest.raises(UserError, match="distinct"):
        LocalObservations.of(not_all_equal(3, 2), np.array([[0, 1, 1]]))
    with pytest.raises(UserError, match="noise"):
        noisy_parity(6, 6, noise=1.0)
    with pytest.raises(UserError, match="at least 3 latents"):
        nae_sat(2, 5)
    with pytest.raises(UserError, match="seed"):
        nae_sat(5, 5, seed=-1)
    with pytest.raises(UserError, match="placement"):
        nae_sat(5, 5, placement="sideways")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="ordered subsets"):
        sparse_predicate(300, not_all_equal(3, 2))
    with pytest.raises(UserError, match="have count, symbols and law"):
        LatentLaw("x", 4, object())  # pyright: ignore[reportArgumentType]


def test_user_functions_are_checked() -> None:
    cases = {
        "must return shape": lambda z: z[:, 0],
        "integers or booleans": lambda z: z[:, :2] * 0.5,
        "outside 0..1": lambda z: z[:, :2] + 1,
    }
    for message, function in cases.items():
        law = function_law("bad", function, 4, 2)
        with pytest.raises(UserError, match=message):
            law.sample(8, np.random.default_rng(0))
    with pytest.raises(UserError, match="count >= 1"):
        FunctionObservations(lambda z: z, 0)


def test_tokens_of_no_value_are_refused() -> None:
    law = planted_colouring(4, 3, colours=5)
    tokens = law.sample(2, np.random.default_rng(0))
    tokens[0, law.observation_positions[0]] = 5
    with pytest.raises(UserError, match="no value of it"):
        law.split(tokens)
    with pytest.raises(UserError, match="sequences of 7 tokens"):
        law.split(tokens[:, :-1])
