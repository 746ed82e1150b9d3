"""``anyorder data zebra``: seeded Zebra puzzles with one solution each."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anyorder.cli import screen
from anyorder.cli.options import IntOption, at_least
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.tasks.zebra import Puzzles


@dataclass(frozen=True)
class ZebraData:
    """Make Zebra puzzles: `anyorder data zebra --count 1000 --sizes 4x4 5x5 --out puzzles.npz`.

    A name that ends in .npz gives a training set (orders of deduction included), .jsonl prompts in English with
    their answers, a puzzle a line.
    """

    count: int
    """how many puzzles"""
    out: Path
    """file to write (.npz or .jsonl)"""
    seed: int = 0
    """the puzzles depend on it and on the settings, not on --workers"""
    sizes: tuple[str, ...] = ("4x4",)
    """houses x attributes, each 2 to 6; a puzzle has one of them"""
    kinds: Literal["all", "classic"] = "all"
    """kinds of clues: all, or the seven of the published puzzles"""
    hardest: Literal[4, 5, 6] = 5
    """the hardest rule of deduction needed: 4 one clue at a time, 5 two clues together, 6 suppose and refute"""
    workers: IntOption = None
    """threads that work at once (default: all cores)"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--seed", self.seed, 0)
        at_least("--workers", self.workers, 1)
        if self.out.suffix not in (".npz", ".jsonl"):
            raise UserError(f"--out {self.out} must end in .npz or .jsonl")

    def run(self) -> None:
        """Generate and write."""
        from anyorder.core.files import write_text
        from anyorder.tasks.zebra import KINDS, Recipe, generate
        from anyorder.tasks.zebra.rules import parse_size

        recipe = Recipe(tuple(map(parse_size, self.sizes)), KINDS[self.kinds], self.hardest)
        if self.out.is_dir():
            raise UserError(f"--out {self.out} is a folder; name a file")
        with screen.bar("Zebra puzzles") as progress:
            workers = self.workers or os.cpu_count() or 1
            puzzles = generate(recipe, self.count, self.seed, workers=workers, progress=progress)
        if self.out.suffix == ".npz":
            puzzles.save(self.out)
        else:
            write_text(self.out, "".join(_line(puzzles, row) + "\n" for row in range(len(puzzles))))
        counts = puzzles.clue_counts
        made = f"{len(puzzles)} puzzles of {counts.min()} to {counts.max()} clues"
        output = screen.output()
        output.print(f"{made}, fingerprint {puzzles.fingerprint[:16]}: {self.out}")
        kinds = (f"{kind.replace('_', ' ')} {number}" for kind, number in puzzles.histogram().items() if number)
        output.print(f"clues: {', '.join(kinds)}")


def _line(puzzles: Puzzles, row: int) -> str:
    """One puzzle as a prompt and its answer."""
    from anyorder.tasks.zebra import Names, as_answer, as_prompt

    puzzle = puzzles.puzzle(row)
    names = Names.usual(puzzle.size)
    answer = as_answer(puzzles.solution(row), names)
    return json.dumps({"size": puzzle.size.name, "prompt": as_prompt(puzzle, names), "answer": answer})
