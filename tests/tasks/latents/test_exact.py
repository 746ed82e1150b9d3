"""Exact posteriors against sums written out over every setting, and decodes that use them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.evaluation.latents import generate
from anyorder.tasks.latents import (
    ExactPosterior,
    LatentLaw,
    LocalObservations,
    function_law,
    nae_sat,
    noisy_parity,
    not_all_equal,
    one_way_bits,
    planted_colouring,
    random_slab,
    sparse_predicate,
)
from anyorder.tasks.latents import exact as module

LAWS = [
    nae_sat(5, 9, seed=3, placement="random", padding=2),
    planted_colouring(4, 5, colours=3, seed=1),
    noisy_parity(5, 7, k=3, noise=0.2, seed=2, placement="random"),
    one_way_bits(6, 6, seed=5),
    sparse_predicate(3, not_all_equal(2, 3)),
    random_slab(5, 6, seed=4),
    function_law("sum", lambda z: z.sum(1, keepdims=True) % 5, 3, 1, values=3, symbols=5, noise=0.1),
    LatentLaw(
        "uneven",
        4,
        LocalObservations.of(not_all_equal(3, 2), np.array([[0, 1, 2], [1, 2, 3]]), noise=0.05),
        np.array([[0.5, 0.5], [0.9, 0.1], [0.3, 0.7], [1.0, 0.0]]),
    ),
]


def brute(law: LatentLaw, row: np.ndarray) -> tuple[np.ndarray, float]:
    """(length, vocab) conditionals and P(evidence), by loops over settings of the latents and nothing clever."""
    laws, total = np.zeros((law.length, law.vocab_size)), 0.0
    latents, observed = law.split(row[None])
    for z in itertools.product(range(law.values), repeat=law.latents):
        shown = law.observations.law(np.array([z]))[0]
        weight = 1.0
        for i, value in enumerate(z):
            weight *= law.prior[i, value] * (latents[0, i] in (-1, value))
        for j, value in enumerate(observed[0]):
            weight *= 1.0 if value < 0 else shown[j, value]
        total += weight
        for i, value in enumerate(z):
            laws[law.latent_positions[i], value + 1] += weight
        laws[law.observation_positions, 1 : law.symbols + 1] += weight * shown
    laws[law.size :, law.padding_token % law.vocab_size] = total
    for position in np.flatnonzero(row != law.mask_token_id):
        laws[position] = 0
        laws[position, row[position]] = total
    return laws / total, total


def masked(law: LatentLaw, count: int, seed: int) -> torch.Tensor:
    """Samples with a random share of their positions masked."""
    rng = np.random.default_rng(seed)
    tokens = law.sample(count, rng)
    hidden = (rng.random(tokens.shape) < rng.random((count, 1))) & law.unknown
    hidden[0] = law.unknown
    return torch.from_numpy(np.where(hidden, law.mask_token_id, tokens))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
@pytest.mark.parametrize("chunk", [1 << 26, 1 << 11])
def test_conditionals_and_likelihoods_are_those_of_brute_force(
    law: LatentLaw, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    if chunk < 1 << 20:
        monkeypatch.setattr(module, "KEPT_BYTES", 0)
    exact = ExactPosterior(law)
    tokens = masked(law, 12, 0)
    at = torch.ones_like(tokens, dtype=torch.bool)
    found = exact.conditionals(tokens, at=at).reshape(12, law.length, -1)
    log_prob = exact.log_prob(tokens)
    for row in range(12):
        wanted, total = brute(law, tokens[row].numpy())
        assert np.abs(found[row].numpy() - wanted).max() < 1e-12
        assert log_prob[row].item() == pytest.approx(np.log(total), abs=1e-10)


def test_only_the_positions_asked_for_and_through_padding_on_either_side() -> None:
    law = LAWS[0]
    exact = ExactPosterior(law)
    tokens = masked(law, 5, 1)
    at = tokens == law.mask_token_id
    at[3] = False
    alone = exact(tokens, at=at)
    assert alone.dtype == torch.float32
    assert alone.shape == (int(at.sum()), law.vocab_size)
    assert torch.isneginf(alone[:, law.mask_token_id]).all()
    left = torch.nn.functional.pad(tokens, (3, 1), value=1)
    attended = torch.nn.functional.pad(torch.ones_like(at), (3, 1))
    padded = exact(left, attention_mask=attended, at=torch.nn.functional.pad(at, (3, 1)))
    assert torch.equal(alone, padded)
    with pytest.raises(UserError, match="has 16 positions, but a row has 15"):
        exact(tokens, attention_mask=torch.arange(16).expand(5, -1) < 15, at=at)


def test_rows_do_not_depend_on_their_batch() -> None:
    law = nae_sat(9, 30, seed=2)
    exact = ExactPosterior(law)
    tokens = masked(law, 16, 3)
    at = tokens == law.mask_token_id
    together = exact.conditionals(tokens, at=at)
    alone = torch.cat([exact.conditionals(tokens[i : i + 1], at=at[i : i + 1]) for i in range(16)])
    assert torch.equal(together, alone)


def test_impossible_evidence() -> None:
    scopes = np.array([[0, 1, 2]] * 3 + [[1, 2, 3]])
    law = LatentLaw("four", 4, LocalObservations.of(not_all_equal(3, 2), scopes))
    tokens = torch.zeros(2, 8, dtype=torch.int64)
    tokens[0, 4:7] = torch.tensor([1, 2, 2])  # two say not all equal, one says all equal
    tokens[1, :3], tokens[1, 4:7] = 1, 2  # all equal, against all three observations
    at = tokens == 0
    with pytest.raises(UserError, match="probability 0"):
        ExactPosterior(law)(tokens, at=at)
    mild = ExactPosterior(law, strict=False)
    found = mild.conditionals(tokens, at=at)
    # row 0: the two outvote the one; x_1 is uniform by symmetry, and o_4 is 1 in 5 of 6 * 2 / 2 cases each
    assert found[0].tolist() == [0, 0.5, 0.5]
    assert found[4, 2].item() == pytest.approx(10 / 12)
    # row 1: a known latent outweighs the observations
    assert found[int(at[0].sum()) + 1].tolist() == [0, 0.5, 0.5]
    assert torch.isneginf(mild.log_prob(tokens)).all()


def test_too_many_settings_are_refused() -> None:
    with pytest.raises(UserError, match=r"2\^40 settings"):
        ExactPosterior(nae_sat(40, 10))
    with pytest.raises(UserError, match="must lie in"):
        ExactPosterior(LAWS[1])(torch.full((1, 9), 9), at=torch.ones(1, 9, dtype=torch.bool))


@pytest.mark.parametrize("order", ["random", "margin", "entropy"])
def test_one_at_a_time_every_order_is_right(order: str) -> None:
    law = nae_sat(7, 25, seed=1)
    made = generate(ExactPosterior(law), law, 60, order, None, seed=5)  # pyright: ignore[reportArgumentType]
    assert (made.agreement == 1).all()
    assert made.summary()["nfe_mean"] == law.size


def test_decoding_samples_the_law() -> None:
    law = nae_sat(3, 2, seed=0)
    exact = ExactPosterior(law)
    count = 4000
    canvas = ao.Canvas(torch.zeros(count, 5, dtype=torch.int64), torch.ones(count, 5, dtype=torch.bool))
    tokens = ao.decode(exact, canvas, order=ao.Margin(), sampler=ao.Temperature(1.0), seed=1).tokens
    codes, counts = np.unique(law.split(tokens.numpy())[0] @ [1, 2, 4], return_counts=True)
    assert codes.tolist() == list(range(8))
    # chi-square with 7 degrees of freedom; 1e-4 of its mass lies beyond 29.9
    assert ((counts - 500) ** 2 / 500).sum() < 29.9
    assert (law.agreement(tokens.numpy()) == 1).all()
