"""Posterior traces: with the answer given, how often is the reasoning valid, and does the trace score filter it?

On training problems of the harder range that the model fails (one position at a time, arg-max), traces are sampled
with the answer pinned (posterior) and with the answer unknown (prior), as many of each, so that both cost about the
same. A trace is valid when every step is true and follows, and it ends at the right answer. Filtered: the best of each
problem's samples by the trace score, all samples above a limit, and the best by the sum of the trace score and the
log-probability of the trace's own tokens when they are asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.canvas import Canvas
from anyorder.evaluation.accuracy import wilson
from anyorder.evaluation.batching import batches
from anyorder.evaluation.problems import judge, solve_problems
from anyorder.experiments import records
from anyorder.experiments.arithmetic import MODEL, difficulty_of, ends, hard_range, load_model
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.plots import COLOURS, figure
from anyorder.experiments.sampled_traces import sampling
from anyorder.planning.budgets import EntropyBelow
from anyorder.planning.orders import Entropy, LeftToRight
from anyorder.reasoning import keep_best, reasked_score, sample_traces, trace_score
from anyorder.tasks.arithmetic import TOKENIZER, Problem, hole_lengths, make_problems, problem_canvas

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer
    from anyorder.planning.budgets import Budget

PROBLEMS = {"smoke": 12, "cpu": 1024, "gpu": 8192}
SAMPLES = {"smoke": 2, "cpu": 8, "gpu": 16}
FAILED = {"smoke": 4, "cpu": 256, "gpu": 2048}
SEED = 1_618_033  # of the training problems
CHUNK = 64
LIMIT = float(np.log(0.5))
"""A trace passes the filter when its mean log-probability of the answer's tokens is above this."""
COLUMNS = ("traces", "kept", "count", "valid_share", "interval", "problems_share", "problems_interval", "nfe_mean")


def training_problems(model: Transformer, count: int, range_name: str = "hard") -> list[Problem]:
    """Problems of a range, of the part of the questions that training may see."""
    return make_problems(difficulty_of(model, range_name), count, SEED, "train")


def failed_problems(model: Transformer, problems: Sequence[Problem], settings: Settings) -> list[int]:
    """Which problems the model gets wrong with arg-max decoding (MED, whose answers are those of one at a time but for
    a few)."""
    parts = {"order": Entropy(), "budget": EntropyBelow(0.2, most=8), "stop": ends()}
    report = solve_problems(
        model,
        problems,
        *hole_lengths(difficulty_of(model, "hard")),
        parts,
        batch_size=settings.batch_size,
        device=settings.device,
    )
    return np.flatnonzero(~report.right).tolist()


