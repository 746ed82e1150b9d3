from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from anyorder.core.errors import UserError
from anyorder.training.kinds import KINDS, find_kind
from anyorder.training.kinds.sudoku import SudokuEvaluation, SudokuSource, SudokuTask, open_data, open_evaluation
from anyorder.training.settings import ObjectiveSettings, TrainSettings

SOURCE = SudokuSource(count=40, seed=3, hard=0.25, distinct="puzzle")


def run(**changes: object) -> TrainSettings:
    return TrainSettings(name="few", data=SOURCE, evaluation=SudokuEvaluation(puzzles=0), **changes)  # pyright: ignore


def test_the_share_of_hard_puzzles_is_kept(tmp_path: Path) -> None:
    from anyorder.tasks.sudoku.solver import solve_many

    data = open_data(run(), tmp_path)
    assert len(data) == 40
    assert solve_many(data.box, data.set.puzzles).solved.sum() == 30
    again = open_data(run(), tmp_path)  # from the file now
    assert again.fingerprint == data.fingerprint


def test_batches_are_ordered_where_the_objective_asks(tmp_path: Path) -> None:
    plain, ordered = open_data(run(), tmp_path), open_data(run(objective=ObjectiveSettings(ordered=0.5)), tmp_path)
    assert plain.batch(1, 0, 4).order is None
    order = ordered.batch(1, 0, 4).order
    assert order is not None
    assert np.array_equal(order >= 0, ordered.batch(1, 0, 4).unknown)
    assert plain.fingerprint == ordered.fingerprint


def test_a_share_and_a_grade_contradict_each_other() -> None:
    with pytest.raises(UserError, match=r"data\.hard"):
        SudokuSource(hard=0.5, grade="logic")
    with pytest.raises(UserError, match=r"data\.hard"):
        SudokuSource(hard=1.0)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_every_kind_is_complete(name: str) -> None:
    kind = find_kind(name)
    assert kind.name == name
    settings = TrainSettings.from_dict({"name": "any", "task": {"name": name}})
    assert isinstance(settings.task, kind.task)
    assert isinstance(settings.data, kind.data)
    assert isinstance(settings.evaluation, kind.evaluation)
    assert {"vocab_size", "mask_token_id"} <= kind.shape(settings.task).keys()
    assert kind.facts(settings.task)["name"] == name
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    assert isinstance(kind.describe(settings.to_dict()["data"]), str)


def test_an_unknown_kind_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'sudoku'"):
        TrainSettings.from_dict({"name": "x", "task": {"name": "sudoko"}})


def test_the_sections_must_be_of_the_kind() -> None:
    with pytest.raises(UserError, match="data of a sudoku run"):
        TrainSettings(name="x", task=SudokuTask(), data=3)


def test_nothing_is_evaluated_where_there_are_no_puzzles(tmp_path: Path) -> None:
    settings = run()
    assert open_evaluation(settings, tmp_path, open_data(settings, tmp_path)) == []
