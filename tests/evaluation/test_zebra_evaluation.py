"""Zebra puzzles are marked by the strict verifier, and no batch size changes a verdict."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.evaluation.zebra import right_in_solver_order, solve_zebra
from anyorder.tasks.zebra import Layout, Puzzles, Recipe, Size, generate, solver_order

LAYOUT = Layout(3, 3, 10)


class Sometimes:
    """Knows the answers of some puzzles, and says nonsense elsewhere."""

    vocab_size, mask_token_id = LAYOUT.vocab_size, LAYOUT.mask_token_id

    def __init__(self, puzzles: Puzzles, known: np.ndarray) -> None:
        tokens = torch.from_numpy(LAYOUT.encode(puzzles)[0])
        self.answers = {tuple(row[: LAYOUT.answer_start].tolist()): row for row in tokens[torch.from_numpy(known)]}

    def __call__(self, tokens, *, attention_mask=None, at):
        first = tokens.clone()
        first[:, LAYOUT.answer_start :] = self.vocab_size - 1
        rows = [self.answers.get(tuple(row[: LAYOUT.answer_start].tolist()), row) for row in first]
        return torch.nn.functional.one_hot(torch.stack(rows)[at], self.vocab_size).float() * 20


def test_what_is_known_is_solved() -> None:
    puzzles = generate(Recipe((Size(3, 2), Size(3, 3)), most_clues=10), 12, 0)
    known = np.arange(12) % 3 > 0
    reports = [solve_zebra(Sometimes(puzzles, known), LAYOUT, puzzles, batch_size=size) for size in (1, 5, 100)]
    for report in reports:
        assert (report.solved == known).all()
        assert report.exact is not None
        assert (report.exact == known).all()
        assert (report.filled == reports[0].filled).all()
        assert (report.nfe == puzzles.houses.astype(int) * puzzles.attributes).all()
    assert reports[0].summary()["solved_share"] == 8 / 12


def test_refused() -> None:
    puzzles = generate(Recipe((Size(3, 3),), most_clues=10), 3, 0)
    model = Sometimes(puzzles, np.ones(3, bool))
    with pytest.raises(UserError, match="do not fit"):
        solve_zebra(model, Layout(3, 2, 10), puzzles)
    model.vocab_size = 5
    with pytest.raises(UserError, match="tokens"):
        solve_zebra(model, LAYOUT, puzzles)


class Asked:
    """Answers truly but at ``wrong``, and keeps what it was shown and asked."""

    def __init__(self, layout: Layout, truth: np.ndarray, wrong: tuple[int, int]) -> None:
        self.vocab_size, self.mask_token_id = layout.vocab_size, layout.mask_token_id
        self.truth, self.wrong, self.shown = torch.from_numpy(truth), wrong, []

    def __call__(self, tokens, *, attention_mask=None, at):
        self.shown.append((tokens.clone(), at.clone()))
        said = self.truth.clone()
        said[self.wrong] += 1
        return torch.nn.functional.one_hot(said[at], self.vocab_size).float()


def test_cells_are_asked_in_the_solvers_order() -> None:
    puzzles = generate(Recipe((Size(3, 2), Size(3, 3)), most_clues=10), 6, 0)
    order, (truth, unknown) = solver_order(puzzles), LAYOUT.encode(puzzles)
    row, attribute, house = 2, 1, 2
    asked = Asked(LAYOUT, truth, (row, LAYOUT.answer_start + attribute * 3 + house))
    right = right_in_solver_order(asked, LAYOUT, puzzles)
    expected = order >= 0
    expected[row, attribute, house] = False
    assert (right == expected).all()
    ranks = LAYOUT.ranks(order)
    assert len(asked.shown) == order.max() + 1
    for turn, (tokens, at) in enumerate(asked.shown):
        assert (at.numpy() == unknown & (ranks == turn)).all()
        assert (tokens.numpy() == np.where(unknown & (ranks >= turn), LAYOUT.mask_token_id, truth)).all()


@pytest.mark.parametrize("part", range(3))
def test_a_triple_is_right_where_all_of_it_is(part: int) -> None:
    layout = Layout(3, 3, 10, "triples")
    puzzles = generate(Recipe((Size(3, 2), Size(3, 3)), most_clues=10), 6, 0)
    order = solver_order(puzzles)
    truth, unknown = layout.encode(puzzles, order)
    row, turn = 4, 3
    asked = Asked(layout, truth, (row, layout.answer_start + 3 * turn + part))
    expected = (order >= 0) & ((np.arange(6)[:, None, None] != row) | (order != turn))
    assert (right_in_solver_order(asked, layout, puzzles) == expected).all()
    ((tokens, at),) = asked.shown
    assert (tokens.numpy() == truth).all()
    assert (at.numpy() == unknown).all()
