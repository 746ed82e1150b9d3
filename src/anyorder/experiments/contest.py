"""Networks trained for one contest and decoded in many ways: the frame of tables 2, 3 and 5.

A contest names its networks (a training run each), the ways of decoding them, and the comparisons it is about. It runs
in three parts, each of which continues where it was stopped:

1. every network is trained, one after another, in ``folder/KEY`` (`training.train` resumes exactly);
2. every way decodes the same held-out puzzles, and those that are followed decode at every checkpoint that was kept;
   what is done is kept as a leg (`legs`);
3. the record is made of what is kept: a row for each way, the curves along training, the comparisons.

Networks are compared at equal training compute, which is counted and not measured: three times the operations of a
forward pass, for every token of every example (`flops_of_step`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import mcnemar, paired_bootstrap, wilson
from anyorder.experiments import records
from anyorder.experiments.experiment import Progress, Settings, Unfinished
from anyorder.experiments.legs import Leg, run_legs
from anyorder.experiments.panels import panels
from anyorder.experiments.plots import COLOURS
from anyorder.models.checkpoints import from_pretrained
from anyorder.training import TrainSettings, train
from anyorder.training.build import make_model, model_config
from anyorder.training.journal import read_journal
from anyorder.training.release import checkpoint_of, model_of
from anyorder.training.state import load_checkpoint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from anyorder.models.transformer import Transformer

ASSUMED_FLOPS = 2e14
"""Operations a second that a plan assumes of one large GPU; said beside every estimate."""


class Marks(NamedTuple):
    """What a way of decoding made of N puzzles: ``solved`` (N,) and ``nfe`` (N,), network evaluations."""

    solved: NDArray[np.bool_]
    nfe: NDArray[np.int64]


@dataclass(frozen=True)
class Network:
    """A network and its training. ``key`` names its folder, ``label`` its rows."""

    key: str
    label: str
    training: TrainSettings

    def at_compute(self, flops: float) -> Network:
        """The same, trained for as many steps as ``flops`` operations allow."""
        steps = max(1, round(flops / flops_of_step(self.training)))
        return dataclasses.replace(self, training=dataclasses.replace(self.training, steps=steps))

    @cached_property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in make_model(self.training).parameters())


@dataclass(frozen=True)
class Way:
    """A way of decoding a network. ``published`` is the paper's share; ``id`` tells changed ways apart."""

    network: str
    name: str
    solve: Callable[[Transformer, Settings], Marks]
    published: float | None = None
    id: str = ""

    @property
    def key(self) -> str:
        """Its name among the ways of the contest."""
        return f"{self.network}: {self.name}"


@dataclass(frozen=True)
class Comparison:
    """A claim to be tested: ``first`` less ``second``, ways by their keys, under the name it has in the summary."""

    name: str
    first: str
    second: str


NO_DATA: Mapping[str, Any] = {"name": "none", "count": 0, "fingerprint": ""}
"""The held-out puzzles of a plan."""


@dataclass(frozen=True)
class Contest:
    """What is trained, decoded and compared.

    Attributes:
        name: of the experiment.
        title: of the table.
        networks, ways, comparisons: see there. The first way is the summary's headline.
        followed: ways that decode at each of ``checkpoint.keep_steps`` of their network, which gives its curves along
            training; their ``id`` names their puzzles. Without any, the training's evaluations are shown.
        data: facts of the held-out puzzles (`records.data_facts`).
        notes: sentences under the table.
        details: further facts for the record; of them the plot shows ``followed_on``, the puzzles of the curves.
    """

    name: str
    title: str
    networks: Sequence[Network]
    ways: Sequence[Way]
    comparisons: Sequence[Comparison]
    data: Mapping[str, Any]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    followed: Sequence[Way] = ()


