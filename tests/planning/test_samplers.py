"""Samplers: the law that each draws from, and that draws follow it."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, row_seeds, uniform
from anyorder.planning import samplers as module
from anyorder.planning.samplers import Chain, Greedy, MinP, Sampler, Temperature, TopK, TopP, draw
from anyorder.planning.statistics import Cut

P = torch.tensor([[0.4, 0.3, 0.15, 0.1, 0.05]])


def law(sampler: Sampler, p: torch.Tensor = P) -> list[float]:
    return sampler.law(p.log()).double().softmax(dim=1)[0].tolist()


def test_laws() -> None:
    assert law(Temperature(1.0)) == pytest.approx(P[0].tolist())
    hot = P[0].double() ** 0.5
    assert law(Temperature(2.0)) == pytest.approx((hot / hot.sum()).tolist())
    assert law(TopK(2)) == pytest.approx([4 / 7, 3 / 7, 0, 0, 0])
    assert law(TopK(9)) == pytest.approx(P[0].tolist())
    assert law(TopP(0.5)) == pytest.approx([4 / 7, 3 / 7, 0, 0, 0])
    assert law(TopP(0.39)) == pytest.approx([1, 0, 0, 0, 0])
    assert law(TopP(1.0)) == pytest.approx(P[0].tolist())
    assert law(MinP(0.3)) == pytest.approx([0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85, 0, 0])
    assert law(MinP(1.0)) == pytest.approx([1, 0, 0, 0, 0])
    assert law(Greedy()) == pytest.approx(P[0].tolist())


def test_the_smallest_set_that_reaches_the_share_is_kept() -> None:
    assert law(TopP(0.69)) == pytest.approx([4 / 7, 3 / 7, 0, 0, 0])
    assert law(TopP(0.71)) == pytest.approx([0.4 / 0.85, 0.3 / 0.85, 0.15 / 0.85, 0, 0])
    unordered = torch.tensor([[0.1, 0.4, 0.05, 0.3, 0.15]])
    assert law(TopP(0.5), unordered) == pytest.approx([0, 4 / 7, 0, 3 / 7, 0])


def test_ties_at_the_edge_keep_the_lowest_tokens() -> None:
    even = torch.full((1, 5), 0.2)
    assert law(TopK(2), even) == pytest.approx([0.5, 0.5, 0, 0, 0])
    assert law(TopP(0.35), even) == pytest.approx([0.5, 0.5, 0, 0, 0])
    some = torch.tensor([[0.2, 0.1, 0.4, 0.2, 0.1]])
    assert law(TopK(2), some) == pytest.approx([1 / 3, 0, 2 / 3, 0, 0])


def test_a_share_that_takes_most_of_a_large_vocabulary() -> None:
    """Row 0 needs more tokens than are looked at first, row 1 one, row 2 all; together and alone."""
    logits = torch.randn(3, 3000, generator=torch.Generator().manual_seed(0)) * 0.01
    logits[1, 77] = 50.0
    logits[2] = 0.0
    kept = TopP(0.9).law(logits.clone()) > -torch.inf
    shares = logits[0].double().softmax(dim=0).sort(descending=True)
    wanted = int((shares.values.cumsum(0) < 0.9).sum()) + 1
    assert abs(int(kept[0].sum()) - wanted) <= 1
    assert kept[0][shares.indices[: wanted - 1]].all()
    assert kept[1].nonzero().tolist() == [[77]]
    assert kept[2].nonzero().squeeze(1).tolist() == list(range(int(kept[2].sum())))
    assert abs(int(kept[2].sum()) - 2700) <= 1
    for row in range(3):
        alone = TopP(0.9).law(logits[row : row + 1].expand(2, -1).clone()) > -torch.inf
        assert torch.equal(alone[0], kept[row])


def test_chains_apply_from_left_to_right() -> None:
    chain = Temperature(0.5) | TopK(3) | MinP(0.2)
    assert chain == Chain((Temperature(0.5), TopK(3), MinP(0.2)))
    cold = P[0].double() ** 2
    kept = cold[:2] / cold[:2].sum()
    assert law(chain) == pytest.approx([*kept.tolist(), 0, 0, 0])
    assert law(TopP(0.69) | Temperature(2.0)) != pytest.approx(law(Temperature(2.0) | TopP(0.69)))
    assert (TopK(3) | (TopP(0.5) | MinP(0.1))) == Chain((TopK(3), TopP(0.5), MinP(0.1)))


def test_which_samplers_keep_the_law() -> None:
    assert Greedy().keeps_law
    assert Temperature().keeps_law
    assert (Temperature(1.0) | TopP(1.0) | MinP(0.0)).keeps_law
    assert not any(s.keeps_law for s in (Temperature(0.9), TopK(3), TopP(0.9), MinP(0.1), Temperature() | TopK(2)))


def test_a_low_temperature_neither_overflows_nor_loses_the_top() -> None:
    logits = torch.tensor([[3e38, 2.9e38, -3e38], [5.0, 5.0 - 1e-6, 0.0]])
    cold = Temperature(1e-20).law(logits.clone())
    assert cold.isnan().sum() == 0
    assert cold.softmax(dim=1)[0].tolist() == [1.0, 0.0, 0.0]


def exact_tokens(logits: torch.Tensor, cut: Cut, sampler: Sampler, u: torch.Tensor) -> torch.Tensor:
    """Inversion in float64 by a plain loop."""
    work = sampler.law(cut.working_copy(logits)).double().softmax(dim=1)
    return torch.tensor([int((row.cumsum(0) <= x * row.sum()).sum()) for row, x in zip(work, u, strict=True)])


@pytest.mark.parametrize("vocab", [6, 1024, 1025, 3000])
def test_drawing_inverts_the_cumulative_distribution(vocab: int) -> None:
    generator = torch.Generator().manual_seed(vocab)
    logits = torch.randn(300, vocab + 3, generator=generator) * 2
    u = torch.rand(300, generator=generator, dtype=torch.float64)
    cut = Cut(vocab, 2, (5,))
    for sampler in (Temperature(1.0), Temperature(0.6) | TopK(4), TopP(0.9)):
        tokens = draw(logits, cut, sampler, u)
        exact = exact_tokens(logits, cut, sampler, u)
        # Float32 weights: a uniform within a millionth of an edge may fall on the other side.
        assert (tokens == exact).double().mean().item() >= 0.99
        assert not torch.isin(tokens, torch.tensor([2, 5])).any()


@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 6),
    vocab=st.integers(2, 1500),
    u=st.sampled_from([2.0**-53, 0.5, 1 - 2.0**-53]),
    scale=st.floats(0, 80),
)
def test_only_possible_tokens_are_drawn(seed: int, n: int, vocab: int, u: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, vocab, generator=generator) * scale
    cut = Cut(vocab, seed % vocab)
    logits[torch.rand(n, vocab, generator=generator) < 0.5] = -torch.inf
    logits[:, (seed + 1) % vocab] = 0.0
    tokens = draw(logits, cut, Temperature(1.0), torch.full((n,), u, dtype=torch.float64))
    assert bool((tokens != cut.mask_token_id).all())
    assert bool(logits.gather(1, tokens[:, None]).isfinite().all())


def test_the_ends_of_the_uniform_give_the_first_and_the_last_token() -> None:
    for vocab in (5, 5000):
        logits = torch.zeros(2, vocab)
        ends = torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
        assert draw(logits, Cut(vocab, 0), Temperature(), ends).tolist() == [1, vocab - 1]


def test_the_tail_of_a_large_vocabulary_is_not_cut_off() -> None:
    """A token of probability 1e-11 at the end of 126,000: its share of u is hit, and its neighbours' are not."""
    vocab = 126_000
    logits = torch.full((4, vocab), -28.0)
    logits[:, 0] = 0.0
    p = math.exp(-28.0) / (1 + (vocab - 2) * math.exp(-28.0))
    u = torch.tensor([1 - 0.5 * p, 1 - 1.5 * p, 1 - 100.5 * p, 0.5], dtype=torch.float64)
    tokens = draw(logits, Cut(vocab, 7), Temperature(), u)
    assert tokens[3] == 0
    expected = torch.tensor([vocab - 1, vocab - 2, vocab - 101])
    assert int((tokens[:3] - expected).abs().max()) <= 1


