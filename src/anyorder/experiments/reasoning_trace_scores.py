"""Does the trace score tell good reasoning from bad, and how early? And what is it good for?

On sampled traces of the harder range: Pearson's r between final correctness and the trace score along decoding, beside
the plain likelihood of what was decided. Then two uses at equal calls, per problem, where a right trace is wanted for
a known answer (as in collecting training traces): to give up traces that are weak half-way and begin anew, and to
open weak finished traces again where they were least sure, against plain sampling.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.randomness import fold, row_seeds
from anyorder.decoding.decoder import decode
from anyorder.evaluation.accuracy import paired_bootstrap, wilson
from anyorder.evaluation.problems import judge
from anyorder.experiments import records
from anyorder.experiments.arithmetic import (
    HELD_OUT_SEED,
    MODEL,
    difficulty_of,
    hard_range,
    held_out_problems,
    load_model,
    pearson,
)
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.plots import COLOURS, figure
from anyorder.experiments.sampled_traces import along, at_step, joined, record_traces, sampling
from anyorder.planning.orders import LeftToRight
from anyorder.reasoning import reopen, trace_score, weakest_span
from anyorder.tasks.arithmetic import REASONING, TOKENIZER, Problem, hole_lengths, problem_canvas

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer

PROBLEMS = {"smoke": 8, "cpu": 384, "gpu": 4096}
SAMPLES = {"smoke": 3, "cpu": 8, "gpu": 16}
CHUNK = 64
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
TRIES = 3  # of mending a trace
SPAN = 4  # positions of the weakest span
PLAIN = 3.0  # the budget of a problem, in plain samples


def run(settings: Settings, progress: Progress) -> records.Record:
    """Sample, score, mend; then the tables."""
    since = time.time()
    model = load_model(settings)
    facts = records.model_facts(settings.model, model)
    count, samples = PROBLEMS[settings.scale], SAMPLES[settings.scale]
    problems = held_out_problems(model, "hard", count, HELD_OUT_SEED + 1)
    holes = hole_lengths(difficulty_of(model, "hard"))
    parts = [problems[start : start + CHUNK] for start in range(0, count, CHUNK)]
    legs = [
        Leg(
            f"traces-{index}",
            lambda part=part, index=index: record_traces(
                model, part, holes, LeftToRight(), samples, seed=settings.seed + 1000 * index, device=settings.device
            ),
        )
        for index, part in enumerate(parts)
    ]
    legs += [
        Leg(f"mended-{index}", lambda part=part, index=index: mended(model, part, holes, settings, index))
        for index, part in enumerate(parts)
    ]
    folder = folder_of(
        settings,
        "reasoning-trace-scores",
        {"model": facts["fingerprint"], "range": hard_range(model), "count": count, "samples": samples},
    )
    results = list(run_legs(legs, folder, settings, progress, "traces").values())
    sizes = [len(part) for part in parts]
    found = joined(results[: len(parts)], sizes)
    repaired = joined(results[len(parts) :], sizes)
    rows = correlations(found)
    policies = used(found, repaired, samples)
    by_share = {line["progress_share"]: line for line in rows}
    right = np.array(found["right"], bool)
    return records.Record(
        name="reasoning-trace-scores",
        scale=settings.scale,
        title=f"Trace score and correctness: {len(right):,} traces of hard expressions ({settings.model})",
        summary={
            "count": len(right),
            "right_share": float(right.mean()),
            "score_r": {str(share): by_share[share]["score_r"] for share in (0.0, 0.25, 0.5, 0.75, 1.0)},
            "likelihood_r": {str(share): by_share[share]["likelihood_r"] for share in (0.25, 0.5, 0.75, 1.0)},
            "half_way": half_way(found),
            "policies": policies,
        },
        columns=[
            "progress_share",
            "score_r",
            "score_r_from",
            "score_r_to",
            "likelihood_r",
            "likelihood_r_from",
            "likelihood_r_to",
            "mean_likelihood_r",
        ],
        rows=rows,
        notes=[
            hard_range(model),
            "Pearson's r between the right answer in the end and, after this share of a trace's steps, the mean trace "
            "score and the log-likelihood of the tokens decided so far (its sum; last column: per token); intervals "
            "by Fisher's z, over traces. One position at a time from left to right, temperature 1.",
            *(f"{name}: {text}" for name, text in _sentences(policies).items()),
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(
                f"held-out hard expressions, seed {HELD_OUT_SEED + 1}", np.array([p.question for p in problems])
            ),
            model=facts,
        ),
    )


def correlations(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One line for each share of the steps."""
    right = np.array(found["right"], float)
    rows = []
    for share in SHARES:
        last = share == 1.0
        score = np.array(found["final_score"]) if last else along(found, "scores", share)
        likelihood = np.array(found["likelihood"]) if last else along(found, "likelihoods", share)
        steps = np.maximum(1.0, share * np.array(found["length"]))
        line: dict[str, Any] = {"progress_share": share}
        for name, values in (("score", score), ("likelihood", likelihood), ("mean_likelihood", likelihood / steps)):
            r, interval = pearson(values, right)
            line[f"{name}_r"] = r
            line[f"{name}_r_from"], line[f"{name}_r_to"] = interval or (None, None)
        rows.append(line)
    return rows


