"""Beyond plain margin: does taking back, or looking ahead, solve what one pass does not, and at what price?

Plain margin decides each cell once. Against it, on the same puzzles: several sure cells at once; the published rules
that mask tokens again (mask-predict, ReMDM, P2, WINO); looking ahead; and search that checks its own result
(`Reconsider`) with more and more evaluations. Rules that ask the network about tokens it can see get it wrapped in
`LeaveOut`, and every run of the network counts.

Puzzles are drawn from a file in two groups, those that seven strategies of logic finish and the others, and mixed in
fixed proportion, so that a contender that is given fewer of them still meets both. Each contender's results are kept,
and a run that was stopped goes on with the next.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.core.files import replacing
from anyorder.decoding.leave_out import LeaveOut
from anyorder.decoding.strategies import Strategy, strategies
from anyorder.evaluation.accuracy import PuzzleReport, solve_puzzles
from anyorder.experiments import comparison, records
from anyorder.experiments.experiment import Experiment, Progress, Settings, Unfinished
from anyorder.experiments.plots import Point, accuracy_against_evaluations
from anyorder.experiments.puzzles import PuzzleSet, read, unseen
from anyorder.models.checkpoints import from_pretrained
from anyorder.planning.budgets import Draft, EntropyBelow
from anyorder.planning.lookahead import Lookahead
from anyorder.planning.orders import Margin, Planned, Random
from anyorder.planning.reconsider import Reconsider
from anyorder.planning.remasking import P2, WINO, MaskPredict
from anyorder.planning.remdm import ReMDM
from anyorder.planning.samplers import Temperature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyorder.models.transformer import Transformer

FILE = "radcliffe_2500.csv"
SEED = 271_828  # of the choice of puzzles, and of the smoke puzzles; no training set uses it
HARD_TO_LOGIC = 3  # hard puzzles for each that logic finishes
COUNT = {"smoke": 8, "cpu": 800, "gpu": 1996}
OTHERS = {"smoke": 4, "cpu": 400, "gpu": 1996}  # for the rules that one pass of margin beats
SURE = EntropyBelow(0.02, prefix=False)
GROUPS = 2


@dataclass(frozen=True)
class Rival:
    """A contender: its strategy, whether the network is asked about visible tokens, and whether it gets all puzzles."""

    strategy: Strategy
    left_out: bool = False
    on_all: bool = False


RIVALS: Mapping[str, Rival] = {
    "margin": Rival(strategies["margin"], on_all=True),
    "sure cells at once": Rival(Strategy(Margin(), SURE), on_all=True),
    "reconsider 60": Rival(Strategy(Margin(), SURE, remask=Reconsider(60)), on_all=True),
    "reconsider 240": Rival(Strategy(Margin(), SURE, remask=Reconsider(240)), on_all=True),
    "reconsider 1000": Rival(Strategy(Margin(), SURE, remask=Reconsider(1000)), on_all=True),
    "lookahead": Rival(Strategy(Lookahead(Margin(), candidates=8, sure=0.99), SURE)),
    "mask-predict": Rival(Strategy(Margin(), remask=MaskPredict(56))),
    "ReMDM-cap, random order": Rival(Strategy(Random(), sampler=Temperature(1.0), remask=ReMDM(56, "cap", eta=0.04))),
    "ReMDM-conf, margin order": Rival(Strategy(Margin(), remask=ReMDM(56, "conf"))),
    "P2, left out": Rival(Strategy(Planned(), remask=P2(19)), left_out=True),
    "WINO, left out": Rival(Strategy(Margin(), Draft(0.6), remask=WINO(0.9)), left_out=True),
}


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode the puzzles under every rival.

    Raises:
        UserError: missing data, or a model of another size.
        Unfinished: ``settings.minutes`` are over; the same command goes on.
    """
    since = time.time()
    model = from_pretrained(settings.model, device=settings.device)
    puzzles = _puzzles(settings, model)
    comparison.check_fits(model, puzzles)
    facts = records.model_facts(settings.model, model)
    data = records.data_facts(puzzles.name, puzzles.puzzles)
    work = settings.work / f"remasking-{settings.scale}"
    outcomes = []
    for name, rival in RIVALS.items():
        chosen = puzzles.first(None if rival.on_all else OTHERS[settings.scale])
        key = repr((name, rival.strategy.as_text(), rival.left_out, settings.seed, facts, data, len(chosen)))
        kept = work / f"{name.replace(' ', '-').replace(',', '')}.npz"
        done = _read(kept, key)
        if done is None:
            if settings.minutes is not None and time.time() - since > 60 * settings.minutes:
                raise Unfinished(f"{len(outcomes)} of {len(RIVALS)} rivals are done; the same command goes on")
            done = _decode(model, rival, chosen, settings, lambda d, n, name=name: progress(name, d, n))
            _write(kept, key, *done)
        report, seconds = done
        outcomes.append(comparison.Outcome(comparison.Contender(name, rival.strategy, len(chosen)), report, seconds))
    rows = comparison.rows(outcomes, puzzles)
    groups = comparison.groups(outcomes[0].report, puzzles.logic)
    return records.Record(
        name="remasking",
        scale=settings.scale,
        title=f"Taking back and looking ahead on {puzzles.name} ({settings.model})",
        summary=comparison.summary(outcomes[0].report) | {name: groups[name] for name in groups if name != "all"},
        columns=["strategy", "group", *comparison.COLUMNS[1:]],
        rows=rows,
        notes=[
            "Differences are to margin, one cell at a time, puzzle by puzzle. Puzzles are drawn "
            f"{HARD_TO_LOGIC} to 1 from those that the seven strategies do not finish and those that they finish, so "
            "the figures of all of them are no figures of the file.",
            "*reconsider N* checks its result and searches on, with at most N evaluations a puzzle; *left out* asks "
            f"about decided cells with half of them masked ({1 + GROUPS} runs of the network a step, all counted).",
        ],
        run=records.run_facts(seed=settings.seed, device=settings.device, since=since, data=data, model=facts),
        details={"checks": _checks(outcomes)},
    )


