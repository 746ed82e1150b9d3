"""The chi-square tests of the laws can fail: decoders that are wrong in small ways are rejected by them.

Each is wrapped around the library at the sample sizes of the real matrix, or twice those, and a p-value below the
matrix's ``ALPHA`` is demanded. The test statistic itself is held to its error rate on correct samples.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from tests.decoding.laws.cases import (
    ALPHA,
    CLUE,
    DEPENDENT,
    FREE,
    INDEPENDENT,
    ROWS,
    draw,
    joint,
    of_paths,
    of_sequences,
    oracle,
)
from tests.decoding.laws.chisquare import p_value
from tests.decoding.laws.enumeration import law
from torch import Tensor

import anyorder as ao

WHOLE = ao.Whole()


def exact(case: Any, kind: int) -> dict[int, float]:
    return of_sequences(joint().posterior(case.given(kind)))


def paths(order: Any, budget: Any, window: Any = WHOLE) -> dict[int, float]:
    return of_paths(law(order, budget, window, joint(), CLUE.given(DEPENDENT), CLUE.holes))


def sequences(order: Any, budget: Any) -> dict[int, float]:
    return of_sequences(law(order, budget, WHOLE, joint(), CLUE.given(DEPENDENT), CLUE.holes))


class Stale:
    """The exact denoiser, but it forgets what was decided since the start: every position keeps its first law."""

    def __init__(self) -> None:
        self.vocab_size, self.mask_token_id = oracle().vocab_size, oracle().mask_token_id

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        start = torch.where(CLUE.canvas(1).unknown[0], self.mask_token_id, tokens)
        return oracle()(start, attention_mask=attention_mask, at=at)


@pytest.mark.parametrize("temperature", [0.75, 1.3])
def test_drawing_at_another_temperature_is_rejected(temperature: float) -> None:
    sampler = ao.Temperature(temperature)
    for order in (ao.Random(), ao.Margin()):
        wrong = draw(FREE, order, ao.OneByOne(), sampler=sampler, rows=2 * ROWS)[0]
        assert p_value(wrong.sequences(DEPENDENT), exact(FREE, DEPENDENT)) < ALPHA
    wrong = draw(CLUE, ao.LeftToRight(), ao.Fixed(2), sampler=sampler, rows=2 * ROWS)[0]
    assert p_value(wrong.sequences(INDEPENDENT), exact(CLUE, INDEPENDENT)) < ALPHA
    assert p_value(wrong.sequences(DEPENDENT), sequences(ao.LeftToRight(), ao.Fixed(2))) < ALPHA


@pytest.mark.parametrize("case", [FREE, CLUE])
def test_a_drawn_token_that_leaks_into_the_order_is_rejected(case: Any) -> None:
    wrong = draw(case, ao.SampledProbability(), ao.OneByOne(), rows=2 * ROWS)[0]
    assert p_value(wrong.sequences(DEPENDENT), exact(case, DEPENDENT)) < ALPHA
    assert p_value(wrong.sequences(INDEPENDENT), exact(case, INDEPENDENT)) < ALPHA


def test_logits_that_are_not_taken_anew_are_rejected() -> None:
    wrong = draw(CLUE, ao.Entropy(), ao.OneByOne(), model=Stale(), rows=2 * ROWS)[0]
    assert p_value(wrong.sequences(DEPENDENT), exact(CLUE, DEPENDENT)) < ALPHA


def test_rows_that_share_their_random_numbers_are_rejected() -> None:
    seeds = ao.row_seeds(0, 4 * ROWS) // 2**58  # 64 different seeds
    wrong = draw(FREE, ao.Margin(), ao.OneByOne(), seed=seeds, rows=2 * ROWS)[0]
    assert p_value(wrong.sequences(DEPENDENT), exact(FREE, DEPENDENT)) < ALPHA


ORDERS = [ao.Random(), ao.LeftToRight(), ao.TopProbability(), ao.Margin(), ao.Entropy(), ao.SampledProbability()]


@pytest.mark.parametrize("right, wrong", list(itertools.permutations(ORDERS, 2)), ids=repr)
def test_another_order_is_rejected(right, wrong) -> None:
    """The path tells every order from every other."""
    sample = draw(CLUE, wrong, ao.Fixed(1))[0]
    assert p_value(sample.paths(DEPENDENT), paths(right, ao.Fixed(1))) < ALPHA


@pytest.mark.parametrize(
    "right, wrong",
    [
        (ao.OneByOne(), ao.Fixed(2)),
        (ao.Fixed(2), ao.Fixed(3)),
        (ao.EntropyBelow(0.6), ao.EntropyBelow(0.9)),
        (ao.EntropyBelow(0.6), ao.EntropyBelow(0.6, prefix=False)),
        (ao.EntropyBelow(0.9), ao.EntropyBelow(0.9, most=1)),
        (ao.EntropyBound(0.5), ao.EntropyBelow(0.5)),
        (ao.ProbabilityAbove(0.6), ao.ProbabilityAbove(0.8)),
        (ao.ProbabilityAbove(0.6, prefix=False), ao.ProbabilityAbove(0.6)),
        (ao.Factor(1.0), ao.Factor(0.5)),
        (ao.Schedule(2), ao.Schedule(3)),
        (ao.Schedule(3), ao.Schedule(3, rounding="binomial")),
        (ao.Schedule(3, rounding="binomial"), ao.Schedule(3, ao.Polynomial(3), rounding="binomial")),
    ],
    ids=repr,
)
def test_another_budget_is_rejected(right: Any, wrong: Any) -> None:
    sample = draw(CLUE, ao.LeftToRight(), wrong)[0]
    assert p_value(sample.paths(DEPENDENT), paths(ao.LeftToRight(), right)) < ALPHA


def test_a_window_that_is_ignored_is_rejected() -> None:
    sample = draw(CLUE, ao.Entropy(), ao.OneByOne())[0]
    for window in (ao.Blocks(2), ao.Holes("second", "first")):
        assert p_value(sample.paths(DEPENDENT), paths(ao.Entropy(), ao.OneByOne(), window)) < ALPHA


def test_one_impossible_outcome_is_enough() -> None:
    observed = ["a"] * 500 + ["b"] * 500
    assert p_value(observed, {"a": 0.5, "b": 0.5}) > 0.9
    assert p_value([*observed, "c"], {"a": 0.5, "b": 0.5}) == 0
    assert p_value([*observed, "c"], {"a": 0.5, "b": 0.5, "c": 0.0}) == 0


def test_rare_outcomes_are_pooled_and_still_counted() -> None:
    rare = dict.fromkeys(range(100), 0.001)
    expected = {**rare, "a": 0.45, "b": 0.45}
    rng = np.random.default_rng(0)
    keys, p = list(expected), np.array(list(expected.values()))
    right = [keys[i] for i in rng.choice(len(keys), size=1000, p=p)]
    assert p_value(right, expected) > 0.01
    without = [key if key in ("a", "b") else "a" for key in right]
    assert p_value(without, expected) < 1e-6
    assert p_value(["x"] * 3, {"x": 1.0}) == 1


def test_p_values_of_correct_samples_are_uniform() -> None:
    """The statistic rejects a true law about as often as it says."""
    table = exact(FREE, DEPENDENT)
    keys, p = list(table), np.array(list(table.values()))
    rng = np.random.default_rng(1)
    values = np.array([p_value([keys[i] for i in rng.choice(len(keys), size=3000, p=p)], table) for _ in range(400)])
    for level in (0.5, 0.1, 0.02):
        assert abs((values < level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 400)
