"""Single places of an order against the sum of all of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anyorder.core.errors import UserError
from anyorder.core.objectives import order_loss
from anyorder.evaluation.order_losses import losses_at, places_in_strata
from anyorder.models.oracle import MarkovChain

LENGTH, M = 6, 3


class Imperfect:
    """Inconsistent conditionals: a random linear map of the one-hot tokens."""

    vocab_size, mask_token_id = M + 1, M

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(0)
        self.map = torch.randn(LENGTH, M + 1, LENGTH, M + 1, generator=g)

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        return torch.einsum("blv,lvkw->bkw", F.one_hot(tokens, M + 1).float(), self.map)[at]


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_all_places_sum_to_the_loss_along_the_order(batch_size: int) -> None:
    tokens = torch.randint(0, M, (4, LENGTH), generator=torch.Generator().manual_seed(1))
    pi = torch.tensor([3, 0, 5, 1, 4, 2])
    places = torch.arange(LENGTH).expand(4, -1).flip(1)
    losses = losses_at(Imperfect(), tokens, pi, places, batch_size=batch_size)
    assert losses.shape == (4, LENGTH)
    assert torch.allclose(losses.sum(1), order_loss(Imperfect(), tokens, pi).double(), rtol=1e-5)


def test_a_perfect_model_has_one_total_along_every_order() -> None:
    g = torch.Generator().manual_seed(2)
    transition = torch.rand(M, M, generator=g) + 0.1
    chain = MarkovChain(torch.full((M,), 1 / M), transition / transition.sum(-1, keepdim=True))
    tokens = torch.randint(0, M, (5, LENGTH), generator=g)
    places = torch.arange(LENGTH).expand(5, -1)
    totals = [losses_at(chain, tokens, torch.randperm(LENGTH, generator=g), places).sum(1) for _ in range(3)]
    assert torch.allclose(totals[0], -chain.log_prob(tokens).double(), atol=1e-4)
    assert all(torch.allclose(totals[0], total, atol=1e-4) for total in totals[1:])


def test_strata_hold_one_place_each_and_reach_all() -> None:
    places = places_in_strata(10, 4, 4000, torch.Generator().manual_seed(0))
    edges = [0, 2, 5, 7, 10]
    for stratum in range(4):
        seen = places[:, stratum].bincount(minlength=10)
        assert seen.nonzero()[:, 0].tolist() == list(range(edges[stratum], edges[stratum + 1]))
        size = edges[stratum + 1] - edges[stratum]
        assert (seen[seen > 0] - 4000 / size).abs().max() < 5 * (4000 / size) ** 0.5
    assert places_in_strata(3, 3, 1, torch.Generator()).tolist() == [[0, 1, 2]]


def test_bad_input_is_refused() -> None:
    tokens = torch.zeros(2, LENGTH, dtype=torch.int64)
    places = torch.zeros(2, 1, dtype=torch.int64)
    with pytest.raises(UserError, match="must hold each of"):
        losses_at(Imperfect(), tokens, torch.zeros(LENGTH, dtype=torch.int64), places)
    for bad in (places - 1, places + LENGTH, places[:1]):
        with pytest.raises(UserError, match="places must lie in"):
            losses_at(Imperfect(), tokens, torch.arange(LENGTH), bad)
    for strata in (0, 11):
        with pytest.raises(UserError, match="1 to 10 strata"):
            places_in_strata(10, strata, 1, torch.Generator())
