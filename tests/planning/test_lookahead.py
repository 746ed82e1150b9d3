"""Lookahead, planned and calibrated orders, dilated windows, drafts: each against its rule written out."""

from __future__ import annotations

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, TableDenoiser, make_canvas
from tests.planning.boards import make_board

import anyorder as ao
from anyorder.core.errors import UserError


def blank(rows: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(rows, length, dtype=torch.long), torch.ones(rows, length, dtype=torch.bool))


def entropies(denoiser: HashDenoiser, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    logits = denoiser(tokens, at=torch.ones_like(tokens, dtype=torch.bool)).double().view(*tokens.shape, -1)
    logits[..., denoiser.mask_token_id] = -torch.inf
    law = logits.log_softmax(dim=-1)
    return torch.special.entr(law.exp()).sum(dim=-1), law.argmax(dim=-1)


def test_the_first_choice_has_the_least_cost_now_and_uncertainty_after() -> None:
    canvas, rule = blank(6, 7), ao.Lookahead(ao.Margin(), candidates=3, sure=1.0)
    denoiser = HashDenoiser()
    step = next(ao.stream(denoiser, canvas, order=rule))
    plain = HashDenoiser()
    start = torch.full((6, 7), plain.mask_token_id)
    now, token = entropies(plain, start)
    changed = 0
    for row in range(6):
        proposed = step.statistics.one_minus_margin[row].sort(stable=True).indices[:3].tolist()
        score = {}
        for i in proposed:
            after = start[row : row + 1].clone()
            after[0, i] = token[row, i]
            then, _ = entropies(plain, after)
            left = [j for j in range(7) if j != i]
            score[i] = float(now[row, i] + then[0, left].mean())
        best = min(proposed, key=lambda i: score[i])
        assert step.revealed[row].nonzero().flatten().tolist() == [best]
        changed += best != proposed[0]
    assert changed > 0
    # One evaluation for the step and one for each candidate, all counted.
    assert step.nfe.tolist() == [4] * 6
    assert denoiser.rows == 24


def test_a_sure_row_and_a_last_position_are_not_looked_ahead_for() -> None:
    logits = torch.zeros(4, 4)
    logits[:, 1] = 9.0
    sure = TableDenoiser(logits, 0)
    result = ao.decode(sure, blank(2, 4), order=ao.Lookahead(sure=0.9))
    assert result.nfe.tolist() == [4, 4]
    unsure = TableDenoiser(torch.zeros(4, 4), 0)
    result = ao.decode(unsure, blank(1, 4), order=ao.Lookahead(candidates=8))
    assert result.nfe.tolist() == [4 + 4 + 3 + 2]
    assert unsure.rows == 13


def test_evaluations_are_counted_through_wrappers_and_finished_rows_ask_nothing() -> None:
    canvas = make_canvas(5, 10)
    denoiser = HashDenoiser()
    guided = ao.ClassifierFree(denoiser, 0.5)
    result = ao.decode(guided, canvas, order=ao.Lookahead(candidates=3))
    assert int(result.nfe.sum()) == denoiser.rows
    assert result.nfe[0] == 0


def test_calibrated_scores_are_the_published_product() -> None:
    logits = torch.tensor([[[0.0, 2.0, 1.0], [0.0, 0.0, 3.0], [0.0, 8.0, 0.0]]])
    frequencies = torch.tensor([0.5, 0.4, 0.1])
    board = make_board(logits, mask_token_id=0)
    score = ao.Calibrated(frequencies, clip=1.0)(board)
    p = logits[0, :, 1:].double().softmax(dim=1).max(dim=1)
    wanted = (p.values * -frequencies.double()[p.indices + 1].log()).clamp(max=1.0).log()
    torch.testing.assert_close(score[0], wanted, atol=1e-6, rtol=0)
    assert score[0, 1] == 0  # clipped
    with pytest.raises(UserError, match="fewer than tokens"):
        ao.Calibrated(frequencies[:2])(board)


def test_a_draft_is_wide_but_not_too_wide() -> None:
    p = torch.tensor([0.95, 0.9, 0.8, 0.7, 0.65, 0.55, 0.3, 0.3, 0.3, 0.3])
    logits = torch.stack((torch.zeros(10), p, (1 - p) / 2, (1 - p) / 2), dim=1).log()

    def first(budget: ao.Draft) -> int:
        return int(next(ao.stream(TableDenoiser(logits, 0), blank(1, 10), budget=budget)).revealed.sum())

    assert first(ao.Draft(0.6)) == 5
    assert first(ao.Draft(0.5)) == 6
    assert first(ao.Draft(0.2)) == 7  # seven tenths of ten
    assert first(ao.Draft(0.2, share=0.1)) == 5
    assert first(ao.Draft(0.2, share=0.1, least=2, most=3)) == 2
    assert first(ao.Draft(0.2, most=6)) == 6
    assert first(ao.Draft(0.99)) == 1


def test_dilated_stages_cover_a_block_from_far_to_near() -> None:
    assert ao.Dilated(8).stages(blank(1, 8))[0].tolist() == [0, 2, 1, 2, 0, 2, 1, 2]
    assert ao.Dilated(1).stages(blank(1, 3))[0].tolist() == [0, 1, 2]
    assert ao.Dilated(9, base=3).stages(blank(1, 9))[0].tolist() == [0, 1, 1, 0, 1, 1, 0, 1, 1]
    unknown = torch.tensor([[False, True, True, True, True, True]])
    shifted = ao.Dilated(4).stages(ao.Canvas(torch.zeros(1, 6, dtype=torch.long), unknown))
    assert shifted[0, 1:].tolist() == [0, 1, 0, 1, 2]
    for size in range(1, 40):
        stages = ao.Dilated(size).stages(blank(1, 80))[0]
        assert bool((stages >= 0).all())
        blocks = stages.view(-1)[:size]
        assert bool((ao.Dilated(size).stages(blank(1, 80))[0, size : 2 * size] > int(blocks.max())).all())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ao.Lookahead(candidates=1), "candidates"),
        (lambda: ao.Lookahead(sure=2.0), "sure"),
        (lambda: ao.Lookahead(ao.Margin), "order"),
        (lambda: ao.Planned(-1.0), "eta"),
        (lambda: ao.Calibrated(torch.tensor([1, 2])), "frequencies"),
        (lambda: ao.Calibrated(torch.tensor([0.5, 1.5])), "frequencies"),
        (lambda: ao.Calibrated(torch.tensor([0.5]), clip=0), "clip"),
        (lambda: ao.Draft(2.0), "limit"),
        (lambda: ao.Draft(least=9, most=3), "most"),
        (lambda: ao.Dilated(0), "size"),
        (lambda: ao.Dilated(4, base=1), "base"),
        (lambda: ao.LeaveOut(HashDenoiser(), 0), "groups"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