def half_way(found: dict[str, Any], resamples: int = 2000) -> dict[str, Any]:
    """How much r of the trace score exceeds r of the likelihood half-way, and r at the start; intervals by bootstrap
    over problems."""
    right = np.array(found["right"], float)
    figures = (along(found, "scores", 0.5), along(found, "likelihoods", 0.5), along(found, "scores", 0.0))
    problem = np.array(found["problem"])
    members = [np.flatnonzero(problem == index) for index in range(int(problem.max()) + 1)]
    rng = np.random.default_rng(0)

    def differences(rows: np.ndarray) -> tuple[float, float] | None:
        r = [pearson(values[rows], right[rows])[0] for values in figures]
        return None if r[0] is None or r[1] is None or r[2] is None else (r[0] - r[1], r[0] - r[2])

    whole = differences(np.arange(len(right)))
    drawn = [
        differences(np.concatenate([members[index] for index in rng.integers(0, len(members), len(members))]))
        for _ in range(resamples)
    ]
    kept = np.array([pair for pair in drawn if pair is not None])
    if whole is None or len(kept) < resamples // 2:
        return {"over_likelihood": None, "over_start": None}
    low, high = np.quantile(kept, [0.025, 0.975], axis=0)
    return {
        name: {"difference": whole[index], "interval": [float(low[index]), float(high[index])]}
        for index, name in enumerate(("over_likelihood", "over_start"))
    }


def used(found: dict[str, Any], repaired: dict[str, Any], samples: int) -> dict[str, Any]:
    """Both uses of the score, each against plain sampling at equal calls, on the second half of the problems; limits
    are chosen on the first half."""
    problem = np.array(found["problem"])
    nfe, right = np.array(found["nfe"]), np.array(found["right"], bool)
    half = int(np.median(found["length"])) // 2
    score = at_step(found, "scores", half)
    count = int(problem.max()) + 1
    tables = [values.reshape(count, samples) for values in (nfe, right, score)]
    budget = PLAIN * float(nfe.mean())
    tuned, held = np.arange(count) < count // 2, np.arange(count) >= count // 2

    def stopping(limit: float, chosen: np.ndarray) -> np.ndarray:
        return _within(*(table[chosen] for table in tables), limit=limit, after=half, budget=budget)

    limits = np.quantile(score[np.repeat(tuned, samples)], np.linspace(0.1, 0.9, 9))
    best = max(limits.tolist(), key=lambda limit: stopping(limit, tuned).mean())
    plain = _within(*(table[held] for table in tables), limit=-np.inf, after=half, budget=budget)
    stopped = stopping(best, held)
    calls = np.array(repaired["nfe"])
    again = _plain_within(tables[0], tables[1], calls)
    return {
        "stopping": {**_pair(stopped, plain), "budget": budget, "limit": best, "after_steps": half},
        "reopening": {**_pair(np.array(repaired["right"], bool), again), "budget": float(calls.mean())},
    }


def _within(
    nfe: np.ndarray, right: np.ndarray, score: np.ndarray, *, limit: float, after: int, budget: float
) -> np.ndarray:
    """(problems,): whether a right trace is found within ``budget`` calls when traces with a score below ``limit``
    after ``after`` steps are given up. Scoring costs one call; with no limit nothing is scored."""
    scored = int(np.isfinite(limit))
    dropped = score < limit
    cost = np.where(dropped, np.minimum(after, nfe), nfe) + scored
    afforded = cost.cumsum(axis=1) <= budget
    return np.asarray((right & ~dropped & afforded).any(axis=1))


