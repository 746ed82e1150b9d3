"""Classifier-free guidance: the formula, its sessions, its price."""

from __future__ import annotations

import pytest
import torch
from tests.decoding.fakes import MASK, HashDenoiser, TableDenoiser, assert_same, make_canvas, seeds

import anyorder as ao
from anyorder.decoding.guidance import ClassifierFree


def test_the_formula() -> None:
    canvas, plain = make_canvas(4, 8), HashDenoiser()
    tokens = canvas.tokens.masked_fill(canvas.unknown, MASK)
    condition = torch.tensor([True, True, False, True])
    guided = ClassifierFree(HashDenoiser(), 1.5, condition)
    told = plain(tokens, at=canvas.unknown)
    without = tokens.clone()
    without[:, :4][:, condition] = MASK
    untold = plain(without, at=canvas.unknown)
    torch.testing.assert_close(guided(tokens, at=canvas.unknown), 2.5 * told - 1.5 * untold)


def test_no_scale_changes_nothing_but_the_price() -> None:
    canvas = make_canvas()
    guided = ao.decode(ClassifierFree(HashDenoiser(), 0.0), canvas)
    plain = ao.decode(HashDenoiser(), canvas)
    assert torch.equal(guided.tokens, plain.tokens)
    assert torch.equal(guided.nfe, 2 * plain.nfe)


@pytest.mark.parametrize("condition", [None, "first", torch.tensor([True, True, False, True])])
def test_guided_rows_keep_to_themselves_and_calls_are_counted(condition) -> None:
    canvas = make_canvas()
    inner = HashDenoiser()
    result = ao.decode(ClassifierFree(inner, 0.7, condition), canvas, seed=1)
    assert int(result.nfe.sum()) == inner.rows
    assert not torch.equal(result.tokens, ao.decode(HashDenoiser(), canvas, seed=1).tokens)
    row_seed = seeds(canvas.batch, 1)
    for row in range(canvas.batch):
        rows = slice(row, row + 1)
        alone = ao.decode(ClassifierFree(HashDenoiser(), 0.7, condition), canvas.rows(rows), seed=row_seed[rows])
        assert torch.equal(alone.tokens[0], result.tokens[row])


def test_a_session_hides_what_is_given_and_only_that() -> None:
    canvas, inner = make_canvas(), HashDenoiser()
    ao.decode(ClassifierFree(inner, 1.0, "first"), canvas, order=ao.LeftToRight())
    rows = canvas.unknown.any(dim=1)
    told, untold = inner.seen[0], inner.seen[1]
    hidden = (~canvas.unknown & canvas.holes["first"])[rows]
    assert (untold[hidden] == MASK).all()
    assert torch.equal(untold[~hidden], told[~hidden])


def test_padding_changes_nothing() -> None:
    short, long = make_canvas(3, 8, seed=1), make_canvas(3, 12, seed=2)
    row_seed = seeds(6)
    condition = torch.tensor([False, True, True])
    for side in ("left", "right"):
        both = ao.Canvas.stack([short, long], side=side)
        guided = ClassifierFree(HashDenoiser(), 0.5, condition)
        together = ao.decode(guided, both, seed=row_seed)
        alone = ao.decode(guided, short, seed=row_seed[:3])
        assert both.attention_mask is not None
        assert torch.equal(together.tokens[:3][both.attention_mask[:3]].view(3, 8), alone.tokens)


def test_guidance_composes() -> None:
    canvas, inner = make_canvas(), HashDenoiser()
    result = ao.decode(ClassifierFree(ClassifierFree(inner, 0.3, "first"), 0.4, "second"), canvas)
    assert int(result.nfe.sum()) == inner.rows
    assert int(result.nfe.max()) == 4 * int(result.step_of.max() + 1)


def test_what_the_condition_rules_out_stays_ruled_out() -> None:
    logits = torch.zeros(4, 5)
    logits[:, 1:3] = -torch.inf
    canvas = ao.Canvas(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))
    result = ao.decode(ClassifierFree(TableDenoiser(logits, 0), 2.0), canvas, sampler=ao.Temperature())
    assert (result.tokens >= 3).all()


def test_peer_defect_08_guidance_is_not_ignored_outside_of_a_decode() -> None:
    """A likelihood evaluated with a guided denoiser is the guided one; where that cannot be, it is refused."""
    canvas = make_canvas()
    tokens = canvas.tokens.masked_fill(canvas.unknown, MASK)
    guided = ClassifierFree(HashDenoiser(), 1.0, torch.ones(10, dtype=torch.bool))
    assert not torch.equal(guided(tokens, at=canvas.unknown), HashDenoiser()(tokens, at=canvas.unknown))
    with pytest.raises(ao.UserError, match="outside of a decode"):
        ClassifierFree(HashDenoiser(), 1.0)(tokens, at=canvas.unknown)


def test_peer_defect_10_guidance_works_without_an_attention_mask() -> None:
    canvas = make_canvas()
    assert canvas.attention_mask is None
    padded = ao.Canvas(canvas.tokens, canvas.unknown, torch.ones_like(canvas.unknown), canvas.holes)
    one, other = (ao.decode(ClassifierFree(HashDenoiser(), 0.5), each) for each in (canvas, padded))
    assert_same(one, other)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ClassifierFree(HashDenoiser(), -1.0), "scale"),
        (lambda: ClassifierFree(HashDenoiser(), float("nan")), "scale"),
        (lambda: ClassifierFree("model", 1.0), "denoiser"),
        (lambda: ClassifierFree(HashDenoiser(), 1.0, ""), "condition"),
        (lambda: ClassifierFree(HashDenoiser(), 1.0, torch.zeros(3)), "condition"),
        (lambda: ClassifierFree(HashDenoiser(), 1.0, torch.zeros(2, 3, dtype=torch.bool)), "condition"),
        (lambda: ao.decode(ClassifierFree(HashDenoiser(), 1.0, "third"), make_canvas()), "no hole 'third'"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(ao.UserError, match=says):
        make()
