"""The experiment on taking back: whole at smoke scale, resumable, and honest about what it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.experiments import remasking, run_experiment
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.experiments.puzzles import PuzzleSet
from anyorder.tasks.sudoku import Box, generate


def settings(tmp_path: Path, **more) -> Settings:
    return Settings(scale="smoke", out=tmp_path / "out", work=tmp_path / "work", model="sudoku-4x4", **more)


def quiet(*_: object) -> None:
    """Progress that nobody sees."""


def test_the_smoke_scale_makes_a_record_a_table_and_a_figure(tmp_path: Path) -> None:
    record, paths = run_experiment("remasking", settings(tmp_path), quiet)
    assert [path.name for path in paths] == ["remasking-smoke.json", "remasking-smoke.md", "remasking-smoke.png"]
    assert all(path.stat().st_size > 0 for path in paths)
    everyone = [row for row in record.rows if row["group"] == "all"]
    assert [row["strategy"] for row in everyone] == list(remasking.RIVALS)
    named = {row["strategy"]: row for row in everyone}
    # Three runs of the network a step, where visible cells are asked about.
    assert named["P2, left out"]["nfe_mean"] % 3 == 0
    assert named["margin"]["count"] == remasking.COUNT["smoke"]
    assert named["lookahead"]["count"] == remasking.OTHERS["smoke"]
    assert "difference_interval" in named["reconsider 240"]
    checks = record.details["checks"]["reconsider 1000"]
    assert 0 <= checks["of_these_solved"] <= checks["ended_before_the_cap"] <= 8


def test_a_stopped_run_goes_on_and_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = run_experiment("remasking", settings(tmp_path / "a"), quiet)
    decoded = []
    decode = remasking._decode

    def counted(*arguments):
        decoded.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr(remasking, "_decode", counted)
    # Time is up at once: nothing is done, and a rival that was kept is not decoded again.
    run_experiment("remasking", settings(tmp_path / "b"), quiet)
    kept = sorted((tmp_path / "b" / "work" / "remasking-smoke").glob("*.npz"))
    assert len(kept) == len(decoded) == len(remasking.RIVALS)
    for path in kept[::2]:
        path.unlink()
    with pytest.raises(Unfinished, match="the same command goes on"):
        run_experiment("remasking", settings(tmp_path / "b", minutes=1e-9), quiet)
    decoded.clear()
    record, _ = run_experiment("remasking", settings(tmp_path / "b"), quiet)
    assert len(decoded) == len(kept[::2])
    for ours, theirs in zip(record.rows, whole.rows, strict=True):
        assert {k: v for k, v in ours.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}


def test_results_of_other_settings_are_not_taken_over(tmp_path: Path) -> None:
    first, _ = run_experiment("remasking", settings(tmp_path), quiet)
    second, _ = run_experiment("remasking", settings(tmp_path, seed=5), quiet)
    assert first.run["seed"] == 0
    assert second.run["seed"] == 5
    random = [next(row for row in record.rows if row["strategy"].startswith("ReMDM-cap")) for record in (first, second)]
    assert random[0]["nfe_mean"] != random[1]["nfe_mean"]


def test_hard_and_logic_puzzles_are_mixed_three_to_one(tmp_path: Path) -> None:
    made = generate(Box(2, 2), 40, 3, grade="any", distinct="puzzle")
    lines = ["puzzle,solution"]
    for puzzle, solution in zip(made.puzzles, made.solutions, strict=True):
        lines.append(f"{''.join(map(str, puzzle))},{''.join(map(str, solution))}")
    path = tmp_path / "easy.csv"
    path.write_text("\n".join(lines) + "\n")
    graded = PuzzleSet("easy", made.box, made.puzzles, made.solutions).graded()
    assert graded.logic is not None
    assert bool(np.all(graded.logic))
    with pytest.raises(UserError, match="3 puzzles that logic does not finish"):
        remasking._puzzles(settings(tmp_path, data=path), ao.from_pretrained("sudoku-4x4"))
