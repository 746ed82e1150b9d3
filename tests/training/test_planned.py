"""Planned rows: states that the network's own plan leads to, with the true tokens in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_loop import digests

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import SudokuData
from anyorder.training import train
from anyorder.training.batches import planned_rows, step_batch
from anyorder.training.build import make_model
from anyorder.training.finetune import FinetuneSettings
from anyorder.training.planned import follow_plan, surest
from anyorder.training.settings import ObjectiveSettings, PlannedSettings

PLANNED = {"share": 0.5, "steps": 3, "entropy": 1.3, "most": 3}


def objective(**planned: Any) -> ObjectiveSettings:
    return ObjectiveSettings(planned=PlannedSettings(**{**PLANNED, **planned}), weight="root")


def test_one_step_takes_the_sure_ones_up_to_the_most_and_always_one() -> None:
    entropy = torch.tensor([[0.1, 0.5, 0.05, 0.2, 0.0], [0.9, 0.8, 0.7, 0.9, 0.0], [0.1, 0.1, 0.0, 0.0, 0.0]])
    masked = torch.tensor([[True] * 4 + [False], [True] * 4 + [False], [True, True] + [False] * 3])
    taken = surest(entropy.double(), masked, PlannedSettings(share=1.0, entropy=0.3, most=2))
    # the third row would have nothing left
    assert taken.tolist() == [[True, False, True, False, False], [False, False, True, False, False], [False] * 5]


def test_as_many_rows_as_the_share_says_with_steps_drawn_evenly() -> None:
    steps = torch.stack([planned_rows(objective(share=0.3), 1, step, 10) for step in range(2000)])
    assert ((steps >= 0).sum(1) == 3).all()
    assert (steps[0] != steps[1]).any()
    counts = torch.bincount(steps[steps >= 0])
    assert len(counts) == 4
    assert (counts / counts.sum() - 0.25).abs().max() < 0.03
    by_row = (steps >= 0).double().mean(0)
    assert (by_row - 0.3).abs().max() < 0.06


def test_planned_rows_hold_true_tokens_and_the_others_are_left_alone(tiny: Any, data_file: Path) -> None:
    data, model = SudokuData.load(data_file), make_model(tiny())
    rules = objective()
    before = step_batch(data, model.mask_token_id, rules, seed=1, step=0, size=64)
    after = follow_plan(model, before, rules, seed=1, step=0)
    steps = planned_rows(rules, 1, 0, 64)
    revealed = before.masked & ~after.masked
    assert torch.equal(after.tokens, after.targets.masked_fill(after.masked, model.mask_token_id))
    assert (after.masked & ~before.masked).sum() == 0
    assert revealed.any()
    # an untrained network is unsure everywhere: one position a step, at most three where it is not
    assert (revealed.sum(1) <= 3 * steps.clamp(min=0)).all()
    assert (revealed.sum(1) >= torch.minimum(steps.clamp(min=0), before.masked.sum(1) - 1)).all()
    plain = step_batch(data, model.mask_token_id, ObjectiveSettings(weight="root"), seed=1, step=0, size=64)
    others = steps < 0
    assert torch.equal(before.masked[others], plain.masked[others])
    counts = after.masked.sum(1).double()
    assert torch.allclose(after.weight.double() * counts.sqrt(), after.weight[0].double() * counts[0].sqrt())
    assert float((after.weight * after.masked.sum(1)).sum()) == pytest.approx(1.0)


def test_the_plan_reveals_what_the_network_is_surest_of(tiny: Any, data_file: Path) -> None:
    """Row by row, against one evaluation of the fully masked row."""
    data, model = SudokuData.load(data_file), make_model(tiny())
    rules = objective(share=1.0, steps=1, entropy=0.0)
    before = step_batch(data, model.mask_token_id, rules, seed=2, step=5, size=16)
    after = follow_plan(model, before, rules, seed=2, step=5)
    steps = planned_rows(rules, 2, 5, 16)
    assert 0 < int(steps.sum()) < 16
    for row in range(16):
        found = (before.masked[row] & ~after.masked[row]).nonzero()[:, 0].tolist()
        if steps[row] == 0 or before.masked[row].sum() == 1:
            assert found == []
            continue
        at = before.masked[row : row + 1]
        with torch.no_grad():
            logits = model.eval()(before.tokens[row : row + 1], at=at)
        logits[:, model.mask_token_id] = -torch.inf
        entropy = torch.distributions.Categorical(logits=logits).entropy()
        assert found == [int(at[0].nonzero()[entropy.argmin(), 0])]


def test_a_stopped_run_with_plans_ends_with_the_same_bits(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(objective={"planned": PLANNED})
    train(settings, tmp_path / "whole", threads=1)
    while not train(settings, tmp_path / "legs", minutes=1e-6, threads=1).finished:
        pass
    assert digests(tmp_path / "whole") == digests(tmp_path / "legs")
    train(tiny(), tmp_path / "plain", threads=1)
    assert digests(tmp_path / "whole") != digests(tmp_path / "plain")


@pytest.mark.parametrize(
    ("planned", "others", "message"),
    [
        ({"share": 1.5}, {}, "share"),
        ({"steps": -1}, {}, "steps"),
        ({"most": 0}, {}, "most"),
        ({"entropy": float("nan")}, {}, "entropy"),
        ({}, {"form": "autoregressive"}, "belongs to the form masked"),
        ({}, {"weight": "bound"}, "without weight: bound"),
    ],
)
def test_what_cannot_be_planned_is_refused(planned: dict[str, Any], others: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        ObjectiveSettings(planned=PlannedSettings(**{**PLANNED, **planned}), **others)


def test_fine_tuning_refuses_a_plan_that_it_would_not_follow() -> None:
    with pytest.raises(UserError, match="fine-tuning follows no plan"):
        FinetuneSettings(objective=objective())
