"""The loss of a masked batch as a module, so that DDP, FSDP, autocast and compilation wrap one forward call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anyorder.core.objectives import cross_entropy
from anyorder.training.dropout import key_dropout_by_row

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class MaskedLoss(nn.Module):
    """Sum over masked positions of ``weight * -log p(target)``, for a denoiser that is a module.

    A network that loops over its blocks offers ``training_logits(tokens, attention_mask=..., at=...)`` of shape
    (depths, n, vocabulary); its loss is the mean over the depths (``all_depths``) or that of the last one. The mask
    token is cut from the distribution, as decoding cuts it. Dropout layers of the model become keyed by row
    (``dropout``).
    """

    def __init__(self, model: nn.Module, *, all_depths: bool = True) -> None:
        super().__init__()
        self.model = model
        self.mask_token_id = int(model.mask_token_id)  # pyright: ignore[reportArgumentType]
        self.rows = key_dropout_by_row(model)
        self.all_depths = all_depths and hasattr(model, "training_logits")

    def forward(
        self,
        tokens: Int[Tensor, "b L"],
        targets: Int[Tensor, "b L"],
        masked: Bool[Tensor, "b L"],
        weight: Float[Tensor, " b"],
        seed: Int[Tensor, " b"],
        attention_mask: Bool[Tensor, "b L"] | None = None,
    ) -> Float[Tensor, "2"]:
        """(the loss to minimise, the loss at the last depth); the arguments are the fields of ``StepBatch``."""
        if self.rows is not None:
            self.rows.begin(seed)
        if self.all_depths:
            logits = self.model.training_logits(tokens, attention_mask=attention_mask, at=masked)  # pyright: ignore[reportCallIssue]
        else:
            logits = self.model(tokens, attention_mask=attention_mask, at=masked)[None]
        depths = len(logits)
        losses = cross_entropy(logits.flatten(0, 1), targets[masked].repeat(depths), mask_token_id=self.mask_token_id)
        by_depth = (losses.view(depths, -1) * weight[:, None].expand_as(masked)[masked]).sum(1)
        return torch.stack((by_depth.mean(), by_depth[-1].detach()))