def test_draws_follow_the_law() -> None:
    p = torch.tensor([0.0, 0.4, 0.3, 0.15, 0.1, 0.05])
    seeds = row_seeds(3, 20_000)
    u = uniform(seeds, Purpose.TOKEN, 0, 0)
    tokens = draw(p.log().expand(20_000, -1), Cut(6, 0), Temperature(), u)
    counts, expected = torch.bincount(tokens, minlength=6)[1:].double(), 20_000 * p[1:].double()
    # Chi-square with 4 degrees of freedom; 26.3 is exceeded once in 36,000.
    assert ((counts - expected) ** 2 / expected).sum().item() < 26.3


def test_a_row_does_not_depend_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(0)
    for vocab in (9, 5_000):
        logits = torch.randn(4, vocab, generator=generator)
        u = torch.rand(4, generator=generator, dtype=torch.float64)
        cut, sampler = Cut(vocab, 1), Temperature(1.1) | TopP(0.99)
        whole = draw(logits, cut, sampler, u)
        monkeypatch.setattr(module, "_CHUNK_ELEMENTS", vocab * 3)
        assert torch.equal(draw(logits, cut, sampler, u), whole)
        for row in range(4):
            assert torch.equal(draw(logits[row : row + 1], cut, sampler, u[row : row + 1]), whole[row : row + 1])


def test_logits_are_not_changed() -> None:
    logits = torch.randn(4, 8)
    before = logits.clone()
    draw(
        logits,
        Cut(8, 0),
        Temperature(0.5) | TopK(2) | TopP(0.9) | MinP(0.1),
        torch.full((4,), 0.3, dtype=torch.float64),
    )
    assert torch.equal(logits, before)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Temperature(0), "Greedy"),
        (lambda: Temperature(0.0), "Greedy"),
        (lambda: Temperature(-1), "t must be"),
        (lambda: Temperature(math.nan), "t must be"),
        (lambda: Temperature(math.inf), "t must be"),
        (lambda: Temperature(1e-40), r"\[1e-20, 1e\+20\]"),
        (lambda: Temperature(1e40), r"\[1e-20, 1e\+20\]"),
        (lambda: Temperature("hot"), "'hot'"),  # type: ignore[arg-type]
        (lambda: TopK(0), "k must be"),
        (lambda: TopK(2.0), "k must be"),  # type: ignore[arg-type]
        (lambda: TopK(True), "k must be"),
        (lambda: TopP(0), r"\(0, 1\]"),
        (lambda: TopP(1.1), r"\(0, 1\]"),
        (lambda: MinP(-0.1), r"\[0, 1\]"),
        (lambda: MinP(2), r"\[0, 1\]"),
        (lambda: Chain(()), "at least one"),
        (lambda: TopK(3) | Greedy(), "Greedy"),
        (lambda: TopK(3) | TopP, "class TopP"),  # type: ignore[operator]
        (lambda: TopK(3) | 0.9, "0.9"),  # type: ignore[operator]
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        make()
    assert "\n" not in str(error.value)
