"""Where question, trace and answer stand: ``Q: QUESTION\\n[reasoning]\\nA: [answer]``.

Both holes have a length. A text shorter than its hole is closed by the end-of-text token and filled up with padding,
which a model learns to write and to see. ``problem_canvas`` makes canvases to decode through `Template`;
``training_rows`` makes many whole rows with holes of different lengths, for training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anyorder.core.errors import UserError
from anyorder.core.template import Template
from anyorder.core.tokenizers import ByteTokenizer

if TYPE_CHECKING:
    from jaxtyping import Bool, Int64
    from numpy.typing import NDArray
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.tasks.arithmetic.countdown import CountdownRange
    from anyorder.tasks.arithmetic.problems import Difficulty, Problem

REASONING, ANSWER = "reasoning", "answer"
BEFORE, BETWEEN, AFTER = "Q: ", "\n", "\nA: "
LITERALS = len(BEFORE) + len(BETWEEN) + len(AFTER)
TOKENIZER = ByteTokenizer()


def template(reasoning: int, answer: int) -> Template:
    """The template of a question (value ``question``), with holes ``reasoning`` and ``answer`` of these lengths."""
    return Template(f"{BEFORE}{{question}}{BETWEEN}{{{REASONING}:{reasoning}}}{AFTER}{{{ANSWER}:{answer}}}")


def hole_lengths(difficulty: Difficulty | CountdownRange) -> tuple[int, int]:
    """Lengths of the two holes with room for every trace and answer of a range, and the end of each."""
    return difficulty.trace_length + 1, difficulty.answer_length + 1


def problem_canvas(
    problems: Iterable[Problem], reasoning: int, answer: int, *, trace: bool = False, pinned: bool = False
) -> Canvas:
    """One row for each problem.

    Args:
        problems: their questions are given.
        reasoning, answer: lengths of the holes.
        trace: the problem's trace is given, else the hole ``reasoning`` is unknown.
        pinned: the problem's answer is given, else the hole ``answer`` is unknown.

    Raises:
        UserError: a text is longer than its hole.
    """
    rows = []
    for problem in problems:
        row = {"question": problem.question}
        if trace:
            row[REASONING] = problem.trace
        if pinned:
            row[ANSWER] = problem.answer
        rows.append(row)
    return template(reasoning, answer).batch(TOKENIZER, rows)


def text_positions(
    tokens: Int64[Tensor, "rows length"], hole: Bool[Tensor, "rows length"]
) -> Bool[Tensor, "rows length"]:
    """The positions of a hole before its first end of text or padding: those that hold text."""
    ends = ((tokens == TOKENIZER.end_token_id) | (tokens == TOKENIZER.pad_token_id)) & hole
    return hole & (ends.cumsum(dim=1) == 0)


@dataclass(frozen=True, eq=False)
class Sheet:
    """Whole rows of tokens, and what each position is; every array is (rows, length).

    Attributes:
        tokens: padded on the right with the padding token.
        real: what is no padding to the common length.
        reasoning, answer: the holes.
    """

    tokens: NDArray[np.int64]
    real: NDArray[np.bool_]
    reasoning: NDArray[np.bool_]
    answer: NDArray[np.bool_]


def training_rows(problems: Sequence[Problem], reasoning: Sequence[int], answer: int, length: int) -> Sheet:
    """Rows with their texts filled in, as the template with pinned holes makes them.

    Args:
        problems: one for each row.
        reasoning: length of each row's reasoning hole.
        answer: length of the answer hole.
        length: of a row.

    Raises:
        UserError: a trace and its end, or an answer, is longer than its hole, or a row than ``length``.
    """
    end, pad = bytes([0]), bytes([1])  # stand-ins: no text of a problem has these bytes
    rows, marks = [], []
    for problem, room in zip(problems, reasoning, strict=True):
        head = f"{BEFORE}{problem.question}{BETWEEN}".encode()
        trace, text = problem.trace.encode() + end, problem.answer.encode()
        if len(trace) > room:
            raise UserError(f"the trace {problem.trace!r} and its end do not fit a hole of {room}")
        if len(text) > answer:
            raise UserError(f"the answer {problem.answer!r} does not fit a hole of {answer}")
        last = (text + end + pad * answer)[:answer]
        row = head + trace.ljust(room, pad) + AFTER.encode() + last
        marks.append((len(head), len(head) + room, len(row) - answer, len(row)))
        rows.append(row)
    longest = max(map(len, rows), default=0)
    if longest > length:
        raise UserError(f"a row needs {longest} positions, but there are {length}")
    joined = b"".join(row.ljust(length, pad) for row in rows)
    tokens = np.frombuffer(joined, np.uint8).reshape(len(rows), length).astype(np.int64)
    tokens[tokens == 0] = TOKENIZER.end_token_id
    tokens[tokens == 1] = TOKENIZER.pad_token_id
    place = np.arange(length)
    begin, stop, second, whole = np.array(marks, np.int64).reshape(-1, 4).T[..., None]
    return Sheet(
        tokens,
        real=place < whole,
        reasoning=(place >= begin) & (place < stop),
        answer=(place >= second) & (place < whole),
    )
