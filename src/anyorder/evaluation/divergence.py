"""How far decoding several positions at once is from decoding them one at a time.

A step in state c decides the k positions of S at once: it draws from the product q(x_S | c) = prod_i p(x_i | c). One
at a time, in the order s_1, ..., s_k, they would be drawn from p(x_S | c) = prod_j p(x_{s_j} | c, x_{s_1..s_{j-1}}).
Let P be the law of a whole decode whose steps draw from p(x_S | c), and Q that of the decode as it is. Where the state
decides S, the two differ in the factors of the steps alone, so with states visited under P

    KL(P || Q) = E_P sum over steps of KL(p(. | c) || q(. | c)),

    KL(p || q) = E_{x_S ~ p} sum_j [log p(x_{s_j} | c, x_{s_1..s_{j-1}}) - log p(x_{s_j} | c)]
               = sum_i H_i - H(X_S),                                                                                 (1)

the total correlation of the step's positions (the last equality where the conditionals are those of one joint law).
Since H(X_S) >= max_i H_i,

    KL(p || q) <= sum_i H_i - max_i H_i <= (k - 1) lambda                                                            (2)

where every H_i is at most lambda: the bound that entropy-bounded decoding rests on (MED, EB-Sampler).

`divergence` estimates KL(P || Q): it decodes with any order, budget and window, but draws the tokens of a step one
after the other, given each other, which takes k - 1 further evaluations and makes the states those of P; and it
averages the bracket of (1). That is unbiased, and the rows are independent, so the standard error is that of a mean.
One sample can be negative; the mean is not, but for noise. `exact_divergence` sums (1) over all outcomes of one step.

Within a step the leftmost position comes first. An exact denoiser has the same p(x_S | c) for any order; a network's
conditionals need not agree with each other, and then P is one at a time in this order.

Source: the tables of "No Compute Left Behind" (2510.19990) report such divergences; Ben-Hamu et al. (2505.24857): (2).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import open_session
from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, uniform
from anyorder.decoding.decoder import stream
from anyorder.planning.board import Board, Drawn
from anyorder.planning.orders import order_draws
from anyorder.planning.samplers import Temperature, draw
from anyorder.planning.statistics import Cut

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int64

    from anyorder.core.denoiser import Denoiser

_MOST_OUTCOMES = 1 << 20


@dataclass(frozen=True)
class Divergence:
    """KL(one at a time || several at once) of decodes, in nats per sequence.

    Attributes:
        mean: over the rows.
        standard_error: of that mean; NaN for a single row.
        bound: mean over the rows of the sum over steps of sum H - max H.
        positions: mean number of positions decided in a step.
        steps: mean number of steps of a decode: its evaluations, those of the estimate not counted.
        rows: how many rows had something to fill.
    """

    mean: float
    standard_error: float
    bound: float
    positions: float
    steps: float
    rows: int


@torch.no_grad()
def divergence(denoiser: Denoiser, canvas: Canvas, *, seed: int | Tensor = 0, **parts: Any) -> Divergence:
    """Estimate KL(P || Q) of decodes with given parts, at temperature 1.

    Args:
        denoiser: the denoiser.
        canvas: what is filled. Every row is one sample; repeat rows for more.
        seed: as for `anyorder.decode`.
        parts: order, budget and window of `anyorder.decode`. The order must not look at drawn tokens.

    Raises:
        UserError: with other parts, and where nothing is unknown.
    """
    for name in ("sampler", "remask", "stop"):
        if parts.get(name) is not None:
            raise UserError(
                f"divergence: whole decodes at temperature 1 without taking back are compared; give no {name}"
            )
    if order_draws(parts.get("order")):
        raise UserError("divergence: the order must not look at drawn tokens, or it is no law of the state")
    if not bool(canvas.unknown.any()):
        raise UserError("divergence: nothing is unknown")
    cut = Cut(denoiser.vocab_size, denoiser.mask_token_id, tuple(parts.get("suppress", ())))
    sampler = _OneAfterTheOther(cut)
    total = torch.zeros(canvas.batch, dtype=torch.float64, device=canvas.device)
    bound, steps, decided = (torch.zeros_like(total) for _ in range(3))
    for step in stream(denoiser, canvas, seed=seed, **parts, sampler=sampler):
        total[step.rows] += sampler.excess
        entropy = step.statistics.entropy.masked_fill(~step.revealed, 0)
        bound[step.rows] += entropy.sum(dim=1) - entropy.amax(dim=1)
        steps[step.rows] += 1
        decided[step.rows] += step.revealed.sum(dim=1)
    busy = canvas.unknown.any(dim=1)
    values, count = total[busy], int(busy.sum())
    return Divergence(
        mean=float(values.mean()),
        standard_error=float(values.std()) / math.sqrt(count) if count > 1 else math.nan,
        bound=float(bound[busy].mean()),
        positions=float(decided.sum() / steps.sum()),
        steps=float(steps[busy].mean()),
        rows=count,
    )


@dataclass(eq=False)
class _OneAfterTheOther:
    """A sampler that draws a step's tokens one after the other, given each other, and notes the bracket of (1)."""

    cut: Cut
    excess: Float64[Tensor, " rows"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))

    @property
    def keeps_law(self) -> bool:
        return True

    def law(self, logits: Float32[Tensor, "n vocab"]) -> Float32[Tensor, "n vocab"]:
        return logits

    def joint(self, board: Board, where: Bool[Tensor, "rows length"]) -> Drawn:
        """The tokens of a step."""
        tokens, left = board.tokens, where
        first = board.gathered.log_probabilities(where)
        slot = (where.flatten().cumsum(0) - 1).view(where.shape)
        self.excess = torch.zeros(len(where), dtype=torch.float64, device=where.device)
        values = torch.full_like(board.model.entropy, torch.nan)
        while bool(left.any()):
            at = left & (left.cumsum(dim=1) == 1)
            alone = first[slot[at]]
            # The first position of a step is drawn from the law that is known already.
            log_p = alone if left is where else self._ask(board, tokens, at)
            row = at.nonzero(as_tuple=True)[0]
            u = uniform(board.seeds[row], Purpose.TOKEN, board.positions[at], board.visits[at])
            token = draw(log_p, self.cut, Temperature(1.0), u)[:, None]
            values[at] = log_p.gather(1, token).squeeze(1).double()
            self.excess[row] += values[at] - alone.gather(1, token).squeeze(1).double()
            tokens = tokens.masked_scatter(at, token.squeeze(1))
            left = left & ~at
        return Drawn(torch.where(where, tokens, -1), values)

    def _ask(self, board: Board, tokens: Tensor, at: Tensor) -> Tensor:
        assert board.ask is not None
        rows = at.any(dim=1).nonzero().squeeze(1)
        return board.ask(rows, tokens[rows], at[rows]).log_probabilities(at[rows])


