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


def blank(rows: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(rows, length, dtype=torch.long), torch.ones(rows, length, dtype=torch.bool))


@pytest.mark.parametrize("eta", [0.0, 1.0, 3.0])
def test_p2_is_the_published_step(eta: float) -> None:
    """A plain transcription: scores of the drawn or the present token, the lowest are masked, the kept ones stay."""
    length, rows, steps, seed = 12, 4, 7, 9
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, blank(rows, length), order=ao.Planned(eta), remask=ao.P2(steps), seed=seed)
    remasked = 0
    for row in range(rows):
        tokens, masked = torch.full((length,), denoiser.mask_token_id), torch.ones(length, dtype=torch.bool)
        for k in range(1, steps + 1):
            logits = denoiser(tokens[None], at=torch.ones(1, length, dtype=torch.bool)).double()
            logits[:, denoiser.mask_token_id] = -torch.inf
            log_p = logits.log_softmax(dim=1)
            proposed = torch.where(masked, log_p.argmax(dim=1), tokens)
            score = log_p.gather(1, proposed[:, None]).squeeze(1)
            score = torch.where(masked, score, score * eta)
            lowest = score.argsort(stable=True, descending=True)[length - int(length * (1 - k / steps) + 1e-9) :]
            remasked += int((~masked[lowest]).sum())
            tokens, masked = proposed.clone(), torch.zeros(length, dtype=torch.bool)
            tokens[lowest], masked[lowest] = denoiser.mask_token_id, True
            if not bool(masked.any()):
                break
        assert result.tokens[row].tolist() == tokens.tolist()
        assert result.nfe[row] == k
    assert (remasked > 0) == (eta > 0)


class Fickle:
    """The same law at masked positions whatever is shown; at visible ones a stated probability of the token there."""

    vocab_size, mask_token_id = 6, 0

    def __init__(self, masked: list[float], visible: list[list[float]]) -> None:
        self.masked, self.visible, self.calls = masked, visible, 0

    def __call__(self, tokens, *, attention_mask=None, at):
        visible = self.visible[min(self.calls, len(self.visible) - 1)]
        self.calls += 1
        rows = []
        for row, column in at.nonzero().tolist():
            token = int(tokens[row, column])
            p = self.masked[column] if token == 0 else visible[column]
            law = torch.full((6,), (1 - p) / 4)
            law[0], law[2 if token == 0 else token] = 0.0, p
            rows.append(law.log())
        return torch.stack(rows)


def test_wino_drafts_widely_and_takes_back_what_is_doubted() -> None:
    # Step 0 drafts four; step 1 drafts two more and doubts two of the four; step 2 has two left, which stay.
    denoiser = Fickle([0.9, 0.8, 0.7, 0.65, 0.5, 0.5, 0.4], [[1.0] * 7, [0.95, 0.2, 0.3, 0.95, 1, 1, 1], [1.0] * 7])
    steps = list(
        ao.stream(denoiser, blank(1, 7), budget=ao.Draft(0.45), order=ao.TopProbability(), remask=ao.WINO(0.9))
    )
    assert steps[0].revealed[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4]
    assert not steps[0].remasked.any()
    assert steps[1].revealed[0].nonzero().flatten().tolist() == [5]
    # One accepted position is no progress to pay with: nothing is taken back.
    assert not steps[1].remasked.any()


def test_wino_takes_back_fewer_than_the_step_before_decided() -> None:
    denoiser = Fickle([0.9] * 3 + [0.2] * 6, [[1.0] * 9, [0.3, 0.1, 0.2] + [1.0] * 6, [1.0] * 9])

    class Draft:
        def init(self, progress):
            return None

        def __call__(self, board, ranking, state):
            return ranking.take(torch.full_like(board.stage, 3)), None

    steps = list(ao.stream(denoiser, blank(1, 9), budget=Draft(), order=ao.LeftToRight(), remask=ao.WINO(0.9)))
    assert steps[0].revealed[0].nonzero().flatten().tolist() == [0, 1, 2]
    # Three were decided before, so at most two go, the least probable ones.
    assert steps[1].remasked[0].nonzero().flatten().tolist() == [1, 2]
    assert [int(step.undecided) for step in steps] == [6, 5, 2, 0]


def test_wino_never_costs_more_than_one_at_a_time() -> None:
    canvas = blank(8, 12)
    for seed in range(3):
        result = ao.decode(
            HashDenoiser(), canvas, budget=ao.Draft(0.2), remask=ao.WINO(1.0), sampler=ao.Temperature(1.0), seed=seed
        )
        assert (result.state == ao.DECIDED).all()
        assert int(result.nfe.max()) <= 12
