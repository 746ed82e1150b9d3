"""Every family, on random weights in float32, equals the reference implementation that exists, to 1e-5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tests.models.families import checkpoints as tiny
from torch import Tensor

import anyorder as ao

transformers = pytest.importorskip("transformers")

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
LENGTHS = {"whole": [12, 12, 12], "right": [12, 7, 1], "left": [12, 7, 1]}


def batch(side: str, rows: int = tiny.ROWS, longest: int = 12) -> tuple[Tensor, Tensor | None]:
    """Tokens of rows of unequal length, and which are real."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(rows, (3, longest), generator=generator)
    if side == "whole":
        return tokens, None
    lengths = torch.tensor(LENGTHS[side]) * (longest // 12)
    places = torch.arange(longest) if side == "right" else torch.arange(longest - 1, -1, -1)
    return tokens, places < lengths[:, None]


def both_sides(model: Any, tokens: Tensor, mask: Tensor | None, block: int = 0) -> Tensor:
    """Logits of a causal model of transformers that attends to both sides, or to blocks up to its own."""
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    length = tokens.shape[1]
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    positions = (real.long().cumsum(1) - 1).clamp(min=0)
    allowed = real[:, None, None, :] | torch.eye(length, dtype=torch.bool)
    if block:
        number = torch.arange(length) // block
        allowed = allowed & (number[:, None] >= number[None, :])
    allowed = allowed.expand(len(tokens), 1, length, length)
    additive = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
    with torch.no_grad():
        return model(tokens, attention_mask=additive, position_ids=positions, use_cache=False).logits


def shifted(logits: Tensor, mask: Tensor | None) -> Tensor:
    """Each real position reads the one before it, the first reads itself."""
    real = torch.ones(logits.shape[:2], dtype=torch.bool) if mask is None else mask
    moved = logits.clone()
    for row in range(len(logits)):
        places = real[row].nonzero()[:, 0].tolist()
        for before, place in zip([places[0], *places], places, strict=False):
            moved[row, place] = logits[row, before]
    return moved


def check(model: ao.Transformer, tokens: Tensor, mask: Tensor | None, expected: Tensor) -> None:
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask, at=real)
    wanted = expected[real]
    assert float(wanted.std()) > 0.1
    torch.testing.assert_close(logits[:, : wanted.shape[1]], wanted, **CLOSE)