def flops_of_step(training: TrainSettings) -> float:
    """Operations of one optimiser step: forward and backward (twice the forward) over every token of the batch."""
    config = model_config(training)
    per_token = config.flops_per_token(config.length) + 2.0 * config.width * config.vocab_size
    return 3.0 * per_token * config.length * training.batch_size


def run_contest(contest: Contest, folder: Path, settings: Settings, progress: Progress) -> records.Record:
    """Train what is not trained, decode what is not decoded, and make the record.

    Raises:
        Unfinished: ``settings.minutes`` were over; the same call continues.
    """
    since = time.time()
    limit = None if settings.minutes is None else time.monotonic() + 60 * settings.minutes
    keys = {network.key for network in contest.networks}
    if len({way.key for way in contest.ways}) != len(contest.ways) or any(
        way.network not in keys for way in contest.ways
    ):
        raise UserError(f"{contest.name}: every way needs a name of its own and a network that is trained")
    for network in contest.networks:
        _trained(network, folder, settings, limit)
    models = {key: from_pretrained(str(folder / key / "model"), device=settings.device) for key in keys}
    facts = {key: records.model_facts(key, model) for key, model in models.items()}

    def leg(way: Way, *made_of: Any, step: int | None = None) -> Leg:
        def work() -> dict[str, Any]:
            model = models[way.network]
            if step is not None:
                model = model_of(load_checkpoint(checkpoint_of(folder / way.network, step))).to(settings.device)
            marks = way.solve(model, settings)
            return {"solved": marks.solved.astype(int).tolist(), "nfe": marks.nfe.tolist()}

        # What it was made of is part of its name, so that nothing is kept that would come out otherwise.
        facts_of_leg = [way.key, way.id, facts[way.network]["fingerprint"], *made_of, settings.seed]
        words = "".join(c if c.isalnum() else "-" for c in way.key)
        name = f"{words}-{hashlib.sha256(json.dumps(facts_of_leg).encode()).hexdigest()[:12]}"
        return Leg(name, work)

    trainings = {network.key: network.training for network in contest.networks}
    points = [(way, step) for way in contest.followed for step in trainings[way.network].checkpoint.keep_steps]
    legs = [leg(way, contest.data["fingerprint"]) for way in contest.ways]
    # The id of a followed way names its puzzles, which contests may share.
    legs += [leg(way, "step", step, step=step) for way, step in points]
    left = None if limit is None else max(1e-6, (limit - time.monotonic()) / 60)
    kept = run_legs(legs, folder / "decodes", dataclasses.replace(settings, minutes=left), progress, "decoding")
    made = [Marks(np.array(kept[one.name]["solved"], bool), np.array(kept[one.name]["nfe"])) for one in legs]
    marks = {way.key: one for way, one in zip(contest.ways, made, strict=False)}
    followed = dict(zip(points, made[len(contest.ways) :], strict=True))
    journals = {network.key: list(read_journal(folder / network.key / "log.jsonl")) for network in contest.networks}
    head, compared = contest.ways[0], [_compared(one, marks) for one in contest.comparisons]
    return records.Record(
        name=contest.name,
        scale=settings.scale,
        title=contest.title,
        summary={
            **_figures(marks[head.key]),
            "headline": head.key,
            "comparisons": {one.name: result for one, result in zip(contest.comparisons, compared, strict=True)},
        },
        columns=["network", "strategy", "parameters", "published_share", "solved_share", "interval", "nfe_mean"],
        rows=[_row(way, contest, marks) for way in contest.ways],
        notes=[*contest.notes, *map(_sentence, contest.comparisons, compared)],
        details={
            "networks": [_network_facts(network, facts, journals) for network in contest.networks],
            "along_training": [point for network in contest.networks for point in _along(network, journals, followed)],
            **contest.details,
        },
        run=records.run_facts(
            seed=settings.seed,
            device=settings.device,
            since=since,
            data=contest.data,
            model={"name": ", ".join(facts), "fingerprints": {key: one["fingerprint"] for key, one in facts.items()}},
        ),
    )


