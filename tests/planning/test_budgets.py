"""Budgets: how many each takes, on boards whose statistics are known, and what schedules add up to."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.planning.boards import make_board, make_progress, two_way

from anyorder.core.errors import UserError
from anyorder.core.schedules import Cosine, Geometric, Linear, LogLinear, Polynomial
from anyorder.planning.board import Ranking, keep_rows
from anyorder.planning.budgets import (
    KLASS,
    EntropyBelow,
    EntropyBound,
    Factor,
    Fixed,
    OneByOne,
    ProbabilityAbove,
    Schedule,
    masked_shares,
)
from anyorder.planning.orders import Entropy, LeftToRight, TopProbability

SCHEDULES = [Linear(), Cosine(), Polynomial(3.0), Geometric(), LogLinear(0.05)]


def taken(budget, board, order=None, state=None) -> list[int]:
    ranking = Ranking.of((order or TopProbability())(board), board.candidates)
    chosen, _ = budget(board, ranking, budget.init(board) if state is None else state)
    return chosen[0].nonzero().squeeze(1).tolist()


def counts_of(budget, unknown: torch.Tensor, stages: torch.Tensor | None = None, **more) -> list[list[int]]:
    """The counts that each row gets until everything is decided, in stage order."""
    stages = torch.zeros_like(unknown, dtype=torch.long) if stages is None else stages
    undecided, counts = unknown.clone(), [[] for _ in unknown]
    state = budget.init(make_progress(unknown, stages=stages, **more))
    while undecided.any():
        stage = stages.masked_fill(~undecided, 10**9).amin(dim=1)
        window = unknown & (stages == stage[:, None])
        progress = make_progress(unknown, undecided, window=window, stages=stages, stage=stage, **more)
        quota, state = budget.count(progress, state)
        assert bool((quota.time >= 0).all())
        assert bool((quota.time <= 1).all())
        for row in undecided.any(dim=1).nonzero().squeeze(1).tolist():
            number = int(quota.count[row])
            places = progress.open[row].nonzero().squeeze(1)
            assert 1 <= number <= len(places) or isinstance(budget, Fixed)
            undecided[row, places[:number]] = False
            counts[row].append(number)
    return counts


def test_fixed_counts() -> None:
    unknown = torch.tensor([[True] * 5, [True, False, True, False, False]])
    assert counts_of(OneByOne(), unknown) == [[1] * 5, [1] * 2]
    assert counts_of(Fixed(2), unknown) == [[2, 2, 2], [2]]


def test_the_time_of_fixed_counts_is_the_share_left() -> None:
    unknown = torch.ones(1, 4, dtype=torch.bool)
    undecided = torch.tensor([[False, True, True, True]])
    assert OneByOne().count(make_progress(unknown, undecided), None)[0].time.tolist() == [0.5]
    assert Fixed(2).count(make_progress(unknown, undecided), None)[0].time.tolist() == [0.25]
    assert Fixed(9).count(make_progress(unknown, undecided), None)[0].time.tolist() == [0.0]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("steps", [1, 4, 7, 50])
def test_expected_counts_leave_the_rounded_share(schedule, steps: int) -> None:
    """After reverse step k, N (1 - alpha_s) positions are left, to the nearest whole number."""
    masked = masked_shares(schedule, steps)
    assert masked[0] == 1
    assert masked[-1] == 0
    for n in (1, 2, 5, 12, 33):
        left = [n, *(math.floor(n * m + 0.5) for m in masked[1:].tolist())]
        halves = [abs(n * m + 0.5 - round(n * m + 0.5)) < 1e-9 for m in masked.tolist()]
        wanted = [a - b for a, b in itertools.pairwise(left) if a > b]
        (counts,) = counts_of(Schedule(steps, schedule), torch.ones(1, n, dtype=torch.bool))
        assert sum(counts) == n
        if not any(halves):
            assert counts == wanted
        assert len(counts) <= min(n, steps)


def test_expected_counts_of_the_linear_schedule_are_even() -> None:
    (counts,) = counts_of(Schedule(4), torch.ones(1, 12, dtype=torch.bool))
    assert counts == [3, 3, 3, 3]
    (counts,) = counts_of(Schedule(50), torch.ones(1, 10, dtype=torch.bool))
    assert counts == [1] * 10


def test_a_schedule_counts_per_row_and_per_window() -> None:
    unknown = torch.tensor([[True] * 8, [True, True, True, False, False, False, False, True]])
    stages = torch.arange(8).expand(2, -1) // 4
    assert counts_of(Schedule(2), unknown, stages) == [[2, 2, 2, 2], [2, 1, 1]]
    alone = counts_of(Schedule(2), unknown[1:], stages[1:])
    assert counts_of(Schedule(2), unknown, stages)[1:] == alone


def test_binomial_counts_follow_the_binomial_law() -> None:
    """The first reverse step of the linear schedule, T = 4, reveals Binomial(6, 1/4); empty steps are passed over."""
    rows, n, steps = 4000, 6, 4
    unknown = torch.ones(rows, n, dtype=torch.bool)
    budget = Schedule(steps, rounding="binomial")
    state = budget.init(make_progress(unknown))
    first = (state.times == 0).sum(dim=1)
    observed = Counter(first.tolist())
    expected = [rows * math.comb(n, k) * 0.25**k * 0.75 ** (n - k) for k in range(n + 1)]
    pooled = [(observed[k], expected[k]) for k in range(4)]
    pooled.append((sum(observed[k] for k in range(4, n + 1)), sum(expected[4:])))
    # Chi-square with 4 degrees of freedom; 26.3 is exceeded once in 36,000.
    assert sum((o - e) ** 2 / e for o, e in pooled) < 26.3
    counts = counts_of(budget, unknown[:200])
    assert all(sum(row) == n and min(row) >= 1 and len(row) <= steps for row in counts)
    assert counts == [
        [c for c in (state.times[row] == torch.arange(4)[:, None]).sum(1).tolist() if c] for row in range(200)
    ]


@given(
    seed=st.integers(0, 2**31),
    rows=st.integers(1, 4),
    length=st.integers(1, 12),
    steps=st.integers(1, 30),
    block=st.integers(1, 12),
    schedule=st.sampled_from(SCHEDULES),
    rounding=st.sampled_from(["expected", "binomial"]),
)
def test_nothing_is_lost_whatever_the_schedule(seed, rows, length, steps, block, schedule, rounding) -> None:
    generator = torch.Generator().manual_seed(seed)
    unknown = torch.rand(rows, length, generator=generator) < 0.7
    stages = torch.arange(length).expand(rows, -1) // block
    budget = Schedule(steps, schedule, rounding)
    counts = counts_of(budget, unknown, stages)
    assert [sum(row) for row in counts] == unknown.sum(dim=1).tolist()
    for row in range(rows):
        seeds = make_progress(unknown).seeds[row : row + 1]
        alone = counts_of(budget, unknown[row : row + 1], stages[row : row + 1], seeds=seeds)
        assert counts[row] == alone[0]


def test_a_schedule_that_has_run_out_decides_the_rest() -> None:
    """What a remask rule took back after the last step."""
    unknown = torch.ones(1, 4, dtype=torch.bool)
    budget = Schedule(2)
    state = budget.init(make_progress(unknown))
    for _ in range(2):
        _, state = budget.count(make_progress(unknown), state)
    quota, state = budget.count(make_progress(unknown, torch.tensor([[True, True, False, True]])), state)
    assert quota.count.tolist() == [3]
    assert quota.time.tolist() == [0.0]


# Entropies of the two-way laws rise as p falls to a half.
P = torch.tensor([0.99, 0.6, 0.95, 0.97, 0.7])
H = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in P.tolist()]


def test_entropy_below() -> None:
    board = make_board(two_way(P))
    limit = (H[2] + H[4]) / 2
    assert taken(EntropyBelow(limit), board, Entropy()) == [0, 2, 3]
    assert taken(EntropyBelow(limit, most=2), board, Entropy()) == [0, 3]
    assert taken(EntropyBelow(limit), board, LeftToRight()) == [0]
    assert taken(EntropyBelow(limit, prefix=False), board, LeftToRight()) == [0, 2, 3]
    assert taken(EntropyBelow(limit, most=2, prefix=False), board, LeftToRight()) == [0, 2]
    assert taken(EntropyBelow(0.0), board, Entropy()) == [0]
    assert taken(EntropyBelow(0.0, prefix=False), board, Entropy()) == [0]
    assert taken(EntropyBelow(9.0), board, Entropy()) == [0, 1, 2, 3, 4]


def test_along_the_left_to_right_order_the_leftmost_is_always_taken() -> None:
    board = make_board(two_way(P.flip(0)))
    assert taken(EntropyBelow(0.25), board, LeftToRight()) == [0, 1, 2]
    assert taken(EntropyBelow(0.25, prefix=False), board, LeftToRight()) == [1, 2, 4]
    assert taken(EntropyBelow(0.25, most=1, prefix=False), board, LeftToRight()) == [1]


def test_entropy_bound_is_sum_less_largest() -> None:
    board = make_board(two_way(P))
    ordered = sorted(H)
    for k in range(1, 6):
        spread = sum(ordered[:k]) - max(ordered[:k])
        chosen = taken(EntropyBound(spread + 1e-6), board, Entropy())
        assert len(chosen) >= k
        if k > 1:
            assert len(taken(EntropyBound(spread - 1e-6), board, Entropy())) == k - 1
    assert taken(EntropyBound(0.0), board, Entropy()) == [0]
    assert len(taken(EntropyBound(99.0), board, Entropy())) == 5
    assert len(taken(EntropyBound(99.0, most=3), board, Entropy())) == 3


def test_entropy_bound_along_another_order_uses_the_largest_so_far() -> None:
    board = make_board(two_way(P.flip(0)))  # entropies from the left: H4, H3, H2, H1, H0
    bound = H[3] + H[2] + 1e-6
    assert taken(EntropyBound(bound), board, LeftToRight()) == [0, 1, 2]


def test_probability_above() -> None:
    board = make_board(two_way(P))
    assert taken(ProbabilityAbove(0.9), board) == [0, 2, 3]
    assert taken(ProbabilityAbove(0.9), board, LeftToRight()) == [0]
    assert taken(ProbabilityAbove(0.9, prefix=False), board, LeftToRight()) == [0, 2, 3]
    assert taken(ProbabilityAbove(0.999), board) == [0]
    assert taken(ProbabilityAbove(1.0, prefix=False), board) == [0]
    assert taken(ProbabilityAbove(0.0), board) == [0, 1, 2, 3, 4]


def test_factor() -> None:
    """n-th probability at least 1 - f / (n + 1), from the best on."""
    board = make_board(two_way(P))
    ordered = sorted(P.tolist(), reverse=True)
    for f in (0.01, 0.1, 0.15, 0.2, 0.9, 1.5, 2.5):
        count = 1
        while count < 5 and ordered[count] >= 1 - f / (count + 2):
            count += 1
        assert len(taken(Factor(f), board)) == count, f
    assert len(taken(Factor(9.0, most=2), board)) == 2


def test_views() -> None:
    board = make_board(two_way(P), sampled=two_way(P.flip(0)))
    for budget, value in ((EntropyBelow, 0.3), (EntropyBound, 0.3), (ProbabilityAbove, 0.8), (Factor, 0.3)):
        own = budget(value, view="model")
        other = budget(value, view="sampled")
        assert taken(own, board, LeftToRight()) != taken(other, board, LeftToRight())
    assert EntropyBelow(0.2).view == EntropyBound(0.2).view == "sampled"
    assert ProbabilityAbove(0.9).view == Factor(1.0).view == "model"


def test_only_candidates_are_taken() -> None:
    unknown = torch.tensor([[True, False, True, False, True]])
    board = make_board(two_way(P), unknown=unknown)
    for budget in (
        EntropyBelow(9.0),
        EntropyBelow(9.0, prefix=False),
        EntropyBelow(9.0, most=9, prefix=False),
        EntropyBound(9.0),
        ProbabilityAbove(0.0),
        Factor(9.0),
        KLASS(),
    ):
        assert set(taken(budget, board)) <= {0, 2, 4}
        assert len(taken(budget, board)) >= 1


def klass_run(laws: list[torch.Tensor], budget: KLASS) -> list[list[int]]:
    state, chosen = None, []
    for law in laws:
        board = make_board(two_way(law))
        state = budget.init(board) if state is None else state
        ranking = Ranking.of(TopProbability()(board), board.candidates)
        positions, state = budget(board, ranking, state)
        chosen.append(positions[0].nonzero().squeeze(1).tolist())
    return chosen


def test_klass_takes_what_is_sure_and_settled() -> None:
    steady, moving = torch.tensor([0.95, 0.96, 0.6]), torch.tensor([0.95, 0.7, 0.6])
    budget = KLASS(limit=0.9, divergence=0.01, history=1)
    assert klass_run([steady, steady, moving, steady], budget) == [[1], [0, 1], [0], [0]]
    assert klass_run([steady] * 3, KLASS(limit=0.9, divergence=0.01, history=2)) == [[1], [1], [0, 1]]
    assert klass_run([steady] * 2, KLASS(limit=0.9, divergence=0.0, history=1)) == [[1], [1]]
    assert klass_run([steady] * 2, KLASS(limit=0.9, divergence=0.01, history=1, most=1)) == [[1], [1]]


def test_klass_remembers_rows_that_are_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    unknown = torch.rand(4, 6, generator=generator) < 0.6
    unknown[:, 0] = True
    budget = KLASS(limit=0.0, divergence=0.05, history=1)
    logits = torch.randn(4, 6, 5, generator=generator)
    board = make_board(logits, unknown=unknown)
    rank = lambda b: Ranking.of(TopProbability()(b), b.candidates)  # noqa: E731
    _, state = budget(board, rank(board), budget.init(board))
    rows = torch.tensor([3, 1])
    kept = keep_rows(state, rows)
    moved = logits.clone()
    moved[:, ::2] += torch.randn(4, 3, 5, generator=generator)
    whole = make_board(moved, unknown=unknown)
    part = make_board(moved[rows], unknown=unknown[rows])
    everything, _ = budget(whole, rank(whole), state)
    some, _ = budget(part, rank(part), kept)
    assert torch.equal(everything[rows], some)
    assert some[:, 1::2].sum() == unknown[rows][:, 1::2].sum()


def test_klass_counts_impossible_tokens_as_a_change() -> None:
    before, after = torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)
    before[0, 0, 2] = -torch.inf
    board, later = make_board(before), make_board(after)
    budget = KLASS(limit=0.0, divergence=1e6, history=1)
    rank = Ranking.of(TopProbability()(board), board.candidates)
    _, state = budget(board, rank, budget.init(board))
    _, state = budget(later, rank, state)
    assert state.stable.tolist() == [[0]]
    _, state = budget(board, rank, state)
    assert state.stable.tolist() == [[1]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Fixed(0), "Fixed: k must be a whole number of at least 1, not 0"),
        (lambda: Fixed(2.0), "k must be"),
        (lambda: Fixed(True), "k must be"),
        (lambda: Schedule(0), "steps"),
        (lambda: Schedule(5, rounding="random"), "'expected', 'binomial'"),
        (lambda: Schedule(5, Linear), "schedule"),
        (lambda: Schedule(5, "linear"), "schedule"),
        (lambda: EntropyBelow(-0.1), r"limit must be a number in \[0, inf\)"),
        (lambda: EntropyBelow(math.nan), "limit"),
        (lambda: EntropyBelow("0.2"), "limit"),
        (lambda: EntropyBelow(0.2, most=0), "most"),
        (lambda: EntropyBelow(0.2, prefix=1), "prefix"),
        (lambda: EntropyBelow(0.2, view="tempered"), "view"),
        (lambda: EntropyBound(-1), "total"),
        (lambda: EntropyBound(math.inf), "total"),
        (lambda: ProbabilityAbove(1.5), r"\[0, 1\]"),
        (lambda: ProbabilityAbove(-0.5), r"\[0, 1\]"),
        (lambda: Factor(-1), "f must be"),
        (lambda: Factor(1.0, most=-2), "most"),
        (lambda: KLASS(limit=2), "limit"),
        (lambda: KLASS(divergence=-1), "divergence"),
        (lambda: KLASS(history=0), "history"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError):
        EntropyBelow(limt=0.2)  # type: ignore[call-arg]
