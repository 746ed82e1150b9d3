"""Reconsidering: a decode that checks its own result and, where it does not hold, goes back to what it doubted most.

Nothing is used but the model's probabilities. Decoding is a walk through a tree: at a step, the least probable token
that is decided, of probability p, could have been another one. Where 1 - p is at least ``doubt``, the state before the
step, with that token ruled out there, is kept as an alternative with the probability of the whole path,

    log P(alternative) = sum of log p of all tokens decided on the path before + log(1 - p).

When everything is decided, the result is **checked**: the unknown positions are split into ``groups`` at random, and
each in turn is masked and asked again, given all the others. The result holds if every token gets a probability of at
least ``agree``. A contradiction shows here though nobody told the model the rules: of two tokens that exclude each
other, one is asked for while the other is in sight. If the result holds, the row is finished. If not, it returns to the
most probable alternative, wherever in the tree that is (best-first search), without an evaluation spent on going there.

After ``evaluations`` evaluations a row keeps a complete result that nothing has contradicted yet, if it has one; else,
as when no alternative is left, it gets the result whose worst token had the highest probability as far as it was
checked. An evaluation is spent on every step and on every group asked, and on nothing else.

The rule goes with any order and budget. A budget that decides several sure positions at once leaves evaluations for the
search: ``order=Margin(), budget=EntropyBelow(0.02, prefix=False)``.

The check is a pseudo-likelihood in blocks (Besag, "Statistical Analysis of Non-Lattice Data", 1975); best-first search
over a generative model's own probabilities is classical (stack decoding: Jelinek, "Fast Sequential Decoding Algorithm
Using a Stack", 1969).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from anyorder.core.randomness import Purpose, uniform
from anyorder.planning.board import Board, Drawn, Progress
from anyorder.planning.remasking import Revision
from anyorder.planning.settings import check_count, check_number

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

_UNITS = 2.0**32
_LEAST = -1e6
"""Log-probabilities are cut here, so that sums of them are exact in integers."""


class Path(NamedTuple):
    """Where a row is in the tree.

    Attributes:
        log_probability: int64 (rows,), of the tokens decided on the way, in 2^-32 nats.
        ruled_out: int64 (rows, k, 2), (position, token) pairs that the way excludes, -1 where there is none.
        checking: int64 (rows,), the group that is being asked again, -1 while the row is being filled.
        worst: float64 (rows,), the lowest log-probability in the check so far.
        tokens: int64 (rows, length), the result that is checked.
        step: int64 (rows,), evaluations so far.
    """

    log_probability: Int64[Tensor, " rows"]
    ruled_out: Int64[Tensor, "rows k 2"]
    checking: Int64[Tensor, " rows"]
    worst: Float64[Tensor, " rows"]
    tokens: Int64[Tensor, "rows length"]
    step: Int64[Tensor, " rows"]


class Open(NamedTuple):
    """The alternatives of a row, in slots, and its best result.

    Attributes:
        priority: int64 (rows, slots), log-probability in 2^-32 nats; the least int where a slot is free.
        log_probability: int64 (rows, slots), of the path to the alternative, what it rules out not counted.
        ruled_out: int64 (rows, slots, k, 2).
        best: float64 (rows,), the worst log-probability of the best result; minus infinity where there is none.
        best_slot: int64 (rows,), 0 or 1: which of the two result slots holds it.
    """

    priority: Int64[Tensor, "rows slots"]
    log_probability: Int64[Tensor, "rows slots"]
    ruled_out: Int64[Tensor, "rows slots k 2"]
    best: Float64[Tensor, " rows"]
    best_slot: Int64[Tensor, " rows"]


_FREE = torch.iinfo(torch.int64).min


@dataclass(frozen=True)
class Reconsider:
    """Check the result, and go back to what was doubted most where it does not hold; see the module.

    Args:
        evaluations: the most a row may use.
        doubt: 1 - p from which a decision is one to come back to.
        agree: the probability that every token of a result that holds has in its check.
        groups: how many parts of a result are asked one after the other.
        alternatives: how many are kept; of more, the least probable ones are forgotten.
        depth: how many tokens may be ruled out on one path.
    """

    evaluations: int
    doubt: float = 0.01
    agree: float = 0.999
    groups: int = 2
    alternatives: int = 64
    depth: int = 16

    def __post_init__(self) -> None:
        for name in ("evaluations", "groups", "alternatives", "depth"):
            check_count(self, name, getattr(self, name))
        check_number(self, "doubt", self.doubt, 0, 1, low_open=True)
        check_number(self, "agree", self.agree, 0, 1)

    @property
    def slots(self) -> int:
        """Two for results, then the alternatives."""
        return 2 + self.alternatives

    def init(self, progress: Progress) -> tuple[Path, Open]:
        rows, device = len(progress.stage), progress.stage.device
        none = torch.full((rows, self.depth, 2), -1, dtype=torch.int64, device=device)
        low = torch.full((rows,), -torch.inf, dtype=torch.float64, device=device)
        start = torch.zeros_like(progress.stage)
        free = torch.full((rows, self.alternatives), _FREE, dtype=torch.int64, device=device)
        alternatives = none[:, None].expand(-1, self.alternatives, -1, -1).clone()
        path = Path(start, none, start - 1, low, progress.tokens, start.clone())
        return path, Open(free, torch.zeros_like(free), alternatives, low.clone(), start.clone())

    def limit(self, progress: Progress) -> Int64[Tensor, " rows"]:
        return torch.full_like(progress.stage, self.evaluations)

    def reopen(self, progress: Progress) -> Bool[Tensor, "rows length"]:
        return torch.zeros_like(progress.unknown)

    def look(self, progress: Progress, state: tuple[Path, Open]) -> Bool[Tensor, "rows length"]:
        # A group is asked as a whole, whatever the window.
        return progress.undecided & (state[0].checking >= 0)[:, None]

    def ruled_out(self, progress: Progress, state: tuple[Path, Open]) -> Int64[Tensor, "rows k 2"]:
        path, _ = state
        # A check asks what the model says, not what is left to choose from.
        return path.ruled_out.masked_fill((path.checking >= 0)[:, None, None], -1)

    def __call__(
        self, board: Board, chosen: Bool[Tensor, "rows length"], drawn: Drawn, state: tuple[Path, Open]
    ) -> tuple[Revision, tuple[Path, Open]]:
        path, others = state
        filling = path.checking < 0
        path, others, before = self._fill(board, chosen, drawn, path, others, filling)
        # Everything decided: the result is kept, and its check begins.
        full = filling & ~(board.undecided & ~chosen).any(dim=1)
        after = torch.where(full, 1 - others.best_slot, -1)
        tokens = torch.where(chosen, drawn.token, board.tokens)
        path = path._replace(
            tokens=torch.where(full[:, None], tokens, path.tokens), worst=path.worst.masked_fill(full, 0.0)
        )
        path, others, holds, fails = self._check(board, path, others, ~filling)
        last = path.step + 1 >= self.evaluations
        pick, path, others = self._next(path, others, fails & ~last)
        # A row that holds, and one that can do no more, gets its result and is finished by that.
        over = holds | (fails & (pick < 0)) | (last & ~full)
        going_on = (path.checking >= 0) & ~fails & ~holds
        load = torch.where(fails & ~over, pick + 2, -1)
        load = torch.where(over & (others.best > -torch.inf), others.best_slot, load)
        # What has not been contradicted yet is whole again, and, if there is time, without its next group.
        load = torch.where(going_on | (full & last), 1 - others.best_slot, load)
        checked = torch.where(full, 0, torch.where(going_on, path.checking + 1, -1))
        group = self._groups(board)
        back = board.unknown & (group == checked[:, None]) & (checked >= 0)[:, None]
        path = path._replace(checking=checked, step=path.step + 1)
        nothing = chosen & filling[:, None]
        return Revision(nothing, back, before, after, load), (path, others)

    def _fill(
        self, board: Board, chosen: Tensor, drawn: Drawn, path: Path, others: Open, filling: Tensor
    ) -> tuple[Path, Open, Int64[Tensor, " rows"]]:
        """The path with this step's tokens, and the alternative to its least probable one in the slot returned."""
        decided = drawn.log_probability.masked_fill(~chosen, 0.0).clamp(min=_LEAST)
        least, place = decided.min(dim=1)
        rest = torch.log(-torch.expm1(least)).clamp(min=_LEAST)
        priority = path.log_probability + _units(rest)
        room = path.ruled_out[:, -1, 0] < 0
        least_kept, slot = others.priority.min(dim=1)
        kept = filling & room & (rest >= math.log(self.doubt)) & (priority > least_kept)
        pair = torch.stack((place, drawn.token.gather(1, place[:, None]).squeeze(1)), dim=1)
        excluded = torch.cat((pair[:, None], path.ruled_out[:, :-1]), dim=1)
        row = kept.nonzero().squeeze(1)
        others = others._replace(
            priority=others.priority.index_put((row, slot[row]), priority[row]),
            log_probability=others.log_probability.index_put((row, slot[row]), priority[row]),
            ruled_out=others.ruled_out.index_put((row, slot[row]), excluded[row]),
        )
        total = path.log_probability + _units(decided).sum(dim=1)
        path = path._replace(log_probability=torch.where(filling, total, path.log_probability))
        return path, others, torch.where(kept, slot + 2, -1)

    def _check(
        self, board: Board, path: Path, others: Open, checking: Tensor
    ) -> tuple[Path, Open, Bool[Tensor, " rows"], Bool[Tensor, " rows"]]:
        """What the group that was asked again says of the result: whether it holds to the end, and whether it fails."""
        asked = board.undecided & checking[:, None]
        again = board.log_probability_of(path.tokens, asked).masked_fill(~asked, 0.0).clamp(min=_LEAST)
        worst = torch.where(checking, torch.minimum(path.worst, again.min(dim=1).values), path.worst)
        fails = checking & (worst < (math.log(self.agree) if self.agree else 2 * _LEAST))
        groups = board.unknown.sum(dim=1).clamp(max=self.groups)
        holds = checking & ~fails & (path.checking + 1 >= groups)
        better = (fails | holds) & (worst > others.best)
        others = others._replace(
            best=torch.where(better, worst, others.best),
            best_slot=torch.where(better, 1 - others.best_slot, others.best_slot),
        )
        return path._replace(worst=worst), others, holds, fails

    def _next(self, path: Path, others: Open, wanted: Tensor) -> tuple[Int64[Tensor, " rows"], Path, Open]:
        """The most probable alternative of the rows that want one, -1 where there is none; it is taken out."""
        priority, slot = others.priority.max(dim=1)
        found = wanted & (priority > _FREE)
        row = torch.arange(len(slot), device=slot.device)
        path = path._replace(
            log_probability=torch.where(found, others.log_probability[row, slot], path.log_probability),
            ruled_out=torch.where(found[:, None, None], others.ruled_out[row, slot], path.ruled_out),
        )
        taken = row[found], slot[found]
        return (
            torch.where(found, slot, -1),
            path,
            others._replace(priority=others.priority.index_put(taken, others.priority.new_tensor(_FREE))),
        )

    def _groups(self, board: Progress) -> Int64[Tensor, "rows length"]:
        """The group of every unknown position: equal parts of a random permutation, the same at every step."""
        u = uniform(board.seeds[:, None], Purpose.REMASK, board.positions, 0).masked_fill(~board.unknown, 2.0)
        rank = u.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        return rank % self.groups


def _units(nats: Float64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Nats in 2^-32 nats: sums of integers depend neither on their order nor on the padding."""
    return (nats * _UNITS).round().long()
