"""The experiments on text at their smallest scale: records, tables, figures, and going on where they stopped."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.experiments import figure2_scaling, figure2_text, figure3, run_experiment
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.figure2_scaling import LEARNERS, MASKED, SCALES, Size, cells
from anyorder.experiments.records import Record, read_record
from anyorder.experiments.text_runs import open_corpus
from anyorder.tasks.text import PERMUTATIONS
from anyorder.training.build import make_model, model_config


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text-experiments")


def run(name: str, work: Path, minutes: float | None = None) -> Record:
    settings = Settings(scale="smoke", out=work / "results", work=work / "runs", minutes=minutes)
    record, paths = run_experiment(name, settings, lambda what, done, total: None)
    assert [path.suffix for path in paths] == [".json", ".md", ".png"]
    assert all(path.stat().st_size > 500 for path in paths)
    assert read_record(paths[0]).rows == record.rows
    assert set(record.columns) <= {key for row in record.rows for key in row}
    return record


def test_figure_3_stops_and_goes_on_to_every_point(work: Path) -> None:
    for _ in range(2):
        with pytest.raises(Unfinished, match="the same command continues"):
            run("figure3", work, minutes=1e-6)
    assert not (work / "results" / "figure3-smoke.json").exists()
    record = run("figure3", work)
    by_name = {(row["order"], row["counts"], row["setting"]): row for row in record.rows}
    assert len(by_name) == 15
    for (order, _, setting), row in by_name.items():
        assert row["low"] < row["perplexity"] < row["high"]
        assert 0 < row["entropy_nats"] <= 3.4658  # log 32
        assert (row["neighbours_at_once_share"] == 0) == (row["evaluations"] == 32)  # one place a step
        assert row["evaluations"] <= (setting if order != "MED" else 32)
    agreement = record.summary["expected_and_binomial"]
    assert agreement["pairs"] == 4 >= agreement["overlap"] >= agreement["within"]
    orders = {"top probability", "margin", "margin + noise", "top probability + noise"}
    assert set(record.summary["adaptive_below_random"]) == orders
    assert record.run["data"]["tokenizer"] == "bytes"
    again = run("figure3", work)
    assert again.rows == record.rows


def test_figure_2_text_ranks_the_orders(work: Path) -> None:
    record = run("figure2-text", work)
    assert [row["order"] for row in record.rows] == list(PERMUTATIONS)
    assert sorted(record.summary["ranking"]) == sorted(PERMUTATIONS)
    assert record.summary["published_ranking"] == ["identity", "much-closer", "closer", "uniform"]
    assert record.summary["as_published"] == (record.summary["ranking"] == list(PERMUTATIONS))
    rows = {row["order"]: row["nats_per_token"] for row in record.rows}
    assert sorted(rows, key=rows.__getitem__) == record.summary["ranking"]
    assert record.rows[1]["nats_above"] == pytest.approx(rows["much-closer"] - rows["identity"])
    for order in PERMUTATIONS:
        values = record.details["by_place"][order]["nats"]
        assert sum(values) / len(values) == pytest.approx(rows[order])


def test_figure_2_scaling_keeps_the_lowest_loss_of_every_budget(work: Path) -> None:
    record = run("figure2-scaling", work)
    scale = SCALES["smoke"]
    assert len(record.details["points"]) == len(list(cells(scale))) == 25
    for row in record.rows:
        mine = [
            point
            for point in record.details["points"]
            if (point["learner"], f"{point['compute']:.3g}") == (row["learner"], row["compute"])
        ]
        draws = sorted({point["draw"] for point in mine})
        best = [min(p["nats_per_token"] for p in mine if p["draw"] == draw) for draw in draws]
        assert row["nats_per_token"] == pytest.approx(sum(best) / len(best))
        assert (row["nats_low"] is None) == (len(draws) == 1)
        assert all(abs(6 * p["weights"] * p["tokens"] / p["compute"] - 1) < 0.05 for p in mine)
    assert set(record.details["fits"]) == set(LEARNERS)
    assert not list((work / "runs").glob("figure2-scaling-*/running/*"))  # nothing is left of finished trainings
    again = run("figure2-scaling", work)
    assert again.details["points"] == record.details["points"]


def test_the_sweep_of_the_larger_scales_is_as_stated() -> None:
    for name in ("cpu", "gpu"):
        scale = SCALES[name]
        computes = [budget.compute for budget in scale.budgets]
        assert len(computes) >= 4
        assert computes[-1] / computes[0] >= 16 * (1 - 1e-9)
        assert scale.length >= 1024
        assert all(budget.draws == 3 for budget in scale.budgets[:2])
        names = [cell.name for cell in cells(scale)]
        assert len(names) == len(set(names))
        assert {cell.learner for cell in cells(scale)} == {*PERMUTATIONS, MASKED}


def test_weights_are_counted_as_the_network_has_them(work: Path) -> None:
    settings = Settings(scale="smoke", work=work / "runs")
    scale = SCALES["smoke"]
    corpus = open_corpus(settings, vocab_size=None, block=scale.block)
    cell = dataclasses.replace(next(cells(scale)), size=Size(3, 64, 2))
    plan = figure2_scaling._training(cell, scale, corpus, settings)
    assert sum(p.numel() for p in make_model(plan).blocks.parameters()) == cell.size.weights == 3 * (12 * 64**2 + 128)
    assert plan.model["positions"] == "learned"


def test_the_networks_of_the_gpu_scale_can_be_built(work: Path) -> None:
    settings = Settings(scale="smoke", work=work / "runs")
    corpus = open_corpus(settings, vocab_size=None, block=1152)
    gpu = dataclasses.replace(settings, scale="gpu")
    plans = [figure2_scaling._training(cell, SCALES["gpu"], corpus, gpu) for cell in cells(SCALES["gpu"])]
    plans += [figure3._training(figure3.SCALES["gpu"], corpus, gpu, judge=judge) for judge in (False, True)]
    plans.append(figure2_text._training(figure2_text.SCALES["gpu"], corpus, gpu))
    for plan in plans:
        assert model_config(plan).length >= plan.task.length
        assert plan.precision == "bfloat16"
        assert plan.steps >= 50


def test_novels_are_wanted_beyond_the_smallest_scale(tmp_path: Path) -> None:
    settings = Settings(scale="cpu", work=tmp_path)
    with pytest.raises(UserError, match="novels in plain text"):
        open_corpus(settings, vocab_size=None, block=64)
    empty = tmp_path / "data"
    (empty / "text").mkdir(parents=True)
    with pytest.raises(UserError, match=r"no file that ends in \.txt\.gz"):
        open_corpus(dataclasses.replace(settings, data=empty), vocab_size=None, block=64)


@pytest.mark.data
def test_the_novels_at_hand_become_tokens(tmp_path: Path, data_folder: Path) -> None:
    corpus = open_corpus(Settings(scale="cpu", work=tmp_path, data=data_folder), vocab_size=None, block=1 << 14)
    assert corpus.index.documents >= 3
    assert corpus.index.bytes > 5_000_000
    assert 0.04 < corpus.index.splits["validation"].tokens / corpus.index.tokens < 0.06
