"""What a part sees at a step of the loop.

`Progress` is known before the network is asked, `Board` after. All tensors are indexed by the rows that are still
being decoded, so a part never sees a finished row. Nothing here is changed in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import torch

from anyorder.core.errors import UserError
from anyorder.planning.statistics import Cut, Statistics

if TYPE_CHECKING:
    from jaxtyping import Bool, Float32, Float64, Int64
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Progress:
    """Where each row stands before a network evaluation.

    Attributes:
        step: index of this step, the same for every row still decoded.
        tokens: int64 (rows, length), the mask token at undecided positions.
        unknown: bool (rows, length), what was to be filled.
        undecided: bool (rows, length), what is still to be filled; positions that a stop rule closed are not.
        window: bool (rows, length), the unknown positions, decided or not, of the stage that a row is in.
        stages: int64 (rows, length), the stage to which each unknown position belongs.
        stage: int64 (rows,), the stage that a row is in.
        positions: int64 (rows, length), index among the real positions of the row.
        visits: int64 (rows, length), how many tokens were drawn at a position before.
        seeds: int64 (rows,).
        holes: the canvas's named regions, bool (rows, length) each.
    """

    step: int
    tokens: Int64[Tensor, "rows length"]
    unknown: Bool[Tensor, "rows length"]
    undecided: Bool[Tensor, "rows length"]
    window: Bool[Tensor, "rows length"]
    stages: Int64[Tensor, "rows length"]
    stage: Int64[Tensor, " rows"]
    positions: Int64[Tensor, "rows length"]
    visits: Int64[Tensor, "rows length"]
    seeds: Int64[Tensor, " rows"]
    holes: Mapping[str, Bool[Tensor, "rows length"]]

    @cached_property
    def open(self) -> Bool[Tensor, "rows length"]:
        """What may be decided at this step: undecided positions of the window."""
        return self.undecided & self.window


@dataclass(frozen=True, eq=False)
class Gathered:
    """The logits of a step, at the positions that were asked for.

    Attributes:
        logits: (n, columns) as the denoiser gave them.
        at: int64 (n,), flat positions on the (rows, length) canvas.
        cut: the columns that can be chosen.
        shape: (rows, length).
    """

    logits: Float32[Tensor, "n columns"]
    at: Int64[Tensor, " n"]
    cut: Cut
    shape: tuple[int, int]

    @cached_property
    def slot(self) -> Int64[Tensor, "rows length"]:
        """Row of ``logits`` for each position of the canvas, -1 where none."""
        slot = self.at.new_full((self.shape[0] * self.shape[1],), -1)
        slot[self.at] = torch.arange(len(self.at), device=self.at.device)
        return slot.view(self.shape)

    def log_probabilities(self, where: Bool[Tensor, "rows length"]) -> Float32[Tensor, "k vocab"]:
        """Log-probabilities of the network's law at the k true positions of ``where``, which were all asked for."""
        return torch.log_softmax(self.cut.working_copy(self.logits[self.slot[where]]), dim=-1)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Tokens drawn at every candidate, for an order that looks at them.

    Attributes:
        token: int64 (rows, length), -1 elsewhere.
        log_probability: float64 (rows, length), under the network's own law, NaN elsewhere.
    """

    token: Int64[Tensor, "rows length"]
    log_probability: Float64[Tensor, "rows length"]


class Ask(Protocol):
    """The network's answer to states that the decode is not in."""

    def __call__(
        self,
        rows: Int64[Tensor, " states"],
        tokens: Int64[Tensor, "states length"],
        at: Bool[Tensor, "states length"],
    ) -> Gathered:
        """The logits of the states, where asked for.

        Args:
            rows: the row to which each state belongs; a state costs its row one evaluation.
            tokens: the states, with the mask token where undecided.
            at: where the law is wanted.
        """
        ...


