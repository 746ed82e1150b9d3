"""LLaDA-8B: base, instruct and 1.5 share one format, that of OLMo's blocks of the ``llama`` kind.

Nie et al. 2025, "Large Language Diffusion Models" (2502.09992); Zhu et al. 2025, "LLaDA 1.5" (2505.19223).
"""

from __future__ import annotations

from typing import Any

from anyorder.models.families.family import MOST_LAYERS as LAYERS
from anyorder.models.families.family import Family, Piece, Settings, Table
from anyorder.models.transformer_config import TransformerConfig

_BLOCK = "model.transformer.blocks.{i}."


def _read(settings: Settings) -> dict[str, Any]:
    settings.want("block_type", "llama", "sequential")
    settings.want("layer_norm_type", "rms", "default")
    settings.want("rope", True, False)
    settings.want("layer_norm_with_affine", True, True)
    settings.want("block_group_size", 1, 1)
    for name in ("alibi", "scale_logits", "attention_layer_norm", "input_emb_norm"):
        settings.want(name, False, False)
    bias = settings.flag("include_bias", False)
    if settings.flag("bias_for_layer_norm", bias):
        raise settings.error("bias_for_layer_norm true is not supported; only false is")
    width, heads = settings.integer("d_model"), settings.integer("n_heads")
    shared = settings.flag("multi_query_attention", False)
    return {
        "layers": settings.integer("n_layers", most=LAYERS),
        "heads": heads,
        "kv_heads": settings.integer("n_kv_heads", 1 if shared else heads),
        "width": width,
        "mlp_width": settings.integer("mlp_hidden_size", settings.integer("mlp_ratio", 4) * width),
        "length": settings.integer("max_sequence_length"),
        "rotary_base": settings.number("rope_theta", 10_000.0),
        "norm_epsilon": settings.number("rms_norm_eps", 1e-5),
        "mlp": "gated",
        "activation": settings.choice("activation_type", "swiglu", {"silu": "silu", "gelu": "gelu"}),
        "attention_bias": bias or settings.flag("include_qkv_bias", False),
        "output_bias": bias,
        "mlp_bias": bias,
        "head_bias": bias and not settings.flag("weight_tying", True),
        "tied_head": settings.flag("weight_tying", True),
    }


def _table(_: TransformerConfig) -> Table:
    table: dict[str, list[Piece]] = {
        "embedding.weight": [Piece("model.transformer.wte.weight")],
        "norm.weight": [Piece("model.transformer.ln_f.weight")],
        "blocks.{i}.attention_norm.weight": [Piece(_BLOCK + "attn_norm.weight")],
        "blocks.{i}.mlp_norm.weight": [Piece(_BLOCK + "ff_norm.weight")],
    }
    parts = {
        "blocks.{i}.attention.qkv": [_BLOCK + "q_proj", _BLOCK + "k_proj", _BLOCK + "v_proj"],
        "blocks.{i}.attention.out": [_BLOCK + "attn_out"],
        "blocks.{i}.mlp.gate": [_BLOCK + "ff_proj"],
        "blocks.{i}.mlp.up": [_BLOCK + "up_proj"],
        "blocks.{i}.mlp.down": [_BLOCK + "ff_out"],
        "head": ["model.transformer.ff_out"],
    }
    for kind in ("weight", "bias"):
        table |= {f"{ours}.{kind}": [Piece(f"{name}.{kind}") for name in names] for ours, names in parts.items()}
    return table


LLADA = Family(
    name="LLaDA",
    model_types=("llada",),
    read=_read,
    table=_table,
    rows="embedding_size",
    strategy="llada",
    source="Nie et al. 2025, LLaDA (2502.09992)",
)
