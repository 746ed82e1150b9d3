from __future__ import annotations

import sys

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig
from anyorder.training.finetune import FinetuneSettings, LoraSettings, Sequences, finetune
from anyorder.training.settings import AdamWSettings, OptimizerSettings

FAST = OptimizerSettings(adamw=AdamWSettings(rate=2e-2))


def _model(seed: int = 0) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(TransformerConfig(vocab_size=8, mask_token_id=7, layers=1, heads=2, width=16, mlp_width=32))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


def _rows(count: int = 12) -> Sequences:
    """The second half repeats the first, which is known."""
    first = torch.randint(0, 7, (count, 4), generator=torch.Generator().manual_seed(2))
    unknown = torch.zeros(count, 8, dtype=torch.bool)
    unknown[:, 4:] = True
    return Sequences(torch.cat((first, first), 1), unknown)


def _loss(model: Transformer, rows: Sequences) -> float:
    hidden = rows.tokens.masked_fill(rows.unknown, 7)
    with torch.no_grad():
        logits = model(hidden, at=rows.unknown)
    return float(torch.nn.functional.cross_entropy(logits, rows.tokens[rows.unknown]))


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=4)])
def test_a_round_learns_and_leaves_the_given_model_alone(lora):
    if lora is not None:
        pytest.importorskip("peft")
    model, rows = _model(), _rows()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    done: list[tuple[int, int]] = []
    settings = FinetuneSettings(steps=40, batch_size=12, optimizer=FAST, lora=lora)
    tuned = finetune(model, rows, settings, progress=lambda step, steps: done.append((step, steps)))
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert tuned.state_dict().keys() == before.keys()
    assert not tuned.training
    assert _loss(tuned, rows) < 0.7 * _loss(model, rows)
    assert done[-1] == (40, 40)
    changed = {name for name, weight in tuned.state_dict().items() if not torch.equal(before[name], weight)}
    if lora is None:
        assert changed == before.keys()
    else:
        assert changed == {name for name in before if name.rsplit(".", 2)[-2] in ("qkv", "out", "up", "down")}
        difference = tuned.state_dict()["blocks.0.mlp.up.weight"] - before["blocks.0.mlp.up.weight"]
        assert int(torch.linalg.matrix_rank(difference, atol=1e-5)) <= 4


def test_the_same_settings_give_the_same_model():
    settings = FinetuneSettings(steps=5, batch_size=6)
    one, two = finetune(_model(), _rows(), settings), finetune(_model(), _rows(), settings)
    other = finetune(_model(), _rows(), FinetuneSettings(steps=5, batch_size=6, seed=1))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_any_module_that_is_a_denoiser():
    class Table(torch.nn.Module):
        vocab_size, mask_token_id = 8, 7

        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Parameter(torch.zeros(8, 8))

        def forward(self, tokens, *, attention_mask=None, at):
            return self.table[torch.arange(8).expand(tokens.shape)[at]]

    rows = Sequences(torch.full((3, 8), 5), torch.ones(3, 8, dtype=torch.bool))
    tuned = finetune(Table(), rows, FinetuneSettings(steps=30, batch_size=3, optimizer=FAST))
    assert (tuned.table.argmax(1) == 5).all()


def test_rows_come_once_an_epoch():
    rows = _rows(10)
    numbered = Sequences(torch.arange(10)[:, None].expand(10, 8).clone(), rows.unknown)
    seen = torch.cat([numbered.batch(3, step, 4).tokens[:, 0] for step in range(5)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    assert len(rows.fingerprint) == 64
    assert rows.fingerprint == _rows(10).fingerprint != numbered.fingerprint


def test_bad_input():
    with pytest.raises(UserError, match="row"):
        Sequences(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0, 3, dtype=torch.bool))
    with pytest.raises(UserError, match="module"):
        finetune(lambda tokens: tokens, _rows(), FinetuneSettings())  # type: ignore[type-var]
    for wrong in ({"steps": 0}, {"batch_size": 0}, {"seed": -1}):
        with pytest.raises(UserError):
            FinetuneSettings(**wrong)
    for wrong in ({"rank": 0}, {"alpha": 0.0}, {"targets": ()}, {"dropout": 1.0}):
        with pytest.raises(UserError):
            LoraSettings(**wrong)


def test_layers_that_the_model_lacks_are_named():
    pytest.importorskip("peft")
    with pytest.raises(UserError, match=r"q_proj.*qkv"):
        finetune(_model(), _rows(), FinetuneSettings(steps=1, lora=LoraSettings(targets=("q_proj",))))


def test_without_peft_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match="pip install"):
        finetune(_model(), _rows(), FinetuneSettings(steps=1, lora=LoraSettings()))


def test_a_loss_that_is_not_finite_stops():
    model = _model()
    with torch.no_grad():
        model.embedding.weight.fill_(torch.nan)
    with pytest.raises(UserError, match="finite"):
        finetune(model, _rows(), FinetuneSettings(steps=1))
