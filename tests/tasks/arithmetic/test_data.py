from __future__ import annotations

import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.arithmetic import (
    HARD,
    NORMAL,
    TOKENIZER,
    ArithmeticData,
    Difficulty,
    Hidden,
    held_out,
    hole_lengths,
    make_problems,
)


def _texts(batch):
    return [TOKENIZER.decode(row.tolist()) for row in batch.tokens]


def test_a_batch_is_a_function_of_seed_and_step():
    data = ArithmeticData()
    one, two = data.batch(1, 5, 16), data.batch(1, 5, 16)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert _texts(one) != _texts(data.batch(1, 6, 16))
    assert _texts(one) != _texts(data.batch(2, 5, 16))


def test_rows_are_whole_problems_that_are_not_held_out():
    data = ArithmeticData(hidden=Hidden(frontier=0))
    batch = data.batch(0, 0, 200)
    assert batch.tokens.shape == (200, data.length)
    assert batch.attention_mask is not None
    assert not (batch.unknown & ~batch.attention_mask).any()
    assert not (batch.unknown & (batch.tokens == TOKENIZER.mask_token_id)).any()
    for text in _texts(batch):
        head, _, answer = text.partition("\nA: ")
        question, _, trace = head.removeprefix("Q: ").partition("\n")
        assert not held_out(question)
        assert trace.rpartition("=")[2] == answer


def test_the_room_that_is_left_in_a_hole_says_nothing_about_its_trace():
    data = ArithmeticData(((NORMAL, 0.5), (HARD, 0.5)), hidden=Hidden(1, 0, 0, 0))
    assert data.reasoning_length == hole_lengths(HARD)[0]
    batch = data.batch(0, 0, 4000)
    holes = batch.unknown.sum(1)
    needed = torch.tensor([len(problem.trace) + 1 for problem in data.rows(0, 0, 4000)])
    for length in needed.unique().tolist():
        found = holes[needed == length]
        if len(found) > 200:
            expected = len(found) / (data.reasoning_length - length + 1)
            counts = found.bincount(minlength=data.reasoning_length + 1)
            assert counts[:length].sum() == 0
            assert (counts[length:] - expected).abs().max() < 5 * expected**0.5


def test_problems_longer_than_their_range_are_refused():
    (long,) = make_problems(HARD, 1, 0, "train")
    with pytest.raises(UserError, match="positions"):
        ArithmeticData(((Difficulty((1, 1)), 1.0),), problems=(long,)).batch(0, 0, 1)


@pytest.mark.parametrize(
    ("hidden", "holes"),
    [
        (Hidden(0, 0, 0, 0), {"trace", "answer"}),
        (Hidden(1, 0, 0, 0), {"trace"}),
        (Hidden(0, 1, 0, 0), {"answer"}),
        (Hidden(0, 0, 1, 0), {"part of the trace"}),
    ],
)
def test_what_rows_hide(hidden, holes):
    batch = ArithmeticData(hidden=hidden).batch(0, 0, 64)
    whole = ArithmeticData(hidden=Hidden(0, 0, 0, 0)).batch(0, 0, 64).unknown
    assert batch.unknown.any(1).all()
    assert not (batch.unknown & ~whole).any()
    starts = [TOKENIZER.decode(row[~gap].tolist()) for row, gap in zip(batch.tokens, batch.unknown, strict=True)]
    for text in starts:
        trace, _, answer = text.removeprefix("Q: ").partition("\n")[2].partition("\nA: ")
        assert bool(answer) == ("answer" not in holes)
        if "part of the trace" not in holes:
            assert bool(trace) == ("trace" not in holes)


def test_the_shares_of_what_is_hidden():
    data = ArithmeticData(hidden=Hidden(0.5, 0.0, 0.0, 0.0))
    whole = ArithmeticData(hidden=Hidden(0, 0, 0, 0)).batch(3, 0, 1000).unknown.sum(1)
    mine = data.batch(3, 0, 1000).unknown.sum(1)
    assert abs((mine < whole).float().mean() - 0.5) < 0.07


def test_spans_lie_within_the_trace_and_are_one_piece():
    unknown = ArithmeticData(hidden=Hidden(0, 0, 1, 0)).batch(0, 0, 100).unknown.long()
    assert (torch.diff(unknown, dim=1, prepend=unknown[:, :1] * 0) == 1).sum(1).tolist() == [1] * 100


def test_frontier_rows_learn_the_next_positions_and_hide_what_is_behind():
    data = ArithmeticData(hidden=Hidden(0, 0, 0, 1, ahead=5))
    batch, whole = data.batch(0, 0, 200), ArithmeticData(hidden=Hidden(0, 0, 0, 0)).batch(0, 0, 200)
    hidden = batch.tokens == TOKENIZER.mask_token_id
    assert torch.equal(batch.tokens[~hidden], whole.tokens[~hidden])
    assert set(batch.unknown.sum(1).tolist()) == {1, 2, 3, 4, 5}
    for asked, behind, hole in zip(batch.unknown, hidden, whole.unknown, strict=True):
        places = hole.nonzero()[:, 0].tolist()
        start = places.index(int(asked.nonzero()[0]))
        stop = start + int(asked.sum())
        assert asked.nonzero()[:, 0].tolist() == places[start:stop]
        assert behind.nonzero()[:, 0].tolist() == places[stop:]


def test_order_is_reading_order():
    batch = ArithmeticData().batch(0, 0, 4)
    assert batch.order is not None
    assert (batch.order[:, 1:] > batch.order[:, :-1]).all()


def test_given_problems_are_drawn_from():
    problems = tuple(make_problems(NORMAL, 3, 0, "train"))
    data = ArithmeticData(problems=problems)
    assert len(data) == 3
    assert {text.split("\n")[0][3:] for text in _texts(data.batch(0, 0, 60))} == {p.question for p in problems}


def test_fingerprints_tell_data_apart():
    prints = {
        ArithmeticData().fingerprint,
        ArithmeticData(((NORMAL, 1.0),)).fingerprint,
        ArithmeticData(((HARD, 1.0),)).fingerprint,
        ArithmeticData(hidden=Hidden(0.2)).fingerprint,
    }
    assert len(prints) == 4
    assert ArithmeticData().fingerprint == ArithmeticData().fingerprint


def test_bad_settings_are_refused():
    for wrong in ({"mixture": ()}, {"mixture": ((NORMAL, 0.0),)}, {"count": 0}):
        with pytest.raises(UserError):
            ArithmeticData(**wrong)
    with pytest.raises(UserError):
        Hidden(0.9, 0.2, 0.0)
    with pytest.raises(UserError, match="ahead"):
        Hidden(ahead=0)
    with pytest.raises(UserError):
        ArithmeticData().batch(0, 0, 0)
