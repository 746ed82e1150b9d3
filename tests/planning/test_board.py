"""Rankings, and the memory of rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.planning.board import Ranking, keep_rows


@given(
    rows=st.integers(1, 4),
    length=st.integers(1, 9),
    seed=st.integers(0, 2**31),
    levels=st.integers(1, 4),
    share=st.floats(0, 1),
)
def test_ranking_is_a_stable_sort_of_the_candidates(rows, length, seed, levels, share) -> None:
    generator = torch.Generator().manual_seed(seed)
    priority = torch.randint(0, levels, (rows, length), generator=generator).double()
    candidates = torch.rand(rows, length, generator=generator) < share
    ranking = Ranking.of(priority, candidates)
    for row in range(rows):
        places = candidates[row].nonzero().squeeze(1).tolist()
        wanted = sorted(places, key=lambda place: (-priority[row, place].item(), place))
        assert ranking.order[row, : len(places)].tolist() == wanted
        assert ranking.count[row] == len(places)
        assert ranking.best()[row].nonzero().squeeze(1).tolist() == wanted[:1]
        for count in (0, 1, 3, length + 2):
            taken = ranking.take(torch.full((rows,), count))[row]
            assert sorted(wanted[:count]) == taken.nonzero().squeeze(1).tolist()


def test_many_ties_go_to_the_lowest_positions() -> None:
    """Short rows are sorted by an algorithm that keeps ties in place anyway; long ones need to be told."""
    priority = torch.randint(0, 3, (2, 3000), generator=torch.Generator().manual_seed(0)).double()
    ranking = Ranking.of(priority, torch.ones(2, 3000, dtype=torch.bool))
    for row in range(2):
        wanted = sorted(range(3000), key=lambda place: (-priority[row, place].item(), place))
        assert ranking.order[row].tolist() == wanted
        assert ranking.best()[row].nonzero().item() == wanted[0]


def test_infinite_priorities_of_candidates_still_come_before_non_candidates() -> None:
    priority = torch.tensor([[-torch.inf, torch.nan, torch.inf, -torch.inf]])
    ranking = Ranking.of(priority, torch.tensor([[True, False, True, True]]))
    assert ranking.order.tolist() == [[2, 0, 3, 1]]
    assert ranking.take(torch.tensor([9])).tolist() == [[True, False, True, True]]


def test_integer_priorities_are_taken_as_they_are() -> None:
    ranking = Ranking.of(torch.tensor([[3, 1, 2]]), torch.ones(1, 3, dtype=torch.bool))
    assert ranking.order.tolist() == [[0, 2, 1]]


def test_nonsense_priorities_are_refused() -> None:
    everywhere = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(UserError, match="NaN"):
        Ranking.of(torch.full((2, 3), torch.nan), everywhere)
    with pytest.raises(UserError, match="shape"):
        Ranking.of(torch.zeros(3), everywhere)


class Pair(NamedTuple):
    one: torch.Tensor
    other: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Memory:
    counts: torch.Tensor
    pair: Pair


class Own:
    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def keep(self, rows: torch.Tensor) -> Own:
        return Own(self.held[rows] * 10)


def test_memory_of_any_shape_is_kept_by_rows() -> None:
    counts, rows = torch.arange(4), torch.tensor([2, 0])
    kept = keep_rows(Memory(counts, Pair(counts + 1, None)), rows)
    assert kept.counts.tolist() == [2, 0]
    assert kept.pair.one.tolist() == [3, 1]
    assert kept.pair.other is None
    assert [part.tolist() for part in keep_rows((counts, counts), rows)] == [[2, 0], [2, 0]]
    assert keep_rows({"a": counts}, rows)["a"].tolist() == [2, 0]
    assert keep_rows(Own(counts), rows).held.tolist() == [20, 0]
    assert keep_rows(None, rows) is None


def test_memory_that_cannot_be_cut_by_rows_is_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        keep_rows(3, torch.tensor([0]))
