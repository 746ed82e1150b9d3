"""Mask-predict: how many stay undecided after each step, and what is taken back."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decoding.fakes import HashDenoiser
from tests.planning.boards import make_progress

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.core.schedules import Cosine, Linear


def left_after_each_step(n: int, remask: ao.MaskPredict) -> list[int]:
    canvas = ao.Canvas(torch.zeros(1, n, dtype=torch.long), torch.ones(1, n, dtype=torch.bool))
    return [int(step.undecided) for step in ao.stream(HashDenoiser(), canvas, remask=remask)]


def test_a_step_leaves_the_floor_of_the_share() -> None:
    assert left_after_each_step(10, ao.MaskPredict(5)) == [8, 6, 4, 2, 0]
    assert left_after_each_step(7, ao.MaskPredict(5)) == [5, 4, 2, 1, 0]
    assert left_after_each_step(50, ao.MaskPredict(50)) == list(range(49, -1, -1))
    assert left_after_each_step(3, ao.MaskPredict(1)) == [0]
    # Few positions and many steps: it ends as soon as nothing is left undecided.
    assert left_after_each_step(1, ao.MaskPredict(9)) == [0]
    assert left_after_each_step(2, ao.MaskPredict(8)) == [1, 1, 1, 1, 0]


def test_every_target_is_predicted_again_at_every_step() -> None:
    canvas = ao.Canvas(torch.zeros(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.bool))
    denoiser = HashDenoiser()
    again = 0
    for step in ao.stream(denoiser, canvas, remask=ao.MaskPredict(4)):
        assert bool(step.candidates.all())
        assert bool(denoiser.asked[-1].all())
        again += int((step.revealed & ~step.open).sum())
        # What is neither among the best nor undecided already is taken back.
        assert torch.equal(step.remasked, ~step.revealed & ~step.open)
    assert again > 0


def test_a_position_taken_back_shows_the_mask_to_the_network() -> None:
    canvas = ao.Canvas(torch.zeros(3, 12, dtype=torch.long), torch.ones(3, 12, dtype=torch.bool))
    denoiser, previous, taken_back = HashDenoiser(), None, 0
    for step in ao.stream(denoiser, canvas, order=ao.Random(), remask=ao.MaskPredict(6)):
        if previous is not None:
            shown = denoiser.seen[-1]
            assert torch.equal(shown == denoiser.mask_token_id, previous.missing)
        taken_back += int(step.remasked.sum())
        previous = step
    assert taken_back > 0


@settings(max_examples=25)
@given(n=st.integers(1, 12), steps=st.integers(1, 15), cosine=st.booleans())
def test_it_ends_within_its_steps_with_everything_decided(n: int, steps: int, cosine: bool) -> None:
    left = left_after_each_step(n, ao.MaskPredict(steps, Cosine() if cosine else Linear()))
    assert left[-1] == 0
    assert len(left) <= steps
    assert all(a >= b for a, b in itertools.pairwise([n, *left]))


def test_steps_are_counted_per_window() -> None:
    canvas = ao.Canvas(torch.zeros(1, 10, dtype=torch.long), torch.ones(1, 10, dtype=torch.bool))
    remask = ao.MaskPredict(3)
    result = ao.decode(HashDenoiser(), canvas, remask=remask, window=ao.Blocks(6))
    assert result.nfe.tolist() == [6]
    assert result.finish_reason == ("complete",)
    unknown = torch.tensor([[True, True, False, True], [False, True, False, False]])
    stages = torch.tensor([[4, 4, 0, 9], [0, 1, 2, 3]])
    assert remask.limit(make_progress(unknown, stages=stages)).tolist() == [6, 3]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ao.MaskPredict(0), "steps"),
        (lambda: ao.MaskPredict("50"), "steps"),
        (lambda: ao.MaskPredict(5, Linear), "schedule"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
