"""Looking ahead: try the best few positions, and see what each would tell about the rest.

Deciding position i costs its entropy H_i now and leaves the rest with a mean entropy H(i) then. Of the ``candidates``
best positions of an order, the one with the smallest

    J(i) = H_i + H(i)

comes first: minus the information gain, up to what is the same for all i. H(i) takes one evaluation for each
candidate, of the state in which i has its most probable token, and is the mean over what is then open in the window.
All others follow in the order's own way.

The evaluations are counted (`Decoded.nfe`). A row whose best position has a probability of at least ``sure`` is not
looked ahead for: there is nothing to choose.

Source: Yang et al., "Improving Sampling for Masked Diffusion Models via Information Gain" (2602.18176).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from anyorder.planning.board import Board, Ranking
from anyorder.planning.orders import Margin, Order, check_order, order_draws, order_view
from anyorder.planning.settings import View, check_count, check_number
from anyorder.planning.statistics import statistics

if TYPE_CHECKING:
    from jaxtyping import Float64
    from torch import Tensor

_UNITS = 2.0**32


@dataclass(frozen=True)
class Lookahead:
    """Another order, but its best few positions are ranked by cost now and uncertainty after; see the module.

    Args:
        order: the order that proposes.
        candidates: how many positions are tried, each for one evaluation.
        sure: no looking ahead from this probability of the best position on.
    """

    order: Order = Margin()  # noqa: RUF009 (frozen)
    candidates: int = 8
    sure: float = 0.9

    def __post_init__(self) -> None:
        check_order(self, self.order)
        check_count(self, "candidates", self.candidates, 2)
        check_number(self, "sure", self.sure, 0, 1)

    @property
    def draws(self) -> bool:
        return order_draws(self.order)

    @property
    def view(self) -> View:
        return order_view(self.order)

    @property
    def asks(self) -> bool:
        return True

    def __call__(self, board: Board) -> Float64[Tensor, "rows length"]:
        assert board.ask is not None
        ranking = Ranking.of(self.order(board), board.candidates)
        order = ranking.order
        width = min(self.candidates, order.shape[1])
        first = order[:, :width]
        best = board.model.one_minus_probability.gather(1, first[:, :1])
        tried = ranking.is_ranked[:, :width] & (ranking.count > 1)[:, None] & (best > 1 - self.sure)
        score = torch.full(first.shape, torch.inf, dtype=torch.float64, device=first.device)
        if bool(tried.any()):
            score[tried] = self._score(board, tried, first)
        # The tried ones by their score, then all others as they stood.
        front = first.gather(1, score.sort(dim=1, stable=True).indices)
        order = torch.cat((front, order[:, width:]), dim=1)
        ranks = torch.arange(order.shape[1], device=order.device, dtype=torch.float64)
        return torch.empty(order.shape, dtype=torch.float64, device=order.device).scatter_(
            1, order, -ranks.expand(order.shape)
        )

    def _score(self, board: Board, tried: Tensor, first: Tensor) -> Float64[Tensor, " states"]:
        """J of every position tried, row-major."""
        assert board.ask is not None
        rows, rank = tried.nonzero(as_tuple=True)
        position = first[rows, rank][:, None]
        tokens = board.tokens[rows].scatter(1, position, board.model.token[rows].gather(1, position))
        left = board.open[rows].scatter(1, position, False)
        asked = board.ask(rows, tokens, left)
        after = statistics(asked.logits, asked.cut).lay_out(asked.at, asked.shape)
        # The sum is of integers, so that it does not depend on the padding.
        total = (after.entropy.masked_fill(~left, 0) * _UNITS).round().long().sum(dim=1)
        mean = total.double() / _UNITS / left.sum(dim=1).clamp(min=1)
        return board.model.entropy[rows].gather(1, position).squeeze(1) + mean
