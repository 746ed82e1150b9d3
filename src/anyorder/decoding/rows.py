"""The rows of a decode: the state that the loop carries, and where finished rows are written down."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch

from anyorder.core.errors import UserError
from anyorder.decoding.result import Decoded, Step, states
from anyorder.planning.board import Board, Progress, keep_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.planning.windows import Window


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with something left to decide. Every tensor's first axis is these rows; nothing is changed in place.

    Attributes:
        index: int64 (rows,), which rows of the canvas these are.
        tokens: int64 (rows, length), the mask token where undecided.
        unknown, undecided, closed: bool (rows, length). Undecided positions are open; closed ones stay undecided.
        attention_mask: bool (rows, length), or ``None``.
        positions, visits, stages: int64 (rows, length), as in `Progress`.
        staged: whether there is more than one stage.
        seeds: int64 (rows,).
        holes: bool (rows, length) each.
        step_of: int64 (rows, length).
        recorded: float64 (3, rows, length): log-probability, margin and entropy where decided.
        forced: bool (rows,), decided by a cap on evaluations.
        extra: int64 (rows,), evaluations beyond one call a step.
        ended: int64 (rows,), which rule of the stop first ended something in the row, -1 for none.
    """

    index: Int64[Tensor, " rows"]
    tokens: Int64[Tensor, "rows length"]
    unknown: Bool[Tensor, "rows length"]
    undecided: Bool[Tensor, "rows length"]
    closed: Bool[Tensor, "rows length"]
    attention_mask: Bool[Tensor, "rows length"] | None
    positions: Int64[Tensor, "rows length"]
    visits: Int64[Tensor, "rows length"]
    stages: Int64[Tensor, "rows length"]
    staged: bool
    seeds: Int64[Tensor, " rows"]
    holes: Mapping[str, Bool[Tensor, "rows length"]]
    step_of: Int64[Tensor, "rows length"]
    recorded: tuple[Float64[Tensor, "rows length"], ...]
    forced: Bool[Tensor, " rows"]
    extra: Int64[Tensor, " rows"]
    ended: Int64[Tensor, " rows"]

    @staticmethod
    def start(canvas: Canvas, mask_token_id: int, seeds: Int64[Tensor, " batch"], window: Window) -> Rows:
        """The rows of a canvas that have something unknown, at the start."""
        index = canvas.unknown.any(dim=1).nonzero().squeeze(1)
        canvas = canvas.rows(index)
        unknown = canvas.unknown
        stages = window.stages(canvas)
        if not isinstance(stages, torch.Tensor) or stages.dtype != torch.int64 or stages.shape != unknown.shape:
            raise UserError(f"window: stages of {type(window).__name__} must be int64 of shape {tuple(unknown.shape)}")
        nothing = torch.full(unknown.shape, torch.nan, dtype=torch.float64, device=canvas.device)
        return Rows(
            index=index,
            tokens=canvas.tokens.masked_fill(unknown, mask_token_id),
            unknown=unknown,
            undecided=unknown,
            closed=torch.zeros_like(unknown),
            attention_mask=canvas.attention_mask,
            positions=canvas.positions,
            visits=torch.zeros_like(canvas.tokens),
            stages=stages,
            staged=bool((stages.masked_fill(~unknown, 0) != 0).any()),
            seeds=seeds[index],
            holes=canvas.holes,
            step_of=torch.full_like(canvas.tokens, -1),
            recorded=(nothing, nothing, nothing),
            forced=torch.zeros_like(index, dtype=torch.bool),
            extra=torch.zeros_like(index),
            ended=torch.full_like(index, -1),
        )

    def __len__(self) -> int:
        return len(self.index)

    def progress(self, step: int) -> Progress:
        """What the parts see before the network is asked."""
        window = self.unknown & ~self.closed
        if self.staged:
            stage = self.stages.masked_fill(~self.undecided, torch.iinfo(torch.int64).max).amin(dim=1)
            window = window & (self.stages == stage[:, None])
        else:
            stage = torch.zeros_like(self.index)
        return Progress(
            step=step,
            tokens=self.tokens,
            unknown=self.unknown,
            undecided=self.undecided,
            window=window,
            stages=self.stages,
            stage=stage,
            positions=self.positions,
            visits=self.visits,
            seeds=self.seeds,
            holes=self.holes,
        )

    def reveal(
        self,
        board: Board,
        chosen: Bool[Tensor, "rows length"],
        token: Int64[Tensor, "rows length"],
        log_probability: Float64[Tensor, "rows length"],
    ) -> Rows:
        """The rows after the chosen positions got their tokens."""
        new = (log_probability, 1 - board.model.one_minus_margin, board.model.entropy)
        drawn_at = chosen if board.drawn is None else board.candidates | chosen
        return replace(
            self,
            tokens=torch.where(chosen, token, self.tokens),
            undecided=self.undecided & ~chosen,
            step_of=self.step_of.masked_fill(chosen, board.step),
            recorded=tuple(torch.where(chosen, now, old) for now, old in zip(new, self.recorded, strict=True)),
            visits=self.visits + drawn_at,
        )

    def take_back(self, back: Bool[Tensor, "rows length"], mask_token_id: int) -> Rows:
        """The rows after some decided positions were made undecided."""
        return replace(
            self,
            tokens=self.tokens.masked_fill(back, mask_token_id),
            undecided=self.undecided | back,
            step_of=self.step_of.masked_fill(back, -1),
            recorded=tuple(old.masked_fill(back, torch.nan) for old in self.recorded),
        )

    def close(self, closed: Bool[Tensor, "rows length"]) -> Rows:
        """The rows after some undecided positions were closed."""
        closed = closed & self.undecided
        return replace(self, undecided=self.undecided & ~closed, closed=self.closed | closed)

    def nfe(self, calls: int) -> Int64[Tensor, " rows"]:
        """Network evaluations of each row, of which ``calls`` were made for all of them."""
        return calls + self.extra

    def keep(self, kept: Int64[Tensor, " kept"]) -> Rows:
        """Some of the rows."""
        held = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "staged"}
        return Rows(staged=self.staged, **keep_rows(held, kept))

    def step(self, before: Board, calls: int) -> Step:
        """What the consumer of a stream is told: what the step made of the rows that ``before`` shows."""
        missing = self.undecided | self.closed
        log_probability, margin, entropy = self.recorded
        return Step(
            index=before.step,
            rows=self.index,
            tokens=self.tokens,
            unknown=self.unknown,
            missing=missing,
            attention_mask=self.attention_mask,
            open=before.undecided,
            candidates=before.candidates,
            # A decided position never holds the mask token, so a position taken back changes its token.
            revealed=self.unknown & ~missing & ((self.tokens != before.tokens) | (self.step_of == before.step)),
            remasked=self.unknown & missing & (self.tokens != before.tokens),
            log_probability=log_probability,
            margin=margin,
            entropy=entropy,
            statistics=before.model,
            nfe=self.nfe(calls),
        )


