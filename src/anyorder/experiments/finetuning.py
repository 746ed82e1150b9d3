"""One round of fine-tuning on traces, and what it gives on held-out problems: the study that several experiments make.

After the second paper's Table 4. Posterior traces need questions and answers only: the answer is pinned, the trace is
sampled. A filter keeps the best of a problem's samples; "valid" is what a perfect filter would keep, by the verifier.
As nothing has to be written, more problems cost only sampling: two arms have twice as many. Every arm takes the same
number of steps from the same model, under several seeds, and is judged on held-out problems.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.evaluation.accuracy import paired_bootstrap, wilson
from anyorder.evaluation.batching import batches
from anyorder.experiments import records
from anyorder.experiments.arithmetic import (
    HELD_OUT_SEED,
    decoded,
    difficulty_of,
    ends,
    hard_range,
    held_out_problems,
    load_model,
)
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.plots import COLOURS, figure
from anyorder.experiments.posterior_traces import CHUNK, filters, merged, sampled, training_problems
from anyorder.models.checkpoints import from_pretrained, save_pretrained
from anyorder.planning.budgets import EntropyBelow
from anyorder.planning.orders import Entropy
from anyorder.reasoning import keep_best
from anyorder.tasks.arithmetic import Problem, hole_lengths, problem_canvas
from anyorder.training.finetune import FinetuneSettings, LoraSettings, Sequences, finetune
from anyorder.training.settings import AdamWSettings, ObjectiveSettings, OptimizerSettings

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Progress, Scale, Settings
    from anyorder.models.transformer import Transformer

PROBLEMS = {"smoke": 16, "cpu": 2048, "gpu": 16_384}
STEPS = {"smoke": 3, "cpu": 240, "gpu": 2000}
JUDGED = {"smoke": 12, "cpu": 1024, "gpu": 8192}
SEEDS = {"smoke": (1,), "cpu": (1, 2, 3), "gpu": (1, 2, 3)}
SAMPLING = EntropyBelow(0.1, most=8)
"""The budget of sampling traces, which from left to right is AR-MED: as many are valid as one position at a time, at a
third of the evaluations."""
MORE = 2
"""So many times as many problems have the arms that are given more of them."""
ARMS = (
    "program",
    "posterior",
    "posterior, filtered",
    "posterior, valid",
    "both, filtered",
    "posterior, filtered, more problems",
    "posterior, valid, more problems",
)
LORA = {"smoke": (), "cpu": (), "gpu": ("posterior, filtered",)}
"""Arms that are also run with low-rank updates."""
NAMED = "named model"
"""The line of the model that was named, where the arms start from another."""


@dataclass(frozen=True)
class Start:
    """A model made from the named one, from which every arm starts.

    Attributes:
        make: makes it.
        facts: all that it depends on besides the named model, as JSON data.
        note: what it is, for the record.
    """

    make: Callable[[Transformer], Transformer]
    facts: Mapping[str, Any]
    note: str


@dataclass(frozen=True)
class Study:
    """What one experiment asks.

    Attributes:
        name: of the experiment.
        title: of its record, with places for ``count`` and ``model``.
        range_name: the problems, ``normal`` or ``hard``.
        samples: posterior traces of each problem, by scale.
        kept: the filter, a name of `posterior_traces.filters`.
        notes: what it is about, and what the filter keeps.
        start: by scale, from which model the arms start; None for the named one itself.
    """

    name: str
    title: str
    range_name: str
    samples: Mapping[str, int]
    kept: str
    notes: tuple[str, ...]
    start: Callable[[Scale], Start] | None = None


def run_study(study: Study, settings: Settings, progress: Progress) -> records.Record:
    """Sample, fine-tune every arm under every seed, judge."""
    since = time.time()
    scale = settings.scale
    named = load_model(settings)
    facts = records.model_facts(settings.model, named)
    start = None if study.start is None else study.start(scale)
    problems = training_problems(named, MORE * PROBLEMS[scale], study.range_name)
    judged = held_out_problems(named, study.range_name, JUDGED[scale], HELD_OUT_SEED + 2)
    folder = folder_of(
        settings,
        study.name,
        {
            "model": facts["fingerprint"],
            "range": hard_range(named),
            "start": None if start is None else start.facts,
            "filter": study.kept,
            "budget": str(SAMPLING),
            "sizes": [len(problems), PROBLEMS[scale], study.samples[scale], STEPS[scale], JUDGED[scale]],
            "tuning": [dataclasses.asdict(tuning(scale, PROBLEMS[scale], seed=0, lora=lora)) for lora in (False, True)],
        },
    )
    model = named if start is None else started(start, named, folder / "start", settings)
    parts = [problems[rows] for rows in batches(len(problems), CHUNK)]
    legs = [
        Leg(
            f"samples-{index}",
            lambda part=part, index=index: sampled(
                model,
                part,
                study.samples[scale],
                pinned=True,
                seed=settings.seed + 1000 * index,
                device=settings.device,
                range_name=study.range_name,
                budget=SAMPLING,
            ),
        )
        for index, part in enumerate(parts)
    ]
    found = merged(
        list(run_legs(legs, folder, settings, progress, "posterior traces").values()), [len(part) for part in parts]
    )
    sets = training_sets(problems, found, PROBLEMS[scale], study.kept)
    runs: list[tuple[str, int | None, bool]] = [("base", None, False)]
    runs += [(arm, seed, False) for arm in ARMS for seed in SEEDS[scale]]
    runs += [(arm, seed, True) for arm in LORA[scale] for seed in SEEDS[scale]]
    legs = [
        Leg(
            _file_name(arm, seed, lora),
            lambda arm=arm, seed=seed, lora=lora: judged_after(
                model, None if seed is None else sets[arm], judged, seed or 0, lora, study.range_name, settings
            ),
        )
        for arm, seed, lora in runs
    ]
    if start is not None:
        runs.append((NAMED, None, False))
        legs.append(Leg(NAMED, lambda: judged_after(named, None, judged, 0, False, study.range_name, settings)))
    results = list(run_legs(legs, folder, settings, progress, "fine-tuning").values())
    rows = table(runs, results, sets)
    by_arm = {line["arm"]: line for line in rows}
    return records.Record(
        name=study.name,
        scale=scale,
        title=study.title.format(count=f"{PROBLEMS[scale]:,}", model=settings.model),
        summary={
            "base": by_arm["base"]["solved_share"],
            **{arm: {name: by_arm[arm][name] for name in ("difference", "of_program_share")} for arm in ARMS},
        },
        columns=[
            "arm",
            "rows",
            "valid_share",
            "seeds",
            "solved_share",
            "interval",
            "lowest_share",
            "highest_share",
            "valid_after_share",
            "difference",
            "difference_interval",
            "of_program_share",
        ],
        rows=rows,
        notes=[
            hard_range(named),
            f"`solved`: right answers on held-out {study.range_name} problems (MED, lambda 0.2), the mean over the "
            "seeds, with the Wilson interval of all decodes; `valid after`: valid traces among these decodes; "
            "`difference`: points over the base, paired by problem, its interval over problems (seeds averaged); "
            "`of program`: the gain over the gain of program traces. `valid`: share of the arm's traces that are "
            f"valid. {study.samples[scale]} samples of each problem with AR-MED, lambda {SAMPLING.limit}, at "
            "temperature 1.",
            *(() if start is None else (start.note,)),
            *study.notes,
            "Valid: what a perfect filter would keep, one valid trace of each problem that has one among its samples.",
            "Published, LLaDA-8B Base on GSM8K: 51.2 %, fine-tuned on posterior traces 66.1 %, on human traces 64.6 % "
            "(2510.19990).",
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(
                f"held-out {study.range_name} expressions, seed {HELD_OUT_SEED + 2}",
                np.array([p.question for p in judged]),
            ),
            model=facts,
        ),
    )


def started(start: Start, named: Transformer, path: Path, settings: Settings) -> Transformer:
    """The model from which the arms start; kept, so that a run that goes on goes on from the very same."""
    if not path.exists():
        save_pretrained(start.make(named), path)
    return from_pretrained(path, device=settings.device)


def _file_name(arm: str, seed: int | None, lora: bool) -> str:
    return f"{arm.replace(', ', '-')}{'-lora' if lora else ''}" + ("" if seed is None else f"-{seed}")


def training_sets(
    problems: Sequence[Problem], found: dict[str, Any], count: int, filter_name: str
) -> dict[str, tuple[list[Problem], float]]:
    """The rows of every arm, and the share of them whose trace is valid.

    All arms but those with more problems have the first ``count`` of them. "posterior" takes the first sample of each
    problem, "posterior, valid" the first valid one. Traces whose bytes are no plain text are dropped: as text they
    would be others.
    """
    rows = [
        dataclasses.replace(problems[index], trace=trace)
        for index, trace in zip(found["problem"], found["trace"], strict=True)
    ]
    valid, index = np.array(found["valid"], bool), np.array(found["problem"])
    plain = np.array([trace.isascii() for trace in found["trace"]], bool)
    few, best = index < count, filters(found)[filter_name]
    groups = torch.from_numpy(index)
    # Equal scores: the first of each problem is kept.
    first, first_valid = (
        keep_best(torch.from_numpy(score), groups, least=1.0).numpy()
        for score in (np.ones(len(index)), valid.astype(float))
    )
    chosen = {
        "posterior": first & few,
        "posterior, filtered": best & few,
        "posterior, valid": first_valid & few,
        "posterior, filtered, more problems": best,
        "posterior, valid, more problems": first_valid,
    }
    sets = {"program": (list(problems[:count]), 1.0)}
    for arm, kept in chosen.items():
        picked = np.flatnonzero(kept & plain)
        share = float(valid[picked].mean()) if len(picked) else 0.0
        sets[arm] = ([rows[i] for i in picked], share)
    mine, share = sets["posterior, filtered"]
    both = [*problems[:count], *mine]
    sets["both, filtered"] = (both, (count + share * len(mine)) / len(both))
    return sets


def tuning(scale: str, rows: int, *, seed: int, lora: bool) -> FinetuneSettings:
    """The round on so many rows; the same for every arm."""
    return FinetuneSettings(
        steps=STEPS[scale],
        batch_size=min(64, rows),
        objective=ObjectiveSettings(weight="row", ordered=1.0),
        optimizer=OptimizerSettings(adamw=AdamWSettings(rate=1e-3, beta2=0.95)),
        lora=LoraSettings() if lora else None,
        seed=seed,
    )


def judged_after(
    model: Transformer,
    arm: tuple[list[Problem], float] | None,
    judged: Sequence[Problem],
    seed: int,
    lora: bool,
    range_name: str,
    settings: Settings,
) -> dict[str, Any]:
    """What the model makes of the held-out problems after a round on an arm's rows (None: without one)."""
    if arm is not None and arm[0]:
        settled = tuning(settings.scale, len(arm[0]), seed=seed, lora=lora)
        model = finetune(model, as_sequences(arm[0], model, range_name), settled)
    parts = {"order": Entropy(), "budget": EntropyBelow(0.2, most=8), "stop": ends()}
    return decoded(model, range_name, judged, parts, settings)


