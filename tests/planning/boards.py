"""Boards made by hand: logits of every position in, what a part sees out."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from anyorder.planning.board import Board, Gathered, Progress
from anyorder.planning.statistics import Cut, statistics


def make_progress(unknown: Tensor, undecided: Tensor | None = None, **more: Any) -> Progress:
    """Rows with these unknown positions, all of them undecided unless stated, in one stage."""
    rows, length = unknown.shape
    values: dict[str, Any] = {
        "step": 0,
        "tokens": torch.zeros(rows, length, dtype=torch.long),
        "unknown": unknown,
        "undecided": unknown if undecided is None else undecided,
        "window": unknown,
        "stages": torch.zeros(rows, length, dtype=torch.long),
        "stage": torch.zeros(rows, dtype=torch.long),
        "positions": torch.arange(length).expand(rows, -1),
        "visits": torch.zeros(rows, length, dtype=torch.long),
        "seeds": torch.arange(rows) * 1_000_003 + 12_345,
        "holes": {},
    }
    return Progress(**{**values, **more})


def make_board(
    logits: Tensor, unknown: Tensor | None = None, sampled: Tensor | None = None, mask_token_id: int = 0, **more: Any
) -> Board:
    """A board from logits (rows, length, vocab); ``sampled`` are those of the law drawn from."""
    rows, length, vocab = logits.shape
    unknown = torch.ones(rows, length, dtype=torch.bool) if unknown is None else unknown
    own = {name: more.pop(name) for name in ("time", "drawn") if name in more}
    progress = make_progress(unknown, **more)
    cut = Cut(vocab, mask_token_id)
    at = progress.open.flatten().nonzero().squeeze(1)
    gathered = logits.flatten(0, 1)[at]
    law = gathered if sampled is None else sampled.flatten(0, 1)[at]
    return Board(
        **{field.name: getattr(progress, field.name) for field in fields(Progress)},
        candidates=progress.open,
        time=own.get("time", torch.ones(rows, dtype=torch.float64)),
        model=statistics(gathered, cut).lay_out(at, (rows, length)),
        sampled=statistics(law, cut).lay_out(at, (rows, length)),
        drawn=own.get("drawn"),
        gathered=Gathered(gathered, at, cut, (rows, length)),
    )


def two_way(probabilities: Tensor) -> Tensor:
    """Logits (1, length, 3) of a mask token and two others, the first of these with the given probability."""
    p = probabilities.double()
    return torch.stack((torch.zeros_like(p), p.log(), (1 - p).log()), dim=-1).float()[None]