def _plain_within(nfe: np.ndarray, right: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """The same for plain sampling, with a budget for each problem, which always pays for the first trace."""
    afforded = nfe.cumsum(axis=1) <= budget[:, None]
    afforded[:, 0] = True
    return np.asarray((right & afforded).any(axis=1))


def _pair(mine: np.ndarray, theirs: np.ndarray) -> dict[str, Any]:
    difference = paired_bootstrap(mine, theirs, np.random.default_rng(0))
    return {
        "share": float(mine.mean()),
        "interval": list(wilson(int(mine.sum()), len(mine))),
        "plain_share": float(theirs.mean()),
        "difference": difference.mean,
        "difference_interval": [difference.low, difference.high],
        "count": len(mine),
    }


def _sentences(policies: dict[str, Any]) -> dict[str, str]:
    texts = {}
    for name, figures in policies.items():
        low, high = figures["difference_interval"]
        texts[f"{name} by score"] = (
            f"a right trace for {100 * figures['share']:.1f} % of {figures['count']} problems, plain sampling at equal "
            f"calls ({figures['budget']:.0f} per problem) {100 * figures['plain_share']:.1f} %; difference "
            f"{100 * figures['difference']:+.1f} points ({100 * low:+.1f} to {100 * high:+.1f})"
        )
    return texts


def mended(
    model: Transformer, problems: list[Problem], holes: tuple[int, int], settings: Settings, index: int
) -> dict[str, Any]:
    """Mend the first sample of each problem: while it is wrong and its score low, open it from its weakest span on, at
    most TRIES times. The first samples are those of `record_traces`. ``nfe`` counts decodes and scores."""
    device = settings.device
    canvas = problem_canvas(problems, *holes).to(device)
    answers = problem_canvas(problems, *holes, pinned=True).tokens.to(device)
    seeds = fold(row_seeds(settings.seed + 1000 * index, len(problems)), torch.zeros(len(problems), dtype=torch.int64))
    seeds = seeds.to(device)
    parts = sampling(LeftToRight())
    result = decode(model, canvas, seed=seeds, **parts)
    right = judge(problems, canvas, result).right.copy()
    nfe = result.nfe.clone() + 1
    active = torch.arange(len(problems), device=device)
    latest = result
    for attempt in range(TRIES):
        here = canvas.rows(active)
        score = trace_score(model, here, answers[active], tokens=latest.tokens, padding=TOKENIZER.pad_token_id).mean
        wrong = torch.from_numpy(~right[active.tolist()]).to(device)
        weak = ((score < np.log(0.5)) & wrong).nonzero().squeeze(1)
        if not len(weak):
            break
        hole = here.holes[REASONING]
        span = weakest_span(latest, hole, SPAN).mask(canvas.length)
        tokens = latest.tokens
        opened = reopen(here, tokens, span & hole, rest=True).rows(weak)
        active = active[weak]
        latest = decode(model, opened, seed=fold(seeds[active], attempt + 1), **parts)
        nfe[active] += latest.nfe + 1
        chosen = active.tolist()
        right[chosen] |= judge([problems[i] for i in chosen], canvas.rows(active), latest).right
    return {
        "problem": list(range(len(problems))),
        "right": right.astype(int).tolist(),
        "nfe": nfe.tolist(),
    }


def plot(record: records.Record, path: Path) -> None:
    """r along decoding."""
    with figure(path, title=record.title, width=8.6) as axes:
        for index, (name, label) in enumerate(
            (("score", "trace score"), ("likelihood", "likelihood"), ("mean_likelihood", "likelihood per token"))
        ):
            lines = [line for line in record.rows if line[f"{name}_r"] is not None]
            x = [100 * line["progress_share"] for line in lines]
            axes.plot(x, [line[f"{name}_r"] for line in lines], "o-", color=COLOURS[index], markersize=4, label=label)
            low, high = ([line[f"{name}_r_{end}"] for line in lines] for end in ("from", "to"))
            axes.fill_between(x, low, high, color=COLOURS[index], alpha=0.15, linewidth=0)
        axes.set_xlabel("share of the trace's steps (%)")
        axes.set_ylabel("Pearson's r with a right answer")
        axes.legend(frameon=False, fontsize=9)


EXPERIMENT = Experiment(name="reasoning-trace-scores", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