def as_sequences(problems: Sequence[Problem], model: Transformer, range_name: str) -> Sequences:
    """Whole rows with trace and answer to be learned."""
    canvas = problem_canvas(problems, *hole_lengths(difficulty_of(model, range_name)), trace=True, pinned=True)
    learned = torch.zeros_like(canvas.unknown)
    for hole in canvas.holes.values():
        learned = learned | hole
    return Sequences(canvas.tokens, learned, canvas.attention_mask)


def table(
    runs: Sequence[tuple[str, int | None, bool]],
    results: Sequence[dict[str, Any]],
    sets: dict[str, tuple[list[Problem], float]],
) -> list[dict[str, Any]]:
    """One line per arm, seeds together."""
    outcomes: dict[str, list[np.ndarray]] = {}
    valid: dict[str, list[float]] = {}
    for (arm, _, lora), found in zip(runs, results, strict=True):
        name = f"{arm}, LoRA" if lora else arm
        outcomes.setdefault(name, []).append(np.array(found["right"], float))
        valid.setdefault(name, []).append(float(np.mean(found["valid"])))
    base = np.mean(outcomes["base"], axis=0)
    program = float((np.mean(outcomes["program"], axis=0) - base).mean())
    rows = []
    for arm, found in outcomes.items():
        mean = np.mean(found, axis=0)
        shares = [float(one.mean()) for one in found]
        total = sum(len(one) for one in found)
        line: dict[str, Any] = {
            "arm": arm,
            "seeds": len(found),
            "solved_share": float(mean.mean()),
            "interval": list(wilson(round(float(sum(one.sum() for one in found))), total)),
            "lowest_share": min(shares),
            "highest_share": max(shares),
            "valid_after_share": float(np.mean(valid[arm])),
        }
        if arm.removesuffix(", LoRA") in sets:
            held = sets[arm.removesuffix(", LoRA")]
            gain = paired_bootstrap(mean, base, np.random.default_rng(0))
            line |= {
                "rows": len(held[0]),
                "valid_share": held[1],
                "difference": gain.mean,
                "difference_interval": [gain.low, gain.high],
                "of_program_share": gain.mean / program if program > 0 else None,
            }
        rows.append(line)
    return rows


def plot(record: records.Record, path: Path) -> None:
    """Solved shares with the spread of the seeds."""
    with figure(path, title=record.title, width=9.6) as axes:
        for index, line in enumerate(record.rows):
            share = 100 * line["solved_share"]
            spread = [[share - 100 * line["lowest_share"]], [100 * line["highest_share"] - share]]
            axes.bar(index, share, yerr=spread, color=COLOURS[index % len(COLOURS)], capsize=4)
        axes.set_xticks(range(len(record.rows)), [line["arm"].replace(" ", "\n") for line in record.rows])
        axes.set_ylabel("right answers on held-out problems (%)")
