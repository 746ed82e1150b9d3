"""``anyorder data arithmetic`` and ``anyorder data countdown``: seeded problems with a trace and an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anyorder.cli import screen
from anyorder.cli.options import at_least
from anyorder.core.errors import UserError


@dataclass(frozen=True)
class ArithmeticData:
    """Make arithmetic problems: `anyorder data arithmetic --count 1000 --out problems.jsonl`.

    A line holds question, trace and answer.
    """

    count: int
    """how many problems, all of different questions"""
    out: Path
    """file to write (.jsonl)"""
    seed: int = 0
    """the problems depend on it and on the settings alone"""
    difficulty: Literal["normal", "hard"] = "normal"
    """the range of the expressions"""
    split: Literal["train", "held-out", "any"] = "any"
    """held-out: the sixteenth of all questions that no training sees"""

    def __post_init__(self) -> None:
        _check(self.count, self.seed, self.out)

    def run(self) -> None:
        """Generate and write."""
        from anyorder.tasks.arithmetic import DIFFICULTIES, make_problems, write_problems

        problems = make_problems(DIFFICULTIES[self.difficulty], self.count, self.seed, self.split)
        write_problems(self.out, problems)
        screen.output().print(f"{len(problems)} problems: {self.out}")


@dataclass(frozen=True)
class CountdownData:
    """Make Countdown problems: `anyorder data countdown --count 1000 --numbers 4 --out countdown_4.jsonl`.

    A line holds input (numbers and target) and output (steps), as in the published data.
    """

    count: int
    """how many problems, all of different questions"""
    out: Path
    """file to write (.jsonl)"""
    seed: int = 0
    """the problems depend on it and on the settings alone"""
    numbers: int = 3
    """how many numbers to use"""
    split: Literal["train", "held-out", "any"] = "any"
    """held-out: the sixteenth of all questions that no training sees"""

    def __post_init__(self) -> None:
        _check(self.count, self.seed, self.out)

    def run(self) -> None:
        """Generate and write."""
        from anyorder.core.files import write_text
        from anyorder.tasks.arithmetic import CountdownRange, make_countdowns

        problems = make_countdowns(CountdownRange(self.numbers), self.count, self.seed, self.split)
        lines = (json.dumps({"input": problem.question, "output": problem.trace}) + "\n" for problem in problems)
        write_text(self.out, "".join(lines))
        screen.output().print(f"{len(problems)} problems: {self.out}")


def _check(count: int, seed: int, out: Path) -> None:
    at_least("--count", count, 1)
    at_least("--seed", seed, 0)
    if out.suffix != ".jsonl":
        raise UserError(f"--out {out} must end in .jsonl")
    if out.is_dir():
        raise UserError(f"--out {out} is a folder; name a file")
