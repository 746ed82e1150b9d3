"""Tiny checkpoints in the published formats: config.json, shards with an index, tokenizer files.

Names and settings are written out as the publishers have them, so that they hold the library's tables to account.
Nothing here needs transformers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, HEADS, LAYERS, MLP = 32, 4, 2, 48
SPECIAL = ("<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")
_MORE = ("es", "st", "or", "te", "of", "ed", "is", "it", "al", "ar")
END, MASK, EOT, ROWS = 256 + 20, 256 + 21, 256 + 22, 288
LLADA_CHAT = (
    "{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' "
    "+ message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)


def byte_characters() -> list[str]:
    """The printable character that byte-level BPE writes for each byte."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in kept else chr(next(others)) for byte in range(256)]


def tokenizer_files(special: Sequence[str] = SPECIAL, chat: str | None = LLADA_CHAT) -> dict[str, Any]:
    """A byte-level BPE tokenizer with twenty merges; the special tokens come after."""
    letters = byte_characters()
    vocab = {letter: index for index, letter in enumerate(letters)}
    merges = []
    for pair in ("th", "he", "in", "er", "an", "re", "on", "at", "en", "nd", *_MORE):
        merges.append(f"{pair[0]} {pair[1]}")
        vocab[pair] = len(vocab)
    added = [
        {
            "id": len(vocab) + index,
            "content": content,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for index, content in enumerate(special)
    ]
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocab,
            "merges": merges,
        },
    }
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special[0],
        "eos_token": special[0],
        "pad_token": special[0],
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000,
    }
    if chat is not None:
        config["chat_template"] = chat
    return {"tokenizer.json": whole, "tokenizer_config.json": config}


def write(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    shards: int = 2,
    tokenizer: Mapping[str, Any] | None = None,
) -> Path:
    """A folder with these settings and tensors, in so many shards."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(tensors)
    files = {name: f"model-{index % shards + 1:05d}-of-{shards:05d}.safetensors" for index, name in enumerate(names)}
    if shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    else:
        for file in sorted(set(files.values())):
            part = {name: tensors[name].contiguous() for name in names if files[name] == file}
            save_file(part, folder / file, metadata={"format": "pt"})
        index = {"metadata": {"total_size": sum(t.nbytes for t in tensors.values())}, "weight_map": files}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(config))
    for name, content in (tokenizer_files() if tokenizer is None else tokenizer).items():
        (folder / name).write_text(json.dumps(content))
    return folder


def random_tensors(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Tensor]:
    """Weights with norms near one and everything else of a size that keeps activations alive."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        tensor = torch.randn(*shape, generator=generator)
        made[name] = 1 + 0.1 * tensor if "norm" in name.lower() and name.endswith("weight") else tensor * 0.15
        if "ln_f" in name:
            made[name] = 1 + 0.1 * tensor
    return made


LLADA_CONFIG: dict[str, Any] = {
    "activation_type": "silu",
    "alibi": False,
    "alibi_bias_max": 8.0,
    "architectures": ["LLaDAModelLM"],
    "attention_dropout": 0.0,
    "attention_layer_norm": False,
    "attention_layer_norm_with_affine": True,
    "auto_map": {"AutoModel": "modeling_llada.LLaDAModelLM"},
    "bias_for_layer_norm": False,
    "block_group_size": 1,
    "block_type": "llama",
    "d_model": WIDTH,
    "embedding_dropout": 0.0,
    "embedding_size": ROWS,
    "eos_token_id": END,
    "flash_attention": False,
    "include_bias": False,
    "include_qkv_bias": False,
    "init_device": "meta",
    "input_emb_norm": False,
    "layer_norm_type": "rms",
    "layer_norm_with_affine": True,
    "mask_token_id": MASK,
    "max_sequence_length": 4096,
    "mlp_hidden_size": MLP,
    "mlp_ratio": 4,
    "model_type": "llada",
    "multi_query_attention": None,
    "n_heads": HEADS,
    "n_kv_heads": HEADS,
    "n_layers": LAYERS,
    "pad_token_id": END,
    "precision": "amp_bf16",
    "residual_dropout": 0.0,
    "rms_norm_eps": 1e-05,
    "rope": True,
    "rope_full_precision": True,
    "rope_theta": 500000.0,
    "scale_logits": False,
    "use_cache": False,
    "vocab_size": ROWS,
    "weight_tying": False,
}


def llada_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.transformer.wte.weight": (ROWS, WIDTH)}
    for i in range(LAYERS):
        block = f"model.transformer.blocks.{i}."
        shapes |= {f"{block}{name}.weight": (WIDTH, WIDTH) for name in ("q_proj", "k_proj", "v_proj", "attn_out")}
        shapes |= {f"{block}{name}.weight": (WIDTH,) for name in ("attn_norm", "ff_norm")}
        shapes |= {f"{block}{name}.weight": (MLP, WIDTH) for name in ("ff_proj", "up_proj")}
        shapes[f"{block}ff_out.weight"] = (WIDTH, MLP)
    shapes["model.transformer.ln_f.weight"] = (WIDTH,)
    shapes["model.transformer.ff_out.weight"] = (ROWS, WIDTH)
    return shapes


def write_llada(folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float32, **settings: Any) -> Path:
    """LLaDA's format."""
    tensors = {name: tensor.to(dtype) for name, tensor in random_tensors(llada_shapes(), seed).items()}
    return write(folder, {**LLADA_CONFIG, **settings}, tensors)