def plan(contest: Contest, settings: Settings) -> records.Record:
    """What training the contest's networks would take; nothing is trained."""
    rows = []
    for network in contest.networks:
        flops = network.training.steps * flops_of_step(network.training)
        rows.append(
            {
                "network": network.label,
                "parameters": network.parameters,
                "steps": network.training.steps,
                "examples": network.training.steps * network.training.batch_size,
                "petaflop": flops / 1e15,
                "hours": flops / ASSUMED_FLOPS / 3600,
            }
        )
    return records.Record(
        name=contest.name,
        scale=settings.scale,
        title=f"{contest.title}: the plan",
        summary={"hours": sum(row["hours"] for row in rows), "trained": False},
        columns=["network", "parameters", "steps", "examples", "petaflop", "hours"],
        rows=rows,
        notes=[
            f"A plan: nothing was trained. Hours are for one GPU at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s, training only.",
            f"Decoded would be: {', '.join(way.key for way in contest.ways)}.",
        ],
        run=records.run_facts(seed=settings.seed, device="cpu", since=time.time()),
    )


def plot(record: records.Record, path: Path) -> None:
    """The table as bars beside the published figures, and the curves along training."""
    if record.summary.get("trained") is False:
        return _plot_plan(record, path)
    rows = record.rows
    networks = list(dict.fromkeys(row["network"] for row in rows))
    colour = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(networks)}
    with panels(path, [record.title, "Along training"], width=6.6, height=0.26 * len(rows) + 2.0) as (bars, curves):
        places = np.arange(len(rows))
        shares = np.array([100 * row["solved_share"] for row in rows])
        low, high = (100 * np.array([row["interval"][end] for row in rows]) for end in (0, 1))
        bars.barh(places, shares, 0.7, color=[colour[row["network"]] for row in rows])
        bars.errorbar(shares, places, xerr=[shares - low, high - shares], fmt="none", ecolor="#333333", capsize=2)
        told = [
            (100 * row["published_share"], place)
            for row, place in zip(rows, places, strict=True)
            if row["published_share"]
        ]
        if told:
            bars.plot(*zip(*told, strict=True), "k|", markersize=12, markeredgewidth=2, label="published")
            bars.legend(frameon=False, fontsize=8, loc="lower right")
        bars.set_yticks(places, [f"{row['network']}: {row['strategy']}" for row in rows], fontsize=7)
        bars.invert_yaxis()
        bars.set_xlim(0, 103)
        bars.set_xlabel("puzzles solved (%)")
        along = record.details["along_training"]
        unit, power = (1.0, 15) if max(point["petaflop"] for point in along) >= 1 else (1e3, 12)
        for index, key in enumerate(dict.fromkeys((point["network"], point["strategy"]) for point in along)):
            points = [point for point in along if (point["network"], point["strategy"]) == key]
            order, _, several = key[1].partition(", ")
            curves.plot(
                [point["petaflop"] * unit for point in points],
                [100 * point["solved_share"] for point in points],
                "os^DvP*X"[index % 8] + {"random": "--", "top probability": ":"}.get(order, "-"),
                color=colour[key[0]],
                alpha=0.5 if several.endswith("steps") else 1.0,
                markersize=4,
                label=f"{key[0]}: {key[1]}",
            )
        curves.set_xlabel(f"training compute (10^{power} operations)")
        curves.set_ylabel(f"{record.details.get('followed_on', 'held-out puzzles')} solved (%)")
        curves.set_ylim(-3, 103)
        curves.legend(frameon=False, fontsize=8, ncol=2, loc="upper center", bbox_to_anchor=(0.5, -0.13))


def _plot_plan(record: records.Record, path: Path) -> None:
    with panels(path, [record.title], width=6.6, height=2.4) as (axes,):
        axes.barh([row["network"] for row in record.rows], [row["hours"] for row in record.rows], color=COLOURS[0])
        axes.invert_yaxis()
        axes.set_xlabel(f"hours on one GPU at {ASSUMED_FLOPS / 1e12:.0f} TFLOP/s")


