"""Batches of text: pure in their arguments, every window once an epoch, permuted as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.task import TaskData
from anyorder.tasks.text import TextData, TokenSet, make_permutation


@pytest.fixture(scope="module")
def tokens(folder: Path) -> TokenSet:
    return TokenSet(folder)


def places(tokens: TokenSet, rows: torch.Tensor) -> list[int]:
    """Where the rows stand in the split (their text is unique there)."""
    whole = tokens.windows(np.array([0]), len(tokens))[0]
    views = np.lib.stride_tricks.sliding_window_view(whole, rows.shape[1])
    where = {view.tobytes(): place for place, view in enumerate(np.ascontiguousarray(views))}
    return [where[row.numpy().tobytes()] for row in rows]


def test_a_batch_is_a_function_of_its_arguments(tokens: TokenSet, folder: Path) -> None:
    data = TextData(tokens, 48)
    assert isinstance(data, TaskData)
    again = TextData(TokenSet(folder), 48).batch(5, 7, 8)
    assert torch.equal(data.batch(5, 7, 8).tokens, again.tokens)
    assert not torch.equal(data.batch(5, 8, 8).tokens, again.tokens)
    assert not torch.equal(data.batch(6, 7, 8).tokens, again.tokens)
    assert again.tokens.shape == (8, 48)
    assert again.tokens.dtype == torch.int64
    assert bool(again.unknown.all())


def test_an_epoch_takes_every_window_once(tokens: TokenSet) -> None:
    data = TextData(tokens, 48)
    count = len(data)
    one, two = (torch.cat([data.batch(1, epoch * count + k, 1).tokens for k in range(count)]) for epoch in (0, 1))
    for rows in (one, two):
        starts = sorted(places(tokens, rows))
        assert set(np.diff(starts)) == {48}
        assert 0 <= starts[0] < 48
    assert places(tokens, one) != sorted(places(tokens, one))
    assert places(tokens, one)[0] % 48 != places(tokens, two)[0] % 48  # an offset of its own (for these seeds)
    # rows are numbered through, however they are cut into steps
    assert torch.equal(torch.cat([data.batch(1, k, 2).tokens for k in range(3)]), one[:6])


def test_a_split_of_one_window(tokens: TokenSet) -> None:
    data = TextData(tokens, len(tokens))
    assert len(data) == 1
    assert places(tokens, data.batch(0, 3, 2).tokens) == [0, 0]
    with pytest.raises(UserError, match="too few for one sequence"):
        TextData(tokens, len(tokens) + 1)


def test_permuted_rows_stand_behind_a_start_token(tokens: TokenSet) -> None:
    pi = make_permutation("uniform", 48, 2)
    plain, permuted = TextData(tokens, 48).batch(3, 4, 6), TextData(tokens, 48, pi).batch(3, 4, 6)
    assert permuted.tokens.shape == (6, 49)
    assert (permuted.tokens[:, 0] == 256).all()
    assert torch.equal(permuted.tokens[:, 1:], plain.tokens[:, pi])
    assert permuted.unknown[0].tolist() == [False] + [True] * 48
    with pytest.raises(UserError, match=r"has shape \(48,\)"):
        TextData(tokens, 48, pi[:-1])


def test_the_fingerprint_knows_length_and_order(tokens: TokenSet) -> None:
    names = {TextData(tokens, 48).fingerprint, TextData(tokens, 32).fingerprint}
    for order in ("identity", "uniform"):
        for draw in (0, 1):
            names.add(TextData(tokens, 48, make_permutation(order, 48, draw)).fingerprint)
    assert len(names) == 2 + 1 + 2  # the identity has one draw


def test_held_out_rows_are_spread_evenly(tokens: TokenSet) -> None:
    data = TextData(tokens, 32)
    whole = len(tokens) // 32
    starts = places(tokens, data.evenly(5).tokens)
    assert (starts[0], starts[-1]) == (0, (whole - 1) * 32)
    assert all(start % 32 == 0 for start in starts)
    assert len(data.evenly(10**6).tokens) == whole
    with pytest.raises(UserError, match="at least one sequence"):
        data.evenly(0)


@pytest.mark.parametrize("arguments", [(-1, 0, 1), (0, -1, 1), (0, 0, 0)])
def test_what_is_no_batch_is_refused(tokens: TokenSet, arguments: tuple[int, int, int]) -> None:
    with pytest.raises(UserError, match="a batch needs"):
        TextData(tokens, 8).batch(*arguments)
