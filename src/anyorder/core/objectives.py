"""The training objective, and its equal forms written out for sequences small enough to enumerate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def cross_entropy(
    logits: Float[Tensor, "n v"], targets: Int[Tensor, " n"], *, mask_token_id: int | None = None
) -> Float[Tensor, " n"]:
    """-log p(target) in nats, one value per row of ``logits``, computed in float32 or better.

    With ``mask_token_id`` the mask token is cut from the distribution first, as decoding cuts it. A target that the
    model holds impossible (logit -inf) costs infinity.
    """
    if logits.dtype not in (torch.float32, torch.float64):
        logits = logits.float()
    if mask_token_id is not None:
        index = torch.tensor([mask_token_id], device=logits.device)
        logits = logits.index_fill(1, index, -torch.inf)
    return F.cross_entropy(logits, targets, reduction="none")


def masked_loss(
    logits: Float[Tensor, "n v"],
    targets: Int[Tensor, " n"],
    row_of: Int[Tensor, " n"],
    weight: Float[Tensor, " b"],
    *,
    mask_token_id: int | None = None,
    rows: int | Tensor | None = None,
) -> Float[Tensor, ""]:
    """The count form of the objective for a corrupted batch: mean NELBO per sequence, in nats, as a scalar.

    ``logits`` (n, vocabulary) and ``targets`` (n,) are those of the n masked positions in row-major order, ``row_of``
    (n,) the row of each, ``weight`` (b,) the weights of ``Corrupted``. The sum is divided by ``rows``, by default the
    b rows given; an accumulated or distributed step passes its global number of rows, so that splitting changes
    nothing.
    """
    losses = cross_entropy(logits, targets, mask_token_id=mask_token_id)
    return (losses * weight[row_of]).sum() / (len(weight) if rows is None else rows)
