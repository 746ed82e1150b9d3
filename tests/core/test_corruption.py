"""The forward process: exact counts, uniform masks, unbiased weights, low variance, known positions left alone."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import betabinom, chisquare

from anyorder.core.corruption import (
    BetaCount,
    CountLaw,
    TableCount,
    UniformCount,
    corrupt,
    corrupt_at,
    independent,
    mask_counts,
    mask_independently,
    mask_uniformly,
    reveal_probability,
    stratified,
    systematic,
)
from anyorder.core.errors import UserError
from anyorder.core.schedules import Cosine, Geometric, Linear, Polynomial

MASK = 9
LAWS = [UniformCount(), BetaCount(1, 1), BetaCount(2.5, 0.7), BetaCount(0.4, 3), TableCount([1, 5, 2, 0.5, 3, 1, 1, 4])]
DRAWS = [independent, stratified, systematic]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Polynomial(3), Geometric()], ids=repr)
def test_reveal_probability(schedule) -> None:
    t, s = torch.tensor([0.9, 0.5, 0.5, 1.0, 0.0]), torch.tensor([0.3, 0.0, 0.5, 0.25, 0.0])
    p = reveal_probability(schedule, t, s)
    a_t, a_s = schedule.alpha(t), schedule.alpha(s)
    assert torch.allclose(p[:4], ((a_s - a_t) / (1 - a_t))[:4], atol=1e-7)
    assert p[1] == 1  # everything is revealed by time 0, exactly
    assert p[2] == 0
    assert p[4] == 1  # nothing was masked
    with pytest.raises(UserError, match="must not exceed t"):
        reveal_probability(schedule, 0.3, 0.4)


def test_reveal_probability_composes_over_steps() -> None:
    """Staying masked over t -> s -> r has the probability of staying masked over t -> r."""
    schedule = Cosine()
    stay = (1 - reveal_probability(schedule, 0.8, 0.5)) * (1 - reveal_probability(schedule, 0.5, 0.1))
    assert float(stay) == pytest.approx(float(1 - reveal_probability(schedule, 0.8, 0.1)), rel=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_quantile_and_probability_are_one_law(law: CountLaw) -> None:
    eligible = torch.tensor([1, 2, 5, 8, 0])
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    for size in eligible.tolist():
        counts = law.quantile(grid, torch.full((len(grid),), size))
        if size == 0:
            assert bool((counts == 0).all())
            continue
        n = torch.arange(1, size + 1)
        q = law.probability(n, torch.full((size,), size))
        assert float(q.sum()) == pytest.approx(1, abs=1e-12)
        share = torch.bincount(counts, minlength=size + 1)[1:] / len(grid)
        assert torch.allclose(share.double(), q, atol=1e-4)


def test_beta_law_is_the_beta_binomial() -> None:
    q = BetaCount(2.5, 0.7).probability(torch.arange(1, 31), torch.full((30,), 30))
    assert torch.allclose(q, torch.from_numpy(betabinom(29, 2.5, 0.7).pmf(range(30))), rtol=1e-10)
    assert torch.allclose(
        BetaCount(1, 1).probability(torch.arange(1, 31), torch.full((30,), 30)), torch.tensor(1 / 30.0).double()
    )


@pytest.mark.parametrize("draws", DRAWS)
def test_numbers_are_uniform_one_by_one(draws) -> None:
    u = torch.stack([draws(8, g) for g in [generator(3)] for _ in range(4000)])
    assert u.dtype == torch.float64
    assert bool(((u >= 0) & (u < 1)).all())
    for column in (0, 5):
        cells = torch.bincount((u[:, column] * 16).long(), minlength=16)
        assert chisquare(cells.numpy()).pvalue > 1e-4


def test_low_variance_draws_cover_every_cell() -> None:
    for draws in (stratified, systematic):
        cells = (draws(64, generator(1)) * 64).long()
        assert sorted(cells.tolist()) == list(range(64))
        assert cells.tolist() != list(range(64))  # the order over rows is random


def test_systematic_counts_of_a_batch_are_balanced() -> None:
    counts = mask_counts(torch.full((128,), 64), generator())
    assert torch.bincount(counts, minlength=65)[1:].tolist() == [2] * 64


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_masks_are_exact_and_only_where_eligible(batch: int, length: int, seed: int) -> None:
    g = generator(seed)
    eligible = torch.rand(batch, length, generator=g) < 0.6
    counts = (torch.rand(batch, generator=g) * (eligible.sum(1) + 1)).long()
    masked = mask_uniformly(eligible, counts, g)
    assert masked.sum(1).tolist() == counts.tolist()
    assert not bool((masked & ~eligible).any())


def test_masks_of_a_size_are_uniform() -> None:
    eligible = torch.tensor([True, False, True, True, True, True]).expand(20_000, -1)
    masked = mask_uniformly(eligible, torch.full((20_000,), 2), generator(7))
    code = (masked * 2 ** torch.arange(6)).sum(1)
    sets = [2**a + 2**b for a, b in itertools.combinations([0, 2, 3, 4, 5], 2)]
    counts = [int((code == value).sum()) for value in sets]
    assert sum(counts) == 20_000
    assert chisquare(counts).pvalue > 1e-4


def test_too_large_a_count_is_refused() -> None:
    with pytest.raises(UserError, match="number of eligible positions"):
        mask_uniformly(torch.ones(2, 3, dtype=torch.bool), torch.tensor([3, 4]), generator())


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_corrupt_leaves_known_positions_and_weighs_by_count(law: CountLaw) -> None:
    g = generator(5)
    tokens = torch.randint(0, 9, (40, 8), generator=g)
    eligible = torch.rand(40, 8, generator=g) < 0.7
    eligible[3] = False
    tokens[4, 0], eligible[4, 0] = MASK, False  # a mask token can be part of what is known
    result = corrupt(tokens, eligible, MASK, g, law=law)
    assert torch.equal(result.tokens[~result.masked], tokens[~result.masked])
    assert bool((result.tokens[result.masked] == MASK).all())
    assert not bool((result.masked & ~eligible).any())
    assert result.weight[3] == 0
    assert result.masked[3].sum() == 0
    n, size = result.masked.sum(1), eligible.sum(1)
    some = size > 0
    assert bool((n[some] >= 1).all())
    assert torch.allclose(result.weight[some], (1 / (n * law.probability(n, size)))[some].float())
    plain = corrupt(tokens, eligible, MASK, g, law=law, reweight=False)
    assert torch.allclose(plain.weight[some], (size / plain.masked.sum(1))[some].float())


def _estimates(sample, value: torch.Tensor, batch: int, rounds: int) -> torch.Tensor:
    """Mean over the batch of weight * sum of a made-up surprisal, for several rounds."""
    out = []
    for index in range(rounds):
        result = sample(generator(index))
        size = result.masked.sum(1)
        # a loss that depends on the mask: value[i] * (1 + |M|)
        loss = (result.masked * value).sum(1) * (1 + size)
        out.append((result.weight * loss).sum() / batch)
    return torch.stack(out)


@pytest.mark.parametrize(
    "name, options",
    [
        *[(repr(law), {"law": law}) for law in LAWS],
        *[(draws.__name__, {"draws": draws}) for draws in DRAWS],
    ],
)
def test_estimate_is_unbiased(name: str, options: dict) -> None:
    value = torch.tensor([0.3, 2.0, 0.7, 1.1, 0.2, 0.9])
    eligible = torch.tensor([True, True, False, True, True, True]).expand(64, -1)
    tokens = torch.zeros(64, 6, dtype=torch.int64)
    estimates = _estimates(lambda g: corrupt(tokens, eligible, MASK, g, **options), value, 64, 400)
    # sum over n of (1/n)(1 + n) E[sum over M], with E[sum over M] = (n / N) sum of values
    exact = float((value * eligible[0]).sum()) / 5 * sum(1 + n for n in range(1, 6))
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert abs(float(estimates.mean()) - exact) < 4 * error


@pytest.mark.parametrize("schedule", [Linear(), Cosine(), Polynomial(2), Geometric(0.01, 10)], ids=repr)
def test_continuous_time_estimates_the_same(schedule) -> None:
    value = torch.tensor([0.3, 2.0, 0.7, 1.1])
    eligible = torch.tensor([True, True, False, True]).expand(256, -1)
    tokens = torch.zeros(256, 4, dtype=torch.int64)
    estimates = _estimates(lambda g: corrupt_at(tokens, eligible, MASK, g, schedule), value, 256, 300)
    exact = float((value * eligible[0]).sum()) / 3 * sum(1 + n for n in range(1, 4))
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert abs(float(estimates.mean()) - exact) < 4 * error


def test_spread_counts_lower_the_variance() -> None:
    """A loss that depends on the count alone, as most of a real one does, has almost no variance left."""
    value = torch.ones(64)
    eligible, tokens = torch.ones(64, 64, dtype=torch.bool), torch.zeros(64, 64, dtype=torch.int64)
    spread = {
        draws.__name__: float(
            _estimates(lambda g, d=draws: corrupt(tokens, eligible, MASK, g, draws=d), value, 64, 60).std()
        )
        for draws in DRAWS
    }
    assert spread["systematic"] < 1e-3 * spread["independent"]
    assert spread["stratified"] < 0.3 * spread["independent"]


def test_independent_masking_has_the_right_rate() -> None:
    eligible = torch.ones(2000, 10, dtype=torch.bool)
    eligible[:, 0] = False
    masked = mask_independently(eligible, torch.full((2000,), 0.3), generator())
    assert not bool(masked[:, 0].any())
    assert abs(float(masked[:, 1:].float().mean()) - 0.3) < 4 * math.sqrt(0.21 / 18_000)


def test_the_same_generator_gives_the_same_corruption() -> None:
    tokens, eligible = torch.zeros(5, 7, dtype=torch.int64), torch.ones(5, 7, dtype=torch.bool)
    first, second = (corrupt(tokens, eligible, MASK, generator(11)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_an_empty_batch_is_no_error() -> None:
    for law in LAWS:
        result = corrupt(torch.zeros(0, 4).long(), torch.ones(0, 4).bool(), MASK, generator(), law=law)
        assert result.weight.shape == (0,)


@pytest.mark.parametrize(
    "tokens, eligible, match",
    [
        (torch.zeros(4).long(), torch.ones(4).bool(), "shape"),
        (torch.zeros(2, 4).long(), torch.ones(2, 3).bool(), "shape"),
        (torch.zeros(2, 4).long(), torch.ones(2, 4), "boolean"),
    ],
)
def test_bad_shapes_are_refused(tokens, eligible, match: str) -> None:
    with pytest.raises(UserError, match=match):
        corrupt(tokens, eligible, MASK, generator())


@pytest.mark.parametrize(
    "make",
    [lambda: BetaCount(0, 1), lambda: BetaCount(1, math.nan), lambda: TableCount([]), lambda: TableCount([1, 0])],
)
def test_laws_validate_themselves(make) -> None:
    with pytest.raises(UserError, match="law"):
        make()


def test_a_table_too_short_for_a_row_is_refused() -> None:
    with pytest.raises(UserError, match="ends at 2, but a row has 3"):
        corrupt(torch.zeros(1, 3).long(), torch.ones(1, 3).bool(), MASK, generator(), law=TableCount([1, 1]))
