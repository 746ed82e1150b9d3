"""Stop rules: what each closes."""

from __future__ import annotations

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, TableDenoiser
from tests.planning.boards import make_board, make_progress

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.planning.stopping import EndOfHole, EndOfText

END = 9


def closed(stop, tokens: list[list[int]], undecided: list[list[int]], unknown=None, **holes) -> list[list[int]]:
    missing = torch.tensor(undecided, dtype=torch.bool)
    known = torch.ones_like(missing) if unknown is None else torch.tensor(unknown, dtype=torch.bool)
    masks = {name: torch.tensor(hole, dtype=torch.bool) for name, hole in holes.items()}
    progress = make_progress(known, missing, tokens=torch.tensor(tokens), holes=masks)
    result, _ = stop(progress, make_board(torch.zeros(*missing.shape, 4)), stop.init(progress))
    return [row.nonzero().squeeze(1).tolist() for row in result.close]


def test_end_of_text_closes_what_comes_after_once_all_before_is_decided() -> None:
    stop = EndOfText(END)
    assert closed(stop, [[1, END, 0, 0]], [[0, 0, 1, 1]]) == [[2, 3]]
    assert closed(stop, [[0, END, 0, 0]], [[1, 0, 1, 1]]) == [[]]
    assert closed(stop, [[1, 2, 0, 0]], [[0, 0, 1, 1]]) == [[]]
    assert closed(stop, [[1, END, 5, 0]], [[0, 0, 0, 1]]) == [[3]]


def test_several_end_tokens_and_rows() -> None:
    stop = EndOfText((END, 8))
    tokens = [[1, 8, 0, 0], [END, 0, 0, 0], [1, 1, 1, 1]]
    assert closed(stop, tokens, [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]) == [[2, 3], [1, 2, 3], []]


def test_a_given_end_of_text_does_not_end_anything() -> None:
    assert closed(EndOfText(END), [[END, 1, 0, 0]], [[0, 0, 1, 1]], unknown=[[0, 1, 1, 1]]) == [[]]


def test_an_undecided_position_is_no_end_even_if_the_mask_token_is_the_end_token() -> None:
    assert closed(EndOfText(END), [[END, END, END]], [[1, 1, 1]]) == [[]]


def test_end_of_text_stays_inside_its_hole() -> None:
    stop = EndOfText(END, hole="a")
    a = [[0, 1, 1, 1, 0]]
    assert closed(stop, [[0, END, 0, 0, 0]], [[1, 0, 1, 1, 1]], a=a) == [[2, 3]]
    assert closed(stop, [[END, 1, 0, 0, 0]], [[0, 0, 1, 1, 1]], a=a) == [[]]


def test_end_of_hole_closes_the_row() -> None:
    stop = EndOfHole("a")
    tokens, a = [[1, 1, 0, 0]] * 3, [[1, 1, 0, 0]] * 3
    undecided = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert closed(stop, tokens, undecided, a=a) == [[2, 3], [], []]


def test_a_hole_with_nothing_unknown_ends_nothing() -> None:
    assert closed(EndOfHole("a"), [[1, 0, 0]], [[0, 1, 1]], unknown=[[0, 1, 1]], a=[[1, 0, 0]]) == [[]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EndOfHole(""), "hole"),
        (lambda: EndOfHole(3), "hole"),
        (lambda: EndOfText(()), "tokens"),
        (lambda: EndOfText(-1), "tokens"),
        (lambda: EndOfText("<eos>"), "tokens"),
        (lambda: EndOfText(2, hole=""), "hole"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()


def blank(rows: int, length: int, **holes: slice) -> ao.Canvas:
    masks = {}
    for name, where in holes.items():
        masks[name] = torch.zeros(rows, length, dtype=torch.bool)
        masks[name][:, where] = True
    return ao.Canvas(
        torch.zeros(rows, length, dtype=torch.long), torch.ones(rows, length, dtype=torch.bool), holes=masks
    )


class Warming:
    """Probability of token 1 at the answer (the last two positions) grows with what is decided elsewhere."""

    vocab_size, mask_token_id = 4, 0

    def __init__(self) -> None:
        self.calls, self.asked = 0, []

    def __call__(self, tokens, *, attention_mask=None, at):
        self.calls += 1
        self.asked.append(at)
        decided = (tokens[:, :-2] != 0).sum(dim=1)
        p = torch.full(at.shape, 0.9)
        p[:, -2:] = (0.4 + 0.1 * decided)[:, None].clamp(max=0.999)
        logits = torch.stack((torch.zeros_like(p), p, (1 - p) / 2, (1 - p) / 2), dim=-1).log()
        return logits[at]


@pytest.mark.parametrize("window", [ao.Whole(), ao.Blocks(2)])
def test_reasoning_ends_once_the_answer_is_clear_in_any_block(window) -> None:
    canvas, denoiser = blank(2, 8, answer=slice(6, 8)), Warming()
    parts = {"order": ao.LeftToRight(), "window": window, "stop": ao.AnswerEntropy(1.3)}
    result = ao.decode(denoiser, canvas, **parts)
    # H_UB of two positions at p: below 1.3 nats from p = 0.8 on, that is with four positions decided before the step.
    p = torch.tensor([0.7, 0.8])
    h_ub = 2 * -(p * p.log() + (1 - p) * ((1 - p) / 2).log())
    assert h_ub[0] > 1.3 > h_ub[1]
    assert (result.state[:, :5] == ao.DECIDED).all()
    assert (result.state[:, 5] == ao.UNDECIDED).all()
    assert (result.state[:, 6:] == ao.DECIDED).all()
    assert result.finish_reason == ("answer_entropy",) * 2
    # Five steps of reasoning and two for the answer; the bound itself cost nothing.
    assert result.nfe.tolist() == [7, 7]
    assert denoiser.calls == 7
    assert all(bool(at[:, 6:].all()) for at in denoiser.asked[:5])


def test_an_answer_that_is_all_given_ends_nothing() -> None:
    canvas = blank(1, 5, answer=slice(3, 5))
    canvas = ao.Canvas(canvas.tokens + 1, canvas.unknown & ~canvas.holes["answer"], holes=canvas.holes)
    result = ao.decode(HashDenoiser(), canvas, stop=ao.AnswerEntropy(1e6))
    assert (result.state[canvas.unknown] == ao.DECIDED).all()
    assert result.finish_reason == ("complete",)


def test_the_sum_of_entropies_is_what_counts_not_their_mean() -> None:
    canvas = blank(1, 6, answer=slice(2, 6))
    spread = TableDenoiser(torch.zeros(6, 3), 0)
    four = 4 * torch.tensor(2.0).log().item()
    assert ao.decode(spread, canvas, stop=ao.AnswerEntropy(four - 1e-4)).finish_reason == ("complete",)
    assert ao.decode(spread, canvas, stop=ao.AnswerEntropy(four + 1e-4)).finish_reason == ("answer_entropy",)


def test_prophet_decides_everything_at_once_from_the_same_evaluation() -> None:
    logits = torch.full((9, 4), 0.0)
    logits[:, 2] = 6.0
    canvas = blank(2, 9)
    denoiser = TableDenoiser(logits, 0)
    result = ao.decode(denoiser, canvas, order=ao.LeftToRight(), window=ao.Blocks(3), stop=ao.Prophet(7.5, 5.0, 2.5))
    # The gap is 6: too small while under a third is decided, enough from a third on.
    assert result.nfe.tolist() == [4, 4]
    assert denoiser.calls == 4
    assert (result.tokens == 2).all()
    assert (result.state == ao.DECIDED).all()
    assert result.step_of[0].tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 3]
    assert result.finish_reason == ("prophet", "prophet")
    sooner = ao.decode(TableDenoiser(logits, 0), canvas, stop=ao.Prophet(6.0))
    assert sooner.nfe.tolist() == [1, 1]


