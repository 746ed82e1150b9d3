"""The contest's frame: legs are kept, comparisons paired, compute counted; and tables 2 and 5 from end to end."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.experiments import run_experiment, sudoku_contest
from anyorder.experiments.contest import Comparison, Contest, Marks, Network, Way, flops_of_step, run_contest
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.protocol import networks
from anyorder.experiments.records import Record, read_record
from anyorder.models.checkpoints import from_pretrained
from anyorder.training import TrainSettings, load_settings
from anyorder.training.build import make_model


def quiet(what: str, done: int, total: int) -> None:
    pass


def small() -> TrainSettings:
    """A run of two steps on 4x4 grids."""
    settings = load_settings("sudoku-4x4")
    return dataclasses.replace(
        settings,
        name="small",
        model={**settings.model, "layers": 1, "loops": 1, "width": 8, "mlp_width": 8, "heads": 2},
        data=dataclasses.replace(settings.data, count=8),
        evaluation=dataclasses.replace(settings.evaluation, puzzles=4, every_steps=1, strategies=("margin",)),
        steps=2,
        batch_size=4,
    )


def contest(solves: list[str], marks: dict[str, list[int]]) -> Contest:
    """Two ways of decoding one network, which only say that they were asked."""

    def way(name: str) -> Way:
        def solve(model: object, settings: Settings) -> Marks:
            solves.append(name)
            return Marks(np.array(marks[name], bool), np.full(len(marks[name]), 3))

        return Way("net", name, solve, published=0.5)

    return Contest(
        name="duel",
        title="A duel",
        networks=[Network("net", "The network", small())],
        ways=[way("good"), way("bad")],
        comparisons=[Comparison("good over bad", "net: good", "net: bad")],
        data={"name": "none", "count": 8, "fingerprint": "0"},
    )


def test_ways_are_kept_and_compared_in_pairs(tmp_path: Path) -> None:
    solves: list[str] = []
    marks = {"good": [1, 1, 1, 1, 1, 1, 1, 0], "bad": [1, 0, 0, 0, 0, 0, 0, 0]}
    settings = Settings(scale="smoke", out=tmp_path, work=tmp_path)
    record = run_contest(contest(solves, marks), tmp_path / "duel", settings, quiet)
    assert solves == ["good", "bad"]
    again = run_contest(contest(solves, marks), tmp_path / "duel", settings, quiet)
    assert solves == ["good", "bad"]  # nothing is trained or decoded twice
    assert again.rows == record.rows
    assert [row["solved_share"] for row in record.rows] == [7 / 8, 1 / 8]
    result = record.summary["comparisons"]["good over bad"]
    assert result["difference"] == pytest.approx(6 / 8)
    assert result["p_value"] == pytest.approx(2 * 0.5**6)
    assert record.summary["solved_share"] == 7 / 8
    (network,) = record.details["networks"]
    assert network["examples"] == 8
    assert [point["step"] for point in record.details["along_training"]] == [1, 2]
    other = dataclasses.replace(settings, seed=1)
    run_contest(contest(solves, marks), tmp_path / "duel", other, quiet)
    assert solves == ["good", "bad"] * 2  # another seed is another decode


def test_time_that_is_over_leaves_off_and_goes_on(tmp_path: Path) -> None:
    solves: list[str] = []
    marks = {"good": [1, 0], "bad": [0, 0]}
    short = Settings(scale="smoke", out=tmp_path, work=tmp_path, minutes=1e-6)
    for _ in range(2):  # a step is taken, and then a second
        with pytest.raises(Unfinished, match="the same command continues"):
            run_contest(contest(solves, marks), tmp_path / "duel", short, quiet)
    record = run_contest(contest(solves, marks), tmp_path / "duel", dataclasses.replace(short, minutes=None), quiet)
    whole = run_contest(contest(solves, marks), tmp_path / "whole", dataclasses.replace(short, minutes=None), quiet)
    assert record.run["model"]["fingerprints"] == whole.run["model"]["fingerprints"]


def test_ways_without_a_network_are_refused(tmp_path: Path) -> None:
    bad = dataclasses.replace(contest([], {"good": [], "bad": []}), networks=[])
    with pytest.raises(UserError, match="a network that is trained"):
        run_contest(bad, tmp_path, Settings(scale="smoke", out=tmp_path, work=tmp_path), quiet)


def test_followed_ways_decode_at_every_kept_checkpoint(tmp_path: Path) -> None:
    met: list[torch.Tensor] = []

    def solve(model: torch.nn.Module, settings: Settings) -> Marks:
        met.append(torch.cat([weight.detach().flatten() for weight in model.parameters()]))
        return Marks(np.array([True, False, False, len(met) > 2]), np.ones(4))

    training = small()
    training = dataclasses.replace(training, checkpoint=dataclasses.replace(training.checkpoint, keep_steps=(1, 2)))
    duel = dataclasses.replace(
        contest([], {"good": [1], "bad": [0]}),
        networks=[Network("net", "The network", training)],
        followed=[Way("net", "walked", solve)],
    )
    settings = Settings(scale="smoke", out=tmp_path, work=tmp_path)
    record = run_contest(duel, tmp_path / "duel", settings, quiet)
    along = record.details["along_training"]
    assert [(point["step"], point["strategy"], point["solved_share"]) for point in along] == [
        (1, "walked", 0.25),
        (2, "walked", 0.25),
    ]
    assert along[1]["petaflop"] == 2 * flops_of_step(training) / 1e15
    final = from_pretrained(str(tmp_path / "duel" / "net" / "model"))
    assert not torch.equal(met[0], met[1])
    assert torch.equal(met[1], torch.cat([weight.detach().flatten() for weight in final.parameters()]))
    assert run_contest(duel, tmp_path / "duel", settings, quiet).details["along_training"] == along
    assert len(met) == 2  # kept


def test_compute_is_that_of_the_matrix_products() -> None:
    """Against a count over the network's own linear layers and its attention."""
    training = small()
    model, config = make_model(training), make_model(training).config
    linear = sum(m.weight.numel() for m in model.modules() if isinstance(m, torch.nn.Linear))
    attention = 2 * config.length * config.width
    assert flops_of_step(training) == 3 * 2 * (linear + attention) * config.length * training.batch_size
    network = Network("net", "", training)
    assert network.parameters == sum(weight.numel() for weight in model.parameters())
    assert network.at_compute(7.4 * flops_of_step(training)).training.steps == 7


