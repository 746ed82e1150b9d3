"""The divergence of decoding several positions at once: exactly, by enumeration, and as an estimate with its error."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, make_canvas
from torch import Tensor

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.evaluation.divergence import divergence, exact_divergence

M, LENGTH = 3, 4


def joint(seed: int = 3) -> Tensor:
    """A table (M,) * LENGTH of positive probabilities with dependent positions."""
    table = torch.rand((M,) * LENGTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3 + 1e-3
    return table / table.sum()


def blank(rows: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(rows, LENGTH, dtype=torch.long), torch.ones(rows, LENGTH, dtype=torch.bool))


def entropy(table: Tensor) -> float:
    return float(torch.special.entr(table).sum())


def marginal(table: Tensor, keep: tuple[int, ...]) -> Tensor:
    gone = [axis for axis in range(LENGTH) if axis not in keep]
    return table.sum(dim=gone) if gone else table


@pytest.mark.parametrize("together", [(0, 1), (1, 3), (0, 2, 3), (0, 1, 2, 3)])
def test_a_step_costs_the_total_correlation_of_its_positions(together: tuple[int, ...]) -> None:
    table = joint()
    chosen = torch.zeros(1, LENGTH, dtype=torch.bool)
    chosen[0, list(together)] = True
    value, bound = exact_divergence(ao.EnumeratedJoint(table), blank(1), chosen)
    single = [entropy(marginal(table, (i,))) for i in together]
    wanted = sum(single) - entropy(marginal(table, together))
    assert value.item() == pytest.approx(wanted, abs=1e-6)
    assert bound.item() == pytest.approx(sum(single) - max(single), abs=1e-6)
    assert wanted > 5e-4


def test_the_bound_holds_on_many_laws_and_is_reached_by_copies() -> None:
    chosen = torch.ones(1, LENGTH, dtype=torch.bool)
    for seed in range(12):
        value, bound = exact_divergence(ao.EnumeratedJoint(joint(seed)), blank(1), chosen)
        assert 0 <= value.item() <= bound.item() + 1e-7
    # All positions equal: H(X_S) is one entropy, so the bound is attained.
    copies = torch.zeros((M,) * LENGTH, dtype=torch.float64)
    for v, p in enumerate((0.5, 0.3, 0.2)):
        copies[(v,) * LENGTH] = p
    value, bound = exact_divergence(ao.EnumeratedJoint(copies), blank(1), chosen)
    assert value.item() == pytest.approx(bound.item(), abs=1e-6)
    assert value.item() > 1


def test_one_position_and_none_cost_nothing_and_given_ones_condition() -> None:
    table = joint()
    canvas = ao.Canvas(torch.tensor([[1, 0, 0, 0]] * 3), torch.tensor([[False, True, True, True]] * 3))
    chosen = torch.tensor([[False] * 4, [False, True, False, False], [False, True, True, False]])
    value, bound = exact_divergence(ao.EnumeratedJoint(table), canvas, chosen)
    assert value[:2].tolist() == pytest.approx([0, 0], abs=1e-7)
    assert bound[:2].tolist() == [0, 0]
    given = table[1] / table[1].sum()
    pair = given.sum(dim=2)
    wanted = entropy(pair.sum(dim=1)) + entropy(pair.sum(dim=0)) - entropy(pair)
    assert value[2].item() == pytest.approx(wanted, abs=1e-6)


def law_of(table: Tensor, parts: dict[str, Any]) -> Tensor:
    """The law of the final sequence of a decode that looks at nothing but the state, by following every path."""
    oracle, law = ao.EnumeratedJoint(table), torch.zeros_like(table)

    def follow(tokens: list[int], probability: float) -> None:
        state = torch.tensor([tokens])
        unknown = state == M
        if not bool(unknown.any()):
            law[tuple(tokens)] += probability
            return
        step = next(ao.stream(oracle, ao.Canvas(state, unknown), **parts))
        where = step.revealed[0].nonzero().squeeze(1).tolist()
        laws = oracle.conditionals(state, at=step.revealed)
        for values in itertools.product(range(M), repeat=len(where)):
            p = math.prod(float(laws[i, v]) for i, v in enumerate(values))
            after = list(tokens)
            for position, value in zip(where, values, strict=True):
                after[position] = value
            if p > 0:
                follow(after, probability * p)

    follow([M] * LENGTH, 1.0)
    return law


CASES = {
    "two at once": {"order": ao.LeftToRight(), "budget": ao.Fixed(2)},
    "med": {"order": ao.Entropy(), "budget": ao.EntropyBelow(1.05)},
    "eb": {"order": ao.Margin(), "budget": ao.EntropyBound(1.2)},
    "all at once": {"order": ao.Margin(), "budget": ao.Fixed(4)},
}


@pytest.mark.parametrize("name", CASES)
def test_the_estimate_meets_the_enumerated_divergence(name: str) -> None:
    """Four standard errors: a correct estimate fails with probability below 1e-4 over the choice of seeds."""
    table, parts = joint(), CASES[name]
    law = law_of(table, parts)
    assert float(law.sum()) == pytest.approx(1, abs=1e-5)
    wanted = float((table * (table / law).log()).sum())
    found = divergence(ao.EnumeratedJoint(table), blank(4000), seed=11, **parts)
    assert wanted > 5e-4
    assert 0 < found.standard_error < 0.05
    assert abs(found.mean - wanted) < 4 * found.standard_error
    assert wanted <= found.bound + 1e-6 or name != "all at once"
    assert found.positions == pytest.approx(LENGTH / found.steps, rel=0.2)
    assert found.rows == 4000


def test_one_at_a_time_does_not_diverge() -> None:
    found = divergence(HashDenoiser(), make_canvas(), budget=ao.OneByOne())
    assert found.mean == found.standard_error == found.bound == 0
    assert found.positions == 1


def test_the_tokens_of_the_estimate_are_samples_of_the_joint() -> None:
    """Its states must be those of one at a time: pairs of tokens decided at once have the exact law."""
    table = joint()
    seen = torch.zeros(M, M, dtype=torch.float64)
    from anyorder.evaluation.divergence import _OneAfterTheOther
    from anyorder.planning.statistics import Cut

    result = ao.decode(
        ao.EnumeratedJoint(table), blank(6000), order=ao.LeftToRight(), budget=ao.Fixed(4), seed=5,
        sampler=_OneAfterTheOther(Cut(M + 1, M)),
    )  # fmt: skip
    for first, last in result.tokens[:, [0, 3]].tolist():
        seen[first, last] += 1
    wanted = marginal(table, (0, 3)) * 6000
    chi_square = float(((seen - wanted) ** 2 / wanted).sum())
    assert chi_square < 31.8  # 8 degrees of freedom, error rate 1e-4
    # Every position but the first of a step is asked for once more.
    assert set(result.nfe.tolist()) == {4}


def test_what_cannot_be_compared_is_refused() -> None:
    canvas = make_canvas()
    for parts, says in (
        ({"sampler": ao.Greedy()}, "sampler"),
        ({"remask": ao.MaskPredict(3)}, "remask"),
        ({"stop": ao.EndOfHole("first")}, "stop"),
        ({"order": ao.SampledProbability()}, "drawn"),
    ):
        with pytest.raises(UserError, match=says):
            divergence(HashDenoiser(), canvas, **parts)
    with pytest.raises(UserError, match="unknown"):
        divergence(HashDenoiser(), ao.Canvas(canvas.tokens, torch.zeros_like(canvas.unknown)))
    known = ao.Canvas(torch.zeros(1, LENGTH, dtype=torch.long), torch.zeros(1, LENGTH, dtype=torch.bool))
    with pytest.raises(UserError, match="must be unknown"):
        exact_divergence(ao.EnumeratedJoint(joint()), known, torch.ones(1, LENGTH, dtype=torch.bool))
    wide = ao.Canvas(torch.zeros(1, 20, dtype=torch.long), torch.ones(1, 20, dtype=torch.bool))
    with pytest.raises(UserError, match="too many outcomes"):
        exact_divergence(HashDenoiser(), wide, wide.unknown)