def sampled(
    model: Transformer,
    problems: Sequence[Problem],
    samples: int,
    *,
    pinned: bool,
    seed: int,
    device: torch.device | str,
    range_name: str = "hard",
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Sampled traces with their verdicts and scores, as JSON data: a list over the traces under each name.

    One position at a time from left to right, or as many as ``budget`` says.

    ``valid``: the trace is valid, and so ends at the right answer. ``score``: the mean log-probability of the right
    answer's tokens given the whole trace. ``reasked``: the log-probability of the trace's tokens, asked for again.
    ``trace``: its text.
    """
    holes = hole_lengths(difficulty_of(model, range_name))
    canvas = problem_canvas(problems, *holes, pinned=pinned).to(device)
    drawn = sample_traces(model, canvas, samples, seed=seed, budget=budget, **sampling(LeftToRight()))
    rows = [problems[index] for index in drawn.row.tolist()]
    report = judge(rows, drawn.canvas, drawn.result)
    answers = problem_canvas(rows, *holes, pinned=True).tokens.to(device)
    open_canvas = problem_canvas(rows, *holes).to(device)
    plain = Canvas(drawn.result.tokens, open_canvas.unknown, open_canvas.attention_mask, open_canvas.holes)
    score = trace_score(model, plain, answers, tokens=drawn.result.tokens, padding=TOKENIZER.pad_token_id).mean
    # What follows an end of text was left undecided; training has padding there.
    left = drawn.result.tokens == model.mask_token_id
    reasked = reasked_score(model, plain, drawn.result.tokens.masked_fill(left, TOKENIZER.pad_token_id))
    return {
        "problem": drawn.row.tolist(),
        "valid": report.valid.astype(int).tolist(),
        "nfe": report.nfe.tolist(),
        "score": [round(value, 5) for value in score.tolist()],
        "reasked": [round(value, 5) for value in reasked.tolist()],
        "trace": list(report.traces),
    }


def collected(
    model: Transformer, problems: Sequence[Problem], samples: int, settings: Settings, folder: Path, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Posterior and prior traces of the problems, in kept pieces."""
    parts = [problems[rows] for rows in batches(len(problems), CHUNK)]
    legs = [
        Leg(
            f"{kind}-{index}",
            lambda part=part, kind=kind, index=index: sampled(
                model,
                part,
                samples,
                pinned=kind == "posterior",
                seed=settings.seed + 1000 * index,
                device=settings.device,
            ),
        )
        for kind in ("posterior", "prior")
        for index, part in enumerate(parts)
    ]
    found = run_legs(legs, folder, settings, progress, "posterior and prior traces")
    return {
        kind: merged([found[f"{kind}-{index}"] for index in range(len(parts))], [len(part) for part in parts])
        for kind in ("posterior", "prior")
    }


def merged(parts: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Samples of consecutive problems as one."""
    whole: dict[str, Any] = {name: [value for part in parts for value in part[name]] for name in parts[0]}
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist()
    whole["problem"] = [s + index for s, part in zip(starts, parts, strict=True) for index in part["problem"]]
    return whole


def filters(found: dict[str, Any]) -> dict[str, np.ndarray]:
    """Which traces each filter keeps."""
    score = torch.tensor(found["score"], dtype=torch.float64)
    problem = torch.tensor(found["problem"])
    both = score + torch.tensor(found["reasked"], dtype=torch.float64)
    best = keep_best(both, problem)
    return {
        "all": np.ones(len(score), dtype=bool),
        "best by score": keep_best(score, problem).numpy(),
        "score above log 1/2": (score > LIMIT).numpy(),
        "best, above log 1/2": keep_best(score, problem, least=LIMIT).numpy(),
        "best, asked again": best.numpy(),
        "best, asked again, surer half": (best & (both >= both[best].median())).numpy(),
    }


def run(settings: Settings, progress: Progress) -> records.Record:
    """Find what the model fails, sample, filter, judge."""
    since = time.time()
    model = load_model(settings)
    facts = records.model_facts(settings.model, model)
    scale = settings.scale
    pool = training_problems(model, PROBLEMS[scale])
    folder = folder_of(
        settings,
        "posterior-traces",
        {
            "model": facts["fingerprint"],
            "range": hard_range(model),
            "pool": len(pool),
            "failed": FAILED[scale],
            "samples": SAMPLES[scale],
            "scores": ["score", "reasked"],
        },
    )
    leg = Leg("failed", lambda: failed_problems(model, pool, settings))
    wrong = run_legs([leg], folder, settings, progress, "problems that it fails")["failed"]
    # A model that fails nothing still has something to show at the smallest scale.
    failed = [pool[index] for index in (wrong or range(len(pool)))[: FAILED[scale]]]
    found = collected(model, failed, SAMPLES[scale], settings, folder, progress)
    rows = []
    for kind, data in found.items():
        valid, problem = np.array(data["valid"], bool), np.array(data["problem"])
        for name, kept in filters(data).items():
            rows.append(_line(kind, name, valid, problem, kept, np.array(data["nfe"]), len(failed)))
    shares = {f"{line['traces']}, {line['kept']}": line["valid_share"] for line in rows}
    return records.Record(
        name="posterior-traces",
        scale=scale,
        title=f"Traces of {len(failed)} problems that {settings.model} fails, {SAMPLES[scale]} of each kind",
        summary={"failed": len(wrong), "of": len(pool), "valid_share": shares},
        columns=list(COLUMNS),
        rows=rows,
        notes=[
            hard_range(model),
            "Valid: every step is true and follows, and the last gives the right answer. `problems`: the share of the "
            "problems with at least one valid trace among the kept. Temperature 1, one position at a time from left "
            "to right. Posterior: the answer is given; prior: it is not, and is decoded too.",
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(f"hard training expressions, seed {SEED}", np.array([p.question for p in failed])),
            model=facts,
        ),
    )


def _line(
    kind: str, name: str, valid: np.ndarray, problem: np.ndarray, kept: np.ndarray, nfe: np.ndarray, total: int
) -> dict[str, Any]:
    count, good = int(kept.sum()), int(valid[kept].sum())
    solved = len(np.unique(problem[kept & valid]))
    return {
        "traces": kind,
        "kept": name,
        "count": count,
        "valid_share": good / count if count else None,
        "interval": list(wilson(good, count)),
        "problems_share": solved / total,
        "problems_interval": list(wilson(solved, total)),
        "nfe_mean": float(nfe.mean()),
    }


def plot(record: records.Record, path: Path) -> None:
    """Valid shares as bars: posterior beside prior, for every filter."""
    names = list(dict.fromkeys(line["kept"] for line in record.rows))
    with figure(path, title=record.title, width=8.6) as axes:
        for index, kind in enumerate(("posterior", "prior")):
            lines = {line["kept"]: line for line in record.rows if line["traces"] == kind}
            shares = [lines[name]["valid_share"] or 0.0 for name in names]
            below = [max(0.0, share - lines[n]["interval"][0]) for share, n in zip(shares, names, strict=True)]
            above = [max(0.0, lines[n]["interval"][1] - share) for share, n in zip(shares, names, strict=True)]
            axes.bar(
                [place + 0.4 * index for place in range(len(names))],
                [100 * share for share in shares],
                width=0.38,
                yerr=[[100 * value for value in below], [100 * value for value in above]],
                color=COLOURS[index],
                capsize=3,
                label=kind,
            )
        axes.set_xticks([place + 0.2 for place in range(len(names))], [name.replace(", ", ",\n") for name in names])
        axes.set_ylabel("valid traces (%)")
        axes.legend(frameon=False, fontsize=9, loc="upper left")


EXPERIMENT = Experiment(name="posterior-traces", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
