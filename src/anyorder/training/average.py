"""The moving average of the weights, which is what gets evaluated and shipped.

    a <- a + (1 - d_s) (w - a),   d_s = min(d, (1 + s) / (10 + s)) at step s,

so that the first steps are averaged nearly evenly and the starting weights are soon forgotten.
"""

# The _foreach functions, which torch.optim is built from, are not in torch's public list.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor


class WeightAverage:
    """The moving average of named ``weights``, kept beside them (sharded as they are)."""

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self._weights = dict(weights)
        self.tensors = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after ``step`` steps."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        averages = [_local(tensor) for tensor in self.tensors.values()]
        torch._foreach_lerp_(averages, [_local(weight.detach()) for weight in self._weights.values()], share)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
