"""Batches are a function of (seed, step), and the loss is over the global weight."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.sudoku import SudokuData
from anyorder.tasks.task import Batch
from anyorder.training.batches import Prefetcher, StepBatch, step_batch
from anyorder.training.settings import ObjectiveSettings


@pytest.fixture
def data(data_file: Path) -> SudokuData:
    return SudokuData.load(data_file)


def draw(data: SudokuData, step: int = 0, seed: int = 1, **objective: object) -> StepBatch:
    return step_batch(data, 0, ObjectiveSettings(**objective), seed=seed, step=step, size=32)  # pyright: ignore


def equal(one: StepBatch, other: StepBatch) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in pairs)


def test_a_batch_is_a_function_of_seed_and_step(data: SudokuData) -> None:
    assert equal(draw(data, 5), draw(data, 5))
    assert not equal(draw(data, 5), draw(data, 6))
    assert not equal(draw(data, 5, seed=1), draw(data, 5, seed=2))
    state = torch.get_rng_state()
    draw(data)
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_change_from_step_to_step_over_the_same_sequences(data: SudokuData) -> None:
    class Same:
        fingerprint = "same"

        def __len__(self) -> int:
            return 1

        def batch(self, seed: int, step: int, size: int) -> Batch:
            return Batch(torch.ones(size, 40, dtype=torch.int64), torch.ones(size, 40, dtype=torch.bool))

    masks = [
        step_batch(Same(), 0, ObjectiveSettings(), seed=seed, step=step, size=8).masked
        for seed in (1, 2)
        for step in (0, 1)
    ]
    assert all(not torch.equal(masks[i], masks[j]) for i in range(4) for j in range(i))


def test_clues_stay_and_masks_lie_on_unknown_positions(data: SudokuData) -> None:
    tokens, unknown, *_ = data.batch(9, 0, 32)
    del tokens
    batch = draw(data)
    assert torch.equal(batch.tokens[~batch.masked], batch.targets[~batch.masked])
    assert (batch.tokens[batch.masked] == 0).all()
    assert (batch.targets > 0).all()
    assert (batch.masked.sum(1) >= 1).all()
    assert unknown.any(1).all()


@pytest.mark.parametrize(("weight", "power"), [("row", 1.0), ("root", 0.5), ("token", 0.0)])
def test_weights_over_the_global_weight(data: SudokuData, weight: str, power: float) -> None:
    batch = draw(data, weight=weight)
    counts = batch.masked.sum(1).double()
    assert (batch.weight.double() * counts).sum().item() == pytest.approx(1.0, abs=1e-6)
    relative = batch.weight.double() * counts**power
    torch.testing.assert_close(relative, relative[:1].expand(32), rtol=1e-5, atol=0)


def test_the_bound_weighs_by_unknowns_over_masks(data: SudokuData) -> None:
    one, other = draw(data, weight="bound"), draw(data, weight="row")
    ratio = one.weight / other.weight
    assert ratio.std() > 0.05 * ratio.mean()
    assert torch.equal(one.masked, other.masked)


def test_a_tilted_law_masks_more(data: SudokuData) -> None:
    plain = sum(draw(data, step).masked.sum().item() for step in range(20))
    tilted = sum(draw(data, step, a=3.0).masked.sum().item() for step in range(20))
    assert tilted > 1.2 * plain


def test_parts_are_the_batch(data: SudokuData) -> None:
    batch = draw(data)
    parts = [batch.part(start, start + 8) for start in range(0, 32, 8)]
    assert batch.attention_mask is None
    assert all(part.attention_mask is None for part in parts)
    joined = StepBatch(*(torch.cat(tensors) for tensors in zip(*(part[:-1] for part in parts), strict=True)))
    assert equal(batch, joined)


class Ordered:
    """Eight rows of twelve positions, the first three known; revealed from the right."""

    fingerprint = "ordered"

    def __len__(self) -> int:
        return 8

    def batch(self, seed: int, step: int, size: int) -> Batch:
        place = torch.arange(12).expand(size, 12)
        return Batch(place % 4 + 1, place >= 3, 11 - place, place > -1)


def test_ordered_rows_mask_what_is_revealed_last() -> None:
    batch = step_batch(Ordered(), 0, ObjectiveSettings(ordered=1.0), seed=1, step=0, size=64)
    counts = batch.masked.sum(1)
    assert counts.min() == 1
    assert counts.max() == 9
    leftmost = (torch.arange(12) >= 3) & (torch.arange(12) < 3 + counts[:, None])
    assert torch.equal(batch.masked, leftmost)
    assert batch.attention_mask is not None


def test_a_share_of_the_rows_is_ordered_and_the_others_are_as_before() -> None:
    plain = step_batch(Ordered(), 0, ObjectiveSettings(), seed=1, step=0, size=1000)
    half = step_batch(Ordered(), 0, ObjectiveSettings(ordered=0.5), seed=1, step=0, size=1000)
    same = (plain.masked == half.masked).all(1).double().mean().item()
    assert 0.5 < same < 0.7  # half of them, and those of few or of all positions that agree by chance


def test_an_order_that_the_data_lack_is_refused(data: SudokuData) -> None:
    with pytest.raises(UserError, match="order"):
        draw(data, ordered=0.5)


def test_autoregressive_batches_mask_nothing() -> None:
    batch = step_batch(Ordered(), 0, ObjectiveSettings(form="autoregressive", weight="token"), seed=1, step=0, size=4)
    assert torch.equal(batch.tokens, batch.targets)
    assert torch.equal(batch.masked[0], torch.arange(12) >= 3)
    assert torch.allclose(batch.weight, torch.tensor(1 / 36))


def test_prefetching_changes_nothing(data: SudokuData) -> None:
    objective = ObjectiveSettings()
    batches = Prefetcher(data, 0, objective, seed=1, size=32)
    for step in (0, 1, 2, 7, 3):
        assert equal(batches.get(step, last=step == 3), draw(data, step))
    batches.close()


def test_a_batch_with_nothing_to_learn_is_refused() -> None:
    class Full:
        fingerprint = "full"

        def __len__(self) -> int:
            return 1

        def batch(self, seed: int, step: int, size: int) -> Batch:
            return Batch(torch.ones(size, 4, dtype=torch.int64), torch.zeros(size, 4, dtype=torch.bool))

    with pytest.raises(UserError, match="none of the 2 sequences has an unknown position"):
        step_batch(Full(), 0, ObjectiveSettings(), seed=0, step=0, size=2)
