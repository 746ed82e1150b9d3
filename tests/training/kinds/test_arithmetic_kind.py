from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import held_out
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.kinds.arithmetic import ArithmeticEvaluation, ArithmeticSource, open_data, open_evaluation
from anyorder.training.kinds.countdown import open_data as open_countdown

SMALL = {
    "name": "tiny",
    "task": {
        "name": "arithmetic",
        "normal": {"operations": [1, 1], "operand": 9, "largest": 20},
        "hard": {"operations": [1, 2], "operand": 9, "largest": 50},
    },
    "model": {"layers": 1, "heads": 2, "width": 16, "mlp_width": 16},
    "objective": {"ordered": 0.5},
    "steps": 2,
    "batch_size": 4,
    "evaluation": {"every_steps": 1, "problems": 3, "strategies": ["med"]},
}


def test_a_run_trains_evaluates_and_saves(tmp_path: Path) -> None:
    result = train(TrainSettings.from_dict(SMALL), tmp_path)
    assert result.finished
    assert result.model is not None
    assert result.model.task is not None
    assert result.model.task["normal"]["operations"] == [1, 1]
    sets = {(record["puzzles"], record["strategy"]) for record in result.evaluations}
    assert sets == {("normal", "med"), ("hard", "med")}
    assert all(record["count"] == 3 and 0 <= record["solved_share"] <= 1 for record in result.evaluations)
    assert "no held-out question" in (tmp_path / "model" / "README.md").read_text()


def test_a_run_goes_on_with_another_range(tmp_path: Path) -> None:
    train(TrainSettings.from_dict(SMALL), tmp_path)
    task = {**SMALL["task"], "normal": {"operations": [1, 2], "operand": 9, "largest": 20}}
    wider = TrainSettings.from_dict({**SMALL, "task": task, "steps": 4})
    with pytest.raises(UserError, match=r"task\.normal\.operations was \[1, 1\] and is \[1, 2\] \(--allow-changes"):
        train(wider, tmp_path)
    model = train(wider, tmp_path, allow_changes=True).model
    assert model is not None
    assert model.task is not None
    assert model.task["normal"]["operations"] == [1, 2]
    assert "At step 2 `task` changed from" in (tmp_path / "model" / "README.md").read_text()


def test_the_data_follow_the_settings(tmp_path: Path) -> None:
    hidden = {"trace": 1.0, "answer": 0, "span": 0, "frontier": 0}
    settings = TrainSettings.from_dict({**SMALL, "data": {"hard": 0.0, "hidden": hidden}})
    data = open_data(settings, tmp_path)
    assert data.hidden.trace == 1.0
    assert all(problem.trace.count("=") == 1 for problem in data.rows(0, 0, 50))
    assert open_data(TrainSettings.from_dict(SMALL), tmp_path).fingerprint != data.fingerprint


def test_held_out_problems_are_held_out(tmp_path: Path) -> None:
    settings = TrainSettings.from_dict(SMALL)
    sets = open_evaluation(settings, tmp_path, open_data(settings, tmp_path))
    assert [one.name for one in sets] == ["normal", "hard"]
    assert all(held_out(problem.question) for one in sets for problem in one.puzzles)
    operations = [len(re.findall(r"\d[-+*/]", problem.question)) for problem in sets[0].puzzles]
    assert set(operations) == {1}


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    settings = TrainSettings.from_dict({**SMALL, "evaluation": {"strategies": ["magic"]}})
    with pytest.raises(UserError, match="magic"):
        open_evaluation(settings, tmp_path, open_data(settings, tmp_path))
    for wrong in ({"hard": 1.5}, {"count": 0}):
        with pytest.raises(UserError):
            ArithmeticSource(**wrong)
    for wrong in ({"every_steps": 0}, {"problems": -1}, {"batch_size": 0}, {"strategies": ("med", "med")}):
        with pytest.raises(UserError):
            ArithmeticEvaluation(**wrong)
    with pytest.raises(UserError, match="operand"):
        TrainSettings.from_dict({**SMALL, "task": {"name": "arithmetic", "normal": {"operand": 1000}}})


def test_the_shipped_configuration_is_of_a_few_weights() -> None:
    from anyorder.training.build import make_model

    settings = load_settings("arithmetic")
    model = make_model(settings)
    assert sum(weight.numel() for weight in model.parameters()) < 3_000_000
    batch = open_data(settings, Path()).batch(0, 0, 2)
    assert model(batch.tokens, attention_mask=batch.attention_mask).isfinite().all()
    assert torch.equal(batch.tokens, open_data(settings, Path()).batch(0, 0, 2).tokens)


def test_countdown_trains_and_is_judged_by_its_traces(tmp_path: Path) -> None:
    from anyorder.tasks.arithmetic import check_countdown

    path = tmp_path / "two.jsonl"
    path.write_text('{"input": "1,2,3", "output": "1+2=3"}\n{"input": "4,2,2", "output": "4/2=2"}\n')
    values = {
        **SMALL,
        "task": {"name": "countdown", "range": {"numbers": 2, "largest_number": 20, "largest": 40}},
        "evaluation": {"every_steps": None, "problems": 3, "strategies": ["med"], "path": str(path)},
    }
    settings = TrainSettings.from_dict(values)
    data = open_countdown(settings, tmp_path)
    assert all(check_countdown(problem.question, problem.trace).valid for problem in data.rows(0, 0, 40))
    result = train(settings, tmp_path / "run")
    assert {(record["puzzles"], record["count"]) for record in result.evaluations} == {("held-out", 3), ("file", 2)}
    assert result.model is not None
    assert result.model.task == {"name": "countdown", "range": {"numbers": 2, "largest_number": 20, "largest": 40}}
