"""Zebra puzzles: autoregressive models without and with the solver's order against a masked diffusion model.

The shape of Table 3 of Kim et al., "Train for the Worst, Plan for the Best" (2502.06768). All networks see the same
puzzles: clues are given; the autoregressive ones write (attribute, house, value) triples, cells in cell order or in the
solver's, the masked diffusion model fills the grid. Below the paper's scale they get the same training compute.

======  =============================================================================================
scale   what
======  =============================================================================================
smoke   3x3 puzzles, networks of a few thousand weights, a few steps: shows that everything works
cpu     3x3 puzzles, 0.8M against 0.24M weights, 6 reverse steps for 9 cells; 90 minutes of one core
gpu     3-6 houses x 3-6 attributes, the published sizes (42M, 19M) and reverse steps; a few legs of 8 minutes, so
        optimiser, objective and positions of the cpu scale instead of the published ones
paper   the published training, 300 epochs of 1.5M puzzles: a plan, nothing is trained
======  =============================================================================================

The published sampler has 50 steps for up to 36 cells and so decides less than one a step; the cpu scale takes fewer
steps than cells, so that several are decided at once.

What the networks can read is asked beside it: in the solver's states, of the cells that one clue decides, the share
that is right, by that clue's kind.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.evaluation.zebra import right_in_solver_order, solve_zebra
from anyorder.experiments import records
from anyorder.experiments.contest import NO_DATA, Contest, Marks, Network, plan, plot, run_contest
from anyorder.experiments.experiment import Experiment
from anyorder.experiments.protocol import (
    MASKED,
    ORDERED,
    SAMPLERS,
    UNORDERED,
    Size,
    comparisons,
    followed,
    networks,
    rows_together,
    ways,
)
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.zebra import Kind, Layout, Puzzles, generate, solve
from anyorder.training import load_settings
from anyorder.training.kinds.zebra import recipe

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Progress, Settings
    from anyorder.models.transformer import Transformer

PUBLISHED = {
    UNORDERED: 0.8031,
    ORDERED: 0.9117,
    f"{MASKED}: random": 0.769,
    f"{MASKED}: top probability": 0.985,
    f"{MASKED}: margin": 0.983,
}
HELD_OUT_SEED = 314_159
Cell = tuple[int, int, int]  # puzzle, attribute, house

RECIPES = ("zebra-arm-3x3", "zebra-mdm-3x3")
SIZES: Mapping[str, Size] = {
    "smoke": Size("zebra-arm-3x3", "zebra-mdm-3x3", 1e8, 64, 6, 4, 2, 4, 2),
    "cpu": Size("zebra-arm-3x3", "zebra-mdm-3x3", 1e14, 30_000, 500, 200, 6, 6, 4),
    "rehearsal": Size("zebra-arm", "zebra-mdm", 1e13, 1_000, 2, 2, 2, 50, 2, batch_size=2, recipes=RECIPES),
    "gpu": Size("zebra-arm", "zebra-mdm", 2e16, 300_000, 2_000, 500, 6, 50, 8, recipes=RECIPES),
    "paper": Size("zebra-arm", "zebra-mdm", 0.0, 1_500_000, 100_000, 1_000, 20, 50, 8),
}


def table3(settings: Settings, progress: Progress) -> records.Record:
    """Train (or go on), decode, compare; at the paper's scale only plan."""
    size = SIZES[settings.scale]
    folder = settings.work / f"zebra-contest-{settings.scale}-{settings.seed}"
    runs = networks(size, folder, settings, "held-out.npz")
    if settings.scale == "paper":
        return plan(_contest(runs, size, None, settings), settings)
    held_out = _puzzles(size, folder, progress)
    record = run_contest(_contest(runs, size, held_out, settings), folder, settings, progress)
    decided = list(_decided(held_out))
    read = [
        {"network": network.label, **row}
        for network in (runs[2], runs[1])  # those that meet the solver's states
        for row in _clues_read(network, folder, held_out, decided, settings)
    ]
    details, notes = {**record.details, "clues_read": read}, [*record.notes, _said(read)]
    return dataclasses.replace(record, details=details, notes=notes)


