"""Training on text: what each order asks of the network, what is measured, and how many processes may share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_distributed import ADAMW, assert_same_run, run_together

from anyorder.core.errors import UserError
from anyorder.core.objectives import causal_loss
from anyorder.core.tokenizers import ByteTokenizer
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.text import Document, make_permutation, write_tokens
from anyorder.training import TrainSettings, load_settings, train
from anyorder.training.batches import step_batch
from anyorder.training.build import make_model, model_config
from anyorder.training.kinds.text import open_data
from anyorder.training.step import MaskedLoss

ORDERS = ("left-to-right", "identity", "much-closer", "closer", "uniform")


@pytest.fixture(scope="session")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = "".join(f"{'abcdefgh'[k % 8]}{'xyz'[k % 3]}{k % 7} " for k in range(2000))
    folder = tmp_path_factory.mktemp("text") / "tokens"
    write_tokens(folder, [Document("made up", (text,))], ByteTokenizer(), validation_every=10, block=160)
    return folder


@pytest.fixture
def text(tokens: Path) -> Callable[..., TrainSettings]:
    """Settings of a run of a second; ``order`` and ``positions`` are chosen, other arguments replace sections."""

    def make(order: str | None = None, positions: str | None = None, **changes: Any) -> TrainSettings:
        model = {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32}
        values: dict[str, Any] = {
            "name": "text",
            "seed": 3,
            "task": {"name": "text", "length": 16, "order": order},
            "model": model if positions is None else {**model, "positions": positions},
            "data": {"path": str(tokens)},
            "objective": {"form": "masked" if order is None else "autoregressive"},
            "schedule": {"warmup_steps": 2},
            "evaluation": {"every_steps": None, "sequences": 8, "draws": 4},
            "checkpoint": {"every_minutes": None, "every_steps": 4},
            "steps": 6,
            "batch_size": 8,
            "log_every_steps": 1,
        }
        return TrainSettings.from_dict({**values, **ADAMW, **changes})

    return make


@pytest.mark.parametrize("order", [None, *ORDERS])
def test_the_order_decides_the_network(text: Callable[..., TrainSettings], order: str | None) -> None:
    config = model_config(text(order))
    assert (config.vocab_size, config.mask_token_id) == (259, 258)
    assert config.length == (16 if order is None else 17)
    assert config.attention == ("bidirectional" if order is None else "causal")
    assert config.logits_shift == (order is not None)
    assert config.positions == ("rotary" if order in (None, "left-to-right") else "learned")


@pytest.mark.parametrize("order", ["identity", "much-closer", "closer", "uniform"])
def test_rotary_positions_are_refused_along_a_permutation(text: Callable[..., TrainSettings], order: str) -> None:
    with pytest.raises(UserError, match=r"model\.positions is 'rotary', but the task needs 'learned'"):
        model_config(text(order, "rotary"))
    assert model_config(text("left-to-right", "rotary")).positions == "rotary"
    assert model_config(text(None, "learned")).positions == "learned"


def test_a_run_trains_measures_and_saves(text: Callable[..., TrainSettings], tmp_path: Path) -> None:
    for order in (None, "uniform"):
        settings = text(order, steps=60, task={"name": "text", "length": 16, "order": order, "draw": 1})
        result = train(settings, tmp_path / str(order), threads=1)
        assert result.model is not None
        (record,) = [one for one in result.evaluations if one["set"] == "validation"]
        assert record["sequences"] == 8
        assert record["tokens"] == 8 * 16
        assert 0 < record["standard_error"] < 1
        assert 1 < record["nats_per_token"] < 4.5  # log 259 = 5.56 where nothing is learned
        assert record["bits_per_token"] == pytest.approx(record["nats_per_token"] / 0.6931472)
        model = from_pretrained(tmp_path / str(order) / "model")
        facts = {"name": "text", "length": 16, "tokenizer": "bytes", "vocab_size": 259, "order": order, "draw": 1}
        assert model.task == facts
        assert "folder of tokens" in (tmp_path / str(order) / "model" / "README.md").read_text()


def test_a_pi_learner_is_trained_on_form_3_of_the_objective(text: Callable[..., TrainSettings], tmp_path: Path) -> None:
    # The loss of the first step is -log p along pi, as the objective's own form of it counts it.
    settings = text("uniform")
    model = make_model(settings)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    data = open_data(settings, tmp_path)
    batch = step_batch(data, model.mask_token_id, settings.objective, seed=3, step=0, size=8)
    loss = MaskedLoss(model, all_depths=False)(*batch)[0].detach()

    class Shifted:
        """The same network as ``causal_loss`` wants it: a start token of its own, logits where they stand."""

        vocab_size, mask_token_id = model.vocab_size, model.mask_token_id

        def __call__(self, tokens: torch.Tensor, *, attention_mask: None = None, at: torch.Tensor) -> torch.Tensor:
            start = torch.full_like(tokens[:, :1], 256)
            whole = torch.cat((start, tokens[:, 1:], tokens[:, -1:]), dim=1)
            asked = torch.cat((torch.zeros_like(at[:, :1]), at), dim=1)
            return model(whole, at=asked)

    pi = make_permutation("uniform", 16)
    plain = torch.empty_like(batch.targets[:, 1:])
    plain[:, pi] = batch.targets[:, 1:]
    assert float(loss) == pytest.approx(float(causal_loss(Shifted(), plain, pi).detach().mean()) / 16, rel=1e-5)


@pytest.mark.parametrize("order", [None, "much-closer"])
def test_two_processes_give_the_single_process_curve(
    text: Callable[..., TrainSettings], processes: Any, tmp_path: Path, order: str | None
) -> None:
    assert run_together(processes, text(order, accumulation=2).to_dict(), tmp_path / "two") == [0, 0]
    train(text(order), tmp_path / "one", threads=1)
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_a_run_that_stopped_goes_on_as_if_it_had_not(text: Callable[..., TrainSettings], tmp_path: Path) -> None:
    for _ in range(20):
        if train(text("closer"), tmp_path / "parts", minutes=1e-9, threads=1).finished:
            break
    train(text("closer"), tmp_path / "one", threads=1)
    one, parts = (from_pretrained(tmp_path / name / "model").state_dict() for name in ("one", "parts"))
    assert all(torch.equal(value, parts[name]) for name, value in one.items())


def test_the_shipped_configuration_fits(tokens: Path, tmp_path: Path) -> None:
    settings = load_settings("text-bytes")
    assert model_config(settings).vocab_size == ByteTokenizer().vocab_size
    assert model_config(settings).mask_token_id == ByteTokenizer().mask_token_id
    task = dataclasses.replace(settings.task, length=16)
    data = dataclasses.replace(settings.data, path=str(tokens))
    assert len(open_data(dataclasses.replace(settings, task=task, data=data), tmp_path)) > 100


def test_what_does_not_fit_is_refused(text: Callable[..., TrainSettings], tmp_path: Path, tokens: Path) -> None:
    task = {"name": "text", "length": 16}
    for changes, message in (
        ({"data": {}}, r"data\.path is missing"),
        ({"data": {"path": str(tmp_path / "absent")}}, "no folder of tokens"),
        ({"task": {**task, "tokenizer": "bpe-300-x"}}, r"holds tokens of bytes .* the task says bpe-300-x"),
        ({"task": {**task, "vocab_size": 300}}, r"vocab_size 300"),
        ({"task": {**task, "length": 10**6}}, "too few for one sequence"),
        ({"objective": {"form": "autoregressive"}}, "autoregressive needs"),
        ({"task": {**task, "order": "identity"}}, r"task\.order: identity is trained by objective\.form: autoregr"),
    ):
        with pytest.raises(UserError, match=message):
            train(text(**changes), tmp_path / "run", threads=1)
    for section, message in (
        ({"task": {**task, "order": "reversed"}}, r"task\.order cannot be 'reversed'"),
        ({"task": {**task, "draw": -1}}, r"task\.draw must not be negative"),
        ({"evaluation": {"draws": 1}}, r"evaluation\.draws must be at least 2"),
    ):
        with pytest.raises(UserError, match=message):
            text(**section)