def test_prophet_looks_at_its_hole_and_draws_as_one_step_would() -> None:
    logits = torch.zeros(6, 5)
    logits[4:, 3] = 9.0
    canvas = blank(4, 6, answer=slice(4, 6))
    stopped = ao.decode(
        TableDenoiser(logits, 0), canvas, sampler=ao.Temperature(1.0), stop=ao.Prophet(hole="answer"), seed=3
    )
    at_once = ao.decode(TableDenoiser(logits, 0), canvas, sampler=ao.Temperature(1.0), budget=ao.Fixed(6), seed=3)
    assert stopped.nfe.tolist() == [1] * 4
    assert torch.equal(stopped.tokens, at_once.tokens)
    assert ao.decode(TableDenoiser(logits, 0), canvas, stop=ao.Prophet()).nfe.tolist() == [6] * 4


def test_several_rules_end_what_any_ends_and_each_row_says_which() -> None:
    canvas = blank(2, 6, answer=slice(4, 6))
    tokens = canvas.tokens.clone()
    logits = torch.zeros(6, 3)
    logits[0, 1] = 9.0  # token 1 ends the text at once
    stop = ao.Stops(ao.EndOfText(1, hole="answer"), ao.EndOfText(1))
    result = ao.decode(TableDenoiser(logits, 0), ao.Canvas(tokens, canvas.unknown, holes=canvas.holes), stop=stop)
    assert result.finish_reason == ("end_of_text",) * 2
    both = ao.Stops(ao.AnswerEntropy(1e-9, hole="answer"), ao.EndOfText(1))
    result = ao.decode(TableDenoiser(logits, 0), canvas, stop=both)
    assert result.finish_reason == ("end_of_text",) * 2
    assert result.nfe.tolist() == [1, 1]
    clear = ao.Stops(ao.EndOfText(2), ao.AnswerEntropy(1e6, hole="answer"))
    assert ao.decode(TableDenoiser(logits, 0), canvas, stop=clear).finish_reason == ("answer_entropy",) * 2
    assert repr(both) == "Stops(AnswerEntropy(limit=1e-09, hole='answer'), EndOfText(tokens=(1,), hole=None))"


@pytest.mark.parametrize("stop", [ao.AnswerEntropy(0.1), ao.Prophet(hole="answer"), ao.Stops(ao.AnswerEntropy(0.1))])
def test_a_missing_hole_is_named(stop) -> None:
    with pytest.raises(UserError, match="no hole 'answer'"):
        ao.decode(HashDenoiser(), blank(1, 3, other=slice(0, 1)), stop=stop)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ao.AnswerEntropy(-1), "limit"),
        (lambda: ao.AnswerEntropy(0.1, hole=""), "hole"),
        (lambda: ao.Prophet(early=-1.0), "early"),
        (lambda: ao.Stops(), "one stop rule"),
        (lambda: ao.Stops(ao.Prophet), "stop"),
    ],
)
def test_nonsense_about_early_exits_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
