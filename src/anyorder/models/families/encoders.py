"""Masked language models: BERT and ModernBERT.

BERT normalises after each branch and after the embedding; its segment vector is the same everywhere here (the first
segment) and is added to the position vectors. ModernBERT normalises before, except in its first layer, and most of its
layers look at a neighbourhood only, with rotary phases of their own. Both read the vocabulary through a small layer.

Devlin et al. 2018, "BERT" (1810.04805); Warner et al. 2024, "ModernBERT" (2412.13663).
"""

from __future__ import annotations

from typing import Any

from anyorder.models.families.family import ACTIVATIONS, Family, Piece, Settings, Table
from anyorder.models.families.family import MOST_LAYERS as LAYERS
from anyorder.models.transformer_config import TransformerConfig

_BERT = "bert.encoder.layer.{i}."
_MODERN = "model.layers.{i}."
_TOKENS = {"mask": "[MASK]", "end": "[SEP]", "pad": "[PAD]"}


def _read_bert(settings: Settings) -> dict[str, Any]:
    settings.want("position_embedding_type", "absolute", "absolute")
    settings.want("is_decoder", False, False)
    return {
        "layers": settings.integer("num_hidden_layers", 12, most=LAYERS),
        "heads": settings.integer("num_attention_heads", 12),
        "width": settings.integer("hidden_size", 768),
        "mlp_width": settings.integer("intermediate_size", 3072),
        "length": settings.integer("max_position_embeddings", 512),
        "positions": "learned",
        "norm": "layer",
        "norm_place": "after",
        "embedding_norm": True,
        "norm_epsilon": settings.number("layer_norm_eps", 1e-12),
        "activation": settings.choice("hidden_act", "gelu", ACTIVATIONS),
        "attention_bias": True,
        "output_bias": True,
        "mlp_bias": True,
        "head_layer": True,
        "head_layer_bias": True,
        "tied_head": settings.flag("tie_word_embeddings", True),
        "head_bias": True,
    }


def _table_bert(config: TransformerConfig) -> Table:
    attention, head = _BERT + "attention.", "cls.predictions."
    table: dict[str, list[Piece]] = {
        "embedding.weight": [Piece("bert.embeddings.word_embeddings.weight")],
        "position_embedding.weight": [
            Piece("bert.embeddings.position_embeddings.weight"),
            Piece("bert.embeddings.token_type_embeddings.weight", row=0, add=True),
        ],
        "head.weight": [Piece(head + "decoder.weight")],
        "head_bias" if config.tied_head else "head.bias": [Piece(head + "bias")],
    }
    parts = {
        "embedding_norm": ["bert.embeddings.LayerNorm"],
        "blocks.{i}.attention.qkv": [attention + f"self.{name}" for name in ("query", "key", "value")],
        "blocks.{i}.attention.out": [attention + "output.dense"],
        "blocks.{i}.attention_norm": [attention + "output.LayerNorm"],
        "blocks.{i}.mlp.up": [_BERT + "intermediate.dense"],
        "blocks.{i}.mlp.down": [_BERT + "output.dense"],
        "blocks.{i}.mlp_norm": [_BERT + "output.LayerNorm"],
        "head_layer.dense": [head + "transform.dense"],
        "head_layer.norm": [head + "transform.LayerNorm"],
    }
    for kind in ("weight", "bias"):
        table |= {f"{ours}.{kind}": [Piece(f"{name}.{kind}") for name in names] for ours, names in parts.items()}
    return table