def plot(record: records.Record, path: Path) -> None:
    """Share of the hard puzzles against evaluations."""
    hard = [row for row in record.rows if row["group"] == comparison.GROUPS["other"]]
    rows = hard or [row for row in record.rows if row["group"] == comparison.GROUPS["all"]]
    points = [Point(row["strategy"], row["nfe_mean"], row["solved_share"], *row["interval"]) for row in rows]
    accuracy_against_evaluations(points, path, title="Puzzles that logic does not finish" if hard else record.title)


def _decode(
    model: Transformer, rival: Rival, puzzles: PuzzleSet, settings: Settings, progress: Any
) -> tuple[PuzzleReport, float]:
    since = time.perf_counter()
    report = solve_puzzles(
        LeaveOut(model, GROUPS) if rival.left_out else model,
        puzzles.box,
        puzzles.puzzles,
        puzzles.solutions,
        **rival.strategy.parts(),
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=settings.device,
        progress=progress,
    )
    return report, time.perf_counter() - since


def _checks(outcomes: list[comparison.Outcome]) -> dict[str, dict[str, int]]:
    """How far the self-check can be trusted: puzzles that ended before the cap, and how many of them were solved."""
    found = {}
    for outcome in outcomes:
        rule = outcome.contender.strategy.remask
        if isinstance(rule, Reconsider):
            ended = outcome.report.nfe < rule.evaluations
            solved = int((ended & outcome.report.solved).sum())
            found[outcome.contender.name] = {"ended_before_the_cap": int(ended.sum()), "of_these_solved": solved}
    return found


def _read(path: Path, key: str) -> tuple[PuzzleReport, float] | None:
    """A rival's results, where they are kept and of this very run."""
    if not path.is_file():
        return None
    with np.load(path) as kept:
        if str(kept["key"]) != key:
            return None
        exact = kept.get("exact")
        return PuzzleReport(kept["filled"], kept["solved"], exact, kept["nfe"]), float(kept["seconds"])


def _write(path: Path, key: str, report: PuzzleReport, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {"filled": report.filled, "solved": report.solved, "nfe": report.nfe}
    if report.exact is not None:
        arrays["exact"] = report.exact
    with replacing(path, binary=True) as file:
        np.savez(file, key=np.array(key), seconds=np.array(seconds), **arrays)


def _puzzles(settings: Settings, model: Transformer) -> PuzzleSet:
    """Hard and logic-solvable puzzles in turn."""
    count = COUNT[settings.scale]
    if settings.scale == "smoke" and settings.data is None:
        return unseen(model, count, SEED)
    path = settings.data_path("a puzzle file, or a folder that holds sudoku/" + FILE)
    if path.is_dir():
        path = path / "sudoku" / FILE
        if not path.is_file():
            raise UserError(f"no such puzzle file: {path}")
    puzzles = read(path).shuffled(np.random.default_rng(SEED))
    assert puzzles.logic is not None
    hard, logic = np.flatnonzero(~puzzles.logic), np.flatnonzero(puzzles.logic)
    rounds = min(len(hard) // HARD_TO_LOGIC, len(logic), count // (HARD_TO_LOGIC + 1))
    if rounds == 0:
        raise UserError(f"{path} needs {HARD_TO_LOGIC} puzzles that logic does not finish and one that it does")
    mixed = np.concatenate(
        (hard[: rounds * HARD_TO_LOGIC].reshape(rounds, HARD_TO_LOGIC), logic[:rounds, None]), axis=1
    )
    return puzzles.rows(mixed.ravel())


EXPERIMENT = Experiment(name="remasking", scales=("smoke", "cpu", "gpu"), run=run, plot=plot)