@pytest.mark.parametrize("side", LENGTHS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_llada_is_llama_without_the_causal_mask(tmp_path: Path, side: str, attention: str, kv_heads: int) -> None:
    shapes = tiny.llada_shapes()
    for name in shapes:
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            shapes[name] = (tiny.WIDTH // 4 * kv_heads, tiny.WIDTH)
    tensors = tiny.random_tensors(shapes)
    folder = tiny.write(tmp_path / "llada", {**tiny.LLADA_CONFIG, "n_kv_heads": kv_heads}, tensors)
    config = transformers.LlamaConfig(
        vocab_size=tiny.ROWS,
        hidden_size=tiny.WIDTH,
        intermediate_size=tiny.MLP,
        num_hidden_layers=tiny.LAYERS,
        num_attention_heads=tiny.HEADS,
        num_key_value_heads=kv_heads,
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
        attn_implementation=attention,
    )
    reference = transformers.LlamaForCausalLM(config).eval()
    names = {
        "wte": "model.embed_tokens",
        "ln_f": "model.norm",
        "attn_norm": "input_layernorm",
        "ff_norm": "post_attention_layernorm",
        "attn_out": "self_attn.o_proj",
        "ff_proj": "mlp.gate_proj",
        "up_proj": "mlp.up_proj",
        "ff_out": "mlp.down_proj",
    }
    mapped = {}
    for name, tensor in tensors.items():
        parts = name.removeprefix("model.transformer.").split(".")
        if parts[0] == "blocks":
            short = names.get(parts[2], f"self_attn.{parts[2]}")
            mapped[f"model.layers.{parts[1]}.{short}.weight"] = tensor
        else:
            mapped[f"{'lm_head' if parts[0] == 'ff_out' else names[parts[0]]}.weight"] = tensor
    reference.load_state_dict(mapped)
    tokens, mask = batch(side)
    model = ao.from_pretrained(folder)
    check(model, tokens, mask, both_sides(reference, tokens, mask))
    assert (model.mask_token_id, model.vocab_size) == (tiny.MASK, 256 + 20 + len(tiny.SPECIAL))


def reference_of(folder: Path, name: str, config: dict[str, Any], attention: str) -> Any:
    """A model of transformers with the weights of a folder."""
    kind = getattr(transformers, f"{name}Config")
    kept = {k: v for k, v in config.items() if k not in ("auto_map", "architectures", "model_type", "torch_dtype")}
    model = getattr(transformers, f"{name}ForCausalLM")(kind(**kept, attn_implementation=attention)).float().eval()
    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    model.load_state_dict(tensors)
    return model


@pytest.mark.parametrize("side", LENGTHS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_dream_is_qwen2_without_the_causal_mask_and_shifted(tmp_path: Path, side: str, attention: str) -> None:
    folder = tiny.write_dream(tmp_path / "dream")
    reference = reference_of(folder, "Qwen2", tiny.DREAM_CONFIG, attention)
    tokens, mask = batch(side)
    model = ao.from_pretrained(folder)
    check(model, tokens, mask, shifted(both_sides(reference, tokens, mask), mask))
    assert model.mask_token_id == tiny.MASK


@pytest.mark.parametrize("side", ["whole", "right"])
def test_sdar_is_qwen3_with_blocks(tmp_path: Path, side: str) -> None:
    folder = tiny.write_sdar(tmp_path / "sdar")
    reference = reference_of(folder, "Qwen3", tiny.SDAR_CONFIG, "eager")
    tokens, mask = batch(side)
    check(ao.from_pretrained(folder), tokens, mask, both_sides(reference, tokens, mask, block=4))


CAUSAL: dict[str, dict[str, Any]] = {
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
    "Llama": {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True},
    "Mistral": {"sliding_window": None, "head_dim": 8},
}


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_models_are_adapted(tmp_path: Path, name: str) -> None:
    """As transformers itself saves them, with a mask token in a row of its own."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=90,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=3,
        pad_token_id=None,
        **CAUSAL[name],
    )
    reference = getattr(transformers, f"{name}ForCausalLM")(config).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    reference.save_pretrained(tmp_path / name, max_shard_size="20KB")
    assert len(list((tmp_path / name).glob("*.safetensors"))) > 1
    model = ao.from_pretrained(tmp_path / name)
    assert (model.mask_token_id, model.vocab_size, len(model.embedding.weight)) == (90, 91, 91)
    torch.testing.assert_close(model.embedding.weight[90], model.embedding.weight[:90].mean(0))
    tokens, mask = batch("left", 90)
    check(model, tokens, mask, shifted(both_sides(reference, tokens, mask), mask))
    named = ao.from_pretrained(tmp_path / name, mask_token=7)
    assert (named.mask_token_id, len(named.embedding.weight)) == (7, 90)


def vocabulary(folder: Path, count: int) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(count - 5))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")


@pytest.mark.parametrize("side", LENGTHS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_bert(tmp_path: Path, side: str, attention: str) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=90,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        attn_implementation=attention,
    )
    reference = transformers.BertForMaskedLM(config).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reference.save_pretrained(tmp_path / "bert")
    vocabulary(tmp_path / "bert", 90)
    tokens, mask = batch(side, 90)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    positions = (real.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = reference(tokens, attention_mask=real.long(), position_ids=positions).logits
    model = ao.from_pretrained(tmp_path / "bert")
    check(model, tokens, mask, expected)
    assert model.mask_token_id == 4
    assert model.task is not None
    assert (model.task["end_token_id"], model.task["pad_token_id"]) == (3, 0)


@pytest.mark.parametrize("side", LENGTHS)
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_modern_bert(tmp_path: Path, side: str, attention: str) -> None:
    """Longer than the neighbourhood of its local layers."""
    torch.manual_seed(0)
    config = transformers.ModernBertConfig(
        vocab_size=90,
        hidden_size=32,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        local_attention=8,
        pad_token_id=0,
        eos_token_id=3,
        bos_token_id=2,
        cls_token_id=2,
        sep_token_id=3,
        attn_implementation=attention,
    )
    reference = transformers.ModernBertForMaskedLM(config).eval()
    for parameter in reference.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    reference.save_pretrained(tmp_path / "modern")
    vocabulary(tmp_path / "modern", 90)
    tokens, mask = batch(side, 90, longest=36)
    real = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    positions = (real.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        expected = reference(tokens, attention_mask=real.long(), position_ids=positions).logits
    check(ao.from_pretrained(tmp_path / "modern"), tokens, mask, expected)


FAMILY_WRITERS: dict[str, Callable[..., Path]] = {
    "llada": tiny.write_llada,
    "dream": tiny.write_dream,
    "sdar": tiny.write_sdar,
}


@pytest.mark.parametrize("family", FAMILY_WRITERS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_changes_nothing(tmp_path: Path, family: str, side: str) -> None:
    model = ao.from_pretrained(FAMILY_WRITERS[family](tmp_path / family))
    tokens, mask = batch(side)
    assert mask is not None
    with torch.no_grad():
        for row in range(len(tokens)):
            alone = model(tokens[row : row + 1, mask[row]])
            beside = model(tokens, attention_mask=mask, at=mask & (torch.arange(len(tokens))[:, None] == row))
            torch.testing.assert_close(beside, alone, **CLOSE)
