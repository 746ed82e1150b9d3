"""The loop: score an order x choose how many x choose the tokens x take back x know when to stop.

At every step, for the rows that still have something to decide:

1. plan     which positions may be decided (window, remask), and how many where the budget knows;
2. ask      the network, at those positions and at what a part watches, and nowhere else;
3. rank     by the order, on statistics taken once;
4. choose   how many (budget) and which tokens (sampler);
5. revise   take back (remask), close (stop), record, and let go of finished rows.

Every step decides at least one position of every row that takes part, whatever the budget says, so the loop ends; a
remask rule, which can undo this, has a cap on evaluations.

A row is decided by its own tokens, seed and logits alone, so its result depends neither on its batch nor on the
padding, as far as the denoiser's logits do not. A row takes part in a step exactly if the network is asked for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.denoiser import Denoiser, check_denoiser, check_logits, open_session
from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, row_seeds, uniform
from anyorder.decoding.asking import Asked
from anyorder.decoding.result import Decoded, Step
from anyorder.decoding.rows import Outcome, Rows, Slots
from anyorder.planning.board import Ask, Board, Drawn, Gathered, Progress, Ranking, RowState, keep_rows
from anyorder.planning.budgets import (
    Budget,
    CountBudget,
    OneByOne,
    Quota,
    ThresholdBudget,
    check_budget,
    share_left,
)
from anyorder.planning.orders import LeftToRight, Margin, Order, check_order, order_draws, order_view
from anyorder.planning.remasking import Remask, Revision, check_remask
from anyorder.planning.samplers import Greedy, Sampler, check_sampler, draw
from anyorder.planning.statistics import Cut, statistics
from anyorder.planning.stopping import Ending, Stop, check_stop
from anyorder.planning.windows import Whole, Window, check_window

if TYPE_CHECKING:
    from torch import Tensor


def decode(
    model: Denoiser,
    canvas: Canvas,
    *,
    order: Order | None = None,
    budget: Budget | None = None,
    sampler: Sampler | None = None,
    window: Window | None = None,
    remask: Remask | None = None,
    stop: Stop | None = None,
    seed: int | Tensor = 0,
    suppress: Sequence[int] = (),
) -> Decoded:
    """Fill a canvas.

    Args:
        model: a denoiser, on the canvas's device.
        canvas: what is known and what is to be filled.
        order: which positions next; `Margin` where not given.
        budget: how many at once; `OneByOne` where not given. A remask rule that sets the counts itself takes none.
        sampler: which token; `Greedy` where not given.
        window: where it may look; `Whole` where not given.
        remask: what to take back; nothing where not given.
        stop: when enough is decided; never before the end where not given.
        seed: an int, or an int64 tensor with a seed for each row.
        suppress: tokens never to decide on.

    Returns:
        `Decoded`, with tensors on the canvas's device.

    Raises:
        UserError: on parts that do not fit each other, the canvas or the model.
    """
    steps = stream(
        model,
        canvas,
        order=order,
        budget=budget,
        sampler=sampler,
        window=window,
        remask=remask,
        stop=stop,
        seed=seed,
        suppress=suppress,
    )
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def stream(
    model: Denoiser,
    canvas: Canvas,
    *,
    order: Order | None = None,
    budget: Budget | None = None,
    sampler: Sampler | None = None,
    window: Window | None = None,
    remask: Remask | None = None,
    stop: Stop | None = None,
    seed: int | Tensor = 0,
    suppress: Sequence[int] = (),
) -> Generator[Step, None, Decoded]:
    """The same loop, step by step: yields a `Step` after each network evaluation and returns the `Decoded`.

    Arguments and errors are those of `decode`; they are checked at once, before the first step is asked for.
    """
    check_denoiser(model)
    if not isinstance(canvas, Canvas):
        raise UserError(f"canvas: must be a Canvas, not {type(canvas).__name__}")
    parts = _Parts.checked(order, budget, sampler, window, remask, stop)
    cut = Cut(model.vocab_size, model.mask_token_id, tuple(suppress))
    return _loop(model, canvas, parts, cut, row_seeds(seed, canvas.batch, canvas.device))


@dataclass(frozen=True)
class _Parts:
    """The five choices, each of them made."""

    order: Order
    budget: Budget
    sampler: Sampler
    window: Window
    remask: Remask | None
    stop: Stop | None

    @staticmethod
    def checked(
        order: Order | None,
        budget: Budget | None,
        sampler: Sampler | None,
        window: Window | None,
        remask: Remask | None,
        stop: Stop | None,
    ) -> _Parts:
        """Defaults filled in, and what is no such part refused."""
        if remask is not None:
            check_remask(remask)
            if isinstance(remask, CountBudget):
                if budget is not None:
                    raise UserError(f"budget: {type(remask).__name__} sets the counts itself; give no budget beside it")
                budget = remask
        parts = _Parts(
            order=Margin() if order is None else order,
            budget=OneByOne() if budget is None else budget,
            sampler=Greedy() if sampler is None else sampler,
            window=Whole() if window is None else window,
            remask=remask,
            stop=stop,
        )
        check_order("decode", parts.order)
        check_budget(parts.budget)
        check_sampler(parts.sampler)
        check_window(parts.window)
        if stop is not None:
            check_stop(stop)
        return parts

    @property
    def reads_sampled(self) -> bool:
        """Whether the law drawn from differs from the network's and a part reads it."""
        views = (order_view(self.order), getattr(self.budget, "view", "model"))
        return "sampled" in views and not self.sampler.keeps_law

    def watched(self, canvas: Canvas) -> Tensor | None:
        """Positions whose logits some part wants besides the candidates'."""
        watched = None
        for part in (*_nested(self.order), self.budget, self.remask, self.stop):
            watch = getattr(part, "watch", None)
            if watch is not None:
                mask = watch(canvas)
                if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool or mask.shape != canvas.unknown.shape:
                    wanted = tuple(canvas.unknown.shape)
                    raise UserError(f"{type(part).__name__}: watch must return a bool tensor of shape {wanted}")
                watched = mask if watched is None else watched | mask
        if watched is not None and canvas.attention_mask is not None:
            watched = watched & canvas.attention_mask
        return watched


