"""Table 3 from end to end, stopped and continued; the plan of the published scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.experiments import load_experiment, run_experiment
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.protocol import MASKED, ORDERED, UNORDERED, comparisons, decoders, published_share
from anyorder.experiments.records import read_record
from anyorder.experiments.table3 import PUBLISHED, SIZES


def quiet(what: str, done: int, total: int) -> None:
    pass


def test_the_published_shares_stand_beside_the_published_sampler() -> None:
    ways = decoders(50)
    told = {name: published_share(name, PUBLISHED) for name in ways}
    assert told["margin, 50 steps"] == told["margin, 50 steps as coded"] == 0.983
    assert told["top probability, 50 steps"] == 0.985
    assert told["random, 50 steps"] == 0.769
    assert [told[name] for name in ("margin, one at a time", "entropy, 50 steps", "MED", "EB")] == [None] * 4
    keys = {f"{MASKED}: {name}" for name in ways} | {f"{ORDERED}: greedy", f"{UNORDERED}: greedy"}
    assert {key for one in comparisons(50) for key in (one.first, one.second)} <= keys


def test_smoke_runs_stops_and_continues(tmp_path: Path) -> None:
    settings = Settings(scale="smoke", out=tmp_path / "out", work=tmp_path / "work")
    stopped = Settings(scale="smoke", out=tmp_path / "out", work=tmp_path / "work", minutes=1e-6)
    with pytest.raises(Unfinished):
        run_experiment("table3", stopped, quiet)
    assert not (tmp_path / "out").exists()
    record, paths = run_experiment("table3", settings, quiet)
    assert all(path.stat().st_size for path in paths)
    assert [path.suffix for path in paths] == [".json", ".md", ".png"]
    assert len(record.rows) == len(decoders(4)) + 4
    assert {row["network"] for row in record.rows} == {"MDM", "ARM, cell order", "ARM, solver's order"}
    assert record.details["along_training"]
    read = record.details["clues_read"]
    assert {row["network"] for row in read} == {"MDM", "ARM, solver's order"}
    assert all(0 <= row["right_share"] <= 1 and row["count"] >= 1 for row in read)
    assert record.notes[-1].count("%") == len({row["kind"] for row in read})
    assert record.run["data"]["count"] == SIZES["smoke"].held_out
    again, _ = run_experiment("table3", settings, quiet)
    assert again.rows == record.rows
    assert read_record(paths[0]).summary == record.summary
    other, _ = run_experiment("table3", Settings(scale="smoke", out=tmp_path, work=tmp_path / "other"), quiet)
    assert other.rows == record.rows
    networks = [
        {k: v for k, v in one.items() if k not in ("seconds", "training")} for one in record.details["networks"]
    ]
    theirs = [{k: v for k, v in one.items() if k not in ("seconds", "training")} for one in other.details["networks"]]
    assert networks == theirs


def test_the_plan_trains_nothing(tmp_path: Path) -> None:
    record, _ = run_experiment("table3", Settings(scale="paper", out=tmp_path, work=tmp_path / "work"), quiet)
    assert record.summary["trained"] is False
    assert not (tmp_path / "work").exists()
    arm, _, mdm = record.rows
    assert arm["examples"] == mdm["examples"] == 300 * 1_500_000
    assert 18e6 < mdm["parameters"] < 20e6
    assert 40e6 < arm["parameters"] < 44e6
    assert load_experiment("table3").scales == ("smoke", "cpu", "rehearsal", "gpu", "paper")
