"""What the next log record is made of: sums since the last one, which checkpoints carry."""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from anyorder.core.errors import UserError


class RunningSums:
    """Sums of loss and gradient norm since the last log record, kept on the device and in the checkpoints.

    Each process sums the losses of its own rows; the gradient norm is the same everywhere.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.losses = torch.zeros(2, dtype=torch.float64, device=accelerator.device)
        self.norm = torch.zeros(1, dtype=torch.float64, device=accelerator.device)
        self.count = 0

    def add(self, losses: Tensor, norm: Tensor) -> None:
        self.losses += losses
        self.norm += norm
        self.count += 1

    def dump(self) -> dict[str, Any]:
        """The sums over all processes, which the first one carries on alone. Every process must call it."""
        self.losses = torch.as_tensor(self._accelerator.reduce(self.losses, "sum"))
        values = {"losses": self.losses.tolist(), "norm": self.norm.item(), "count": self.count}
        if not self._accelerator.is_main_process:
            self.losses = torch.zeros_like(self.losses)
        if not all(map(math.isfinite, (*values["losses"], values["norm"]))):
            raise UserError("the loss or its gradient is not finite; lower the rates (the last checkpoint is intact)")
        return values

    def load(self, values: dict[str, Any]) -> None:
        """Go on from the sums of a checkpoint."""
        share = 1.0 if self._accelerator.is_main_process else 0.0
        self.losses.copy_(share * torch.tensor(values["losses"], dtype=torch.float64))
        self.norm.fill_(values["norm"])
        self.count = int(values["count"])

    def take(self, depths: int) -> dict[str, float]:
        """The means, and begin anew."""
        values = self.dump()
        mean, last = (value / self.count for value in values["losses"])
        means = {"loss": mean, "gradient_norm": values["norm"] / self.count}
        if depths > 1:
            means["loss_last_depth"] = last
        self.losses.zero_()
        self.norm.zero_()
        self.count = 0
        return means
