"""LLaDA2's mixture of experts against its definition, written out token by token."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tests.models.families import checkpoints as tiny
from torch import Tensor

import anyorder as ao
from anyorder.models.transformer_config import Experts
from anyorder.models.transformer_layers import Block, MixtureMLP


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_llada2(tmp_path_factory.mktemp("mixtures") / "llada2")


def written(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    return tensors


def gated(tensors: dict[str, Tensor], stem: str, hidden: Tensor) -> Tensor:
    gate, up, down = (tensors[f"{stem}{name}_proj.weight"] for name in ("gate", "up", "down"))
    return (F.silu(hidden @ gate.T) * (hidden @ up.T)) @ down.T


def test_the_mixture_is_its_definition(folder: Path) -> None:
    tensors, stem = written(folder), "model.layers.1.mlp."
    model = ao.from_pretrained(folder)
    block = model.blocks[1]
    assert isinstance(block, Block)
    assert isinstance(block.mlp, MixtureMLP)
    hidden = torch.randn(2, 5, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(hidden)
    used = set()
    for place in torch.cartesian_prod(torch.arange(2), torch.arange(5)):
        token = hidden[place[0], place[1]]
        score = torch.sigmoid(tensors[f"{stem}gate.weight"] @ token)
        ranked = score + tensors[f"{stem}gate.expert_bias"]
        groups = sorted(range(4), key=lambda g: -float(ranked[4 * g : 4 * g + 4].sort().values[-2:].sum()))[:2]
        allowed = [4 * group + i for group in groups for i in range(4)]
        chosen = sorted(allowed, key=lambda expert: -float(ranked[expert]))[:3]
        used |= set(chosen)
        total = sum(float(score[expert]) for expert in chosen)
        mixed = sum(
            2.5 * score[expert] / total * gated(tensors, f"{stem}experts.{expert}.", token) for expert in chosen
        )
        expected[place[0], place[1]] = mixed + gated(tensors, f"{stem}shared_experts.", token)
    assert len(used) > 5
    with torch.no_grad():
        torch.testing.assert_close(block.mlp(hidden), expected, atol=1e-5, rtol=1e-5)


def test_it_decodes_in_blocks_with_a_cache(folder: Path) -> None:
    model = ao.from_pretrained(folder)
    assert (model.config.attention, model.config.block_size, model.config.rotary_width) == ("block-causal", 32, 4)
    assert model.mask_token_id == tiny.MASK
    tokens = torch.arange(80).view(1, 80) % 250
    canvas = ao.Canvas(tokens, torch.arange(80)[None] % 3 == 0)
    result = ao.decode(model, canvas, window=ao.Blocks(32, aligned=True), budget=ao.Fixed(4))
    plain = ao.decode(lambda_of(model), canvas, window=ao.Blocks(32, aligned=True), budget=ao.Fixed(4))
    assert torch.equal(result.tokens, plain.tokens)
    assert (result.state != ao.UNDECIDED).all()


def lambda_of(model: ao.Transformer) -> ao.Denoiser:
    """The network without its sessions."""

    class Plain:
        vocab_size, mask_token_id = model.vocab_size, model.mask_token_id

        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            return model(tokens, attention_mask=attention_mask, at=at)

    return Plain()


def test_part_of_a_head_is_rotated() -> None:
    """Positions are felt through the rotated part alone: without it, order is nothing to a bidirectional network."""
    values = {"vocab_size": 9, "mask_token_id": 0, "layers": 1, "heads": 1, "width": 8, "mlp_width": 8}
    torch.manual_seed(0)
    model = ao.Transformer(ao.TransformerConfig(**values, rotary_width=2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    attention = model.blocks[0].attention  # type: ignore[union-attr]
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        assert not torch.allclose(model(tokens), model(tokens.flip(1)).flip(0))
        attention.qkv.weight[:2] = 0  # type: ignore[union-attr]
        torch.testing.assert_close(model(tokens), model(tokens.flip(1)).flip(0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 6, "active": 1, "width": 4, "groups": 4}, "6 do not make 4 equal groups"),
        ({"count": 4, "active": 5, "width": 4}, "5 cannot be active"),
        ({"count": 4, "active": 1, "width": 4, "groups": 4}, "cannot be active"),
        ({"count": 4, "active": 0, "width": 4}, "active must be a whole number"),
        ({"count": 4, "active": 1, "width": 4, "shared_width": -1}, "must be at least 0"),
    ],
)
def test_impossible_mixtures_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ao.UserError, match=message):
        Experts(**values)


def test_it_trains_from_its_own_start(tmp_path: Path) -> None:
    """A new network is the head alone; gradients reach experts; it is saved and read with its experts."""
    experts = Experts(count=4, active=2, width=6, shared_width=6, dense_blocks=1)
    values = {"vocab_size": 9, "mask_token_id": 0, "layers": 2, "heads": 1, "width": 8, "mlp_width": 8, "mlp": "gated"}
    model = ao.Transformer(ao.TransformerConfig(**values, experts=experts))
    assert float(model(torch.arange(8)[None]).detach().abs().sum()) == 0
    for name, parameter in model.named_parameters():
        if not name.endswith("router_bias"):
            torch.nn.init.normal_(parameter, std=0.5)
    model(torch.arange(8)[None]).square().sum().backward()
    mixture = model.blocks[1].mlp  # type: ignore[union-attr]
    assert all(float(getattr(mixture, name).grad.abs().sum()) > 0 for name in ("router", "gate", "up", "down"))
    assert ao.from_pretrained(ao.save_pretrained(model, tmp_path / "mixture")).config == model.config
