"""The loss of one masked diffusion model along a fixed order, place by place.

Form 3 of the objective with one permutation pi is a sum over the places j = 0, ..., L - 1 of

    S(j) = -log p(x^pi(j) | x^pi(0), ..., x^pi(j-1)),     everything from place j on masked.

``core.objectives.order_loss`` sums all of it, in L network calls for each row. Here single places are asked for: with
places drawn uniformly inside equal strata, the mean of what they cost is an unbiased estimate of the loss per position
along pi, and shows where in the order it arises.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.3 and figure 2 (right).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from anyorder.core.errors import UserError
from anyorder.core.objectives import cross_entropy
from anyorder.evaluation.batching import batches

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64
    from torch import Tensor

    from anyorder.core.denoiser import Denoiser


def places_in_strata(length: int, strata: int, rows: int, generator: torch.Generator) -> Int64[Tensor, "rows strata"]:
    """For each row one place in each of ``strata`` nearly equal parts of 0..length-1, uniform inside the part.

    Raises:
        UserError: more strata than places, or none.
    """
    if not 1 <= strata <= length:
        raise UserError(f"{length} places can be cut into 1 to {length} strata, not {strata}")
    edges = torch.arange(strata + 1) * length // strata
    u = torch.rand(rows, strata, dtype=torch.float64, generator=generator)
    return edges[:-1] + (u * (edges[1:] - edges[:-1])).long()


@torch.no_grad()
def losses_at(
    denoiser: Denoiser,
    tokens: Int64[Tensor, "b L"],
    permutation: Int64[Tensor, " L"],
    places: Int64[Tensor, "b k"],
    *,
    batch_size: int = 32,
) -> Float64[Tensor, "b k"]:
    """S(j) in nats for row b and the places j of ``places[b]``, (b, k) float64 on the CPU.

    ``batch_size`` states are asked for together, each with one position.

    Raises:
        UserError: no permutation of the L positions, or a place outside 0..L-1.
    """
    rows, length = tokens.shape
    pi = permutation.to(tokens.device)
    if pi.shape != (length,) or not bool((pi.sort().values == torch.arange(length, device=pi.device)).all()):
        raise UserError(f"a permutation of {length} positions must hold each of 0..{length - 1} once")
    if places.shape[0] != rows or bool((places < 0).any()) or bool((places >= length).any()):
        raise UserError(f"places must lie in 0..{length - 1}, with one row of them for each of the {rows} sequences")
    rank = pi.argsort()
    row = torch.arange(rows).repeat_interleave(places.shape[1])
    place = places.flatten()
    losses = torch.empty(len(place), dtype=torch.float64)
    for part in batches(len(place), batch_size):
        chosen = tokens[row[part].to(tokens.device)]
        j = place[part].to(tokens.device)[:, None]
        logits = denoiser(torch.where(rank >= j, denoiser.mask_token_id, chosen), at=rank == j)
        target = chosen.gather(1, pi[j])[:, 0]
        losses[part] = cross_entropy(logits, target, mask_token_id=denoiser.mask_token_id).double().cpu()
    return losses.view(places.shape)
