"""Traces sampled at temperature 1 with everything about them written down: the material of several experiments.

Every trace is decoded one position at a time, the trace before the answer. At every other step the trace score is
taken (the right answer's log-probability given what is revealed, one extra evaluation that no decode needs) and the
log-likelihood of what has been decided so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.randomness import fold, row_seeds
from anyorder.decoding.decoder import stream
from anyorder.evaluation.problems import judge
from anyorder.experiments.arithmetic import ends
from anyorder.planning.samplers import Temperature
from anyorder.planning.windows import Holes
from anyorder.reasoning import trace_score
from anyorder.tasks.arithmetic import ANSWER, REASONING, TOKENIZER, Problem, problem_canvas

if TYPE_CHECKING:
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.decoding.result import Decoded
    from anyorder.models.transformer import Transformer
    from anyorder.planning.orders import Order

EVERY = 2
"""Steps between two scores."""


def sampling(order: Order) -> dict[str, Any]:
    """The strategy: one position at a time at temperature 1, the trace first."""
    return {"order": order, "sampler": Temperature(1.0), "window": Holes(REASONING, ANSWER), "stop": ends()}


def record_traces(
    model: Transformer,
    problems: Sequence[Problem],
    holes: tuple[int, int],
    order: Order,
    samples: int,
    *,
    seed: int,
    device: torch.device | str,
) -> dict[str, Any]:
    """``samples`` traces of each problem, as JSON data: a list over the traces under each name.

    ``problem``, ``right``, ``valid``, ``nfe``, ``length`` (steps of the trace); ``scores`` and ``likelihoods`` hold one
    list for each trace, of the mean trace score and of the log-likelihood after 0, EVERY, 2 EVERY, ... steps;
    ``final_score`` is that of the finished trace, ``likelihood`` that of its trace tokens, ``text`` their number.
    """
    row = torch.arange(len(problems)).repeat_interleave(samples)
    number = torch.arange(samples).repeat(len(problems))
    canvas = problem_canvas([problems[i] for i in row.tolist()], *holes).to(device)
    answers = problem_canvas([problems[i] for i in row.tolist()], *holes, pinned=True).tokens.to(device)
    seeds = fold(row_seeds(seed, len(problems))[row], number).to(device)
    kept = _Kept(model, canvas, answers)
    steps = stream(model, canvas, seed=seeds, **sampling(order))
    while True:
        try:
            kept.take(next(steps))
        except StopIteration as end:
            result: Decoded = end.value
            break
    report = judge([problems[i] for i in row.tolist()], canvas, result)
    final = kept.score(torch.arange(canvas.batch, device=canvas.device), result.tokens)
    decided = canvas.holes[REASONING] & (result.step_of >= 0)
    length = decided.sum(dim=1)
    likelihood = torch.where(decided, result.log_probability, 0.0).sum(dim=1)
    return {
        "problem": row.tolist(),
        "right": report.right.astype(int).tolist(),
        "valid": report.valid.astype(int).tolist(),
        "nfe": report.nfe.tolist(),
        "length": length.tolist(),
        "scores": kept.scores,
        "likelihoods": kept.likelihoods,
        "final_score": [round(value, 4) for value in final.tolist()],
        "likelihood": [round(value, 4) for value in likelihood.tolist()],
    }


class _Kept:
    """What is written down along a stream."""

    def __init__(self, model: Transformer, canvas: Canvas, answers: Tensor) -> None:
        self._model, self._canvas, self._answers = model, canvas, answers
        everything = torch.arange(canvas.batch, device=canvas.device)
        start = self.score(everything, canvas.tokens.masked_fill(canvas.unknown, model.mask_token_id))
        self.scores = [[round(value, 4)] for value in start.tolist()]
        self.likelihoods = [[0.0] for _ in self.scores]
        self._sum = torch.zeros(canvas.batch, dtype=torch.float64, device=canvas.device)

    def score(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Mean trace scores of some rows."""
        canvas, pad = self._canvas.rows(rows), TOKENIZER.pad_token_id
        return trace_score(self._model, canvas, self._answers[rows], tokens=tokens, padding=pad).mean

    def take(self, step: Any) -> None:
        """One step: rows whose trace goes on are scored at every other one."""
        inside = self._canvas.holes[REASONING][step.rows]
        revealed = step.revealed & inside
        self._sum[step.rows] += torch.where(revealed, step.log_probability, 0.0).sum(dim=1)
        if (step.index + 1) % EVERY:
            return
        going = revealed.any(dim=1)
        if not bool(going.any()):
            return
        rows = step.rows[going]
        values, sums = self.score(rows, step.tokens[going]).tolist(), self._sum[rows].tolist()
        for index, value, total in zip(rows.tolist(), values, sums, strict=True):
            self.scores[index].append(round(value, 4))
            self.likelihoods[index].append(round(total, 4))


def along(found: dict[str, Any], name: str, share: float) -> np.ndarray:
    """The figure ``scores`` or ``likelihoods`` of each trace when this share of its own steps was done, the last one
    written down by then."""
    lists, lengths = found[name], found["length"]
    places = [min(int(share * length) // EVERY, len(values) - 1) for values, length in zip(lists, lengths, strict=True)]
    return np.array([values[place] for values, place in zip(lists, places, strict=True)])


def at_step(found: dict[str, Any], name: str, step: int) -> np.ndarray:
    """The same after a fixed number of steps; the last figure for traces that are shorter."""
    return np.array([values[min(step // EVERY, len(values) - 1)] for values in found[name]])


def joined(parts: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Recorded traces of consecutive problems as one; ``sizes`` are the problems of each part."""
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    whole: dict[str, Any] = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    whole["problem"] = [
        int(start) + index for start, part in zip(starts, parts, strict=True) for index in part["problem"]
    ]
    return whole
