"""The count of operations against torch's own count of what really ran."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, TransformerConfig
from anyorder.training.dropout import dropout_seeds
from anyorder.training.flops import backward_products, flops, forward_products, optimiser_flops
from anyorder.training.optimisers import make_optimiser
from anyorder.training.settings import MuonSettings, OptimizerSettings
from anyorder.training.step import MaskedLoss

ROWS, LENGTH = 3, 16
BASE: dict[str, Any] = {"vocab_size": 11, "mask_token_id": 0, "layers": 2, "heads": 4, "width": 24, "mlp_width": 40}
GRID = {"length": 16, "positions": "grid", "grid": Grid(4, 4, 2, 2), "relation_bias": True, "loops": 3}


@pytest.mark.parametrize(
    "changes", [{}, {"mlp": "gated"}, {"head_width": 8}, {"tied_head": True, "loops": 2}, GRID, {"positions": "none"}]
)
@pytest.mark.parametrize("all_depths", [True, False])
def test_forward_and_backward(changes: dict[str, Any], all_depths: bool) -> None:
    config = TransformerConfig(**{**BASE, **changes})
    with torch.random.fork_rng():
        module = MaskedLoss(Transformer(config), all_depths=all_depths)
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(1, 11, (ROWS, LENGTH), generator=generator)
    masked = torch.rand(ROWS, LENGTH, generator=generator) < 0.5
    count = int(masked.sum())
    arguments = (targets.masked_fill(masked, 0), targets, masked, torch.ones(ROWS), dropout_seeds(0, ROWS))
    products = forward_products(config, ROWS, LENGTH, count, all_depths=all_depths)
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as counter:
            loss = module(*arguments)[0]
        assert flops(products) == counter.get_total_flops()
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        assert flops(backward_products(products)) == 2 * flops(products) == counter.get_total_flops()
    block = flops(product for product in products if product.name != "head")
    assert block == pytest.approx(config.flops_per_token(LENGTH) * ROWS * LENGTH)


@pytest.mark.parametrize("split", [True, False])
def test_newton_schulz(split: bool) -> None:
    with torch.random.fork_rng():
        model = Transformer(TransformerConfig(**{**BASE, "kv_heads": 2}))
    optimiser = make_optimiser(model, OptimizerSettings(muon=MuonSettings(split=split, iterations=3)))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with FlopCounterMode(display=False) as counter:
        optimiser.step()
    assert optimiser_flops(optimiser) == counter.get_total_flops()