def _nested(order: Order | None) -> Iterator[Order]:
    """An order and what it wraps."""
    while order is not None:
        yield order
        order = getattr(order, "order", None)


class _Memory(NamedTuple):
    """What the rules remember of the rows. A remask rule that sets the counts has one memory, the budget's."""

    budget: RowState
    remask: RowState
    stop: RowState


@torch.no_grad()
def _loop(model: Denoiser, canvas: Canvas, parts: _Parts, cut: Cut, seeds: Tensor) -> Generator[Step, None, Decoded]:
    outcome = Outcome(canvas, cut.mask_token_id)
    rows = Rows.start(canvas, cut.mask_token_id, seeds, parts.window)
    if not len(rows):
        return outcome.result()
    canvas = canvas.rows(rows.index)
    watched = parts.watched(canvas)
    session = open_session(model, canvas)
    if watched is not None and not getattr(session, "sees_right", True):
        raise UserError(f"decode: {type(model).__name__} has no logits right of its block for a part that watches them")
    per_call = getattr(model, "evaluations_per_call", 1)
    progress = rows.progress(0)
    remask, stop = parts.remask, parts.stop
    owner = remask is parts.budget
    memory = _Memory(
        parts.budget.init(progress),
        None if remask is None or owner else remask.init(progress),
        None if stop is None else stop.init(progress),
    )
    cap = None if remask is None else remask.limit(progress)
    slots = Slots(getattr(remask, "slots", 0))
    # With a network that reads the left alone (`models.cache`), logits right of what is decided next would cost extra.
    leftmost = isinstance(parts.order, LeftToRight) and remask is None and getattr(session, "reads_left", False)
    for step in itertools.count():
        progress = rows.progress(step)
        candidates, quota, memory = _plan(parts, progress, memory)
        if leftmost and quota is not None:
            candidates = Ranking.of(-progress.positions, candidates).take(quota.count.clamp(min=1))
        final = None if cap is None else (cap <= step + 1)
        if final is not None:
            candidates = candidates | (final[:, None] & progress.undecided)
        at = candidates if watched is None else candidates | watched
        held = memory.budget if owner else memory.remask
        if (look := getattr(remask, "look", None)) is not None:
            at = at | (look(progress, held) & progress.unknown)
        logits = session(progress.tokens, attention_mask=rows.attention_mask, at=at)
        if (ruled_out := getattr(remask, "ruled_out", None)) is not None:
            logits = _rule_out(logits, at, ruled_out(progress, held))
        asked = Asked(model, rows, cut, per_call)
        board = _look(parts, progress, candidates, quota, logits, at, cut, asked)
        ranking = Ranking.of(parts.order(board), candidates)
        if quota is not None:
            chosen = ranking.best() if isinstance(parts.budget, OneByOne) else ranking.take(quota.count.clamp(min=1))
        else:
            assert isinstance(parts.budget, ThresholdBudget)
            chosen, kept = parts.budget(board, ranking, memory.budget)
            chosen, memory = ranking.at_least_one(chosen), memory._replace(budget=kept)
        if remask is None or final is None:
            drawn = _draw(parts.sampler, board, chosen) if board.drawn is None else board.drawn
            rows = rows.reveal(board, chosen, drawn.token, drawn.log_probability)
        else:
            forced = final[:, None] & progress.undecided
            drawn = _draw(parts.sampler, board, chosen | forced) if board.drawn is None else board.drawn
            revision, kept = remask(board, chosen, drawn, held)
            memory = memory._replace(budget=kept) if owner else memory._replace(remask=kept)
            rows = _revise(rows, slots, board, chosen, forced, final, drawn, revision, cut.mask_token_id)
        if stop is not None:
            ending, kept = stop(rows.progress(step), board, memory.stop)
            rows, memory = _end(rows, parts.sampler, board, ending), memory._replace(stop=kept)
        calls = (step + 1) * per_call
        rows = replace(rows, extra=rows.extra + asked.count)
        yield rows.step(board, calls)
        going = rows.undecided.any(dim=1)
        if not bool(going.all()):
            reasons = () if stop is None else getattr(stop, "reasons", (stop.reason,))
            outcome.record(rows.keep((~going).nonzero().squeeze(1)), calls, reasons)
            kept = going.nonzero().squeeze(1)
            if not len(kept):
                return outcome.result()
            rows, memory = rows.keep(kept), keep_rows(memory, kept)
            cap, watched = keep_rows(cap, kept), keep_rows(watched, kept)
            session.keep(kept)
            slots.keep(kept)
    raise AssertionError("the loop ends when every row is finished")


