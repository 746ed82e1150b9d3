"""Splicing: a canvas after edits is what lists of tokens say, and sessions hear of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import anyorder as ao
from anyorder.core.denoiser import StatelessSession, open_session
from anyorder.core.splicing import Edit


def canvas_of(lengths: list[int], side: Any = "right") -> ao.Canvas:
    rows = []
    for number, length in enumerate(lengths):
        tokens = torch.arange(length)[None] + 100 * number
        unknown = tokens % 3 == 0
        rows.append(ao.Canvas(tokens, unknown, holes={"even": tokens % 2 == 0}))
    return ao.Canvas.stack(rows, side=side)


@given(st.data())
def test_as_lists_would_have_it(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    canvas = canvas_of(lengths, data.draw(st.sampled_from(["left", "right"])))
    edits, expected = [], []
    for row, length in enumerate(lengths):
        offset = (
            canvas.length - length if canvas.attention_mask is not None and not canvas.attention_mask[row, 0] else 0
        )
        tokens: list[tuple[int, bool, bool, bool]] = []
        at = 0
        for start in sorted(data.draw(st.sets(st.integers(0, length), max_size=3))):
            if start < at:
                continue
            remove = data.draw(st.integers(0, min(2, length - start)))
            insert = data.draw(st.lists(st.integers(900, 999), max_size=3))
            unknown = data.draw(st.booleans())
            tokens += [(100 * row + i, (100 * row + i) % 3 == 0, i % 2 == 0, False) for i in range(at, start)]
            tokens += [(token, unknown, False, True) for token in insert]
            edits.append(Edit(row, offset + start, remove, insert, unknown, "new"))
            at = start + remove
        expected.append(
            tokens + [(100 * row + i, (100 * row + i) % 3 == 0, i % 2 == 0, False) for i in range(at, length)]
        )
    made, source = canvas.splice(edits, pad_token=7)
    real = torch.ones_like(made.unknown) if made.attention_mask is None else made.attention_mask
    for row, wanted in enumerate(expected):
        here = real[row]
        found = (made.tokens, made.unknown, made.holes["even"], made.holes.get("new", torch.zeros_like(real)))
        assert list(zip(*(part[row][here].tolist() for part in found), strict=True)) == wanted
        assert bool(here[: len(wanted)].all())
        assert (made.tokens[row][~here] == 7).all()
    kept = source >= 0
    assert torch.equal(canvas.tokens.gather(1, source.clamp(min=0))[kept], made.tokens[kept])


def test_sessions_are_told_or_refuse() -> None:
    canvas = canvas_of([4, 2])
    heard: list[torch.Tensor] = []

    class Follows:
        def splice(self, source: torch.Tensor) -> None:
            heard.append(source)

    made = canvas.splice([Edit(1, 1, insert=[5, 6], unknown=True)], sessions=[Follows()])  # type: ignore[list-item]
    assert torch.equal(heard[0], made.source)
    assert made.source.tolist() == [[0, 1, 2, 3], [0, -1, -1, 1]]
    assert made.canvas.attention_mask is None
    with pytest.raises(ao.UserError, match="object cannot follow"):
        canvas.splice([], sessions=[object()])  # type: ignore[list-item]
    oracle = ao.EnumeratedJoint(torch.ones(2, 2))
    session = open_session(oracle, canvas)
    assert isinstance(session, StatelessSession)
    canvas.splice([], sessions=[session])


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([Edit(2, 0)], "there is no row 2; the canvas has 2"),
        ([Edit(0, 5)], "goes beyond its end, 4"),
        ([Edit(0, 3, 2)], "goes beyond its end, 4"),
        ([Edit(0, 1, 2), Edit(0, 2)], "position 2 of row 0 overlaps"),
        ([Edit(0, 1), Edit(0, 1)], "position 1 of row 0 overlaps"),
        ([Edit(1, 0)], "position 0 of row 1 lies in the padding"),
    ],
)
def test_what_is_not_there_is_refused(edits: list[Edit], message: str) -> None:
    with pytest.raises(ao.UserError, match=message):
        canvas_of([4, 2], side="left").splice(edits)


@pytest.mark.parametrize(
    "bad", [{"row": -1}, {"start": True}, {"remove": 1.0}, {"insert": [-1]}, {"insert": ["a"]}, {"insert": [True]}]
)
def test_bad_edits_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ao.UserError, match="splice:"):
        Edit(**{"row": 0, "start": 0, **bad})
