"""Every experiment runs at its smallest scale and leaves a record, a table and, where it has one, a figure."""

from __future__ import annotations

from pathlib import Path

import pytest

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.experiments import EXPERIMENTS, load_experiment, run_experiment, sudoku_contest, table3
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.protocol import networks
from anyorder.experiments.records import Record, read_record
from anyorder.experiments.sudoku_6x6 import FINAL
from anyorder.training.build import model_config


def run(name: str, tmp_path: Path, **changes: object) -> Record:
    settings = Settings(scale="smoke", out=tmp_path / "results", work=tmp_path / "runs", **changes)  # pyright: ignore
    record, paths = run_experiment(name, settings, lambda what, done, total: None)
    has_figure = load_experiment(name).plot is not None
    assert [path.name for path in paths] == [f"{name}-smoke{s}" for s in (".json", ".md", *([".png"] * has_figure))]
    assert all(path.stat().st_size > 100 for path in paths)
    assert read_record(paths[0]).rows == record.rows
    assert set(record.columns) <= {key for row in record.rows for key in row}
    return record


def test_every_listed_experiment_is_there() -> None:
    for name in EXPERIMENTS:
        experiment = load_experiment(name)
        assert experiment.name == name
        assert "smoke" in experiment.scales


def test_an_unknown_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has the scales smoke, cpu"):
        run_experiment("sudoku-bands", Settings(scale="gpu", out=tmp_path), lambda what, done, total: None)
    assert list(tmp_path.iterdir()) == []


def test_6x6_follows_both_orders_along_training(tmp_path: Path) -> None:
    record = run("sudoku-6x6", tmp_path, seed=3)
    along = record.details["along_training"]
    assert {row["strategy"] for row in along} == {"margin", "random"}
    assert len({row["step"] for row in along}) == 4
    assert [row["strategy"] for row in record.rows] == list(FINAL)
    assert record.summary["training_seconds"] > 0
    assert "perfect model" in record.notes[0]
    again = run("sudoku-6x6", tmp_path, seed=3)  # goes on from the finished run
    assert [row["solved_share"] for row in again.rows] == [row["solved_share"] for row in record.rows]
    assert again.run["model"]["fingerprint"] == record.run["model"]["fingerprint"]


def test_6x6_stops_and_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Unfinished, match="the same command continues"):
        run("sudoku-6x6", tmp_path, minutes=1e-6)
    assert not (tmp_path / "results").exists()
    assert run("sudoku-6x6", tmp_path).summary["count"] == 8


def test_batches_change_no_token(tmp_path: Path) -> None:
    record = run("batch-invariance", tmp_path, model="sudoku-4x4")
    assert record.summary["decodes_with_other_tokens"] == 0
    assert {row["batch_size"] for row in record.rows} == {1, 7, 24}
    assert all(row["largest_logit_difference"] < 1e-3 for row in record.rows)


def test_strategies_are_compared_on_the_same_puzzles(tmp_path: Path) -> None:
    file = tmp_path / "four.txt"
    file.write_text("1000000000200003\n0200300000010000\n0000000030020010\n1004000000000200\n")
    record = run("sudoku-strategies", tmp_path, model="sudoku-4x4", data=file)
    rows = [row for row in record.rows if row["group"] == "all"]
    assert {row["strategy"] for row in rows} == {name for name, one in ao.strategies.items() if not one.holes}
    assert {row["count"] for row in rows} == {4}


def test_bands_split_levels_and_ratings(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    puzzle, solution = "1030341221034301", "1234341221434321"
    (folder / "levels.csv").write_text(
        f"puzzle,solution,rating,source\n{puzzle},{solution},,easy\n{puzzle},{solution},,hard\n"
    )
    (folder / "rated.csv").write_text(
        f"puzzle,solution,rating,source\n{puzzle},{solution},2.5,x\n{puzzle},{solution},3.1,x\n{puzzle},{solution},,x\n"
    )
    record = run("sudoku-bands", tmp_path, data=folder)
    assert [(row["file"], row["band"], row["count"]) for row in record.rows] == [
        ("levels.csv", "easy", 1),
        ("levels.csv", "hard", 1),
        ("rated.csv", "2 to 2.9", 1),
        ("rated.csv", "3 to 3.9", 1),
        ("rated.csv", "not rated", 1),
    ]
    assert record.summary["solved_share"] == 1
    assert record.summary["wrong_fills"] == 0


@pytest.mark.data
def test_the_solver_is_never_wrong_on_the_data_at_hand(tmp_path: Path, data_folder: Path) -> None:
    record = run("sudoku-bands", tmp_path, data=data_folder)
    assert record.summary["wrong_fills"] == 0
    assert record.summary["count"] >= 100


@pytest.mark.parametrize("name", ["table2", "table3"])
def test_a_rehearsal_has_the_networks_of_the_gpu_scale_and_few_small_steps(name: str, tmp_path: Path) -> None:
    module = sudoku_contest if name == "table2" else table3
    made = {
        scale: networks(module.SIZES[scale], tmp_path, Settings(scale=scale, work=tmp_path), "held-out.npz")
        for scale in ("gpu", "rehearsal")
    }
    for large, small in zip(made["gpu"], made["rehearsal"], strict=True):
        assert model_config(large.training) == model_config(small.training)
        one, other = large.training, small.training
        assert (one.task, one.objective, one.optimizer, one.precision, one.compile) == (
            other.task,
            other.objective,
            other.optimizer,
            other.precision,
            other.compile,
        )
        assert other.batch_size == 2
        assert 60 < other.steps < 8000 < one.steps * one.batch_size
