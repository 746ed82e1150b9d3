"""Defects seen in other public decoders, each as a test that ours does not have it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests.decoding.fakes import MASK, VOCAB, HashDenoiser, TableDenoiser, assert_same, make_canvas, seeds
from tests.decoding.members import BUDGETS, ORDERS, SAMPLERS, WINDOWS
from torch import Tensor

import anyorder as ao
from anyorder.planning.board import Board


def blank(batch: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(batch, length, dtype=torch.long), torch.ones(batch, length, dtype=torch.bool))


@pytest.mark.parametrize("budget", BUDGETS)
def test_peer_defect_01_a_mask_token_in_the_given_text_neither_costs_budget_nor_is_filled(budget: str) -> None:
    tokens = torch.tensor([[MASK, 1, MASK, 0, 0, 0, MASK]])
    unknown = torch.tensor([[False, False, False, True, True, True, False]])
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, ao.Canvas(tokens, unknown), budget=BUDGETS[budget]())
    assert torch.equal(result.tokens[~unknown], tokens[~unknown])
    assert (result.state[unknown] == ao.DECIDED).all()
    assert not any(bool((at & ~unknown).any()) for at in denoiser.asked)
    plain = ao.decode(HashDenoiser(), ao.Canvas(tokens, unknown), budget=ao.Schedule(3))
    assert plain.nfe.tolist() == [3]


@pytest.mark.parametrize("budget", BUDGETS)
def test_peer_defect_02_a_longer_neighbour_does_not_change_a_rows_evaluations(budget: str) -> None:
    short, long = make_canvas(3, 8, seed=3), make_canvas(3, 40, seed=4)
    both = ao.Canvas.stack([short, long])
    row_seed = seeds(6)
    alone = ao.decode(HashDenoiser(), short, budget=BUDGETS[budget](), seed=row_seed[:3])
    together = ao.decode(HashDenoiser(), both, budget=BUDGETS[budget](), seed=row_seed)
    assert torch.equal(together.nfe[:3], alone.nfe)
    assert torch.equal(together.tokens[:3, :8], alone.tokens)


@pytest.mark.parametrize("rounding", ["expected", "binomial"])
@pytest.mark.parametrize("steps", [1, 3, 8, 50])
def test_peer_defect_03_mask_counts_are_each_rows_own(steps: int, rounding: Any) -> None:
    """Rows with 1 to 12 unknown positions: nothing given is overwritten, and no mask is left."""
    unknown = torch.arange(12) < torch.arange(1, 13)[:, None]
    canvas = ao.Canvas(torch.full((12, 12), 5), unknown)
    result = ao.decode(HashDenoiser(), canvas, budget=ao.Schedule(steps, rounding=rounding))
    assert (result.tokens[~unknown] == 5).all()
    assert (result.state[unknown] == ao.DECIDED).all()
    assert (result.nfe <= unknown.sum(dim=1).clamp(max=steps)).all()


@pytest.mark.parametrize("budget", [name for name in BUDGETS if not name.startswith(("one", "fixed", "schedule"))])
def test_peer_defect_04_threshold_budgets_leave_no_mask_and_need_no_cache(budget: str) -> None:
    """Nothing ever passes, and still everything is decided, one at a time."""
    unsure = TableDenoiser(torch.zeros(20, 50), 0)
    limits = {"entropy-bound": 0.0, "entropy-below": 0.0, "probability-above": 1.0, "factor": 0.0}
    made = BUDGETS[budget]()
    for name, limit in limits.items():
        if budget.startswith(name):
            made = type(made)(limit)
    result = ao.decode(unsure, blank(2, 20), budget=made)
    assert (result.state == ao.DECIDED).all()
    assert result.nfe.tolist() == [20, 20]


def test_peer_defect_05_an_early_stop_does_not_go_on_to_the_next_block() -> None:
    logits = torch.zeros(12, 5)
    logits[:, 2] = 3.0
    logits[5, 1] = 9.0  # end of text in the second block of four
    denoiser = TableDenoiser(logits, 0)
    result = ao.decode(
        denoiser, blank(1, 12), order=ao.LeftToRight(), window=ao.Blocks(4), stop=ao.EndOfText(1), budget=ao.Fixed(2)
    )
    assert result.tokens.tolist() == [[2] * 5 + [1] + [0] * 6]
    assert result.state.tolist() == [[int(ao.DECIDED)] * 6 + [int(ao.UNDECIDED)] * 6]
    assert result.finish_reason == ("end_of_text",)
    assert result.nfe.tolist() == [3]
    assert all(not bool(at[:, 8:].any()) for at in denoiser.asked)


def test_peer_defect_05_masks_before_the_end_of_text_are_decided_first() -> None:
    logits = torch.zeros(8, 5)
    logits[:, 2] = torch.arange(8.0)
    logits[6, 1] = 20.0
    result = ao.decode(TableDenoiser(logits, 0), blank(1, 8), order=ao.TopProbability(), stop=ao.EndOfText(1))
    assert (result.state[0, :7] == ao.DECIDED).all()


def test_peer_defect_06_defaults_work() -> None:
    """Every part left out, every part at its own defaults, every named strategy as it stands."""
    canvas = make_canvas()
    assert (ao.decode(HashDenoiser(), canvas).state != ao.UNDECIDED).all()
    whole = {"order": ao.Margin(), "budget": ao.OneByOne(), "sampler": ao.Greedy(), "window": ao.Whole()}
    assert_same(
        ao.decode(HashDenoiser(), canvas), ao.decode(HashDenoiser(), canvas, **whole, remask=None, stop=None, seed=0)
    )
    for order in (ao.Noisy(ao.Margin()), ao.Prior(ao.Margin()), ao.KLASS(), ao.Temperature()):
        part = "budget" if isinstance(order, ao.KLASS) else "sampler" if isinstance(order, ao.Temperature) else "order"
        assert (ao.decode(HashDenoiser(), canvas, **{part: order}).state != ao.UNDECIDED).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_peer_defect_09_padding_reaches_the_denoiser_as_padding(side: Any) -> None:
    """On every call and for every row still there, the mask says which positions are real."""
    canvas = ao.Canvas.stack([make_canvas(3, 5, seed=1), make_canvas(3, 9, seed=2)], side=side, pad_token=1)
    assert canvas.attention_mask is not None
    widths: list[list[int]] = []

    class Listens(HashDenoiser):
        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            assert attention_mask is not None
            assert attention_mask.shape == tokens.shape
            assert not bool((at & ~attention_mask).any())
            widths.append(attention_mask.sum(dim=1).tolist())
            return super().__call__(tokens, attention_mask=attention_mask, at=at)

    ao.decode(Listens(), canvas)
    real = canvas.attention_mask[canvas.unknown.any(dim=1)].sum(dim=1).tolist()
    assert widths[0] == real
    assert all(set(width) <= {5, 9} for width in widths)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_peer_defect_10_suppression_works_at_every_temperature(sampler: str) -> None:
    end = 1
    logits = torch.zeros(15, VOCAB)
    logits[:, end] = 12.0
    denoiser = TableDenoiser(logits, MASK)
    free = ao.decode(denoiser, blank(4, 15), sampler=SAMPLERS[sampler]())
    held = ao.decode(denoiser, blank(4, 15), sampler=SAMPLERS[sampler](), suppress=[end])
    assert (free.tokens == end).any()
    assert not (held.tokens == end).any()
    assert (held.entropy > 1.5).all()


def test_peer_defect_11_confidences_of_half_precision_logits_are_told_apart() -> None:
    """256 different positions in bfloat16: softmax in bfloat16 ties most of them, ours ties none."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(256, 64, generator=generator) * 2).bfloat16()
    denoiser = TableDenoiser(logits, 0)
    tied = logits[:, 1:].softmax(dim=1).amax(dim=1).unique()
    result = ao.decode(denoiser, blank(1, 256), order=ao.TopProbability(), budget=ao.Fixed(16))
    assert len(tied) < 180
    assert len(result.log_probability.unique()) == 256
    kept = logits.double()
    kept[:, 0] = -torch.inf
    rank = kept.softmax(dim=1).amax(dim=1).argsort(descending=True, stable=True).argsort()
    assert result.step_of[0].tolist() == (rank // 16).tolist()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("sampler", ["greedy", "temperature"])
def test_peer_defect_12_the_mask_token_as_arg_max_cannot_loop(order: str, sampler: str) -> None:
    logits = torch.zeros(6, VOCAB)
    logits[:, MASK] = 50.0
    denoiser = TableDenoiser(logits, MASK)
    result = ao.decode(denoiser, blank(2, 6), order=ORDERS[order](), sampler=SAMPLERS[sampler]())
    # A step asks once, and looking ahead once more while there is a choice.
    assert denoiser.calls == (11 if order == "lookahead" else 6)
    assert not (result.tokens == MASK).any()
    # The mask token's weight is in no statistic either: six equal tokens are left.
    torch.testing.assert_close(result.entropy, torch.full_like(result.entropy, 6.0).log(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("order", ["noisy-gumbel", "sampled-probability"])
def test_peer_defect_13_nothing_of_one_decode_reaches_the_next(budget: str, order: str) -> None:
    """The same part objects, used for other canvases in between, and by two decodes at once."""
    parts = {"order": ORDERS[order](), "budget": BUDGETS[budget](), "sampler": ao.Temperature(1.0)}
    first, other = make_canvas(4, 8, seed=1), make_canvas(3, 11, seed=2)
    fresh = ao.decode(HashDenoiser(), first, **parts, seed=3)
    ao.decode(HashDenoiser(), other, **parts, seed=4)
    assert_same(ao.decode(HashDenoiser(), first, **parts, seed=3), fresh)

    one, two = (ao.stream(HashDenoiser(), canvas, **parts, seed=3) for canvas in (first, other))
    ends: dict[int, ao.Decoded] = {}
    while len(ends) < 2:
        for number, steps in enumerate((one, two)):
            if number in ends:
                continue
            try:
                next(steps)
            except StopIteration as end:
                ends[number] = end.value
    assert_same(ends[0], fresh)


def test_peer_defect_14_confidence_is_taken_before_temperature_and_truncation() -> None:
    canvas = make_canvas()
    plain = ao.decode(HashDenoiser(), canvas, order=ao.LeftToRight())
    sharp = ao.decode(HashDenoiser(), canvas, order=ao.LeftToRight(), sampler=ao.Temperature(1e-4) | ao.TopK(1))
    assert_same(plain, sharp)
    seen: list[Tensor] = []

    def watch(board: Board) -> Tensor:
        seen.append(board.model.entropy)
        return ao.Entropy()(board)

    for sampler in (ao.Greedy(), ao.Temperature(0.1), ao.TopP(0.3), ao.TopK(1)):
        next(ao.stream(HashDenoiser(), canvas, order=watch, sampler=sampler))
    assert all(torch.equal(seen[0].nan_to_num(), other.nan_to_num()) for other in seen)


def test_peer_defect_15_the_best_are_taken_in_each_row() -> None:
    """One row is sure everywhere, the other nowhere: a ranking over both would starve the second."""
    sure, unsure = torch.zeros(8, 5), torch.zeros(8, 5)
    sure[:, 2], unsure[:, 2] = 9.0, 0.1

    class TwoRows(TableDenoiser):
        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            self.calls += 1
            return torch.stack((sure, unsure))[: len(tokens)][at]

    for budget in (ao.Fixed(2), ao.Schedule(4)):
        denoiser = TwoRows(sure, 0)
        counts = [step.revealed.sum(dim=1).tolist() for step in ao.stream(denoiser, blank(2, 8), budget=budget)]
        assert counts == [[2, 2]] * 4


def test_peer_defect_16_running_maxima_are_of_values_not_of_indices() -> None:
    """50 unsure positions: a walk that compares indices lets all of them pass at once."""
    generator = torch.Generator().manual_seed(0)
    denoiser = TableDenoiser(torch.randn(50, 20, generator=generator), 0)
    for budget in (ao.EntropyBound(2.5), ao.EntropyBelow(0.2), ao.ProbabilityAbove(0.9), ao.Factor(1.0)):
        for order in (ao.Margin(), ao.Entropy(), ao.LeftToRight()):
            first = next(ao.stream(denoiser, blank(1, 50), order=order, budget=budget))
            assert 1 <= int(first.revealed.sum()) <= 3
            entropy = first.statistics.entropy[first.revealed]
            if isinstance(budget, ao.EntropyBound):
                assert float(entropy.sum() - entropy.max()) <= 2.5


@pytest.mark.parametrize("window", WINDOWS)
def test_peer_defect_17_nothing_is_evaluated_after_completion(window: str) -> None:
    canvas, denoiser = make_canvas(), HashDenoiser()
    result = ao.decode(denoiser, canvas, window=WINDOWS[window]())
    assert denoiser.calls == int(result.step_of.max()) + 1


@pytest.mark.parametrize("budget", BUDGETS)
def test_peer_defect_19_a_finished_row_costs_nothing_more(budget: str) -> None:
    """Eight masks never take 64 evaluations, and rows leave the batch when they are done."""
    unknown = torch.arange(64) < torch.tensor([[8], [1], [64], [0]])
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, ao.Canvas(torch.zeros(4, 64, dtype=torch.long), unknown), budget=BUDGETS[budget]())
    assert result.nfe[0] <= 8
    assert result.nfe[1] == 1
    assert result.nfe[3] == 0
    sizes = [len(at) for at in denoiser.asked]
    assert sizes == [int((result.nfe > call).sum()) for call in range(denoiser.calls)]
