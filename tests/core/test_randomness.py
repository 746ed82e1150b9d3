"""Counter-based randomness: the hash against plain integers, uniformity, and independence of the counters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, fold, gumbel, normal, row_seeds, uniform

WORD = (1 << 64) - 1


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & WORD
    return x ^ (x >> 31)


def exact_uniform(seed: int, purpose: int, position: int, visit: int) -> float:
    """The same hash in Python's integers."""
    key = mix((seed + 0x9E3779B97F4A7C15 * (purpose + 1)) & WORD)
    key = mix((key + (visit + 1) * 0xD6E8FEB86659FD93) & WORD)
    key = mix((key + (position + 1) * 0xA0761D6478BD642F) & WORD)
    return ((key >> 12) + 0.5) * 2.0**-52


word = st.integers(-(2**63), 2**63 - 1)
counter = st.integers(0, 2**40)


@given(seed=word, purpose=st.sampled_from(list(Purpose)), position=counter, visit=counter)
def test_the_hash_is_the_stated_one(seed: int, purpose: Purpose, position: int, visit: int) -> None:
    seeds = torch.tensor([seed])
    exact = exact_uniform(seed, purpose, position, visit)
    assert uniform(seeds, purpose, position, visit).tolist() == [exact]
    assert uniform(seeds, purpose, torch.tensor([position]), torch.tensor([visit])).tolist() == [exact]
    assert 0 < exact < 1


@given(seed=st.integers(-(2**70), 2**70), index=st.integers(0, 2**40))
def test_folding_takes_ints_and_tensors_alike(seed: int, index: int) -> None:
    exact = mix((mix((seed + 0x9E3779B97F4A7C15) & WORD) + (index + 1) * 0xA0761D6478BD642F) & WORD)
    exact -= (exact >> 63) << 64
    assert fold(seed, index).item() == exact
    assert fold(seed, torch.tensor([index, 7]))[0].item() == exact
    assert row_seeds(seed, 3).tolist() == [fold(seed, i).item() for i in range(3)]


def test_broadcasting() -> None:
    seeds, positions, visits = torch.arange(3)[:, None], torch.arange(5), torch.arange(15).view(3, 5)
    numbers = uniform(seeds, Purpose.TOKEN, positions, visits)
    assert numbers.shape == (3, 5)
    assert numbers.dtype == torch.float64
    assert numbers[2, 4].item() == exact_uniform(2, Purpose.TOKEN, 4, 14)


def chi_square(numbers: torch.Tensor, cells: int) -> float:
    counts = torch.bincount((numbers * cells).long(), minlength=cells).double()
    expected = len(numbers) / cells
    return float(((counts - expected) ** 2 / expected).sum())


def limit(cells: int) -> float:
    """A chi-square with ``cells`` - 1 degrees of freedom exceeds this less than once in 30,000 (normal tail)."""
    return cells - 1 + 4.2 * math.sqrt(2 * (cells - 1)) + 8


ALONG = {
    "seed": lambda n: uniform(torch.arange(n), Purpose.TOKEN, 3, 0),
    "position": lambda n: uniform(torch.tensor([5]), Purpose.TOKEN, torch.arange(n), 0),
    "visit": lambda n: uniform(torch.tensor([5]), Purpose.NOISE, 3, torch.arange(n)),
    "folded seed": lambda n: uniform(row_seeds(0, n), Purpose.ORDER, 0, 0),
}


@pytest.mark.parametrize("along", ALONG)
def test_numbers_are_uniform_along_every_counter(along: str) -> None:
    numbers = ALONG[along](40_000)
    assert chi_square(numbers, 100) < limit(100)
    # The low bits too: what is left of a number within its cell of 1 / 2^20.
    assert chi_square(numbers * 2**20 % 1, 100) < limit(100)
    assert len(numbers.unique()) == 40_000


@pytest.mark.parametrize("along", ALONG)
def test_neighbours_are_independent(along: str) -> None:
    numbers = ALONG[along](40_001)
    pairs = (numbers[:-1] * 10).long() * 10 + (numbers[1:] * 10).long()
    assert chi_square(pairs.double() / 100 + 0.005, 100) < limit(100)


def test_purposes_positions_and_visits_are_different_streams() -> None:
    seeds = torch.arange(20_000)
    streams = [uniform(seeds, purpose, 0, 0) for purpose in Purpose]
    streams += [uniform(seeds, Purpose.TOKEN, 1, 0), uniform(seeds, Purpose.TOKEN, 0, 1)]
    streams += [uniform(seeds + 1, Purpose.TOKEN, 0, 0)]
    correlation = torch.corrcoef(torch.stack(streams))
    # Standard error 1 / sqrt(20,000) = 0.007; 28 pairs, five of them wide.
    assert float((correlation - torch.eye(len(streams))).abs().max()) < 0.035


def test_gumbel_and_normal_numbers() -> None:
    seeds = torch.arange(40_000)
    noise = gumbel(seeds, Purpose.NOISE, 0, 0)
    assert chi_square(torch.exp(-torch.exp(-noise)), 50) < limit(50)
    bell = normal(seeds, Purpose.NOISE, 0, 0)
    assert chi_square(torch.special.ndtr(bell), 50) < limit(50)
    ends = torch.tensor([2.0**-53, 1 - 2.0**-53], dtype=torch.float64)
    assert bool(torch.special.ndtri(ends).isfinite().all())
    assert bool((-torch.log(-torch.log(ends))).isfinite().all())


def test_seeds_for_rows() -> None:
    given = torch.tensor([5, -7, 5])
    assert row_seeds(given, 3).tolist() == [5, -7, 5]
    assert len(row_seeds(1, 1000).unique()) == 1000
    assert row_seeds(1, 10)[:4].equal(row_seeds(1, 4))
    assert not row_seeds(1, 4).equal(row_seeds(2, 4))
    assert row_seeds(0, 0).shape == (0,)


@pytest.mark.parametrize(
    "seed",
    [1.0, "1", None, True, torch.zeros(2), torch.zeros(3, 1, dtype=torch.long), torch.zeros(2, dtype=torch.long)],
)
def test_bad_seeds_are_refused(seed) -> None:
    with pytest.raises(UserError, match="seed"):
        row_seeds(seed, 3)
