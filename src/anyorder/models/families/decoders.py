"""Families built like Llama or Qwen: Dream, SDAR, and the causal models that one may adapt.

Their weights have the same names; they differ in biases, in norms of queries and keys, in who attends to whom, and in
where the logits of a position are read. A causal model opened here attends to both sides and still predicts the next
token, so its logits are shifted: the start of an adaptation, as Dream's was (Gong et al. 2024, 2410.17891).
"""

from __future__ import annotations

from typing import Any

from anyorder.models.families.family import ACTIVATIONS, Family, Piece, Settings, Table
from anyorder.models.families.family import MOST_LAYERS as LAYERS
from anyorder.models.transformer_config import TransformerConfig

_LAYER = "model.layers.{i}."
_DREAM = "Ye et al. 2025, Dream 7B (2508.15487)"


def _shape(settings: Settings) -> dict[str, Any]:
    """What all of them have in common."""
    if settings.flag("use_sliding_window", False):
        raise settings.error("use_sliding_window true is not supported; only false is")
    heads = settings.integer("num_attention_heads")
    return {
        "layers": settings.integer("num_hidden_layers", most=LAYERS),
        "heads": heads,
        "kv_heads": settings.integer("num_key_value_heads", heads),
        "head_width": settings.integer("head_dim", 0),
        "width": settings.integer("hidden_size"),
        "mlp_width": settings.integer("intermediate_size"),
        "length": settings.integer("max_position_embeddings"),
        "rotary_base": settings.rotary_base(),
        "norm_epsilon": settings.number("rms_norm_eps", 1e-6),
        "mlp": "gated",
        "activation": settings.choice("hidden_act", "silu", ACTIVATIONS),
        "tied_head": settings.flag("tie_word_embeddings", False),
    }


def _shifted(settings: Settings) -> dict[str, Any]:
    """Both sides are attended to, and position i is read from i - 1."""
    return {**_shape(settings), "logits_shift": True}


def _qwen2(settings: Settings) -> dict[str, Any]:
    return {**_shifted(settings), "attention_bias": True}


def _qwen3(settings: Settings) -> dict[str, Any]:
    bias = settings.flag("attention_bias", False)
    # Qwen3 states its head width, which 128 stands for where the file does not.
    width = settings.integer("head_dim", 128)
    return {**_shifted(settings), "qk_norm": True, "attention_bias": bias, "output_bias": bias, "head_width": width}


def _llama(settings: Settings) -> dict[str, Any]:
    bias = settings.flag("attention_bias", False)
    mlp_bias = settings.flag("mlp_bias", False)
    return {**_shifted(settings), "attention_bias": bias, "output_bias": bias, "mlp_bias": mlp_bias}


def _mistral(settings: Settings) -> dict[str, Any]:
    if settings.values.get("sliding_window") is not None:
        raise settings.error("sliding_window is not supported; only null is")
    return _shifted(settings)


def _sdar(settings: Settings) -> dict[str, Any]:
    block = settings.integer("block_size", settings.integer("block_length", 4))
    return {**_qwen3(settings), "logits_shift": False, "attention": "block-causal", "block_size": block}


def _table(config: TransformerConfig) -> Table:
    attention, mlp = _LAYER + "self_attn.", _LAYER + "mlp."
    table: dict[str, list[Piece]] = {
        "embedding.weight": [Piece("model.embed_tokens.weight")],
        "norm.weight": [Piece("model.norm.weight")],
        "head.weight": [Piece("lm_head.weight")],
        "blocks.{i}.attention_norm.weight": [Piece(_LAYER + "input_layernorm.weight")],
        "blocks.{i}.mlp_norm.weight": [Piece(_LAYER + "post_attention_layernorm.weight")],
        "blocks.{i}.attention.query_norm.weight": [Piece(attention + "q_norm.weight")],
        "blocks.{i}.attention.key_norm.weight": [Piece(attention + "k_norm.weight")],
    }
    parts = {
        "blocks.{i}.attention.qkv": [attention + "q_proj", attention + "k_proj", attention + "v_proj"],
        "blocks.{i}.attention.out": [attention + "o_proj"],
        "blocks.{i}.mlp.gate": [mlp + "gate_proj"],
        "blocks.{i}.mlp.up": [mlp + "up_proj"],
        "blocks.{i}.mlp.down": [mlp + "down_proj"],
    }
    for kind in ("weight", "bias"):
        table |= {f"{ours}.{kind}": [Piece(f"{name}.{kind}") for name in names] for ours, names in parts.items()}
    return table


_IGNORED = ("*.rotary_emb.inv_freq",)
_QWEN_TOKENS = {"end": "<|endoftext|>", "pad": "<|endoftext|>"}

DREAM = Family(
    name="Dream",
    model_types=("Dream", "dream"),
    read=_qwen2,
    table=_table,
    ignored=_IGNORED,
    tokens={"mask": "<|mask|>", **_QWEN_TOKENS},
    tokenizer="Qwen2Tokenizer",
    strategy="entropy",
    source=_DREAM,
)
SDAR = Family(
    name="SDAR",
    model_types=("sdar",),
    read=_sdar,
    table=_table,
    ignored=_IGNORED,
    tokens={"mask": "<|MASK|>", **_QWEN_TOKENS},
    tokenizer="Qwen2Tokenizer",
    source="Cheng et al. 2025, SDAR (2510.06303)",
)
QWEN2 = Family(
    name="Qwen2",
    model_types=("qwen2",),
    read=_qwen2,
    table=_table,
    ignored=_IGNORED,
    tokens=_QWEN_TOKENS,
    tokenizer="Qwen2Tokenizer",
    adapted=True,
    source="Yang et al. 2024, Qwen2 (2407.10671)",
)
QWEN3 = Family(
    name="Qwen3",
    model_types=("qwen3",),
    read=_qwen3,
    table=_table,
    ignored=_IGNORED,
    tokens=_QWEN_TOKENS,
    tokenizer="Qwen2Tokenizer",
    adapted=True,
    source="Yang et al. 2025, Qwen3 (2505.09388)",
)
LLAMA = Family(
    name="Llama",
    model_types=("llama",),
    read=_llama,
    table=_table,
    ignored=_IGNORED,
    adapted=True,
    source="Grattafiori et al. 2024, Llama 3 (2407.21783)",
)
MISTRAL = Family(
    name="Mistral",
    model_types=("mistral",),
    read=_mistral,
    table=_table,
    ignored=_IGNORED,
    adapted=True,
    source="Jiang et al. 2023, Mistral 7B (2310.06825)",
)
