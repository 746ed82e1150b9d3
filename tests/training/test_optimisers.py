"""The updates of Muon and AdamW against torch's own, and against what they are meant to compute."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, TransformerConfig
from anyorder.training.optimisers import make_optimiser, orthogonalised
from anyorder.training.settings import AdamWSettings, MuonSettings, OptimizerSettings


def network(seed: int = 0, **changes: object) -> Transformer:
    values = {"vocab_size": 5, "mask_token_id": 0, "layers": 2, "heads": 2, "width": 16, "mlp_width": 48, "length": 16}
    grid = Grid(4, 4, 2, 2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = TransformerConfig(**{**values, "positions": "grid", "grid": grid, "relation_bias": True, **changes})  # pyright: ignore
        model = Transformer(config)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


def give_gradients(model: nn.Module, generator: torch.Generator) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def test_adamw_equals_torch() -> None:
    settings = OptimizerSettings(
        AdamWSettings(rate=1e-2, beta1=0.8, beta2=0.95, epsilon=1e-6, weight_decay=0.3, decay_all=True), clip=None
    )
    mine, theirs = network(), network()
    optimiser = make_optimiser(mine, settings)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)
    for step in range(5):
        for model in (mine, theirs):
            give_gradients(model, torch.Generator().manual_seed(step))
        optimiser.set_multiplier(1 - step / 10)
        reference.param_groups[0]["lr"] = 1e-2 * (1 - step / 10)
        optimiser.step()
        reference.step()
    for first, second in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("scale", ["spectral", "rms"])
def test_muon_equals_torch_up_to_its_bfloat16(scale: str) -> None:
    settings = MuonSettings(
        rate=0.05,
        momentum=0.9,
        weight_decay=0.1,
        split=False,
        scale=scale,
        precision="bfloat16",  # pyright: ignore
    )
    mine, theirs = network(), network()
    optimiser = make_optimiser(mine, OptimizerSettings(AdamWSettings(rate=0.0), settings, clip=None))
    matrices = [
        value
        for name, value in theirs.named_parameters()
        if name.endswith("weight") and "blocks" in name and value.ndim == 2
    ]
    reference = torch.optim.Muon(
        matrices,
        lr=0.05,
        momentum=0.9,
        weight_decay=0.1,
        adjust_lr_fn="original" if scale == "spectral" else "match_rms_adamw",
    )
    for step in range(3):
        for model in (mine, theirs):
            give_gradients(model, torch.Generator().manual_seed(step))
        optimiser.step()
        reference.step()
    start = dict(network().named_parameters())
    for (name, first), second in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        moved = (second - start[name]).norm()
        # The two round their bfloat16 products in different places; AdamW's rate of 0 leaves the rest where it was.
        assert (first - second).norm() <= 0.02 * moved + 1e-6, name


@pytest.mark.parametrize("shape", [(8, 8), (3, 20), (20, 3), (4, 6, 10)])
def test_orthogonalised_moves_singular_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 1e-3
    result = orthogonalised(matrices)
    assert result.shape == matrices.shape
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    polar = u @ v
    values = torch.linalg.svdvals(result)
    assert values.max() < 1.3
    # Smallest values of a square random matrix may be so small that five iterations do not lift them.
    assert values.median() > 0.6
    cosine = (result * polar).sum() / (result.norm() * polar.norm())
    assert cosine > 0.95
    torch.testing.assert_close(orthogonalised(matrices * 1e4), result, rtol=1e-3, atol=1e-3)


def test_a_zero_gradient_moves_nothing() -> None:
    assert torch.equal(orthogonalised(torch.zeros(2, 4, 4)), torch.zeros(2, 4, 4))


def test_which_weights_go_to_muon_and_which_decay() -> None:
    model = network(head_bias=True, output_bias=True)
    settings = OptimizerSettings(AdamWSettings(weight_decay=0.1), MuonSettings())
    optimiser = make_optimiser(model, settings)
    kinds = {name: group for group in optimiser.param_groups for name in group["names"]}
    assert set(kinds) == {name for name, _ in model.named_parameters()}
    assert sum(len(group["names"]) for group in optimiser.param_groups) == len(kinds)
    muon = {name for name, group in kinds.items() if group["kind"] == "muon"}
    assert muon == {
        f"blocks.{i}.{part}.weight" for i in (0, 1) for part in ("attention.qkv", "attention.out", "mlp.up", "mlp.down")
    }
    decaying = {name for name, group in kinds.items() if group["kind"] == "adamw" and group["weight_decay"] > 0}
    assert decaying == {"head.weight", "relation_bias"}
    group = next(group for group in optimiser.param_groups if group["kind"] == "muon")
    assert dict(zip(group["names"], group["rows"], strict=True))["blocks.0.attention.qkv.weight"] == (16, 16, 16)


def test_split_projections_are_orthogonalised_apart() -> None:
    model = network(kv_heads=1)
    weight = dict(model.named_parameters())["blocks.0.attention.qkv.weight"]
    assert weight.shape == (32, 16)
    before = weight.detach().clone()
    optimiser = make_optimiser(model, OptimizerSettings(muon=MuonSettings(rate=1.0, nesterov=False), clip=None))
    give_gradients(model, torch.Generator().manual_seed(0))
    gradient = weight.grad
    assert gradient is not None
    optimiser.step()
    for rows in (slice(0, 16), slice(16, 24), slice(24, 32)):
        torch.testing.assert_close(before[rows] - weight[rows], orthogonalised(gradient[rows]), rtol=1e-3, atol=1e-3)


def test_clip_bounds_the_weights_of_adamw_alone() -> None:
    model = network()
    optimiser = make_optimiser(model, OptimizerSettings(muon=MuonSettings()))
    give_gradients(model, torch.Generator().manual_seed(0))
    gradients = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    whole = torch.stack([value.norm() for value in gradients.values()]).norm()
    torch.testing.assert_close(optimiser.clip(0.5), whole)
    muon = {name for group in optimiser.param_groups if group["kind"] == "muon" for name in group["names"]}
    rest = [parameter.grad for name, parameter in model.named_parameters() if name not in muon]
    torch.testing.assert_close(
        torch.stack([value.norm() for value in rest if value is not None]).norm(), torch.tensor(0.5)
    )
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        if name in muon:
            assert torch.equal(parameter.grad, gradients[name])
    small = optimiser.clip(None)
    assert torch.isfinite(small)


def test_weights_without_a_gradient_stay() -> None:
    model = network()
    optimiser = make_optimiser(model, OptimizerSettings(muon=MuonSettings(weight_decay=0.1)))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser.step()
    assert all(torch.equal(before[name], parameter) for name, parameter in model.named_parameters())
    assert all(not value.any() for value in optimiser.named_state().values())
    frozen = network()
    frozen.embedding.requires_grad_(False)
    names = [name for group in make_optimiser(frozen, OptimizerSettings()).param_groups for name in group["names"]]
    assert "embedding.weight" not in names