@torch.no_grad()
def exact_divergence(
    denoiser: Denoiser, canvas: Canvas, together: Bool[Tensor, "batch length"]
) -> tuple[Float64[Tensor, " batch"], Float64[Tensor, " batch"]]:
    """KL(one at a time || at once) of deciding some unknown positions of each row in the next step, and its bound.

    Args:
        denoiser: the denoiser; one at a time goes from the left.
        canvas: the state; what is unknown is not decided yet.
        together: bool (batch, length), S. The outcomes are all listed, so few positions and tokens only.

    Returns:
        (1) and sum H - max H, float64 (batch,), in nats.

    Raises:
        UserError: where a position of S is not unknown, or there are more than about a million outcomes.
    """
    if bool((together & ~canvas.unknown).any()):
        raise UserError("exact_divergence: positions that are decided together must be unknown")
    cut = Cut(denoiser.vocab_size, denoiser.mask_token_id)
    tokens = canvas.tokens.masked_fill(canvas.unknown, denoiser.mask_token_id)
    values, bounds = [], []
    for row in range(canvas.batch):
        part = canvas.rows(slice(row, row + 1))
        where = together[row].nonzero().squeeze(1).tolist()
        if (cut.vocab_size - 1) ** len(where) > _MOST_OUTCOMES:
            raise UserError(f"exact_divergence: {len(where)} positions have too many outcomes to list")
        values.append(_enumerate(denoiser, part, tokens[row], where, cut))
        law = _law(denoiser, part, tokens[row][None], together[row][None], cut).exp().double()
        entropy = torch.special.entr(law).sum(dim=1)
        bounds.append(float(entropy.sum() - entropy.max()) if len(where) else 0.0)
    return torch.tensor(values, dtype=torch.float64), torch.tensor(bounds, dtype=torch.float64)


def _enumerate(denoiser: Denoiser, part: Canvas, tokens: Int64[Tensor, " length"], where: list[int], cut: Cut) -> float:
    """(1), term by term: sum over j of E[KL(p(x_j | c, earlier) || p(x_j | c))]."""
    total = 0.0
    for number, position in enumerate(where):
        at = torch.zeros(1, len(tokens), dtype=torch.bool, device=tokens.device)
        at[0, position] = True
        alone = _law(denoiser, part, tokens[None], at, cut).double()
        earlier = where[:number]
        choices = itertools.product(range(cut.vocab_size), repeat=number)
        listed = [choice for choice in choices if cut.mask_token_id not in choice]
        states = torch.tensor(listed, dtype=torch.int64, device=tokens.device).view(len(listed), number)
        given = tokens.expand(len(states), -1).clone()
        given[:, earlier] = states
        weight = _weights(denoiser, part, tokens, earlier, states, cut)
        possible = weight > 0
        law = _law(denoiser, part, given[possible], at.expand(int(possible.sum()), -1), cut).double()
        terms = torch.where(law > -torch.inf, law.exp() * (law - alone), 0.0).sum(dim=1)
        total += float((weight[possible] * terms).sum())
    return total


def _weights(
    denoiser: Denoiser, part: Canvas, tokens: Tensor, earlier: list[int], states: Tensor, cut: Cut
) -> Float64[Tensor, " states"]:
    """Probability of every state of the earlier positions, decided one at a time from the left."""
    weight = torch.ones(len(states), dtype=torch.float64, device=tokens.device)
    for number, position in enumerate(earlier):
        at = torch.zeros(1, len(tokens), dtype=torch.bool, device=tokens.device)
        at[0, position] = True
        given = tokens.expand(len(states), -1).clone()
        given[:, earlier[:number]] = states[:, :number]
        alive = weight > 0
        law = _law(denoiser, part, given[alive], at.expand(int(alive.sum()), -1), cut).double()
        weight[alive] *= law.gather(1, states[alive, number][:, None]).squeeze(1).exp()
    return weight


def _law(denoiser: Denoiser, part: Canvas, tokens: Tensor, at: Tensor, cut: Cut) -> Tensor:
    """Log-probabilities at the true positions of ``at``, for several states of one row."""
    rows = part.rows(torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device))
    session = open_session(denoiser, Canvas(tokens, rows.unknown, rows.attention_mask, rows.holes))
    logits = session(tokens, attention_mask=rows.attention_mask, at=at)
    return torch.log_softmax(cut.working_copy(logits), dim=1)
