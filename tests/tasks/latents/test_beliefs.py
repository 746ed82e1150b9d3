"""The belief-propagation denoiser: exact on trees, close elsewhere, and a member of the decoding loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.evaluation.latents import generate
from anyorder.tasks.latents import (
    BeliefDenoiser,
    ExactPosterior,
    LatentLaw,
    LocalObservations,
    nae_sat,
    noisy_parity,
    not_all_equal,
    random_slab,
)


def tree_law() -> LatentLaw:
    scopes = np.array([[0, 1, 2], [4, 2, 3], [3, 5, 6], [1, 7, 8]])
    prior = np.random.default_rng(0).dirichlet([2, 2], 9)
    observations = LocalObservations.of(not_all_equal(3, 2), scopes, noise=0.07)
    return LatentLaw("tree", 9, observations, prior, np.random.default_rng(1).permutation(13), padding=2)


def masked(law: LatentLaw, count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    tokens = law.sample(count, rng)
    hidden = (rng.random(tokens.shape) < rng.random((count, 1))) & law.unknown
    return torch.from_numpy(np.where(hidden, law.mask_token_id, tokens))


def test_a_tree_is_exact() -> None:
    law = tree_law()
    tokens = masked(law, 40, 0)
    at = torch.ones_like(tokens, dtype=torch.bool)
    belief = BeliefDenoiser(law, tolerance=1e-13)
    found, wanted = belief.conditionals(tokens, at=at), ExactPosterior(law).conditionals(tokens, at=at)
    assert float((found - wanted).abs().max()) < 1e-8
    assert belief.report.rows == belief.report.converged == 40
    assert belief.report.contradictions == 0


def test_hard_trees_are_exact_too() -> None:
    law = LatentLaw("hard", 7, LocalObservations.of(not_all_equal(3, 2), np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]])))
    tokens = masked(law, 60, 2)
    at = tokens == 0
    found = BeliefDenoiser(law, tolerance=1e-13).conditionals(tokens, at=at)
    assert float((found - ExactPosterior(law).conditionals(tokens, at=at)).abs().max()) < 1e-8


def test_loops_leave_a_small_error() -> None:
    """Noisy parity, N = 12, P = 6, k = 3: mean error of a conditional below 0.02."""
    law = noisy_parity(12, 6, noise=0.15, seed=3)
    tokens = masked(law, 50, 4)
    at = tokens == 0
    found = BeliefDenoiser(law).conditionals(tokens, at=at)
    error = (found - ExactPosterior(law).conditionals(tokens, at=at)).abs()
    assert float(error.mean()) < 0.02


def test_rows_do_not_depend_on_their_batch_or_padding() -> None:
    law = nae_sat(40, 80, seed=1)
    belief = BeliefDenoiser(law)
    tokens = masked(law, 6, 3)
    at = tokens == 0
    at[2] = False
    together = belief(tokens, at=at)
    alone = torch.cat([belief(tokens[i : i + 1], at=at[i : i + 1]) for i in range(6)])
    assert torch.equal(together, alone)
    attended = torch.nn.functional.pad(torch.ones_like(at), (2, 0))
    wide = torch.nn.functional.pad(tokens, (2, 0), value=1)
    assert torch.equal(together, belief(wide, attention_mask=attended, at=torch.nn.functional.pad(at, (2, 0))))


def test_it_decodes_where_enumeration_cannot() -> None:
    law = nae_sat(60, 90, seed=2)
    belief = BeliefDenoiser(law)
    latents_first = generate(belief, law, 8, "left-to-right", 15, seed=1)
    random = generate(belief, law, 8, "random", 15, seed=1)
    assert latents_first.agreement.mean() > 0.98  # steps of ten positions: only those of one step miss each other
    assert 0.98 > random.agreement.mean() > 0.85
    assert random.summary()["distinct_share"] == 1
    assert random.nfe.tolist() == [15] * 8


def test_contradictions_are_survived() -> None:
    scopes = np.array([[0, 1, 2], [0, 1, 2], [1, 2, 3]])
    law = LatentLaw("x", 4, LocalObservations.of(not_all_equal(3, 2), scopes))
    tokens = torch.tensor([[1, 1, 1, 0, 2, 1, 0], [1, 1, 0, 0, 2, 1, 0]])
    belief = BeliefDenoiser(law)
    found = belief.conditionals(tokens, at=tokens == 0)
    assert bool(torch.isfinite(found).all())
    assert torch.allclose(found.sum(1), torch.ones(len(found), dtype=torch.float64))
    assert belief.report.contradictions > 0


def test_messages_that_all_but_contradict_each_other_stay_finite() -> None:
    law = nae_sat(20, 40, seed=0)
    seen = "2121122121222222222222122221211221221222"  # not all of these fit together
    latents = [1, 1] + [0] * 18
    tokens = torch.tensor([latents + [int(token) for token in seen]])
    logits = BeliefDenoiser(law)(tokens, at=tokens == 0)
    assert torch.isfinite(logits.max(dim=1).values).all()


def test_bad_denoisers_are_refused() -> None:
    with pytest.raises(UserError, match="LocalObservations"):
        BeliefDenoiser(random_slab(6, 4))
    with pytest.raises(UserError, match="damping"):
        BeliefDenoiser(nae_sat(6, 4), damping=-0.1)