def _revise(
    rows: Rows,
    slots: Slots,
    board: Board,
    chosen: Tensor,
    forced: Tensor,
    final: Tensor,
    drawn: Drawn,
    revision: Revision,
    mask_token_id: int,
) -> Rows:
    """The rows after a step that a remask rule has looked at; a row's last evaluation takes nothing back."""
    slots.save(rows, revision.before)
    back = revision.back & board.unknown & ~final[:, None]
    kept = chosen & (revision.chosen | final[:, None] & board.undecided)
    rows = replace(rows, forced=(forced & ~kept).any(dim=1))
    rows = rows.reveal(board, kept | forced, drawn.token, drawn.log_probability)
    slots.save(rows, revision.after)
    rows = slots.load(rows, revision.load, final)
    back = back & ~rows.undecided & ~rows.closed
    return rows.take_back(back, mask_token_id) if bool(back.any()) else rows


def _end(rows: Rows, sampler: Sampler, board: Board, ending: Ending) -> Rows:
    """The rows after a stop rule has ended some of their positions."""
    touched = ending.close if ending.decide is None else ending.close | ending.decide
    ended = (touched & rows.undecided).any(dim=1) & (rows.ended < 0)
    rule = torch.zeros_like(rows.ended) if ending.rule is None else ending.rule
    rows = replace(rows, ended=torch.where(ended, rule, rows.ended))
    if ending.decide is not None:
        decide = ending.decide & rows.undecided
        if bool((decide & (board.model.token < 0)).any()):
            raise UserError("stop: a position is to be decided at once that the network was not asked about")
        if bool(decide.any()):
            drawn = _draw(sampler, board, decide)
            rows = rows.reveal(replace(board, candidates=decide), decide, drawn.token, drawn.log_probability)
    return rows.close(ending.close)


