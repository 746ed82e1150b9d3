"""Dropout that does not depend on how a batch is cut.

Torch's dropout draws from a generator, so a row's mask depends on its place in the micro-batch and on everything drawn
before. Here the mask is a hash (``core.randomness``) of the row's seed, the layer, the number of the application within
the forward pass, and the place in the row: the same for any number of processes and micro-batches.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from anyorder.core.randomness import Purpose, fold, uniform

if TYPE_CHECKING:
    from jaxtyping import Float, Int


class RowSeeds:
    """The seeds of the rows in the network now, shared by all its dropout layers."""

    def __init__(self) -> None:
        self.seeds: Tensor | None = None
        self.applications = 0

    def begin(self, seeds: Int[Tensor, " b"]) -> None:
        """A forward pass of these rows begins."""
        self.seeds, self.applications = seeds, 0


class RowDropout(nn.Module):
    """In training mode, zero a share ``p`` of the entries of (b, ...), keyed by row; scale the rest by 1 / (1 - p)."""

    def __init__(self, p: float, rows: RowSeeds) -> None:
        super().__init__()
        self.p, self.rows = p, rows

    def forward(self, hidden: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """``hidden`` with its row-keyed mask; unchanged in evaluation mode."""
        if not self.training:
            return hidden
        if self.rows.seeds is None or len(self.rows.seeds) != len(hidden):
            raise RuntimeError("dropout needs one seed for each row: call RowSeeds.begin before the network")
        place = torch.arange(math.prod(hidden.shape[1:]), device=hidden.device)
        drawn = uniform(self.rows.seeds[:, None], Purpose.NOISE, place, self.rows.applications)
        self.rows.applications += 1
        kept = (drawn >= self.p).view(hidden.shape)
        return torch.where(kept, hidden / (1 - self.p), 0.0)


def key_dropout_by_row(model: nn.Module) -> RowSeeds | None:
    """Replace every ``nn.Dropout`` of ``model`` with a positive share by a ``RowDropout``; None when there is none."""
    rows, found = RowSeeds(), False
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout) and child.p > 0:
                setattr(module, name, RowDropout(child.p, rows))
                found = True
    return rows if found else None


def dropout_seeds(seed: int, rows: int) -> Int[Tensor, " rows"]:
    """The dropout seeds of the rows of one step's global batch."""
    return fold(seed, torch.arange(rows))
