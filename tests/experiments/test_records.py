"""Records say what was run, and read back as they were written."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.experiments.records import (
    Record,
    data_facts,
    model_facts,
    read_record,
    run_facts,
    write_record,
)


def a_record(**changes: object) -> Record:
    run = run_facts(seed=3, device="cpu", since=time.time(), data=data_facts("d", np.zeros((2, 4), np.uint8)))
    values = {
        "name": "sudoku-strategies",
        "scale": "smoke",
        "title": "A title",
        "summary": {"solved_share": 0.5, "interval": [0.1, 0.9], "count": 2, "nfe_mean": 3.0},
        "columns": ["strategy", "solved_share", "interval"],
        "rows": [{"strategy": "margin", "solved_share": np.float64(0.5), "interval": np.array([0.1, 0.9])}],
        "notes": ["A note."],
        "details": {"count": np.int64(4)},
        "run": run,
    }
    return Record(**(values | changes))  # pyright: ignore[reportArgumentType]


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.json"
    write_record(path, a_record())
    back = read_record(path)
    assert back.stem == "sudoku-strategies-smoke"
    assert back.rows == [{"strategy": "margin", "solved_share": 0.5, "interval": [0.1, 0.9]}]
    assert back.details == {"count": 4}
    write_record(tmp_path / "b.json", back)
    assert (tmp_path / "b.json").read_text() == path.read_text()


def test_the_facts_of_a_run_are_those_of_this_run() -> None:
    run = a_record().run
    assert run["seed"] == 3
    assert run["device"]["kind"] == "cpu"
    assert run["device"]["threads"] == torch.get_num_threads()
    assert run["versions"]["torch"] == torch.__version__.split("+")[0] or run["versions"]["torch"] == torch.__version__
    assert run["command"]
    assert run["commit"] is None or len(run["commit"]) == 40


def test_nan_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path / "a.json", a_record(summary={"solved_share": float("nan")}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a record of format 1"),
        ('{"record": 9}', "is not a record of format 1"),
        ('{"record": 1}', "is not a record"),
        (json.dumps({"record": 1, "name": "x", "surprise": 1}), "surprise"),
    ],
)
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_record(tmp_path / "a.json")


def test_a_missing_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_record(tmp_path / "a.json")


def test_fingerprints_tell_content_shape_and_type_apart() -> None:
    grids = np.arange(8, dtype=np.uint8).reshape(2, 4)
    kinds = [grids, grids.reshape(4, 2), grids.astype(np.int16), grids[::-1]]
    assert len({data_facts("x", kind)["fingerprint"] for kind in kinds}) == 4
    assert data_facts("x", grids) == data_facts("x", grids.copy())
    assert data_facts("x", grids)["count"] == 2


def test_a_model_is_known_by_its_weights() -> None:
    torch.manual_seed(0)
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    facts = model_facts("a", first)
    assert facts["parameters"] == 8
    assert facts["fingerprint"] != model_facts("a", second)["fingerprint"]
    second.load_state_dict(first.state_dict())
    assert facts == model_facts("a", second)
    assert model_facts("a", first.to(torch.bfloat16))["fingerprint"] != facts["fingerprint"]


def test_a_command_names_files_outside_without_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["/opt/bin/anyorder", "solve", "../data/puzzles.csv", "--json", "results/x.json", "--work", "/tmp/runs"]
    monkeypatch.setattr(sys, "argv", argv)
    facts = run_facts(seed=0, device="cpu", since=0.0)
    assert facts["command"] == "anyorder solve puzzles.csv --json results/x.json --work runs"
