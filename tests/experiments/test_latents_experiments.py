"""Figure 4, table 1 and figure 2 (latents) at their smallest scale."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.experiments import load_experiment, run_experiment
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.records import Record, read_record


def run(name: str, tmp_path: Path, **changes: object) -> Record:
    settings = Settings(scale="smoke", out=tmp_path / "results", work=tmp_path / "runs", **changes)  # pyright: ignore
    record, paths = run_experiment(name, settings, lambda what, done, total: None)
    assert [path.name for path in paths] == [f"{name}-smoke{s}" for s in (".json", ".md", ".png")]
    assert all(path.stat().st_size > 100 for path in paths)
    assert read_record(paths[0]).rows == record.rows
    return record


def test_figure4(tmp_path: Path) -> None:
    record = run("figure4", tmp_path)
    thresholds = record.summary["thresholds"]
    assert thresholds["nae"]["d_ks_formula"] == {"degree": pytest.approx(32), "second_unit": pytest.approx(64)}
    assert thresholds["colouring"]["d_ks_formula"]["degree"] == pytest.approx(16)
    assert thresholds["colouring"]["d_ks_measured"]["degree"] == pytest.approx(16, rel=0.15)
    by_key = {(row["problem"], row["degree"], row["start"]): row for row in record.rows}
    assert len(by_key) == len(record.rows) == 16
    easy = [row for row in record.rows if row["degree"] in (40, 20)]
    assert {row["start"] for row in easy} == {"random", "planted"}
    assert all(row["overlap"] > 0.9 for row in easy)
    assert by_key["NAE, k = 3, m = 3", 16, "random"]["certainty"] < 0.05
    assert set(record.summary["hard_masks"]) == {"satisfied", "all"}
    assert any("D_KS = 32 by the formula" in note for note in record.notes)


def test_figure4_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(Unfinished, match="the same command continues"):
        run("figure4", tmp_path, minutes=1e-9)
    assert not (tmp_path / "results").exists()


def test_table1(tmp_path: Path) -> None:
    record = run("table1", tmp_path)
    exact = [row for row in record.rows if row["denoiser"] == "exact posterior" and row["law"].startswith("NAE")]
    assert {(row["order"], row["steps"]) for row in exact} == {
        (order, steps) for order in ("vanilla", "margin") for steps in (6, "one by one")
    }
    assert all(row["agreement_share"] == 1 for row in exact if row["steps"] == "one by one")
    models = [row for row in record.rows if row["denoiser"].startswith("model")]
    assert len(models) == 8
    assert all(row["training_steps"] == 4 for row in models)
    along = record.details["along_training"]["NAE-SAT (5, 15)"]
    assert [(point["step"], point["strategy"]) for point in along] == [
        (2, "random"), (2, "margin"), (4, "random"), (4, "margin"),
    ]  # fmt: skip
    again = run("table1", tmp_path)
    assert again.rows == record.rows


def test_figure2_latents(tmp_path: Path) -> None:
    record = run("figure2-latents", tmp_path)
    assert [row["hidden"] for row in record.rows] == [1, 2, 4]
    assert [row["hidden_observations"] for row in record.rows] == [3, 6, 12]
    assert all(row["latent"] > 0 and row["observation"] > 0 for row in record.rows)
    assert record.summary["levels"] == 3
    assert len(record.details["per_position"]["4"]) == 16
    assert "smoke" in load_experiment("figure2-latents").scales
