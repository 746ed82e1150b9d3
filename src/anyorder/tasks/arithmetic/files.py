"""Files of problems: one JSON object a line, with ``question``, ``trace`` and ``answer``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from anyorder.core.errors import UserError, reason
from anyorder.core.files import write_text
from anyorder.tasks.arithmetic.problems import Problem
from anyorder.tasks.arithmetic.verifier import check_answer, check_trace

_NAMES = ("question", "trace", "answer")


def write_problems(path: str | os.PathLike[str], problems: Sequence[Problem]) -> None:
    """Write problems, whole or not at all. Raises ``UserError`` where the file cannot be written."""
    lines = (json.dumps({name: getattr(problem, name) for name in _NAMES}) + "\n" for problem in problems)
    write_text(path, "".join(lines))


def read_problems(path: str | os.PathLike[str]) -> list[Problem]:
    """Arithmetic problems of a file, every one verified.

    Raises:
        UserError: the file cannot be read, or a line is no problem, or its trace or answer is wrong; with the line.
    """
    problems = []
    for number, values in json_lines(path):
        texts = [text for name in _NAMES if isinstance(text := values.get(name), str)]
        if len(texts) < len(_NAMES):
            raise UserError(f"{path}, line {number}: a problem has the texts {', '.join(_NAMES)}")
        problem = Problem(*texts)
        try:
            verdict = check_trace(problem.question, problem.trace)
            right = check_answer(problem.question, problem.answer)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        if not verdict.valid or not right:
            raise UserError(f"{path}, line {number}: {verdict.problem or 'the answer is wrong'}")
        problems.append(problem)
    return problems


def json_lines(path: str | os.PathLike[str]) -> list[tuple[int, dict[str, object]]]:
    """The objects of a ``.jsonl`` file with their line numbers; empty lines are passed over.

    Raises:
        UserError: the file cannot be read, or a line is no JSON object.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read {path}: {why}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: this is not JSON") from error
        if not isinstance(values, dict):
            raise UserError(f"{path}, line {number}: a line is a JSON object")
        found.append((number, values))
    return found
