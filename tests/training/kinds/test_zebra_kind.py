"""Training on Zebra puzzles, both answers, from settings to held-out figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.zebra import Size, symmetry_keys
from anyorder.training import load_settings, train
from anyorder.training.build import make_model
from anyorder.training.kinds.zebra import ZebraEvaluation, ZebraSource, ZebraTask, open_data, open_evaluation
from anyorder.training.settings import ObjectiveSettings, TrainSettings


def small(answer: str = "grid", **changes: object) -> TrainSettings:
    """A run of two steps on 3x2 and 3x3 puzzles."""
    grid = answer == "grid"
    settings = TrainSettings(
        name="few",
        task=ZebraTask(sizes=("3x2", "3x3"), clues=10, answer=answer, order="fixed" if grid else "solver"),  # pyright: ignore
        model={"layers": 1, "heads": 2, "width": 16, "mlp_width": 16, "positions": "learned"},
        data=ZebraSource(count=24, seed=3),
        objective=ObjectiveSettings(form="masked" if grid else "autoregressive"),
        evaluation=ZebraEvaluation(puzzles=5, every_steps=1, strategies=("margin", "random"), beams=(0, 2)),
        steps=2,
        batch_size=4,
    )
    return dataclasses.replace(settings, **changes)


@pytest.mark.parametrize("answer, names", [("grid", ["margin", "random"]), ("triples", ["greedy", "beam-2"])])
def test_a_run_from_settings_to_figures(answer: str, names: list[str], tmp_path: Path) -> None:
    result = train(small(answer), tmp_path)
    assert result.finished
    assert [one["strategy"] for one in result.evaluations] == names
    assert all(one["count"] == 5 for one in result.evaluations)
    model = from_pretrained(str(tmp_path / "model"))
    assert model.task == {"name": "zebra", "clues": 10, "answer": answer, "order": small(answer).task.order} | {
        "sizes": ["3x2", "3x3"]
    }


def test_data_are_kept_and_told_apart(tmp_path: Path) -> None:
    data = open_data(small(), tmp_path)
    assert len(data) == 24
    assert open_data(small(), tmp_path).fingerprint == data.fingerprint
    with pytest.raises(UserError, match="other settings"):
        open_data(small(data=ZebraSource(count=24, seed=4)), tmp_path)
    from_file = small(data=ZebraSource(path=str(tmp_path / "data.npz"), limit=10))
    assert len(open_data(from_file, tmp_path / "other")) == 10


def test_held_out_puzzles_are_no_training_puzzles(tmp_path: Path) -> None:
    data = open_data(small(), tmp_path)
    (held_out,) = open_evaluation(small(), tmp_path, data)
    assert len(held_out.puzzles) == 5
    assert not np.isin(symmetry_keys(held_out.puzzles), symmetry_keys(data.set)).any()
    (again,) = open_evaluation(small(), tmp_path, data)
    assert again.puzzles.fingerprint == held_out.puzzles.fingerprint
    path = tmp_path / "mine.npz"
    held_out.puzzles.save(path)
    rules = dataclasses.replace(small().evaluation, paths={"mine": str(path)}, puzzles=2)
    (mine,) = open_evaluation(small(evaluation=rules), tmp_path, data)
    assert (mine.name, len(mine.puzzles)) == ("mine", 2)


def test_batches_are_ordered_where_the_objective_asks(tmp_path: Path) -> None:
    plain = open_data(small(), tmp_path)
    ordered = open_data(small(objective=ObjectiveSettings(ordered=0.5)), tmp_path)
    assert plain.batch(1, 0, 4).order is None
    batch = ordered.batch(1, 0, 4)
    assert batch.order is not None
    assert torch.equal(batch.order >= 0, batch.unknown)


@pytest.mark.parametrize("name", ["zebra-mdm", "zebra-arm", "zebra-mdm-3x3", "zebra-arm-3x3"])
def test_shipped_configurations(name: str) -> None:
    settings = load_settings(name)
    with torch.device("meta"):
        model = make_model(settings)
    weights = sum(parameter.numel() for parameter in model.parameters())
    layout = settings.task.layout
    assert model.config.length == layout.length
    assert (model.config.attention == "causal") == (layout.answer == "triples")
    wanted = {"zebra-mdm": (18e6, 20e6), "zebra-arm": (40e6, 44e6)}.get(name, (1e5, 1e6))
    assert wanted[0] < weights < wanted[1]


def test_refused(tmp_path: Path) -> None:
    for make in (
        lambda: ZebraTask(sizes=()),
        lambda: ZebraTask(sizes=("4x4", "4x4")),
        lambda: ZebraTask(sizes=("4",)),
        lambda: ZebraTask(sizes=("9x4",)),
        lambda: ZebraTask(clues=0),
        lambda: ZebraTask(order="solver"),
        lambda: ZebraSource(count=0),
        lambda: ZebraSource(seed=-1),
        lambda: ZebraSource(hardest=3),
        lambda: ZebraSource(limit=0),
        lambda: ZebraEvaluation(every_steps=0),
        lambda: ZebraEvaluation(puzzles=-1),
        lambda: ZebraEvaluation(batch_size=0),
        lambda: ZebraEvaluation(beams=(-1,)),
        lambda: ZebraEvaluation(strategies=("margin", "margin")),
        lambda: open_data(small(objective=ObjectiveSettings(form="autoregressive")), tmp_path),
        lambda: open_data(small("triples", objective=ObjectiveSettings()), tmp_path),
        lambda: open_data(small(data=ZebraSource(path="none.npz")), tmp_path),
    ):
        with pytest.raises(UserError) as caught:
            make()
        assert "\n" not in str(caught.value)
    data = open_data(small(), tmp_path)
    rules = dataclasses.replace(small().evaluation, strategies=("best",))
    with pytest.raises(UserError, match="best"):
        open_evaluation(small(evaluation=rules), tmp_path, data)
    assert data.layout.houses == Size(3, 3).houses
