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
        return replace(
            self,
            tokens=torch.where(chosen, token, self.tokens),
            undecided=self.undecided & ~chosen,
            step_of=self.step_of.masked_fill(chosen, board.step),
            recorded=tuple(torch.where(chosen, now, old) for now, old in zip(new, self.recorded, strict=True)),
            visits=self.visits + (chosen if board.drawn is None else board.candidates),
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

    def keep(self, kept: Int64[Tensor, " kept"]) -> Rows:
        """Some of the rows."""
        held = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "staged"}
        return Rows(staged=self.staged, **keep_rows(held, kept))

    def step(self, before: Board, chosen: Tensor, back: Tensor, log_probability: Tensor, nfe: int) -> Step:
        """What the consumer of a stream is told."""
        return Step(
            index=before.step,
            rows=self.index,
            tokens=self.tokens,
            unknown=self.unknown,
            missing=self.undecided | self.closed,
            attention_mask=self.attention_mask,
            open=before.undecided,
            candidates=before.candidates,
            revealed=chosen,
            remasked=back,
            log_probability=log_probability,
            statistics=before.model,
            nfe=nfe,
        )


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

    def record(self, rows: Rows, nfe: int, stopped: str) -> None:
        """Write down finished rows.

        Args:
            rows: the finished rows.
            nfe: network evaluations of each of them.
            stopped: the reason of the stop rule, for rows with closed positions.
        """
        index = rows.index
        self._tokens[index] = rows.tokens
        self._missing[index] = rows.closed
        self._step_of[index] = rows.step_of
        self._nfe[index] = nfe
        for target, source in zip(self._recorded, rows.recorded, strict=True):
            target[index] = source
        for row, closed, forced in zip(
            index.tolist(), rows.closed.any(dim=1).tolist(), rows.forced.tolist(), strict=True
        ):
            if closed or forced:
                self._reasons[row] = stopped if closed else "evaluation_limit"

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
