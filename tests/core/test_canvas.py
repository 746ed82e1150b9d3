"""Canvases: what they refuse, and how they are cut and stacked."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.canvas import DECIDED, GIVEN, PADDING, UNDECIDED, Canvas, State
from anyorder.core.errors import UserError


def canvas_of(batch: int, length: int, seed: int = 0, padded: bool = False) -> Canvas:
    generator = torch.Generator().manual_seed(seed)
    mask = None
    if padded:
        sizes = torch.randint(0, length + 1, (batch, 1), generator=generator)
        mask = torch.arange(length) < sizes
    unknown = torch.rand(batch, length, generator=generator) < 0.5
    hole = torch.rand(batch, length, generator=generator) < 0.5
    real = torch.ones_like(unknown) if mask is None else mask
    tokens = torch.randint(0, 9, (batch, length), generator=generator)
    return Canvas(tokens, unknown & real, mask, {"answer": hole & real})


def test_states() -> None:
    assert [int(state) for state in (GIVEN, DECIDED, UNDECIDED, PADDING)] == [0, 1, 2, 3]
    assert (torch.tensor([0, 3], dtype=torch.int8) == PADDING).tolist() == [False, True]
    assert State(2).name == "UNDECIDED"


def test_what_a_canvas_knows() -> None:
    canvas = canvas_of(3, 5)
    assert (canvas.batch, canvas.length, canvas.device.type) == (3, 5, "cpu")
    assert canvas.positions.tolist() == [list(range(5))] * 3
    assert canvas.to("cpu").tokens.equal(canvas.tokens)


def test_positions_count_real_tokens() -> None:
    mask = torch.tensor([[False, False, True, True], [True, True, True, False], [False] * 4])
    canvas = Canvas(torch.zeros(3, 4, dtype=torch.long), torch.zeros(3, 4, dtype=torch.bool), mask)
    assert canvas.positions[0, 2:].tolist() == [0, 1]
    assert canvas.positions[1, :3].tolist() == [0, 1, 2]


T, U = torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 3, dtype=torch.bool)
ONES = torch.ones(2, 3, dtype=torch.bool)
BAD: dict[str, tuple[tuple[Any, ...], str]] = {
    "a list": (([[1, 2]], U), "tokens must be a torch.int64 tensor"),
    "one axis": ((T[0], U[0]), r"tokens must have shape \(batch, length\), not \(3,\)"),
    "three axes": ((T[None], U[None]), "shape"),
    "floating tokens": ((T.float(), U), r"not torch.float32; convert it with .to\(torch.int64\)"),
    "32-bit tokens": ((T.int(), U), "int64"),
    "integer unknown": ((T, T), "unknown must be torch.bool"),
    "unknown of another shape": ((T, U[:, :2]), r"unknown has shape \(2, 2\), but tokens have \(2, 3\)"),
    "missing unknown": ((T, None), "unknown"),
    "an integer mask": ((T, U, T), "attention_mask must be torch.bool"),
    "a mask of another shape": ((T, U, U[:1]), "attention_mask has shape"),
    "unknown padding": ((T, ONES, ~ONES), "unknown marks row 0, position 0, which is padding"),
    "a hole in the padding": ((T, U, ~ONES, {"a": ONES}), r"holes\['a'\] marks row 0"),
    "holes that are no mapping": ((T, U, None, [U]), "holes"),
    "a hole without a name": ((T, U, None, {"": U}), "non-empty"),
    "a hole of another dtype": ((T, U, None, {"a": T}), r"holes\['a'\] must be torch.bool"),
    "a hole of another shape": ((T, U, None, {"a": U[:1]}), "shape"),
    "another device": ((T, U.to("meta")), "is on meta, but tokens are on cpu"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_canvases_are_refused_in_one_line(case: str) -> None:
    arguments, says = BAD[case]
    with pytest.raises(UserError, match=says) as error:
        Canvas(*arguments)
    assert "\n" not in str(error.value)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError):
        Canvas(T, U, mask=U)  # type: ignore[call-arg]


def test_holes_are_copied() -> None:
    holes = {"a": U}
    canvas = Canvas(T, U, None, holes)
    holes["b"] = U
    assert list(canvas.holes) == ["a"]


def test_rows() -> None:
    canvas = canvas_of(5, 4, padded=True)
    for index in (torch.tensor([3, 0]), slice(1, 3), torch.tensor([True, False, False, True, False])):
        part = canvas.rows(index)
        assert torch.equal(part.tokens, canvas.tokens[index])
        assert torch.equal(part.unknown, canvas.unknown[index])
        assert torch.equal(part.holes["answer"], canvas.holes["answer"][index])
        assert part.attention_mask is not None
        assert canvas.attention_mask is not None
        assert torch.equal(part.attention_mask, canvas.attention_mask[index])


@given(
    shapes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6), st.booleans()), min_size=1, max_size=4),
    side=st.sampled_from(["left", "right"]),
    pad=st.integers(0, 9),
)
def test_stacking_keeps_every_row_and_pads_the_rest(shapes, side, pad) -> None:
    parts = [canvas_of(batch, length, seed, padded) for seed, (batch, length, padded) in enumerate(shapes)]
    whole = Canvas.stack(parts, side=side, pad_token=pad)
    length = max(part.length for part in parts)
    assert whole.tokens.shape == (sum(part.batch for part in parts), length)
    assert (whole.attention_mask is None) == all(p.attention_mask is None and p.length == length for p in parts)
    start = 0
    for part in parts:
        rows = slice(start, start + part.batch)
        start += part.batch
        columns = slice(length - part.length, None) if side == "left" else slice(0, part.length)
        outside = torch.ones(length, dtype=torch.bool)
        outside[columns] = False
        assert torch.equal(whole.tokens[rows, columns], part.tokens)
        assert torch.equal(whole.unknown[rows, columns], part.unknown)
        assert torch.equal(whole.holes["answer"][rows, columns], part.holes["answer"])
        assert bool((whole.tokens[rows][:, outside] == pad).all())
        assert not bool(whole.unknown[rows][:, outside].any())
        if whole.attention_mask is not None:
            real = torch.ones_like(part.unknown) if part.attention_mask is None else part.attention_mask
            assert torch.equal(whole.attention_mask[rows, columns], real)
            assert not bool(whole.attention_mask[rows][:, outside].any())


def test_stacking_unites_holes() -> None:
    one = Canvas(T, U, None, {"a": ONES})
    other = Canvas(T, U, None, {"b": ONES})
    both = Canvas.stack([one, other])
    assert both.holes["a"].tolist() == [[True] * 3] * 2 + [[False] * 3] * 2
    assert both.holes["b"].tolist() == [[False] * 3] * 2 + [[True] * 3] * 2


def test_stacking_refuses_nonsense() -> None:
    with pytest.raises(UserError, match="at least one"):
        Canvas.stack([])
    with pytest.raises(UserError, match="'middle'"):
        Canvas.stack([canvas_of(1, 2)], side="middle")  # type: ignore[arg-type]
