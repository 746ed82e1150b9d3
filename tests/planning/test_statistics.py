"""One pass over the logits, held against the textbook formulae and against exact numbers where those cancel."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.planning import statistics as module
from anyorder.planning.statistics import Cut, reference_statistics, statistics


def logits_of(seed: int, n: int, vocab: int, scale: float) -> torch.Tensor:
    return torch.randn(n, vocab, generator=torch.Generator().manual_seed(seed)) * scale


@pytest.mark.parametrize("vocab", [3, 10, 257, 5000])
@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_fast_path_equals_the_reference(vocab: int, scale: float) -> None:
    logits = logits_of(vocab, 40, vocab + 2, scale)
    cut = Cut(vocab, vocab // 2, (0,) if vocab > 3 else ())
    fast, slow = statistics(logits, cut), reference_statistics(logits, cut)
    assert torch.equal(fast.token, slow.token)
    torch.testing.assert_close(fast.values, slow.values, atol=2e-6, rtol=2e-6)
    torch.testing.assert_close(fast.probability, slow.values[0].exp(), atol=2e-6, rtol=0)
    torch.testing.assert_close(fast.margin, 1 - slow.values[2], atol=2e-6, rtol=0)


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 9),
    vocab=st.integers(2, 40),
    padding=st.integers(0, 3),
    scale=st.floats(0.0, 30.0),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.float16]),
)
def test_any_logits(seed: int, n: int, vocab: int, padding: int, scale: float, dtype: torch.dtype) -> None:
    logits = logits_of(seed, n, vocab + padding, scale).to(dtype)
    cut = Cut(vocab, seed % vocab)
    fast, slow = statistics(logits, cut), reference_statistics(logits.float(), cut)
    assert torch.equal(fast.token, slow.token)
    torch.testing.assert_close(fast.values, slow.values, atol=1e-5, rtol=1e-5)
    assert bool((fast.token != cut.mask_token_id).all())
    assert bool((fast.entropy >= 0).all())
    assert bool(((fast.one_minus_margin >= 0) & (fast.one_minus_margin <= 1)).all())
    assert bool(((fast.one_minus_probability >= 0) & (fast.one_minus_probability < 1)).all())


def test_a_position_does_not_depend_on_the_others() -> None:
    """Also with more threads than rows: torch then splits the sum of a lone row, and rounds it differently."""
    torch.set_num_threads(2)
    for vocab in (10, 33, 40_000):
        logits = logits_of(1, 21, vocab, 3.0)
        cut = Cut(vocab, 4)
        whole = statistics(logits, cut)
        for rows in ((0, 1), (3, 4), (20, 21), (5, 7), (2, 19)):
            part = statistics(logits[slice(*rows)], cut)
            assert torch.equal(part.values, whole.values[:, slice(*rows)])
            assert torch.equal(part.token, whole.token[slice(*rows)])


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, cut = logits_of(2, 50, 20, 2.0), Cut(20, 7)
    whole = statistics(logits, cut)
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 20 * 7)
    assert torch.equal(statistics(logits, cut).values, whole.values)


def test_logits_are_not_changed() -> None:
    logits = logits_of(3, 6, 9, 1.0)
    before = logits.clone()
    statistics(logits, Cut(9, 2, (1,)))
    statistics(logits, Cut(9, 2), law=lambda work: work.mul_(2))
    assert torch.equal(logits, before)


def exact_complements(gap: Fraction, others: int) -> tuple[float, float]:
    """1 - p_1 and 1 - margin for one token ``e**gap`` times as likely as each of ``others`` equal ones."""
    ratio = math.exp(-float(gap))
    z = 1 + others * ratio
    return others * ratio / z, (others + 1) * ratio / z


@pytest.mark.parametrize("gap", [10, 20, 40, 80, 150, 300])
def test_nothing_saturates(gap: int) -> None:
    """Where p_1 - p_2 is 1 to the last bit, complements and the entropy are still right to six digits."""
    logits = torch.full((2, 6), 0.0)
    logits[:, 2] = float(gap)
    stats = statistics(logits, Cut(6, 0))
    doubt, complement = exact_complements(Fraction(gap), 4)
    assert stats.one_minus_probability[0].item() == pytest.approx(doubt, rel=1e-6)
    assert stats.one_minus_margin[0].item() == pytest.approx(complement, rel=1e-6)
    entropy = 4 * math.exp(-gap) * (1 + gap)
    if gap >= 20:
        assert stats.entropy[0].item() == pytest.approx(entropy, rel=1e-6)
        assert stats.log_probability[0].item() == pytest.approx(-4 * math.exp(-gap), rel=1e-6)


def test_large_margins_are_ranked() -> None:
    gaps = torch.tensor([30.0, 60.0, 45.0, 61.0, 100.0])
    logits = torch.zeros(5, 4)
    logits[:, 1] = gaps
    stats = statistics(logits, Cut(4, 0))
    naive = torch.softmax(logits[:, 1:], dim=1).sort(dim=1, descending=True).values
    assert (naive[:, 0] - naive[:, 1] == 1).all()
    for figure in (stats.one_minus_margin, stats.one_minus_probability, stats.entropy):
        assert figure.argsort().tolist() == [4, 3, 1, 2, 0]


def test_ties_go_to_the_lowest_token() -> None:
    logits = torch.tensor([[5.0, 1.0, 2.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    assert statistics(logits, Cut(5, 0)).token.tolist() == [2, 1]
    assert statistics(torch.zeros(3, 50_000), Cut(50_000, 0)).token.tolist() == [1, 1, 1]
    assert statistics(logits, Cut(5, 0)).margin.tolist() == pytest.approx([0.0, 0.0], abs=1e-12)


def test_one_possible_token_is_certain() -> None:
    logits = torch.tensor([[3.0, -torch.inf, 1.0], [3.0, 2.0, -torch.inf]])
    stats = statistics(logits, Cut(3, 0))
    assert stats.token.tolist() == [2, 1]
    assert stats.entropy.tolist() == [0.0, 0.0]
    assert stats.one_minus_margin.tolist() == [0.0, 0.0]
    assert stats.log_probability.tolist() == [0.0, 0.0]
    two = statistics(torch.tensor([[0.5, 1.5]]), Cut(2, 1))
    assert two.token.tolist() == [0]
    assert two.margin.tolist() == [1.0]


def test_extreme_finite_logits() -> None:
    largest = torch.finfo(torch.float32).max
    stats = statistics(torch.tensor([[0.0, largest, -largest], [0.0, -largest, -largest]]), Cut(3, 0))
    assert stats.token.tolist() == [1, 1]
    assert stats.entropy.tolist() == pytest.approx([0.0, math.log(2)])
    assert stats.one_minus_margin.tolist() == pytest.approx([0.0, 1.0])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_nan_and_infinity_are_refused(bad: float) -> None:
    logits = torch.zeros(3, 5)
    logits[1, 2] = bad
    with pytest.raises(UserError, match="finite"):
        statistics(logits, Cut(5, 0))


def test_nothing_to_choose_is_refused() -> None:
    logits = torch.full((1, 3), -torch.inf)
    logits[:, 0] = 1.0
    with pytest.raises(UserError, match="ruled out"):
        statistics(logits, Cut(3, 0))


def test_what_is_cut_may_hold_anything() -> None:
    """Padded columns, the mask token and suppressed tokens may be NaN or infinite; nobody looks at them."""
    logits = torch.zeros(2, 7)
    logits[:, 0], logits[:, 3], logits[:, 6] = torch.nan, torch.inf, torch.nan
    stats = statistics(logits, Cut(6, 0, (3,)))
    assert stats.token.tolist() == [1, 1]
    assert stats.entropy.tolist() == pytest.approx([math.log(4)] * 2)


def test_no_positions() -> None:
    stats = statistics(torch.zeros(0, 5), Cut(5, 0))
    assert stats.token.shape == (0,)
    assert stats.values.shape == (5, 0)


def test_laying_out_puts_figures_where_they_belong() -> None:
    logits, at = logits_of(5, 3, 6, 1.0), torch.tensor([1, 4, 5])
    stats = statistics(logits, Cut(6, 0))
    laid = stats.lay_out(at, (2, 3))
    assert laid.token.tolist() == [[-1, stats.token[0], -1], [-1, stats.token[1], stats.token[2]]]
    assert laid.entropy.isnan().tolist() == [[True, False, True], [True, False, False]]
    assert torch.equal(laid.entropy.flatten()[at], stats.entropy)


@pytest.mark.parametrize("suppressed", [(7,), (-1,), (True,), (1.0,)])
def test_a_cut_refuses_tokens_outside_the_vocabulary(suppressed: tuple) -> None:
    with pytest.raises(UserError, match="suppress"):
        Cut(7, 0, suppressed)


def test_a_cut_leaves_something() -> None:
    with pytest.raises(UserError, match="no token is left"):
        Cut(3, 0, (1, 2))