def _trained(network: Network, folder: Path, settings: Settings, limit: float | None) -> None:
    """Train a network to its end, or until ``limit``."""
    run_dir = folder / network.key
    minutes = None if limit is None else (limit - time.monotonic()) / 60
    steps = network.training.steps
    if (run_dir / "model").is_dir() and _ended(run_dir) == steps:
        return
    if minutes is not None and minutes <= 0:
        raise Unfinished(f"{network.label} is to be trained; the same command continues")
    result = train(network.training, run_dir, minutes=minutes, show_progress=True)
    if not result.finished:
        raise Unfinished(f"{network.label}: step {result.step} of {steps}; the same command continues")


def _ended(run_dir: Path) -> int | None:
    """The step at which a run ended, None where it did not."""
    journal = run_dir / "log.jsonl"
    ends = [entry["step"] for entry in read_journal(journal) if entry["kind"] == "end"] if journal.exists() else []
    return ends[-1] if ends else None


def _figures(marks: Marks) -> dict[str, Any]:
    solved, count = int(marks.solved.sum()), len(marks.solved)
    return {
        "solved_share": solved / count,
        "interval": list(wilson(solved, count)),
        "count": count,
        "nfe_mean": float(marks.nfe.mean()),
    }


def _row(way: Way, contest: Contest, marks: Mapping[str, Marks]) -> dict[str, Any]:
    network = next(one for one in contest.networks if one.key == way.network)
    return {
        "network": network.label,
        "strategy": way.name,
        "parameters": network.parameters,
        "published_share": way.published,
        **_figures(marks[way.key]),
    }


def _compared(one: Comparison, marks: Mapping[str, Marks]) -> dict[str, Any]:
    first, second = marks[one.first].solved, marks[one.second].solved
    difference = paired_bootstrap(first, second, np.random.default_rng(0))
    return {
        "first": one.first,
        "second": one.second,
        "difference": difference.mean,
        "interval": [difference.low, difference.high],
        "p_value": mcnemar(first, second).p_value,
    }


def _sentence(one: Comparison, result: Mapping[str, Any]) -> str:
    low, high = (100 * end for end in result["interval"])
    return (
        f"{one.name}: {one.first} less {one.second} is {100 * result['difference']:+.1f} points "
        f"[{low:+.1f}, {high:+.1f}], exact McNemar p = {result['p_value']:.2g}."
    )


def _network_facts(
    network: Network, facts: Mapping[str, dict[str, Any]], journals: Mapping[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    training = network.training
    return {
        **facts[network.key],
        "label": network.label,
        "steps": training.steps,
        "examples": training.steps * training.batch_size,
        "petaflop": training.steps * flops_of_step(training) / 1e15,
        "seconds": max((entry["seconds"] for entry in journals[network.key] if "seconds" in entry), default=0.0),
        "training": training.to_dict(),
    }


def _along(
    network: Network, journals: Mapping[str, list[dict[str, Any]]], followed: Mapping[tuple[Way, int], Marks]
) -> list[dict[str, Any]]:
    """What was solved along training, with the compute spent until then."""
    per_step = flops_of_step(network.training) / 1e15
    found = [
        {
            "step": step,
            "examples": step * network.training.batch_size,
            "puzzles": "held-out",
            "strategy": way.name,
            **{name: _figures(marks)[name] for name in ("solved_share", "interval", "count")},
        }
        for (way, step), marks in followed.items()
        if way.network == network.key
    ]
    keys = ("step", "examples", "puzzles", "strategy", "solved_share", "interval", "count")
    found = found or [
        {key: entry.get(key) for key in keys} for entry in journals[network.key] if entry["kind"] == "evaluation"
    ]
    return [{"network": network.label, "petaflop": point["step"] * per_step} | point for point in found]