def _read_modern(settings: Settings) -> dict[str, Any]:
    layers = settings.integer("num_hidden_layers", 22, most=LAYERS)
    every = settings.integer("global_attn_every_n_layers", 3)
    kinds = settings.values.get("layer_types")
    if kinds is not None:
        every = _every(settings, kinds, layers)
    full, local = 160_000.0, 10_000.0
    parameters = settings.values.get("rope_parameters")
    if isinstance(parameters, dict) and {"full_attention", "sliding_attention"} <= set(parameters):
        bases = []
        for kind, default in (("full_attention", full), ("sliding_attention", local)):
            inner = parameters[kind]
            if not isinstance(inner, dict):
                raise settings.error(f"rope_parameters {kind} must be a mapping")
            bases.append(Settings({"rope_parameters": inner}, settings.path).rotary_base(default))
        full, local = bases
    else:
        full, local = settings.number("global_rope_theta", full), settings.number("local_rope_theta", local)
    bias = settings.flag("attention_bias", False)
    return {
        "layers": layers,
        "heads": settings.integer("num_attention_heads", 12),
        "width": settings.integer("hidden_size", 768),
        "mlp_width": settings.integer("intermediate_size", 1152),
        "length": settings.integer("max_position_embeddings", 8192),
        "rotary_base": full,
        "local_rotary_base": local,
        "local_reach": settings.integer("local_attention", 128, least=2) // 2,
        "global_every": every,
        "norm": "layer",
        "norm_bias": settings.flag("norm_bias", False),
        "first_norm": False,
        "embedding_norm": True,
        "norm_epsilon": settings.number("norm_eps", 1e-5),
        "mlp": "gated",
        "activation": settings.choice("hidden_activation", "gelu", ACTIVATIONS),
        "attention_bias": bias,
        "output_bias": bias,
        "mlp_bias": settings.flag("mlp_bias", False),
        "head_layer": True,
        "head_layer_bias": settings.flag("classifier_bias", False),
        "tied_head": settings.flag("tie_word_embeddings", True),
        "head_bias": settings.flag("decoder_bias", True),
    }


def _every(settings: Settings, kinds: object, layers: int) -> int:
    """How far apart the layers are that see everything, when the file lists the kind of every layer."""
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise settings.error("layer_types must name the kind of every layer")
    full = [index for index, kind in enumerate(kinds) if kind == "full_attention"]
    every = [*full, layers, layers][1] if full else 0
    expected = ["sliding_attention" if every and index % every else "full_attention" for index in range(layers)]
    if not full or kinds != expected:
        raise settings.error("layer_types must have full_attention first and then at equal distances")
    return every


def _table_modern(config: TransformerConfig) -> Table:
    table: dict[str, list[Piece]] = {
        "embedding.weight": [Piece("model.embeddings.tok_embeddings.weight")],
        "head.weight": [Piece("decoder.weight")],
        "head_bias" if config.tied_head else "head.bias": [Piece("decoder.bias")],
    }
    for kind in ("weight", "bias"):
        table |= {
            f"embedding_norm.{kind}": [Piece(f"model.embeddings.norm.{kind}")],
            f"norm.{kind}": [Piece(f"model.final_norm.{kind}")],
            f"blocks.{{i}}.attention_norm.{kind}": [Piece(_MODERN + f"attn_norm.{kind}")],
            f"blocks.{{i}}.attention.qkv.{kind}": [Piece(_MODERN + f"attn.Wqkv.{kind}")],
            f"blocks.{{i}}.attention.out.{kind}": [Piece(_MODERN + f"attn.Wo.{kind}")],
            f"blocks.{{i}}.mlp_norm.{kind}": [Piece(_MODERN + f"mlp_norm.{kind}")],
            f"blocks.{{i}}.mlp.gate.{kind}": [Piece(_MODERN + f"mlp.Wi.{kind}", chunk=(0, 2))],
            f"blocks.{{i}}.mlp.up.{kind}": [Piece(_MODERN + f"mlp.Wi.{kind}", chunk=(1, 2))],
            f"blocks.{{i}}.mlp.down.{kind}": [Piece(_MODERN + f"mlp.Wo.{kind}")],
            f"head_layer.dense.{kind}": [Piece(f"head.dense.{kind}")],
            f"head_layer.norm.{kind}": [Piece(f"head.norm.{kind}")],
        }
    return table


BERT = Family(
    name="BERT",
    model_types=("bert",),
    read=_read_bert,
    table=_table_bert,
    ignored=("bert.pooler.*", "cls.seq_relationship.*", "bert.embeddings.position_ids", "cls.predictions.decoder.bias"),
    renamed=((".gamma", ".weight"), (".beta", ".bias")),
    tokens=_TOKENS,
    tokenizer="BertTokenizer",
    source="Devlin et al. 2018, BERT (1810.04805)",
)
MODERN_BERT = Family(
    name="ModernBERT",
    model_types=("modernbert",),
    read=_read_modern,
    table=_table_modern,
    tokens=_TOKENS,
    source="Warner et al. 2024, ModernBERT (2412.13663)",
)
