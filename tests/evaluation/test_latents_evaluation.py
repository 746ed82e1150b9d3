"""Generation from nothing and errors against the exact posterior, with denoisers whose figures are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.evaluation.latents import generate, hidden_observations, level_error, level_masks
from anyorder.tasks.latents import ExactPosterior, LatentLaw, nae_sat, noisy_parity, planted_colouring

LAW = nae_sat(6, 18, seed=2, placement="random", padding=3)


class Uniform:
    """Knows nothing: every token but the mask alike, and a mask token that it thinks likeliest of all."""

    def __init__(self, law: LatentLaw) -> None:
        self.vocab_size, self.mask_token_id = law.vocab_size, law.mask_token_id

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        logits = torch.zeros(int(at.sum()), self.vocab_size)
        logits[:, self.mask_token_id] = 50.0
        return logits


@pytest.mark.parametrize("order", ["random", "margin", "top-probability", "entropy", "left-to-right"])
def test_exact_conditionals_one_at_a_time_agree_fully(order: str) -> None:
    made = generate(ExactPosterior(LAW), LAW, 20, order, None, seed=3)  # pyright: ignore[reportArgumentType]
    found = made.summary()
    assert found["agreement_share"] == 1
    assert found["interval"] == [1, 1]
    assert found["count"] == 20
    assert found["nfe_mean"] == LAW.size
    assert 0 < found["distinct_share"] <= 1


def test_parallel_steps_lose_something() -> None:
    exact = ExactPosterior(LAW, strict=False)
    shares = [generate(exact, LAW, 300, "random", steps, seed=3).agreement.mean() for steps in (1, 6, 24)]
    # all at once, observations know nothing of the latents: 3/4 are 1 and 3/4 should be
    assert shares[0] == pytest.approx(0.625, abs=0.02)
    assert shares[0] < shares[1] < shares[2] == 1


def test_rows_do_not_depend_on_the_batch_size() -> None:
    exact = ExactPosterior(LAW, strict=False)
    one, many = (generate(exact, LAW, 10, "margin", 8, seed=1, batch_size=size) for size in (3, 10))
    assert np.array_equal(one.tokens, many.tokens)
    assert not np.array_equal(one.tokens, generate(exact, LAW, 10, "margin", 8, seed=2).tokens)


def test_the_exact_posterior_has_no_error() -> None:
    exact = ExactPosterior(LAW)
    found = level_error(exact, exact, 3, 40)
    assert abs(found.latent) < 1e-6
    assert abs(found.observation) < 1e-6
    assert found.hidden_observations == 9


def test_the_error_of_knowing_nothing() -> None:
    """KL(p || uniform over all but the mask) = log(vocabulary - 1) - H(p); a likely mask token costs nothing."""
    law = planted_colouring(5, 10, colours=3, seed=1)
    exact = ExactPosterior(law)
    found = level_error(Uniform(law), exact, 2, 60, batch_size=7)  # pyright: ignore[reportArgumentType]
    log = np.log(law.vocab_size - 1)
    assert np.allclose(found.error + found.entropy, log, equal_nan=True)
    assert found.latent == pytest.approx(log - found.latent_entropy)
    assert found.observation == pytest.approx(log - found.observation_entropy)
    assert found.latent_error > 0


def test_levels_hide_what_they_say() -> None:
    masked = level_masks(LAW, 2, 500, np.random.default_rng(0))
    assert (masked[:, LAW.latent_positions].sum(1) == 2).all()
    assert (masked[:, LAW.observation_positions].sum(1) == 6).all()
    assert not masked[:, LAW.size :].any()
    assert np.abs(masked[:, LAW.latent_positions].mean(0) - 1 / 3).max() < 0.1
    assert hidden_observations(noisy_parity(9, 3), 1) == 1
    with pytest.raises(UserError, match=r"1\.\.6"):
        level_masks(LAW, 7, 5, np.random.default_rng(0))


def test_bad_calls_are_refused() -> None:
    exact = ExactPosterior(LAW)
    with pytest.raises(UserError, match="unknown order"):
        generate(exact, LAW, 5, "best", None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match="count >= 2"):
        generate(exact, LAW, 1, "random", None)
    with pytest.raises(UserError, match="has 4 tokens"):
        generate(ExactPosterior(noisy_parity(4, 4)), LAW, 5, "random", None)
    with pytest.raises(UserError, match="count >= 2"):
        level_error(exact, exact, 1, 1)
