from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.reasoning import insert_reflection, reopen, weakest_span


def _canvas(batch: int = 1, length: int = 6, answer: int = 2) -> ao.Canvas:
    unknown = torch.ones(batch, length, dtype=torch.bool)
    unknown[:, 0] = False
    hole = torch.zeros_like(unknown)
    hole[:, length - answer :] = True
    tokens = torch.arange(length).expand(batch, -1).clone()
    return ao.Canvas(tokens, unknown, holes={"reasoning": unknown & ~hole, "answer": hole})


def _decoded(log_probability: torch.Tensor) -> ao.Decoded:
    model = ao.EnumeratedJoint(torch.ones(2, 2))
    plain = ao.decode(model, ao.Canvas(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool)))
    return dataclasses.replace(plain, log_probability=log_probability)


def _by_hand(values: list[float], hole: list[bool], size: int) -> tuple[int, int, float] | None:
    places = [i for i, (value, inside) in enumerate(zip(values, hole, strict=True)) if inside and not math.isnan(value)]
    if not places:
        return None
    size = min(size, len(places))
    windows = [places[i : i + size] for i in range(len(places) - size + 1)]
    means = [sum(values[i] for i in window) / size for window in windows]
    best = min(range(len(windows)), key=lambda i: (round(means[i], 9), i))
    return windows[best][0], windows[best][-1] + 1, means[best]


numbers = st.one_of(st.sampled_from([-3.0, -1.5, -0.25, 0.0]), st.just(math.nan))


@given(st.lists(st.tuples(numbers, st.booleans()), min_size=1, max_size=9), st.integers(1, 5))
def test_the_weakest_span_by_hand(cells, size):
    values, hole = [value for value, _ in cells], [inside for _, inside in cells]
    span = weakest_span(_decoded(torch.tensor([values], dtype=torch.float64)), torch.tensor([hole]), size)
    wanted = _by_hand(values, hole, size)
    if wanted is None:
        assert (int(span.start), int(span.end)) == (0, 0)
        assert math.isnan(float(span.mean))
        assert not span.mask(len(values)).any()
    else:
        assert (int(span.start), int(span.end)) == wanted[:2]
        assert float(span.mean) == pytest.approx(wanted[2])
        assert span.mask(len(values)).nonzero()[:, 1].tolist() == list(range(*wanted[:2]))


def test_reopening_opens_the_span_and_the_answer():
    canvas = _canvas()
    decoded = torch.tensor([[0, 11, 12, 13, 14, 15]])
    span = torch.tensor([[False, False, True, False, False, False]])
    opened = reopen(canvas, decoded, span)
    assert opened.unknown.tolist() == [[False, False, True, False, True, True]]
    assert opened.tokens[0, [0, 1, 3]].tolist() == [0, 11, 13]
    rest = reopen(canvas, decoded, span, rest=True)
    assert rest.unknown.tolist() == [[False, False, True, True, True, True]]
    assert reopen(canvas, decoded, span, holes=()).unknown.sum() == 1


def test_given_positions_stay_given():
    span = torch.ones(1, 6, dtype=torch.bool)
    assert not reopen(_canvas(), torch.zeros(1, 6, dtype=torch.int64), span).unknown[0, 0]
    with pytest.raises(UserError, match="hole"):
        reopen(_canvas(), torch.zeros(1, 6, dtype=torch.int64), span, holes=("reply",))


def test_a_reflection_moves_the_rest_to_the_right():
    canvas = _canvas(2)
    made, source = insert_reflection(canvas, [70, 71], torch.tensor([3, -1]), free=2, mask_token_id=99, pad_token=98)
    assert source.tolist() == [[0, 1, 2, -1, -1, -1, -1, 3, 4, 5], [0, 1, 2, 3, 4, 5, -1, -1, -1, -1]]
    assert made.tokens[0, 3:5].tolist() == [70, 71]
    assert made.unknown[0].tolist() == [False, True, True, False, False, True, True, True, True, True]
    assert made.holes["reasoning"][0].tolist() == [False] + [True] * 7 + [False] * 2
    assert made.attention_mask is not None
    assert made.attention_mask.sum(1).tolist() == [10, 6]
    assert made.tokens[1, :6].tolist() == canvas.tokens[1].tolist()


def test_a_reflection_without_free_positions_and_none_at_all():
    canvas = _canvas()
    made = insert_reflection(canvas, [70], torch.tensor([2])).canvas
    assert made.length == 7
    assert made.unknown.sum() == canvas.unknown.sum()
    assert insert_reflection(canvas, [], torch.tensor([2])).canvas.length == 6
    with pytest.raises(UserError, match="free"):
        insert_reflection(canvas, [1], torch.tensor([2]), free=-1)


def test_mending_a_decode_end_to_end():
    # The second position copies the first, the answer the second. A decode that got the first wrong is mended there.
    joint = torch.zeros(2, 2, 2, 2, dtype=torch.float64)
    joint[0, 0, 0, 0], joint[1, 1, 1, 1] = 0.3, 0.7
    model = ao.EnumeratedJoint(joint)
    hole = torch.zeros(1, 4, dtype=torch.bool)
    hole[:, 3] = True
    canvas = ao.Canvas(
        torch.zeros(1, 4, dtype=torch.int64), torch.ones_like(hole), holes={"reasoning": ~hole, "answer": hole}
    )
    first = ao.decode(model, canvas, order=ao.LeftToRight())
    span = weakest_span(first, canvas.holes["reasoning"], 1)
    assert int(span.start) == 0
    again = reopen(canvas, first.tokens, span.mask(4), rest=True)
    assert torch.equal(ao.decode(model, again, order=ao.LeftToRight()).tokens, first.tokens)
    kept = reopen(canvas, first.tokens, torch.zeros_like(hole))
    assert ao.decode(model, kept).nfe.tolist() == [1]
