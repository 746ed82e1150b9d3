"""Does a puzzle's decode depend on the batch that it is decoded in?

The loop's decisions do not: randomness is keyed per row and logits are gathered in padded blocks. What is left is the
network's arithmetic, where a matrix product may sum in another order for another batch size. The same puzzles are
decoded in batches of 1, 7 and 256; counted are rows whose final tokens differ, rows whose order of filling differs, and
the largest difference between the logits of the first evaluation.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from anyorder.core.randomness import row_seeds
from anyorder.decoding import decode
from anyorder.decoding.strategies import strategies
from anyorder.experiments import records
from anyorder.experiments.experiment import Experiment, Progress, Settings
from anyorder.experiments.puzzles import unseen
from anyorder.models.checkpoints import from_pretrained

if TYPE_CHECKING:
    from torch import Tensor

    from anyorder.core.canvas import Canvas
    from anyorder.models.transformer import Transformer

SEED = 271_828  # of the puzzles; no training set uses it
COUNTS = {"smoke": 24, "cpu": 500, "gpu": 500}
SIZES = (256, 7, 1)
STRATEGIES = ("margin", "med")


def run(settings: Settings, progress: Progress) -> records.Record:
    """Decode under each strategy in each batch size and compare with the largest batch."""
    since = time.time()
    model = from_pretrained(settings.model, device=settings.device)
    puzzles = unseen(model, COUNTS[settings.scale], SEED)
    canvas = puzzles.canvas(model.mask_token_id, settings.device)
    sizes = SIZES if settings.scale != "smoke" else (24, 7, 1)
    logits = {size: _first_logits(model, canvas, size) for size in sizes}
    rows = []
    for name in STRATEGIES:
        reference: tuple[Tensor, Tensor] | None = None
        for size in sizes:
            found = _decode(model, canvas, name, size, settings.seed, progress)
            reference = reference or found
            rows.append(
                {
                    "strategy": name,
                    "batch_size": size,
                    "count": canvas.batch,
                    "rows_with_other_tokens": int((found[0] != reference[0]).any(1).sum()),
                    "rows_with_another_order": int((found[1] != reference[1]).any(1).sum()),
                    "largest_logit_difference": float((logits[size] - logits[sizes[0]]).abs().max()),
                }
            )
    differing = sum(row["rows_with_other_tokens"] for row in rows)
    return records.Record(
        name="batch-invariance",
        scale=settings.scale,
        title=f"{canvas.batch} puzzles decoded in batches of {', '.join(map(str, sorted(sizes)))} ({settings.model})",
        summary={"decodes_with_other_tokens": differing, "count": canvas.batch},
        columns=list(rows[0]),
        rows=rows,
        notes=[f"Differences are to the batch of {sizes[0]}; logits are compared at the first evaluation, in float32."],
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=records.data_facts(puzzles.name, puzzles.puzzles),
            model=records.model_facts(settings.model, model),
        ),
    )


def _decode(
    model: Transformer, canvas: Canvas, name: str, size: int, seed: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    seeds = row_seeds(seed, canvas.batch)
    parts = strategies[name].parts()
    tokens, steps = [], []
    for start in range(0, canvas.batch, size):
        chosen = slice(start, start + size)
        result = decode(model, canvas.rows(chosen), seed=seeds[chosen].to(canvas.device), **parts)
        tokens.append(result.tokens)
        steps.append(result.step_of)
        progress(f"{name}, batches of {size}", min(start + size, canvas.batch), canvas.batch)
    return torch.cat(tokens), torch.cat(steps)


@torch.no_grad()
def _first_logits(model: Transformer, canvas: Canvas, size: int) -> Tensor:
    parts = [canvas.rows(slice(start, start + size)) for start in range(0, canvas.batch, size)]
    return torch.cat([model(part.tokens, at=part.unknown) for part in parts])


EXPERIMENT = Experiment(name="batch-invariance", scales=("smoke", "cpu", "gpu"), run=run)
