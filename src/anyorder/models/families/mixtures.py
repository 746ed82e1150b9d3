"""LLaDA2: block-causal, with a mixture of experts in all blocks but the first few.

Its configuration does not state the size of its blocks; 32 is what its authors decode with.

Bie et al. 2025, "LLaDA2.0: Scaling Up Diffusion Language Models to 100B" (2512.15745).
"""

from __future__ import annotations

from typing import Any

from anyorder.models.families.family import ACTIVATIONS, MOST_LAYERS, Family, Piece, Settings, Table
from anyorder.models.transformer_config import Experts, TransformerConfig

MOST_EXPERTS = 4096
_LAYER = "model.layers.{i}."


def _read(settings: Settings) -> dict[str, Any]:
    settings.want("norm_head", False, False)
    settings.want("use_sliding_window", False, False)
    settings.want("score_function", "sigmoid", "sigmoid")
    settings.want("norm_topk_prob", True, True)
    heads, width = settings.integer("num_attention_heads"), settings.integer("hidden_size")
    head_width = settings.integer("head_dim", max(width // heads, 1))
    share = settings.number("partial_rotary_factor", 0.5)
    if share > 1:
        raise settings.error(f"partial_rotary_factor must be at most 1, not {share}")
    expert_width = settings.integer("moe_intermediate_size")
    experts = Experts(
        count=settings.integer("num_experts", most=MOST_EXPERTS),
        active=settings.integer("num_experts_per_tok"),
        width=expert_width,
        shared_width=expert_width * settings.integer("num_shared_experts", 0, least=0, most=MOST_EXPERTS),
        groups=settings.integer("n_group", 8),
        open_groups=settings.integer("topk_group", 4),
        scale=settings.number("routed_scaling_factor", 2.5),
        dense_blocks=settings.integer("first_k_dense_replace", 0, least=0),
    )
    return {
        "layers": settings.integer("num_hidden_layers", most=MOST_LAYERS),
        "heads": heads,
        "kv_heads": settings.integer("num_key_value_heads", heads),
        "head_width": head_width,
        "width": width,
        "mlp_width": settings.integer("intermediate_size", expert_width),
        "length": settings.integer("max_position_embeddings"),
        "attention": "block-causal",
        "block_size": settings.integer("block_size", settings.integer("block_length", 32)),
        "rotary_base": settings.rotary_base(),
        "rotary_width": int(head_width * share),
        "norm_epsilon": settings.number("rms_norm_eps", 1e-5),
        "mlp": "gated",
        "activation": settings.choice("hidden_act", "silu", ACTIVATIONS),
        "experts": experts,
        "qk_norm": settings.flag("use_qk_norm", True),
        "attention_bias": settings.flag("use_qkv_bias", False),
        "output_bias": settings.flag("use_bias", True),
        "tied_head": settings.flag("tie_word_embeddings", False),
    }


def _table(config: TransformerConfig) -> Table:
    attention, mlp = _LAYER + "attention.", _LAYER + "mlp."
    count = 0 if config.experts is None else config.experts.count
    table: dict[str, list[Piece]] = {
        "embedding.weight": [Piece("model.word_embeddings.weight")],
        "norm.weight": [Piece("model.norm.weight")],
        "head.weight": [Piece("lm_head.weight")],
        "blocks.{i}.attention_norm.weight": [Piece(_LAYER + "input_layernorm.weight")],
        "blocks.{i}.mlp_norm.weight": [Piece(_LAYER + "post_attention_layernorm.weight")],
        "blocks.{i}.attention.query_norm.weight": [Piece(attention + "query_layernorm.weight")],
        "blocks.{i}.attention.key_norm.weight": [Piece(attention + "key_layernorm.weight")],
        "blocks.{i}.mlp.router": [Piece(mlp + "gate.weight")],
        "blocks.{i}.mlp.router_bias": [Piece(mlp + "gate.expert_bias")],
    }
    for kind in ("weight", "bias"):
        table[f"blocks.{{i}}.attention.qkv.{kind}"] = [Piece(attention + f"query_key_value.{kind}")]
        table[f"blocks.{{i}}.attention.out.{kind}"] = [Piece(attention + f"dense.{kind}")]
    for part in ("gate", "up", "down"):
        table[f"blocks.{{i}}.mlp.{part}.weight"] = [Piece(mlp + f"{part}_proj.weight")]
        table[f"blocks.{{i}}.mlp.shared.{part}.weight"] = [Piece(mlp + f"shared_experts.{part}_proj.weight")]
        table[f"blocks.{{i}}.mlp.{part}"] = [Piece(f"{mlp}experts.{e}.{part}_proj.weight") for e in range(count)]
    return table


LLADA2 = Family(
    name="LLaDA2",
    model_types=("llada2_moe",),
    read=_read,
    table=_table,
    ignored=("*.rotary_emb.inv_freq",),
    tokens={"mask": "<|mask|>", "end": "<|endoftext|>", "pad": "<|endoftext|>"},
    source="Bie et al. 2025, LLaDA2.0 (2512.15745)",
)
