"""Orders: what each ranks first, on boards whose statistics are known."""

from __future__ import annotations

import math

import pytest
import torch
from tests.planning.boards import make_board, two_way

from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, gumbel, normal
from anyorder.planning.board import Drawn, Ranking
from anyorder.planning.orders import (
    Defer,
    Entropy,
    LeftToRight,
    Margin,
    Noisy,
    Prior,
    Random,
    SampledProbability,
    TopProbability,
    order_draws,
    order_view,
)

# Three positions that the three confidence orders rank in three ways: (a) top probability .52 margin .04,
# (b) .45 and .30, (c) .50 and .25 with two left; mask token 0.
SPREAD = torch.tensor(
    [[0.52, 0.48, 1e-9, 1e-9, 1e-9, 1e-9], [0.45, 0.15, 0.15, 0.15, 0.05, 0.05], [0.5, 0.25, 0.25, 1e-9, 1e-9, 1e-9]]
)


def spread_board(**more: object):
    logits = torch.cat((torch.full((3, 1), 9.0), SPREAD.log()), dim=1)[None]
    return make_board(logits, **more)


def ranks(order, board) -> list[int]:
    return Ranking.of(order(board), board.candidates).order[0].tolist()


def test_the_confidence_orders_differ_as_they_should() -> None:
    board = spread_board()
    assert ranks(TopProbability(), board) == [0, 2, 1]
    assert ranks(Margin(), board) == [1, 2, 0]
    assert ranks(Entropy(), board) == [0, 2, 1]
    assert ranks(LeftToRight(), board) == [0, 1, 2]