def _clues_read(
    network: Network, folder: Path, puzzles: Puzzles, decided: Sequence[tuple[Cell, Kind]], settings: Settings
) -> list[dict[str, Any]]:
    """The share of ``decided`` cells that a network fills rightly in the solver's states, by the kind of their clue."""
    model = from_pretrained(str(folder / network.key / "model"), device=settings.device)
    layout = network.training.task.layout
    together = rows_together(settings, 0)
    right = right_in_solver_order(model, layout, puzzles, batch_size=together, device=settings.device)
    by_kind: dict[Kind, list[bool]] = defaultdict(list)
    for cell, kind in decided:
        by_kind[kind].append(bool(right[cell]))
    return [
        {"kind": kind.title, "right_share": sum(hits) / len(hits), "count": len(hits)}
        for kind, hits in sorted(by_kind.items())
    ]


def _decided(puzzles: Puzzles) -> Iterator[tuple[Cell, Kind]]:
    """Cells that rest on one clue which no earlier cell of their puzzle rests on, and the clue's kind."""
    for number in range(len(puzzles)):
        puzzle, used = puzzles.puzzle(number), set[int]()
        for fill in solve(puzzle).fills:
            new = set(fill.clues) - used
            if len(new) == 1:
                yield (number, fill.item[0], fill.house), puzzle.clues[new.pop()].kind
            used |= set(fill.clues)


def _said(read: Sequence[Mapping[str, Any]]) -> str:
    labels, kinds = (list(dict.fromkeys(row[name] for row in read)) for name in ("network", "kind"))
    share = {(row["network"], row["kind"]): f"{100 * row['right_share']:.0f}" for row in read}
    told = (f"{kind.replace('_', ' ')} {' and '.join(share[label, kind] for label in labels)} %" for kind in kinds)
    return (
        f"Right in the solver's states, {' and '.join(labels)} (all three tokens of a cell), of the cells that one "
        f"clue decides, by its kind: {'; '.join(told)}."
    )


def _contest(runs: Sequence[Network], size: Size, puzzles: Puzzles | None, settings: Settings) -> Contest:
    count, sizes = 0 if puzzles is None else len(puzzles), runs[0].training.task.sizes
    shown = sizes[0] if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    grid, triples = (runs[at].training.task.layout for at in (2, 0))
    few = None if puzzles is None else puzzles.rows(slice(size.followed))
    return Contest(
        name="table3",
        title=f"Zebra puzzles, {shown} ({settings.scale})",
        networks=runs,
        ways=ways(
            size,
            PUBLISHED,
            lambda strategy: partial(_solve, layout=grid, puzzles=puzzles, how={"parts": strategy.parts()}),
            lambda beams: partial(_solve, layout=triples, puzzles=puzzles, how={"beams": beams}),
        ),
        comparisons=comparisons(size.steps),
        data=NO_DATA
        if puzzles is None
        else {"name": puzzles.origin, "count": count, "fingerprint": puzzles.fingerprint},
        notes=[
            f"Equal training compute, on {size.train:,} generated puzzles; decoded are {count:,} held-out ones, none a "
            "training puzzle or a symmetric copy of one. Published figures are for 3-6 houses x 3-6 attributes, 42M "
            f"(ARM) and 19M (MDM) weights and 300 epochs. {SAMPLERS}",
        ],
        details={"parameter_ratio": runs[0].parameters / runs[2].parameters},
        followed=followed(
            size,
            lambda strategy: partial(_solve, layout=grid, puzzles=few, how={"parts": strategy.parts()}),
            "" if few is None else few.fingerprint,
        ),
    )


def _solve(
    model: Transformer, settings: Settings, *, layout: Layout, puzzles: Puzzles | None, how: Mapping[str, Any]
) -> Marks:
    assert puzzles is not None  # a plan decodes nothing
    batch_size = rows_together(settings, how.get("beams", 0))
    made = solve_zebra(model, layout, puzzles, **how, seed=settings.seed, batch_size=batch_size, device=settings.device)
    return Marks(made.solved, made.nfe)


def _puzzles(size: Size, folder: Path, progress: Progress) -> Puzzles:
    """The held-out puzzles; made once, with the training puzzles, none a symmetric copy of one."""
    training, held_out = folder / "training.npz", folder / "held-out.npz"
    if not (training.exists() and held_out.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        wanted = recipe(load_settings(size.mdm))
        workers = os.cpu_count() or 1
        seen = generate(wanted, size.train, 1, workers=workers, progress=partial(progress, "training puzzles"))
        generate(wanted, size.held_out, HELD_OUT_SEED, workers=workers, avoid=seen).save(held_out)
        seen.save(training)
    return Puzzles.load(held_out)


EXPERIMENT = Experiment(name="table3", scales=("smoke", "cpu", "rehearsal", "gpu", "paper"), run=table3, plot=plot)