DREAM_CONFIG: dict[str, Any] = {
    "architectures": ["DreamModel"],
    "attention_dropout": 0.0,
    "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
    "bos_token_id": END,
    "eos_token_id": END,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "initializer_range": 0.02,
    "intermediate_size": MLP,
    "mask_token_id": MASK,
    "max_position_embeddings": 131072,
    "max_window_layers": 28,
    "model_type": "Dream",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "pad_token_id": END,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": ROWS,
}


def decoder_shapes(
    *, qkv_bias: bool, qk_norm: bool = False, head_width: int = WIDTH // HEADS, kv_heads: int = 2
) -> dict[str, tuple[int, ...]]:
    """The tensors of a model built like Qwen."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (ROWS, WIDTH)}
    heads = {"q_proj": HEADS * head_width, "k_proj": kv_heads * head_width, "v_proj": kv_heads * head_width}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        for name, rows in heads.items():
            shapes[f"{layer}self_attn.{name}.weight"] = (rows, WIDTH)
            if qkv_bias:
                shapes[f"{layer}self_attn.{name}.bias"] = (rows,)
        shapes[f"{layer}self_attn.o_proj.weight"] = (WIDTH, HEADS * head_width)
        if qk_norm:
            shapes |= {f"{layer}self_attn.{name}.weight": (head_width,) for name in ("q_norm", "k_norm")}
        shapes |= {f"{layer}mlp.{name}.weight": (MLP, WIDTH) for name in ("gate_proj", "up_proj")}
        shapes[f"{layer}mlp.down_proj.weight"] = (WIDTH, MLP)
        shapes |= {f"{layer}{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
    shapes["model.norm.weight"] = (WIDTH,)
    shapes["lm_head.weight"] = (ROWS, WIDTH)
    return shapes


def write_dream(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Dream's format."""
    tensors = random_tensors(decoder_shapes(qkv_bias=True), seed)
    return write(folder, {**DREAM_CONFIG, **settings}, tensors, shards=3)


SDAR_CONFIG: dict[str, Any] = {
    **{k: v for k, v in DREAM_CONFIG.items() if k not in ("auto_map", "architectures")},
    "architectures": ["SDARForCausalLM"],
    "attention_bias": False,
    "block_size": 4,
    "head_dim": 16,
    "model_type": "sdar",
}


def write_sdar(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """SDAR's format."""
    tensors = random_tensors(decoder_shapes(qkv_bias=False, qk_norm=True, head_width=16), seed)
    return write(folder, {**SDAR_CONFIG, **settings}, tensors)


LLADA2_CONFIG: dict[str, Any] = {
    "architectures": ["LLaDA2MoeModelLM"],
    "attention_dropout": 0.0,
    "eos_token_id": END,
    "first_k_dense_replace": 1,
    "head_dim": 8,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "intermediate_size": MLP,
    "max_position_embeddings": 16384,
    "model_type": "llada2_moe",
    "moe_intermediate_size": 12,
    "n_group": 4,
    "norm_topk_prob": True,
    "num_attention_heads": HEADS,
    "num_experts": 16,
    "num_experts_per_tok": 3,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "num_shared_experts": 1,
    "pad_token_id": END,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 600000,
    "routed_scaling_factor": 2.5,
    "score_function": "sigmoid",
    "tie_word_embeddings": False,
    "topk_group": 2,
    "use_bias": False,
    "use_qk_norm": True,
    "use_qkv_bias": False,
    "vocab_size": ROWS,
}


def llada2_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"model.word_embeddings.weight": (ROWS, WIDTH)}

    def mlp(stem: str, width: int) -> dict[str, tuple[int, ...]]:
        wide = {f"{stem}{name}_proj.weight": (width, WIDTH) for name in ("gate", "up")}
        return {**wide, f"{stem}down_proj.weight": (WIDTH, width)}

    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        shapes[f"{layer}attention.query_key_value.weight"] = ((HEADS + 4) * 8, WIDTH)
        shapes[f"{layer}attention.dense.weight"] = (WIDTH, HEADS * 8)
        shapes |= {f"{layer}attention.{name}_layernorm.weight": (8,) for name in ("query", "key")}
        shapes |= {f"{layer}{name}.weight": (WIDTH,) for name in ("input_layernorm", "post_attention_layernorm")}
        if i == 0:
            shapes |= mlp(f"{layer}mlp.", MLP)
            continue
        shapes[f"{layer}mlp.gate.weight"], shapes[f"{layer}mlp.gate.expert_bias"] = (16, WIDTH), (16,)
        for expert in range(16):
            shapes |= mlp(f"{layer}mlp.experts.{expert}.", 12)
        shapes |= mlp(f"{layer}mlp.shared_experts.", 12)
    shapes["model.norm.weight"] = (WIDTH,)
    shapes["lm_head.weight"] = (ROWS, WIDTH)
    return shapes


def write_llada2(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """LLaDA2's format; its mask is in the tokenizer's files alone."""
    special = ("<|endoftext|>", "<|mask|>", *SPECIAL[2:])
    tensors = random_tensors(llada2_shapes(), seed)
    return write(folder, {**LLADA2_CONFIG, **settings}, tensors, tokenizer=tokenizer_files(special))