def test_log_scores_keep_the_order_and_are_logs_of_the_scores() -> None:
    board = spread_board()
    p = SPREAD.double()
    torch.testing.assert_close(TopProbability(log=True)(board)[0], p[:, 0].log(), atol=1e-6, rtol=0)
    torch.testing.assert_close(Margin(log=True)(board)[0], (p[:, 0] - p[:, 1]).log(), atol=1e-5, rtol=0)
    torch.testing.assert_close(TopProbability()(board)[0] + 1, p[:, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(Margin()(board)[0] + 1, p[:, 0] - p[:, 1], atol=1e-6, rtol=0)
    assert ranks(Margin(log=True), board) == ranks(Margin(), board)


def test_views() -> None:
    logits = two_way(torch.tensor([0.9, 0.6]))
    board = make_board(logits, sampled=logits.flip(1))
    for order in (TopProbability, Margin, Entropy):
        assert ranks(order(), board) == [0, 1]
        assert ranks(order(view="sampled"), board) == [1, 0]
        assert order_view(order(view="sampled")) == "sampled"
        with pytest.raises(UserError, match="view"):
            order(view="both")  # type: ignore[arg-type]
    assert order_view(LeftToRight()) == "model"
    for wrap in (lambda order: Noisy(order), lambda order: Prior(order), lambda order: Defer(order, 1)):
        assert order_view(wrap(Margin(view="sampled"))) == "sampled"


def test_a_random_order_is_uniform_and_keyed_by_row_position_and_visit() -> None:
    board = make_board(torch.zeros(4000, 4, 3))
    first = Ranking.of(Random()(board), board.candidates).order[:, 0]
    counts = torch.bincount(first, minlength=4).double()
    # Chi-square with 3 degrees of freedom; 24.3 is exceeded once in 45,000 draws of a fair order.
    assert ((counts - 1000) ** 2 / 1000).sum().item() < 24.3
    again = make_board(torch.zeros(4000, 4, 3), visits=torch.ones(4000, 4, dtype=torch.long))
    assert not torch.equal(Random()(board), Random()(again))
    shifted = make_board(torch.zeros(4000, 4, 3), positions=torch.arange(1, 5).expand(4000, -1))
    assert torch.equal(Random()(board)[:, 1:], Random()(shifted)[:, :-1])


def test_sampled_probability_reads_the_drawn_token() -> None:
    drawn = Drawn(torch.tensor([[2, 1]]), torch.tensor([[math.log(0.1), math.log(0.4)]], dtype=torch.float64))
    board = make_board(two_way(torch.tensor([0.9, 0.4])), drawn=drawn)
    assert ranks(SampledProbability(), board) == [1, 0]
    torch.testing.assert_close(SampledProbability()(board), torch.tensor([[-0.9, -0.6]], dtype=torch.float64))
    torch.testing.assert_close(SampledProbability(log=True)(board), drawn.log_probability)
    assert order_draws(SampledProbability())
    assert order_draws(Noisy(Defer(Prior(SampledProbability()), 1)))
    assert not order_draws(Noisy(Margin()))
    assert not order_draws(lambda board: board.model.entropy)


def test_noise_is_added_to_the_score_and_annealed_by_time() -> None:
    logits = two_way(torch.tensor([0.9, 0.7, 0.6])).expand(2, -1, -1)
    board = make_board(logits, time=torch.tensor([0.5, 0.0], dtype=torch.float64), step=3)
    noise = gumbel(board.seeds[:, None], Purpose.NOISE, board.positions, 3)
    clean = Margin(log=True)(board)
    torch.testing.assert_close(Noisy(Margin(log=True), gumbel=0.5)(board)[0], clean[0] + 0.25 * noise[0])
    assert torch.equal(Noisy(Margin(log=True), gumbel=0.5)(board)[1], clean[1])
    torch.testing.assert_close(Noisy(Margin(log=True), gumbel=0.5, anneal=False)(board), clean + 0.5 * noise)
    bell = normal(board.seeds[:, None], Purpose.NOISE, board.positions, 3)
    torch.testing.assert_close(Noisy(Entropy(), gaussian=0.2, anneal=False)(board), Entropy()(board) + 0.2 * bell)
    later = make_board(logits, step=4)
    assert not torch.equal(Noisy(Entropy(), gaussian=0.2)(later), Noisy(Entropy(), gaussian=0.2)(board))


def test_gumbel_noise_on_log_probabilities_draws_in_proportion() -> None:
    """Gumbel-max: the first position is i with probability p_1(i) / sum p_1."""
    p = torch.tensor([0.9, 0.7, 0.6])
    board = make_board(two_way(p).expand(6000, -1, -1))
    priority = Noisy(TopProbability(log=True), gumbel=1.0, anneal=False)(board)
    counts = torch.bincount(priority.argmax(dim=1), minlength=3).double()
    expected = 6000 * p.double() / p.double().sum()
    # Chi-square with 2 degrees of freedom; 21.4 is exceeded once in 45,000.
    assert ((counts - expected) ** 2 / expected).sum().item() < 21.4


def test_unannealed_noise_scrambles_margins() -> None:
    """The trap: Gumbel noise of 0.5 on margins in [0, 1] hardly respects them; on log margins it does."""
    p = torch.tensor([0.999, 0.51])
    board = make_board(two_way(p).expand(2000, -1, -1))
    plain = (Noisy(Margin(), gumbel=0.5, anneal=False)(board).argmax(dim=1) == 0).double().mean().item()
    logs = (Noisy(Margin(log=True), gumbel=0.5, anneal=False)(board).argmax(dim=1) == 0).double().mean().item()
    assert plain < 0.92
    assert logs > 0.99


def test_a_prior_prefers_places() -> None:
    board = make_board(two_way(torch.tensor([0.6, 0.6, 0.9])))
    assert ranks(Prior(TopProbability(log=True), decay=1.0), board) == [0, 1, 2]
    assert ranks(Prior(TopProbability(log=True), decay=-1.0), board) == [2, 1, 0]
    assert ranks(Prior(TopProbability(), bias=torch.tensor([0.0, 2.0])), board) == [2, 1, 0]
    table = torch.tensor([0.0, 2.0, -1.0])
    torch.testing.assert_close(Prior(LeftToRight(), bias=table)(board), LeftToRight()(board) + table.double())


def test_deferred_tokens_come_last_in_their_own_order() -> None:
    p = torch.tensor([0.9, 0.15, 0.8, 0.4, 0.95])  # token 1 is on top at 0, 2 and 4; token 2 at 1 and 3
    board = make_board(two_way(p))
    assert ranks(TopProbability(), board) == [4, 0, 1, 2, 3]
    assert ranks(Defer(TopProbability(), 1), board) == [1, 3, 4, 0, 2]
    assert ranks(Defer(TopProbability(), (2,)), board) == [4, 0, 2, 1, 3]
    assert ranks(Defer(TopProbability(), (1, 2)), board) == [4, 0, 1, 2, 3]


def test_deferring_keeps_differences_that_a_shift_would_round_away() -> None:
    logits = torch.zeros(1, 3, 3)
    logits[0, :, 1] = torch.tensor([60.0, 80.0, 70.0])
    assert ranks(Defer(Margin(), 1), make_board(logits)) == [1, 2, 0]


def test_non_candidates_come_last() -> None:
    unknown = torch.tensor([[False, True, True, False, True]])
    board = make_board(two_way(torch.tensor([0.9, 0.6, 0.8, 0.9, 0.7])), unknown=unknown)
    for order in (
        TopProbability(),
        Defer(TopProbability(), 1),
        Noisy(Entropy(), gumbel=0.0),
        Prior(Margin(), decay=0.0),
    ):
        ranking = Ranking.of(order(board), board.candidates)
        assert ranking.order[0, :3].tolist() == [2, 4, 1]
        assert ranking.is_ranked.tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Noisy(Margin(), gumbel=-0.1),
        lambda: Noisy(Margin(), gumbel=math.nan),
        lambda: Noisy(Margin(), gumbel=0.5, gaussian=0.1),
        lambda: Noisy(Margin(), gaussian=math.inf),
        lambda: Noisy(Margin(), anneal=1),  # type: ignore[arg-type]
        lambda: Noisy(Margin),  # type: ignore[arg-type]
        lambda: Noisy("margin"),  # type: ignore[arg-type]
        lambda: Margin(log="yes"),  # type: ignore[arg-type]
        lambda: TopProbability(log=1),  # type: ignore[arg-type]
        lambda: SampledProbability(log=None),  # type: ignore[arg-type]
        lambda: Prior(Margin(), decay=math.nan),
        lambda: Prior(Margin(), bias=[0.1]),  # type: ignore[arg-type]
        lambda: Prior(Margin(), bias=torch.zeros(2, 2)),
        lambda: Prior(Margin(), bias=torch.zeros(0)),
        lambda: Prior(Margin(), bias=torch.tensor([1, 2])),
        lambda: Prior(Margin(), bias=torch.tensor([math.nan])),
        lambda: Prior(3),  # type: ignore[arg-type]
        lambda: Defer(Margin(), ()),
        lambda: Defer(Margin(), -1),
        lambda: Defer(Margin(), (1, 2.5)),  # type: ignore[arg-type]
        lambda: Defer(Margin(), True),
        lambda: Defer(Entropy, 1),  # type: ignore[arg-type]
    ],
)
def test_nonsense_is_refused(make) -> None:
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(TypeError):
        Noisy(Margin(), gumble=0.5)  # type: ignore[call-arg]


def test_priors_are_equal_by_what_they_hold() -> None:
    one, other = torch.tensor([0.1, 0.2]), torch.tensor([0.1, 0.3])
    assert Prior(Margin(), bias=one) == Prior(Margin(), bias=one.clone())
    assert hash(Prior(Margin(), bias=one)) == hash(Prior(Margin(), bias=one.clone()))
    assert Prior(Margin(), bias=one) != Prior(Margin(), bias=other)
    assert Prior(Margin(), bias=one) != Prior(Margin())
    assert Prior(Margin(), decay=0.5) == Prior(Margin(), decay=0.5)
    assert Prior(Margin(), decay=0.5) != Margin()
