"""Any causal language model of transformers, opened as a bidirectional denoiser (extra ``hf``).

For models outside of the families that load into our own network, and for adaptation: the model attends to both sides,
position i is read from i - 1 as it was trained to predict the next token, and the mask is a token of its vocabulary.
Untrained for it, the model is a poor denoiser; training makes it one.

Gong et al. 2024, "Scaling Diffusion Language Models via Adaptation from Autoregressive Models" (2410.17891).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from anyorder.core.errors import UserError
from anyorder.models.families.family import extra
from anyorder.models.transformer_layers import padded_rows, token_positions

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Int64


class BothSides(nn.Module):
    """A causal model of transformers as a denoiser that attends to both sides.

    Args:
        model: a causal language model made by transformers.
        mask_token_id: a token of its vocabulary that serves as the mask.
        shift: whether position i is read from i - 1, as a model that predicts the next token must be.

    Raises:
        UserError: a mask token beyond the vocabulary, or a model that cannot be told to attend to both sides.
    """

    def __init__(self, model: Any, mask_token_id: int, *, shift: bool = True) -> None:
        super().__init__()
        self.model, self.mask_token_id, self.shift = model, mask_token_id, shift
        self.vocab_size = int(model.config.get_text_config().vocab_size)
        if not 0 <= mask_token_id < self.vocab_size:
            raise UserError(f"mask_token_id {mask_token_id} must lie in the vocabulary of {self.vocab_size} tokens")
        if model.get_output_embeddings() is None:
            raise UserError(f"{type(model).__name__} has no output embeddings; open a causal language model")
        for module in model.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False
        self._check()

    def forward(
        self,
        tokens: Int64[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"] | None = None,
    ) -> Float32[Tensor, "n vocab"]:
        """Logits in float32 for the positions of ``at`` (all when None), row-major."""
        hidden = self._hidden(tokens, attention_mask)
        if self.shift:
            shifted = torch.cat((hidden[:, :1], hidden[:, :-1]), dim=1)
            if attention_mask is not None:
                first = attention_mask & (attention_mask.long().cumsum(1) == 1)
                shifted = torch.where(first[:, :, None], hidden, shifted)
            hidden = shifted
        rows = hidden.flatten(0, 1) if at is None else hidden[at]
        count = len(rows)
        return self.model.get_output_embeddings()(padded_rows(rows))[:count].float()

    def _hidden(self, tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
        length, device = tokens.shape[1], tokens.device
        real = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
        seen = real[:, None, None, :] | torch.eye(length, dtype=torch.bool, device=device)
        dtype = self.model.dtype
        # A mask of four axes is taken as it is; only so do all of transformers' models attend to both sides.
        mask = torch.zeros(len(tokens), 1, length, length, dtype=dtype, device=device)
        mask = mask.masked_fill(~seen, torch.finfo(dtype).min)
        positions = token_positions(tokens, attention_mask)
        body = self.model.base_model
        return body(tokens, attention_mask=mask, position_ids=positions, use_cache=False).last_hidden_state

    @torch.no_grad()
    def _check(self) -> None:
        """The first position must hear of the last."""
        tokens = torch.zeros(2, 4, dtype=torch.int64, device=self.model.device)
        tokens[1, -1] = 1
        training = self.model.training
        self.model.eval()
        try:
            hidden = self._hidden(tokens, None)
        except (TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{type(self.model).__name__} cannot attend to both sides: {reason}") from None
        finally:
            self.model.train(training)
        if torch.equal(hidden[0, 0], hidden[1, 0]):
            raise UserError(f"{type(self.model).__name__} stays causal whatever the mask says; it cannot be a denoiser")


def open_causal(
    name: str | Path,
    *,
    mask_token: str | int | None = None,
    shift: bool = True,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> BothSides:
    """Open a causal model of transformers as a bidirectional denoiser.

    Args:
        name: a folder or hub id. No code of it is run.
        mask_token: the mask, as the tokenizer spells it or by its id; None adds a token, which starts at the mean of
            all others.
        shift: whether position i is read from i - 1.
        device, dtype: of the weights; None leaves the number format as it is stored.

    Raises:
        UserError: transformers is not installed, no such model, or it cannot be a denoiser.
    """
    transformers = extra("transformers", "a model of transformers")
    options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype or "auto", **options)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{name} cannot be opened by transformers: {' '.join(str(error).split())}") from None
    if isinstance(mask_token, str):
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        found = tokenizer.get_vocab().get(mask_token)
        if found is None:
            raise UserError(f"{name}: its tokenizer has no token {mask_token!r} to serve as the mask")
        mask_token = int(found)
    if mask_token is None:
        mask_token = int(model.config.get_text_config().vocab_size)
        with torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(mask_token + 1, mean_resizing=False)
        with torch.no_grad():
            for layer in {id(m): m for m in (model.get_input_embeddings(), model.get_output_embeddings())}.values():
                layer.weight[mask_token] = layer.weight[:mask_token].float().mean(0).to(layer.weight.dtype)
    return BothSides(model.to(device).eval(), mask_token, shift=shift)
