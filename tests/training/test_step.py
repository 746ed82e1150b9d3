"""The loss of a masked batch, and dropout that does not see how the batch was cut."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig
from anyorder.training.batches import StepBatch
from anyorder.training.dropout import RowDropout, RowSeeds, dropout_seeds
from anyorder.training.step import MaskedLoss


def network(**changes: object) -> Transformer:
    values = {"vocab_size": 6, "mask_token_id": 5, "layers": 2, "heads": 2, "width": 8, "mlp_width": 16}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = Transformer(TransformerConfig(**{**values, **changes}))  # pyright: ignore[reportArgumentType]
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.5)
    return model


def batch(rows: int = 4) -> StepBatch:
    generator = torch.Generator().manual_seed(2)
    targets = torch.randint(0, 5, (rows, 7), generator=generator)
    masked = torch.rand(rows, 7, generator=generator) < 0.5
    weight = torch.rand(rows, generator=generator)
    return StepBatch(targets.masked_fill(masked, 5), targets, masked, weight, dropout_seeds(3, rows))


def test_loss_by_hand() -> None:
    model, rows = network(), batch()
    expected = 0.0
    for b, i in rows.masked.nonzero().tolist():
        at = torch.zeros_like(rows.masked)
        at[b, i] = True
        logits = model(rows.tokens, at=at)[0].double()
        logits[5] = -torch.inf
        expected -= rows.weight[b].item() * logits.log_softmax(-1)[rows.targets[b, i]].item()
    loss, last = MaskedLoss(model)(*rows)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert last.item() == pytest.approx(expected, rel=1e-5)


def test_looped_networks_average_over_the_depths() -> None:
    model, rows = network(loops=3), batch()
    mean, last = MaskedLoss(model)(*rows)
    only, same = MaskedLoss(model, all_depths=False)(*rows)
    assert last.item() == pytest.approx(only.item(), rel=1e-6)
    assert only.item() == pytest.approx(same.item(), rel=1e-6)
    logits = model.training_logits(rows.tokens, at=rows.masked)
    logits[..., 5] = -torch.inf
    depth = [
        (
            torch.nn.functional.cross_entropy(one, rows.targets[rows.masked], reduction="none")
            * rows.weight[rows.masked.nonzero()[:, 0]]
        )
        .sum()
        .item()
        for one in logits
    ]
    assert mean.item() == pytest.approx(sum(depth) / 3, rel=1e-5)


def test_parts_add_up_with_dropout() -> None:
    module, rows = MaskedLoss(network(dropout=0.3, loops=2)), batch(8)
    module.train()
    whole = module(*rows)
    parts = sum(module(*rows.part(start, start + 2)) for start in range(0, 8, 2))
    torch.testing.assert_close(whole, parts)
    other = module(*rows._replace(seed=dropout_seeds(4, 8)))
    assert abs(other[0] - whole[0]) > 1e-3
    module.eval()
    assert abs(module(*rows)[0] - whole[0]) > 1e-3


def test_dropout_keeps_the_mean_and_the_stated_share() -> None:
    rows = RowSeeds()
    layer = RowDropout(0.25, rows)
    hidden = torch.ones(64, 50, 40)
    rows.begin(dropout_seeds(0, 64))
    first, second = layer(hidden), layer(hidden)
    for dropped in (first, second):
        kept = (dropped != 0).double().mean().item()
        # 128,000 independent draws: five standard deviations are 0.006.
        assert kept == pytest.approx(0.75, abs=0.006)
        assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    both = ((first != 0) & (second != 0)).double().mean().item()
    assert both == pytest.approx(0.75**2, abs=0.007)
    assert torch.equal(layer.eval()(hidden), hidden)


def test_dropout_without_seeds_is_a_fault() -> None:
    with pytest.raises(RuntimeError, match="one seed for each row"):
        RowDropout(0.5, RowSeeds())(torch.ones(2, 3))
