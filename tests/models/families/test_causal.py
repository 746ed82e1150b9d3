"""Any causal model of transformers is a denoiser: both sides are seen, padding is not, our own network agrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import anyorder as ao
from anyorder.models.families.causal import BothSides, open_causal

transformers = pytest.importorskip("transformers")

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60}
CONFIGS: dict[str, dict[str, Any]] = {
    "Qwen2": {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 60, "n_positions": 64},
    "GPTNeoX": {**SIZES, "intermediate_size": 48},
    "Gemma2": {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8},
    "Olmo2": {**SIZES, "intermediate_size": 48, "num_key_value_heads": 2},
}


def save(name: str, folder: Path) -> Path:
    torch.manual_seed(0)
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = getattr(transformers, f"{name}Config")(**CONFIGS[name], **ids)
    stem = {"GPT2": "GPT2LMHeadModel"}.get(name, f"{name}ForCausalLM")
    getattr(transformers, stem)(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", CONFIGS)
def test_both_sides_are_seen_and_padding_is_not(tmp_path: Path, name: str) -> None:
    model = open_causal(save(name, tmp_path / name))
    assert (model.mask_token_id, model.vocab_size) == (60, 61)
    tokens = torch.randint(60, (2, 9))
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask, at=mask)
        alone = model(tokens[1:, :6])
        changed = tokens.clone()
        changed[0, -1] = (changed[0, -1] + 1) % 60
        other = model(changed, attention_mask=mask, at=mask)
    assert logits.shape == (15, 61)
    torch.testing.assert_close(logits[9:], alone, atol=1e-5, rtol=1e-5)
    assert float((logits[:9] - other[:9]).abs().amax(1).min()) > 0
    result = ao.decode(model, ao.Canvas(tokens, mask & (tokens % 2 == 0), mask))
    assert not (result.tokens[result.state == ao.DECIDED] == 60).any()


def test_it_equals_our_own_network(tmp_path: Path) -> None:
    folder = save("Qwen2", tmp_path / "qwen2")
    theirs, ours = open_causal(folder), ao.from_pretrained(folder)
    tokens = torch.randint(61, (2, 9))
    mask = torch.arange(8, -1, -1) < torch.tensor([[9], [6]])
    with torch.no_grad():
        expected = theirs(tokens, attention_mask=mask, at=mask)
        torch.testing.assert_close(ours(tokens, attention_mask=mask, at=mask), expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_a_denoiser_is_refused(tmp_path: Path) -> None:
    folder = save("Qwen2", tmp_path / "qwen2")
    with pytest.raises(ao.UserError, match="mask_token_id 60 must lie in the vocabulary of 60"):
        open_causal(folder, mask_token=60)
    with pytest.raises(ao.UserError, match="cannot be opened by transformers"):
        open_causal(tmp_path / "nothing")

    class Deaf(nn.Module):
        """Looks at each token alone."""

        def __init__(self) -> None:
            super().__init__()
            self.config = transformers.Qwen2Config(**CONFIGS["Qwen2"])
            self.table = nn.Embedding(60, 8)
            self.dtype, self.device, self.base_model = torch.float32, torch.device("cpu"), self.look

        def get_output_embeddings(self) -> nn.Module:
            return self.table

        def look(self, tokens: torch.Tensor, **options: Any) -> Any:
            return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=self.table(tokens))

    with pytest.raises(ao.UserError, match="Deaf stays causal"):
        BothSides(Deaf(), 3)
