"""The kind "sudoku-arm": what the task decides, what it refuses, and that it learns."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.sudoku.sequences import Triples
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.batches import step_batch
from anyorder.training.build import model_config
from anyorder.training.journal import read_journal
from anyorder.training.kinds.sudoku_arm import open_data, open_evaluation, task_box
from anyorder.training.loop import opened_trainer


def small(**changes: object) -> TrainSettings:
    settings = load_settings("sudoku-arm-4x4")
    return dataclasses.replace(
        settings,
        model={**settings.model, "layers": 1, "width": 16, "mlp_width": 32, "heads": 2},
        data=dataclasses.replace(settings.data, count=32),
        evaluation=dataclasses.replace(settings.evaluation, puzzles=4, every_steps=4, beams=(0, 2)),
        steps=8,
        batch_size=8,
        **changes,  # pyright: ignore[reportArgumentType]
    )


@pytest.mark.parametrize("name", ["sudoku-arm-4x4", "sudoku-arm-6x6", "sudoku-arm-9x9"])
def test_the_task_makes_the_network_causal(name: str) -> None:
    settings = load_settings(name)
    config, format = model_config(settings), Triples(task_box(settings.task))
    assert (config.attention, config.logits_shift, config.positions) == ("causal", True, "learned")
    assert (config.vocab_size, config.length) == (format.vocab_size, format.length)


def test_only_the_answer_is_learned(tmp_path: Path) -> None:
    settings = small()
    data = open_data(settings, tmp_path)
    batch = step_batch(data, 0, settings.objective, seed=1, step=0, size=8)
    format = data.format
    assert torch.equal(batch.tokens, batch.targets)  # nothing is masked
    column = torch.arange(format.length)
    separator = (batch.tokens == format.separator).int().argmax(1)
    assert torch.equal(batch.masked, column > separator[:, None])
    assert float((batch.weight[:, None] * batch.masked).sum()) == pytest.approx(1)


def test_the_loss_is_that_of_the_chain_rule(tmp_path: Path) -> None:
    """The step's loss against the network asked position by position."""
    settings = small()
    with opened_trainer(settings, tmp_path, cpu=True) as trainer:
        batch = step_batch(trainer.data, 0, settings.objective, seed=1, step=0, size=8)
        model = trainer.model.eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
            loss = trainer.module(*batch)[0]
            laws = model(batch.tokens).view(8, -1, model.vocab_size).clone()
            laws[..., 0] = -torch.inf
            nats = -laws.log_softmax(-1).gather(2, batch.tokens[..., None])[..., 0]
        assert float(loss) == pytest.approx(float(nats[batch.masked].mean()), rel=1e-5)


def test_a_run_ends_with_a_model_that_can_be_decoded(tmp_path: Path) -> None:
    settings = small()
    result = train(settings, tmp_path / "run")
    assert result.finished
    told = [entry for entry in read_journal(tmp_path / "run" / "log.jsonl") if entry["kind"] == "evaluation"]
    assert {entry["strategy"] for entry in told} == {"greedy", "beam-2"}
    losses = [entry["loss"] for entry in read_journal(tmp_path / "run" / "log.jsonl") if entry["kind"] == "train"]
    assert losses
    model = from_pretrained(str(tmp_path / "run" / "model"))
    assert model.task == {"name": "sudoku-arm", "box_rows": 2, "box_columns": 2, "order": "solver"}
    (held_out,) = open_evaluation(settings, tmp_path / "run", open_data(settings, tmp_path / "run"))
    again = held_out.measure(model, torch.device("cpu"))
    assert [one["solved_share"] for one in again] == [one["solved_share"] for one in told[-2:]]


def test_other_objectives_and_orders_are_refused(tmp_path: Path) -> None:
    masked = dataclasses.replace(small().objective, form="masked")
    with pytest.raises(UserError, match="autoregressive"):
        open_data(small(objective=masked), tmp_path)
    values = small().to_dict()
    with pytest.raises(UserError, match="order cannot be 'random'"):
        TrainSettings.from_dict({**values, "task": {**values["task"], "order": "random"}})
    with pytest.raises(UserError, match="names one twice"):
        dataclasses.replace(small().evaluation, beams=(0, 0))
