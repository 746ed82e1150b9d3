"""``anyorder demo``: the first thing to run. Unseen puzzles, one network, several orders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.cli import screen
from anyorder.cli.options import Machine, PathOption, at_least
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from anyorder.experiments.comparison import Outcome

SEED = 20_250_601  # of the puzzles; no training set uses it
LONG, SHORT = ("margin", "med"), ("top-probability", "entropy", "left-to-right", "random")
REPLAYED = ("margin", "med", "left-to-right", "random")
REPLAYED_PUZZLES = 6  # most of them such that the order decides


@dataclass(frozen=True)
class Demo:
    """Solve unseen puzzles with the shipped model under several orders: table, plot and page."""

    model: str = "sudoku-9x9"
    """shipped name, folder, or hub id"""
    count: int = 500
    """puzzles under margin and MED"""
    few: int = 128
    """puzzles under the other orders"""
    out: Path = Path("demo")
    """folder of the plot, the page and the record"""
    seed: int = SEED
    """of the puzzles"""
    machine: Machine = field(default_factory=lambda: Machine(batch_size=64))
    json: PathOption = None
    """write the record here as well"""

    def __post_init__(self) -> None:
        at_least("--count", self.count, 1)
        at_least("--few", self.few, 1)
        at_least("--seed", self.seed, 0)
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out} is a file; name a folder")

    def run(self) -> None:
        """Generate, decode, and show what was seen."""
        since = time.time()
        console = screen.output()
        device = self.machine.prepare()
        import torch

        from anyorder.core.randomness import row_seeds
        from anyorder.experiments import comparison, records
        from anyorder.experiments.plots import accuracy_against_evaluations
        from anyorder.experiments.puzzles import unseen
        from anyorder.experiments.traces import trace_puzzles
        from anyorder.models.checkpoints import from_pretrained
        from anyorder.viewer import write_page

        model = from_pretrained(self.model, device=device)
        with screen.bar("making puzzles (compiles the first time)") as made:
            puzzles = unseen(model, max(self.count, self.few), self.seed, made)
        facts = records.model_facts(self.model, model)
        console.print(
            f"{self.model}: {facts['parameters']:,} weights, on {len(puzzles)} new {puzzles.box.name} puzzles "
            f"({puzzles.name}), {int(puzzles.logic.sum()) if puzzles.logic is not None else 0} of which "
            "can be solved without guessing.\nThe network is the same throughout; only the order of filling differs."
        )
        contenders = _contenders(self.count, self.few)
        outcomes = screen.watch(
            contenders,
            lambda progress: comparison.compare(
                model,
                puzzles,
                contenders,
                seed=0,
                batch_size=self.machine.batch_size,
                device=device,
                progress=progress,
            ),
            len(puzzles),
        )
        rows = [row for row in comparison.rows(outcomes, puzzles) if row["group"] == comparison.GROUPS["all"]]
        record = records.Record(
            name="demo",
            title=f"One network, several orders: new {puzzles.box.name} Sudoku puzzles",
            summary=comparison.summary(outcomes[0].report),
            columns=comparison.COLUMNS,
            rows=rows,
            notes=[verdict(outcomes)],
            details={"groups": {o.contender.name: comparison.groups(o.report, puzzles.logic) for o in outcomes}},
            run=records.run_facts(
                seed=self.seed,
                device=device,
                since=since,
                data=records.data_facts(puzzles.name, puzzles.puzzles),
                model=facts,
            ),
        )
        figure, page = self.out / "orders.png", self.out / "replay.html"
        accuracy_against_evaluations(comparison.points(outcomes), figure, title=record.title)
        strategies = {contender.name: contender.strategy for contender in contenders}
        solved = {outcome.contender.name: outcome.report.solved for outcome in outcomes}
        shown = replayed(solved["margin"], solved["random"])
        seeds = row_seeds(0, len(puzzles))[torch.from_numpy(shown)]
        write_page(
            [
                trace_puzzles(model, self.model, puzzles.rows(shown), name, strategies[name], seed=seeds.to(device))
                for name in REPLAYED
            ],
            page,
        )
        for path in filter(None, (self.out / "demo.json", self.json)):
            records.write_record(path, record)
        console.print(screen.table(rows, record.columns))
        console.print(f"\n{record.notes[0]}\n")
        console.print(f"plot: {figure}\npage: {page}\nrecord: {self.out / 'demo.json'}")
        console.print(f"({time.time() - since:.0f} seconds)")


def verdict(outcomes: Sequence[Outcome]) -> str:
    """One paragraph on what was seen, from the figures alone."""
    from anyorder.experiments.comparison import summary

    seen: dict[str, dict[str, Any]] = {outcome.contender.name: summary(outcome.report) for outcome in outcomes}

    def share(name: str) -> str:
        return f"{100 * seen[name]['solved_share']:.1f} %"

    margin, blind, med = seen["margin"], seen["random"], seen["med"]
    compared = f"{share('margin')} of the puzzles in margin order, {share('random')} in random order"
    if margin["interval"][0] > blind["interval"][1]:
        order = f"The order decides: the same network solves {compared}, {share('left-to-right')} from left to right."
    elif margin["interval"][1] < blind["interval"][0]:
        order = f"Here margin order loses: the network solves {compared}."
    else:
        order = f"The network solves {compared}; the intervals overlap, so no difference is shown."
    return " ".join(
        (
            order,
            f"MED, which fills every cell that is certain enough at once, solves {share('med')} at",
            f"{med['nfe_mean']:.1f} evaluations a puzzle, {margin['nfe_mean'] / med['nfe_mean']:.1f} times fewer than",
            f"the {margin['nfe_mean']:.1f} of one at a time. Each puzzle has one solution, so a perfect model would",
            "solve it in any order: a wrong cell comes from what the network has not learned, and a good order asks it",
            "first about what it knows.",
        )
    )


def replayed(margin: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Which puzzles the page replays: mostly such that margin order solves and random order does not, then others.

    Both arguments say which puzzles were solved, over the same first puzzles; the shorter one counts.
    """
    import numpy as np

    count = min(len(margin), len(random))
    decides = margin[:count] & ~random[:count]
    won, others = np.flatnonzero(decides), np.flatnonzero(~decides)
    won = won[: max(REPLAYED_PUZZLES - 2, REPLAYED_PUZZLES - len(others))]
    return np.concatenate([won, others[: REPLAYED_PUZZLES - len(won)]])


def _contenders(count: int, few: int) -> list[Any]:
    from anyorder.decoding.strategies import strategies
    from anyorder.experiments.comparison import Contender

    counts = dict.fromkeys(LONG, count) | dict.fromkeys(SHORT, few)
    return [Contender(name, strategies[name], counts[name]) for name in counts]