def _rule_out(logits: Tensor, at: Tensor, pairs: Tensor) -> Tensor:
    """The logits without what a remask rule has ruled out: (position, token) pairs (rows, k, 2), -1 for none."""
    row, entry = (pairs[..., 0] >= 0).nonzero(as_tuple=True)
    position, token = pairs[row, entry].unbind(dim=-1)
    asked = at[row, position]
    if not bool(asked.any()):
        return logits
    slot = (at.flatten().cumsum(0) - 1).view(at.shape)[row, position]
    logits = logits.clone()
    logits[slot[asked], token[asked]] = -torch.inf
    return logits


def _plan(parts: _Parts, progress: Progress, memory: _Memory) -> tuple[Tensor, Quota | None, _Memory]:
    """What may be decided at this step, and how many where that is known now."""
    candidates = progress.open
    if parts.remask is not None:
        candidates = candidates | (parts.remask.reopen(progress) & progress.unknown & ~progress.undecided)
    if not isinstance(parts.budget, CountBudget):
        return candidates, None, memory
    quota, kept = parts.budget.count(progress, memory.budget)
    return candidates, quota, memory._replace(budget=kept)


def _look(
    parts: _Parts,
    progress: Progress,
    candidates: Tensor,
    quota: Quota | None,
    logits: Tensor,
    at: Tensor,
    cut: Cut,
    ask: Ask,
) -> Board:
    """The board after the network's answer: statistics, and drawn tokens where the order looks at them."""
    flat = at.flatten().nonzero().squeeze(1)
    check_logits(logits, len(flat), cut.vocab_size)
    shape = (at.shape[0], at.shape[1])
    model = statistics(logits, cut).lay_out(flat, shape)
    sampled = statistics(logits, cut, parts.sampler.law).lay_out(flat, shape) if parts.reads_sampled else model
    board = Board(
        **{name: getattr(progress, name) for name in _PROGRESS_FIELDS},
        candidates=candidates,
        time=share_left(progress, 1) if quota is None else quota.time,
        model=model,
        sampled=sampled,
        drawn=None,
        gathered=Gathered(logits, flat, cut, shape),
        ask=ask,
    )
    return replace(board, drawn=_draw(parts.sampler, board, candidates)) if order_draws(parts.order) else board


_PROGRESS_FIELDS = tuple(field.name for field in fields(Progress))


def _draw(sampler: Sampler, board: Board, where: Tensor) -> Drawn:
    """Tokens at the true positions of ``where``, and their log-probabilities under the network's law."""
    joint = getattr(sampler, "joint", None)
    if joint is not None:
        return joint(board, where)
    if isinstance(sampler, Greedy):
        return Drawn(board.model.token, board.model.log_probability)
    gathered = board.gathered
    flat = where.flatten().nonzero().squeeze(1)
    row = flat.div(where.shape[1], rounding_mode="floor")
    u = uniform(board.seeds[row], Purpose.TOKEN, board.positions.flatten()[flat], board.visits.flatten()[flat])
    logits = gathered.logits[gathered.slot.flatten()[flat]]
    token = draw(logits, gathered.cut, sampler, u)
    chosen = logits.gather(1, token[:, None]).squeeze(1).float().double()
    # The most probable token's log-probability is known without cancellation.
    top, log_top = board.model.token.flatten()[flat], board.model.log_probability.flatten()[flat]
    log_probability = torch.where(token == top, log_top, chosen - board.model.log_normaliser.flatten()[flat])
    tokens = torch.full_like(board.tokens, -1)
    tokens.view(-1)[flat] = token
    values = torch.full_like(board.model.entropy, torch.nan)
    values.view(-1)[flat] = log_probability
    return Drawn(tokens, values)
