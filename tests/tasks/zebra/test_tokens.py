"""Sequences: what is encoded is read back, and what is wrong is not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.tasks.zebra.cases import SIZES, made

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.tasks.zebra import Layout, Size, solver_order
from anyorder.tasks.zebra.rules import MOST
from anyorder.tasks.zebra.tokens import ATTRIBUTE_TOKEN, HOUSE_TOKEN, ITEM_TOKEN, MASK, NONE, PADDING, VOCAB_SIZE

LAYOUTS = [Layout(6, 6, 40), Layout(6, 6, 40, "triples")]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.answer)


@layouts
def test_what_is_encoded_is_read_back(layout: Layout) -> None:
    puzzles = made(SIZES, 60)
    order = solver_order(puzzles) if layout.answer == "triples" else None
    for given in (None, order):
        tokens, unknown = layout.encode(puzzles, given)
        assert tokens.shape == (60, layout.length)
        assert tokens.min() > MASK
        assert tokens.max() < VOCAB_SIZE
        assert (layout.read(tokens) == puzzles.solutions).all()
        assert layout.verify(puzzles, tokens).all()
        assert not unknown[:, : layout.answer_start].any()
        assert (tokens[:, layout.answer_start :][~unknown[:, layout.answer_start :]] == PADDING).all()
        houses, attributes, clues = layout.read_known(tokens)
        assert (houses == puzzles.houses).all()
        assert (attributes == puzzles.attributes).all()
        assert (clues[:, : puzzles.clues.shape[1]] == puzzles.clues).all()


def test_places_mean_the_same_in_every_puzzle() -> None:
    layout = LAYOUTS[0]
    puzzles = made(SIZES, 60)
    tokens, unknown = layout.encode(puzzles)
    for row in range(60):
        for a in range(puzzles.attributes[row]):
            for h in range(puzzles.houses[row]):
                place = layout.answer_start + a * 6 + h
                assert tokens[row, place] == ITEM_TOKEN + MOST * a + puzzles.solutions[row, a, h]
                assert unknown[row, place]


def test_triples_come_in_the_order_given() -> None:
    layout, puzzles = LAYOUTS[1], made(SIZES, 60)
    assert puzzles.order is not None
    tokens, _ = layout.encode(puzzles, puzzles.order)
    triples = tokens[:, layout.answer_start :].reshape(60, -1, 3)
    for row in range(60):
        cells = int(puzzles.houses[row]) * int(puzzles.attributes[row])
        a, h = triples[row, :cells, 0] - ATTRIBUTE_TOKEN, triples[row, :cells, 1] - HOUSE_TOKEN
        assert (puzzles.order[row, a, h] == np.arange(cells)).all()
        assert (triples[row, cells:] == PADDING).all()
    late = np.where(puzzles.order > 3, -1, puzzles.order)
    some, _ = layout.encode(puzzles, late)
    assert (some[:, layout.answer_start : layout.answer_start + 12] == tokens[:, layout.answer_start :][:, :12]).all()
    assert layout.verify(puzzles, some).all()


@layouts
def test_every_wrong_token_is_found_out(layout: Layout) -> None:
    puzzles = made((Size(3, 3), Size(4, 4)), 25, 4)
    tokens, _ = layout.encode(puzzles)
    rng = np.random.default_rng(0)
    for _ in range(200):
        place = rng.integers(layout.length)
        wrong = tokens.copy()
        wrong[:, place] = rng.integers(VOCAB_SIZE, size=25)
        same = wrong[:, place] == tokens[:, place]
        assert (layout.verify(puzzles, wrong) == same).all()


def test_a_cell_named_twice_or_no_triple_leaves_nothing() -> None:
    layout, puzzles = LAYOUTS[1], made((Size(3, 3),), 25, 4)
    tokens, _ = layout.encode(puzzles)
    start = layout.answer_start
    twice = tokens.copy()
    twice[:, start + 3 : start + 6] = twice[:, start : start + 3]
    none = tokens.copy()
    none[:, start] = NONE
    for wrong in (twice, none):
        assert (layout.read(wrong) == -1).all()
        assert not layout.verify(puzzles, wrong).any()


@layouts
def test_the_canvas_hides_the_answer_alone(layout: Layout) -> None:
    puzzles = made(SIZES, 60)
    tokens, unknown = layout.encode(puzzles)
    canvas = layout.canvas(puzzles)
    assert isinstance(canvas, ao.Canvas)
    assert (canvas.unknown == torch.from_numpy(unknown)).all()
    assert (canvas.holes["grid"] == canvas.unknown).all()
    assert (canvas.tokens[canvas.unknown] == MASK).all()
    assert (canvas.tokens.numpy()[~unknown] == tokens[~unknown]).all()


def test_an_exact_model_solves_by_the_decoding_loop() -> None:
    """A denoiser that knows the answers fills the hole; so every part fits the one loop."""
    puzzles, layout = made((Size(3, 3), Size(4, 4)), 25, 4), Layout(4, 4, 16)
    tokens, _ = layout.encode(puzzles)
    answers = torch.from_numpy(tokens)

    class Oracle:
        vocab_size, mask_token_id = layout.vocab_size, layout.mask_token_id

        def __call__(self, seen, *, attention_mask=None, at):
            rows = torch.stack(
                [
                    answers[(answers[:, : layout.answer_start] == row).all(1)][0]
                    for row in seen[:, : layout.answer_start]
                ]
            )
            return torch.nn.functional.one_hot(rows[at], layout.vocab_size).float() * 20

    result = ao.decode(Oracle(), layout.canvas(puzzles), order=ao.Margin())
    assert layout.verify(puzzles, result.tokens.numpy()).all()
    assert (result.nfe.numpy() == puzzles.houses.astype(int) * puzzles.attributes).all()


def test_refused() -> None:
    puzzles, layout = made((Size(3, 3),), 25, 4), Layout(4, 4, 16)
    tokens, _ = layout.encode(puzzles)
    for make in (
        lambda: Layout(4, 4, 0),
        lambda: Layout(4, 4, 63),
        lambda: Layout(1, 4, 9),
        lambda: Layout(4, 4, 9, "list"),  # pyright: ignore[reportArgumentType]
        lambda: layout.encode(puzzles, puzzles.order),
        lambda: Layout(4, 4, 16, "triples").encode(puzzles, np.zeros((2, 3, 3), np.int64)),
        lambda: layout.read(tokens[:, :-1]),
        lambda: layout.read(tokens.astype(float)),
        lambda: layout.verify(puzzles, tokens[1:]),
        lambda: layout.read_known(np.full_like(tokens, PADDING)),
        lambda: layout.read_known(tokens[:, 1:]),
        lambda: layout.read_known(np.where(np.arange(layout.length) == 2, NONE, tokens)),
    ):
        with pytest.raises(UserError) as caught:
            make()
        assert "\n" not in str(caught.value)