class Slots:
    """States that rows keep of themselves, for a remask rule that goes back to them.

    Only what a step can change is kept. Memory for n slots is n times that of the rows, and is taken when the first is
    filled. The tensors are written in place, and nobody else holds them.
    """

    _KEPT = ("tokens", "undecided", "step_of")

    def __init__(self, count: int) -> None:
        self._count = count
        self._held: list[Tensor] = []
        self._filled: Tensor | None = None

    def save(self, rows: Rows, slot: Int64[Tensor, " rows"] | None) -> None:
        """Fill slots: ``slot`` says which of each row's, -1 for none."""
        if slot is None or not bool((slot >= 0).any()):
            return
        state = [getattr(rows, name) for name in self._KEPT] + list(rows.recorded)
        if self._filled is None:
            self._held = [part.new_zeros(len(part), self._count, *part.shape[1:]) for part in state]
            self._filled = torch.zeros(len(rows), self._count, dtype=torch.bool, device=rows.index.device)
        row = (slot >= 0).nonzero().squeeze(1)
        for held, part in zip(self._held, state, strict=True):
            held[row, slot[row]] = part[row]
        self._filled[row, slot[row]] = True

    def load(self, rows: Rows, slot: Int64[Tensor, " rows"] | None, complete: Bool[Tensor, " rows"]) -> Rows:
        """The rows, some of them as they were. Rows that are to be ``complete`` stay unless their slot is."""
        if slot is None or self._filled is None:
            return rows
        index = torch.arange(len(rows), device=slot.device)
        place = slot.clamp(min=0)
        tokens, undecided, step_of, *recorded = (held[index, place] for held in self._held)
        going = (slot >= 0) & self._filled[index, place] & ~(complete & (undecided & ~rows.closed).any(dim=1))
        where = going[:, None]
        return replace(
            rows,
            tokens=torch.where(where, tokens, rows.tokens),
            undecided=torch.where(where, undecided & ~rows.closed, rows.undecided),
            step_of=torch.where(where, step_of, rows.step_of),
            recorded=tuple(torch.where(where, old, now) for old, now in zip(recorded, rows.recorded, strict=True)),
            forced=rows.forced | (going & complete),
        )

    def keep(self, kept: Int64[Tensor, " kept"]) -> None:
        """Some of the rows."""
        if self._filled is not None:
            self._held = [held[kept] for held in self._held]
            self._filled = self._filled[kept]


class Outcome:
    """The result under construction: finished rows are written into it, and rows with nothing unknown are in it from
    the start."""

    def __init__(self, canvas: Canvas, mask_token_id: int) -> None:
        self._canvas = canvas
        nothing = torch.full(canvas.tokens.shape, torch.nan, dtype=torch.float64, device=canvas.device)
        self._tokens = canvas.tokens.masked_fill(canvas.unknown, mask_token_id)
        self._missing = canvas.unknown.clone()
        self._step_of = torch.full_like(canvas.tokens, -1)
        self._nfe = torch.zeros(canvas.batch, dtype=torch.int64, device=canvas.device)
        self._reasons = ["complete"] * canvas.batch
        self._recorded = (nothing, nothing.clone(), nothing.clone())

    def record(self, rows: Rows, calls: int, reasons: tuple[str, ...]) -> None:
        """Write down finished rows.

        Args:
            rows: the finished rows.
            calls: network evaluations that were made for each of them alike.
            reasons: of the stop rule, to which ``rows.ended`` points.
        """
        index = rows.index
        self._tokens[index] = rows.tokens
        self._missing[index] = rows.closed
        self._step_of[index] = rows.step_of
        self._nfe[index] = rows.nfe(calls)
        for target, source in zip(self._recorded, rows.recorded, strict=True):
            target[index] = source
        for row, ended, forced in zip(index.tolist(), rows.ended.tolist(), rows.forced.tolist(), strict=True):
            if ended >= 0 or forced:
                self._reasons[row] = reasons[ended] if ended >= 0 else "evaluation_limit"

    def result(self) -> Decoded:
        """The whole batch."""
        canvas = self._canvas
        return Decoded(
            tokens=self._tokens,
            state=states(canvas.unknown, self._missing, canvas.attention_mask),
            step_of=self._step_of,
            nfe=self._nfe,
            finish_reason=tuple(self._reasons),
            log_probability=self._recorded[0],
            margin=self._recorded[1],
            entropy=self._recorded[2],
        )
