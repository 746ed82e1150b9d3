"""Arithmetic problems decoded with a strategy, and judged: is the answer right, is the trace valid, what did it cost.

A Countdown question gives its answer away, so there a problem is right when its trace is valid.

Evaluations are counted in two ways. ``nfe`` is every call of the network. ``text_nfe`` counts only the steps that
decided a position which ends up holding text: a strategy gets no credit for filling padding fast, nor pays for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.canvas import State
from anyorder.core.errors import UserError
from anyorder.core.randomness import row_seeds
from anyorder.core.template import read_holes
from anyorder.decoding.decoder import decode
from anyorder.evaluation.accuracy import wilson
from anyorder.evaluation.batching import batches
from anyorder.tasks.arithmetic import (
    ANSWER,
    REASONING,
    TOKENIZER,
    check_answer,
    check_countdown,
    check_trace,
    problem_canvas,
)
from anyorder.tasks.arithmetic.layout import text_positions

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Denoiser
    from anyorder.decoding.result import Decoded
    from anyorder.tasks.arithmetic import Problem


@dataclass(frozen=True, eq=False)
class ProblemReport:
    """What a strategy made of N problems; every array is (N,).

    ``traces`` and ``answers`` are the texts as decoded. ``right`` says which answers are right, ``valid`` which traces
    are complete and valid; ``nfe`` and ``text_nfe`` are evaluations (see the module), ``text`` the positions that hold
    text.
    """

    traces: Sequence[str]
    answers: Sequence[str]
    right: np.ndarray
    valid: np.ndarray
    nfe: np.ndarray
    text_nfe: np.ndarray
    text: np.ndarray

    @property
    def count(self) -> int:
        return len(self.right)

    def summary(self, level: float = 0.95) -> dict[str, Any]:
        """``solved_share`` (right answers), its Wilson ``interval``, ``count``, ``valid_share``, mean evaluations."""
        count = self.count
        return {
            "solved_share": float(self.right.mean()) if count else None,
            "interval": list(wilson(int(self.right.sum()), count, level)),
            "count": count,
            "valid_share": float(self.valid.mean()) if count else None,
            "nfe_mean": float(self.nfe.mean()) if count else None,
            "text_nfe_mean": float(self.text_nfe.mean()) if count else None,
            "text_mean": float(self.text.mean()) if count else None,
        }


def solve_problems(
    model: Denoiser,
    problems: Sequence[Problem],
    reasoning: int,
    answer: int,
    parts: Mapping[str, Any],
    *,
    pinned: bool = False,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> ProblemReport:
    """Decode every problem in holes of these lengths, and judge it.

    Args:
        model: a denoiser of byte tokens on ``device``.
        problems: questions with their answers.
        reasoning, answer: lengths of the holes.
        parts: a strategy, as keyword arguments of ``decode``.
        pinned: the answers are given; then what is decoded are posterior traces.
        seed: row i draws from it and i alone, so ``batch_size`` changes the memory used and nothing else.
        batch_size: rows decoded together.
        progress: called with (done, total) after every batch.

    Raises:
        UserError: a model of another vocabulary, or a batch size below 1.
    """
    check_byte_model(model)
    seeds = row_seeds(seed, len(problems))
    reports = []
    for rows in batches(len(problems), batch_size, progress):
        canvas = problem_canvas(problems[rows], reasoning, answer, pinned=pinned).to(device)
        result = decode(model, canvas, seed=seeds[rows].to(device), **parts)
        reports.append(judge(problems[rows], canvas, result))
    return joined(reports)


def judge(problems: Sequence[Problem], canvas: Canvas, result: Decoded) -> ProblemReport:
    """The verdicts on decoded rows."""
    texts = read_holes(TOKENIZER, canvas, result.tokens)
    traces, answers = [row[REASONING] for row in texts], [row[ANSWER] for row in texts]
    holes = canvas.holes
    text = text_positions(result.tokens, holes[REASONING]) | text_positions(result.tokens, holes[ANSWER])
    missing = result.state == State.UNDECIDED
    # An undecided position among the text leaves no text there: the trace was cut short, whatever is left of it says.
    whole = ~(missing & text & holes[REASONING]).any(dim=1)
    valid = [
        bool(complete) and (check_countdown if is_countdown(problem) else check_trace)(problem.question, trace).valid
        for problem, trace, complete in zip(problems, traces, whole.tolist(), strict=True)
    ]
    right = [
        good if is_countdown(problem) else check_answer(problem.question, answer)
        for problem, good, answer in zip(problems, valid, answers, strict=True)
    ]
    text = text & ~missing & canvas.unknown
    return ProblemReport(
        traces,
        answers,
        np.array(right, dtype=bool),
        np.array(valid, dtype=bool),
        result.nfe.cpu().numpy(),
        text_evaluations(result.step_of, text).cpu().numpy(),
        text.sum(dim=1).cpu().numpy(),
    )


def is_countdown(problem: Problem) -> bool:
    """Whether a problem is one of Countdown, by its question."""
    return "," in problem.question


def text_evaluations(step_of: Int64[Tensor, "rows length"], text: Tensor) -> Int64[Tensor, " rows"]:
    """How many different steps decided the positions of ``text`` (rows, length) in each row."""
    steps = torch.where(text, step_of, -1) + 1
    used = torch.zeros(len(steps), int(steps.max()) + 1 if steps.numel() else 1, dtype=torch.bool, device=steps.device)
    used.scatter_(1, steps, True)
    return used[:, 1:].sum(dim=1)


def joined(reports: Sequence[ProblemReport]) -> ProblemReport:
    """Reports of consecutive problems as one."""
    if not reports:
        none = np.zeros(0, dtype=bool)
        return ProblemReport([], [], none, none, none.astype(int), none.astype(int), none.astype(int))
    arrays = {
        name: np.concatenate([getattr(report, name) for report in reports])
        for name in ("right", "valid", "nfe", "text_nfe", "text")
    }
    traces = [trace for report in reports for trace in report.traces]
    return ProblemReport(traces, [answer for report in reports for answer in report.answers], **arrays)


def check_byte_model(model: Denoiser) -> None:
    """Refuse a model that does not speak bytes."""
    if model.vocab_size != TOKENIZER.vocab_size or model.mask_token_id != TOKENIZER.mask_token_id:
        raise UserError(
            f"arithmetic is written in bytes: a vocabulary of {TOKENIZER.vocab_size} with the mask "
            f"{TOKENIZER.mask_token_id}, but this model has {model.vocab_size} and {model.mask_token_id}"
        )