@dataclass(frozen=True, eq=False)
class Board(Progress):
    """Where each row stands after a network evaluation.

    Attributes:
        candidates: bool (rows, length), what may be decided at this step: ``open``, and what a remask rule reopened.
        time: float64 (rows,), the share of the window's positions that the step is to leave undecided, as far as that
            is known before the evaluation; noise is annealed by it.
        model: statistics (rows, length) of the network's law, at the candidates and what is watched.
        sampled: statistics (rows, length) of the law that is drawn from. Where tokens are the most probable ones
            (`Greedy`), which is a law without spread that would say nothing, this is ``model``.
        drawn: tokens drawn at the candidates, where the order asks for them.
        gathered: the logits.
        ask: further evaluations, for an order that looks ahead (`Ask`). Every one is counted.
    """

    candidates: Bool[Tensor, "rows length"]
    time: Float64[Tensor, " rows"]
    model: Statistics
    sampled: Statistics
    drawn: Drawn | None
    gathered: Gathered
    ask: Ask | None = None

    def view(self, name: str) -> Statistics:
        """The statistics called ``model`` or ``sampled``."""
        return self.sampled if name == "sampled" else self.model

    def log_probability_of(
        self, tokens: Int64[Tensor, "rows length"], where: Bool[Tensor, "rows length"]
    ) -> Float64[Tensor, "rows length"]:
        """Log-probability of tokens under the network's law at some positions, all asked for; NaN elsewhere."""
        gathered = self.gathered
        chosen = gathered.logits[gathered.slot[where]].gather(1, tokens[where][:, None]).squeeze(1)
        value = torch.full_like(self.model.entropy, torch.nan)
        value[where] = chosen.float().double() - self.model.log_normaliser[where]
        # The most probable token's log-probability is known without cancellation.
        return torch.where(where & (tokens == self.model.token), self.model.log_probability, value)


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates of each row, best first. Ties go to the lowest position.

    Attributes:
        priority: float64 (rows, length), minus infinity where not a candidate, finite elsewhere.
        candidates: bool (rows, length).
    """

    priority: Float64[Tensor, "rows length"]
    candidates: Bool[Tensor, "rows length"]

    @staticmethod
    def of(priority: Tensor, candidates: Bool[Tensor, "rows length"]) -> Ranking:
        """Rank by an order's priorities; infinite ones rank first or last, NaN is refused."""
        if priority.shape != candidates.shape:
            raise UserError(
                f"order: priorities have shape {tuple(priority.shape)}, not (rows, length) = {tuple(candidates.shape)}"
            )
        priority = priority.double()
        if bool((priority.isnan() & candidates).any()):
            raise UserError("order: a candidate's priority is NaN")
        largest = torch.finfo(torch.float64).max
        priority = priority.clamp(-largest, largest).masked_fill(~candidates, -torch.inf)
        return Ranking(priority, candidates)

    @cached_property
    def count(self) -> Int64[Tensor, " rows"]:
        """Number of candidates of each row."""
        return self.candidates.sum(dim=1)

    @cached_property
    def order(self) -> Int64[Tensor, "rows length"]:
        """Positions of each row, best first, non-candidates last."""
        return torch.sort(self.priority, dim=1, descending=True, stable=True).indices

    @cached_property
    def is_ranked(self) -> Bool[Tensor, "rows length"]:
        """True at the ranks that hold a candidate."""
        ranks = torch.arange(self.candidates.shape[1], device=self.candidates.device)
        return ranks < self.count[:, None]

    def best(self) -> Bool[Tensor, "rows length"]:
        """The best candidate of each row that has one."""
        first = self.priority.max(dim=1, keepdim=True).indices
        return torch.zeros_like(self.candidates).scatter_(1, first, True) & self.candidates

    def at_least_one(self, chosen: Bool[Tensor, "rows length"]) -> Bool[Tensor, "rows length"]:
        """The chosen candidates, and the best one of each row in which none is chosen."""
        chosen = chosen & self.candidates
        return chosen | (self.best() & ~chosen.any(dim=1, keepdim=True))

    def take(self, count: Int64[Tensor, " rows"]) -> Bool[Tensor, "rows length"]:
        """The ``count`` best candidates of each row, all where there are fewer."""
        ranks = torch.arange(self.candidates.shape[1], device=self.candidates.device)
        return self.unrank(ranks < count[:, None])

    def ranked(self, values: Tensor) -> Tensor:
        """Values (rows, length) by position, put in rank order."""
        return values.gather(1, self.order)

    def unrank(self, taken: Bool[Tensor, "rows length"]) -> Bool[Tensor, "rows length"]:
        """Flags by rank, put back to positions; ranks without a candidate are dropped."""
        return torch.zeros_like(self.candidates).scatter_(1, self.order, taken & self.is_ranked)


RowState = Any
"""Memory of a rule: ``None``, a tensor whose first axis is the rows, a tuple, mapping or dataclass of such, or an
object with ``keep(rows)`` that returns its part for some rows."""


def keep_rows(state: RowState, rows: Int64[Tensor, " kept"]) -> RowState:
    """The memory of some of the rows."""
    if state is None:
        return None
    if isinstance(state, torch.Tensor):
        return state[rows]
    if hasattr(state, "keep"):
        return state.keep(rows)
    if isinstance(state, tuple):
        kept = [keep_rows(part, rows) for part in state]
        return type(state)(*kept) if hasattr(state, "_fields") else tuple(kept)
    if isinstance(state, Mapping):
        return {name: keep_rows(part, rows) for name, part in state.items()}
    if is_dataclass(state) and not isinstance(state, type):
        return type(state)(**{f.name: keep_rows(getattr(state, f.name), rows) for f in fields(state)})
    raise TypeError(f"a rule's memory must be tensors, or have keep(rows); {type(state).__name__} is neither")