def run(name: str, tmp_path: Path, **changes: object) -> Record:
    settings = Settings(scale="smoke", out=tmp_path / "results", work=tmp_path / "runs", **changes)  # pyright: ignore
    record, paths = run_experiment(name, settings, quiet)
    assert all(path.stat().st_size > 100 for path in paths)
    assert read_record(paths[0]).rows == record.rows
    return record


def test_tables_2_and_5_share_their_networks(tmp_path: Path) -> None:
    first = run("table2", tmp_path)
    second = run("table5", tmp_path)
    assert first.run["model"]["fingerprints"] == second.run["model"]["fingerprints"]
    assert first.run["data"]["fingerprint"] != second.run["data"]["fingerprint"]
    assert len(first.rows) == len(second.rows) == 16
    compute = [network["petaflop"] for network in first.details["networks"]]
    assert max(compute) < 1.1 * min(compute)
    published = {(row["network"], row["strategy"]): row["published_share"] for row in first.rows}
    assert published["ARM, solver's order", "greedy"] == 0.8718
    assert published["MDM", "margin, 8 steps"] == 0.8949
    assert published["MDM", "margin, one at a time"] is None
    assert run("table2", tmp_path).rows == first.rows
    for record in (first, second):
        masked = [point for point in record.details["along_training"] if point["network"] == "MDM"]
        assert {point["strategy"] for point in masked} == {
            f"{order}, {how}"
            for order in ("margin", "top probability", "random")
            for how in ("one at a time", "8 steps")
        }
        assert max(point["step"] for point in masked) == record.details["networks"][2]["steps"]
        assert {point["count"] for point in masked} == {4}
    kept = list((tmp_path / "runs").glob("*/decodes/*.json"))
    assert len(kept) == 2 * 16 + len(masked)  # the curves are decoded once for both tables


def test_the_published_length_is_planned_only(tmp_path: Path) -> None:
    settings = Settings(scale="paper", out=tmp_path / "results", work=tmp_path / "runs")
    record, _ = run_experiment("table2", settings, quiet)
    assert not (tmp_path / "runs").exists()
    arm, _, mdm = record.rows
    assert arm["examples"] == mdm["examples"] == 300 * 1_800_000
    assert 41e6 < arm["parameters"] < 43e6
    assert arm["parameters"] > 3 * mdm["parameters"]


def test_the_gpus_scale_has_the_published_sizes_and_equal_compute(tmp_path: Path) -> None:
    settings = Settings(scale="gpu", out=tmp_path, work=tmp_path)
    runs = networks(sudoku_contest.SIZES["gpu"], tmp_path, settings, "held-out-logic.npz", grades=())
    assert [round(network.parameters / 1e6) for network in runs] == [43, 43, 5]
    compute = [network.training.steps * flops_of_step(network.training) for network in runs]
    assert max(compute) < 1.01 * min(compute)
    assert [network.training.data.path for network in runs] == [str(tmp_path / "training.npz")] * 3
    for network, recipe in zip(runs[1:], map(load_settings, sudoku_contest.RECIPES), strict=True):
        assert network.training.optimizer == recipe.optimizer
        assert network.training.model["positions"] == recipe.model["positions"]


def test_at_the_cpus_scale_the_masked_model_is_the_smaller_one() -> None:
    for arm, mdm in (("sudoku-arm-4x4", "sudoku-mdm-4x4"), ("sudoku-arm-6x6", "sudoku-mdm-6x6")):
        one, other = (Network("net", "", load_settings(name)).parameters for name in (arm, mdm))
        assert one > 3 * other
