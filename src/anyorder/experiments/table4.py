"""Block size against accuracy: how much of the canvas an adaptive order may choose from.

The first paper's Table 4 compares orders on LLaDA-8B, and the second varies the block: at size 1 decoding is from left
to right, at the size of the canvas it is free. Here on the arithmetic model, for vanilla order, top probability, margin
and entropy, one position at a time. The holes are taken one after the other, in blocks of the given size.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from anyorder.experiments import records
from anyorder.experiments.arithmetic import (
    HELD_OUT_SEED,
    MODEL,
    decoded,
    difficulty_of,
    ends,
    hard_range,
    held_out_problems,
    load_model,
    row,
)
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.legs import Leg, folder_of, run_legs
from anyorder.experiments.plots import Curve, shares_along
from anyorder.planning.orders import Entropy, Margin, Random, TopProbability
from anyorder.planning.windows import Blocks, Holes
from anyorder.tasks.arithmetic import ANSWER, REASONING, hole_lengths

COUNTS = {"smoke": 12, "cpu": 1000, "gpu": 8192}
SIZES = {"smoke": (1, 8), "cpu": (1, 4, 16), "gpu": (1, 2, 4, 8, 16, 32)}
ORDERS = {"vanilla": Random(), "top probability": TopProbability(), "margin": Margin(), "entropy": Entropy()}
COLUMNS = ("range", "strategy", "block", "count", "solved_share", "interval", "valid_share", "nfe_mean")
RANGES = ("normal", "hard")


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode both ranges in blocks of every size under every order."""
    since = time.time()
    model = load_model(settings)
    facts = records.model_facts(settings.model, model)
    legs, meant = [], []
    questions: list[str] = []
    for name in RANGES:
        problems = held_out_problems(model, name, COUNTS[settings.scale])
        questions += [problem.question for problem in problems]
        whole = hole_lengths(difficulty_of(model, name))[0]
        for order_name, order in ORDERS.items():
            for size in (*SIZES[settings.scale], whole):
                # At size 1 every order reads from left to right: measured once.
                if size == 1 and order_name != "vanilla":
                    continue
                parts = {"order": order, "window": Holes(REASONING, ANSWER, inside=Blocks(size)), "stop": ends()}
                legs.append(
                    Leg(
                        f"{name}-{order_name}-{size}".replace(" ", "-"),
                        lambda name=name, problems=problems, parts=parts: decoded(
                            model, name, problems, parts, settings
                        ),
                    )
                )
                meant.append((name, "left to right" if size == 1 else order_name, size))
    folder = folder_of(
        settings, "table4", {"model": facts["fingerprint"], "range": hard_range(model), "count": COUNTS[settings.scale]}
    )
    results = run_legs(legs, folder, settings, progress, "block sizes")
    rows = [
        {"range": name, "block": size, **row(order, found)}
        for (name, order, size), found in zip(meant, results.values(), strict=True)
    ]
    return records.Record(
        name="table4",
        scale=settings.scale,
        title=f"Block size against accuracy on arithmetic ({settings.model})",
        summary={f"{line['range']}, {line['strategy']}, block {line['block']}": line["solved_share"] for line in rows},
        columns=list(COLUMNS),
        rows=rows,
        notes=[
            hard_range(model),
            "One position at a time; the holes one after the other, each in blocks. At block 1 every order is from "
            "left to right; the largest block is the whole trace.",
            "Published, LLaDA-8B: GSM8K 76.95 / 76.95 / 53.44 % at blocks of 1 / 32 / 128 (2510.19990, entropy); "
            "HumanEval-Infill single / multi / split, MATH, MMLU, ROCStories: vanilla 31.8 16.5 14.2 28.5 33.2 21.23, "
            "top probability 32.9 20.8 18.4 31.3 36.5 21.10, margin 33.5 25.4 22.3 34.3 35.4 21.41 (2502.06768, "
            "Table 4).",
        ],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(f"held-out expressions, seed {HELD_OUT_SEED}", np.array(questions)),
            model=facts,
        ),
    )


def plot(record: records.Record, path: Path) -> None:
    """One curve per order and range."""
    curves = []
    for name in RANGES:
        first = [line for line in record.rows if line["range"] == name and line["block"] == 1]
        for order in ORDERS:
            lines = first + [line for line in record.rows if line["range"] == name and line["strategy"] == order]
            low, high = zip(*(line["interval"] for line in lines), strict=True)
            shares = [line["solved_share"] for line in lines]
            curves.append(Curve(f"{order}, {name}", [line["block"] for line in lines], shares, low, high))
    shares_along(curves, path, title=record.title, xlabel="block size", counted="right answers")


EXPERIMENT = Experiment(name="table4", scales=("smoke", "cpu", "gpu"), run=run, plot=plot, model=MODEL)
