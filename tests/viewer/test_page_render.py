"""The page as a file: self-contained, safe to open whatever the trace says, and holding what the trace holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.decoding.trace import Trace, trace_decode
from anyorder.models.oracle import EnumeratedJoint
from anyorder.viewer import MOST_TRACES, render_page, write_page

UNDECIDED = 2
HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<!-- <script>",
    "]]>",
    "<img src=x onerror=window.hacked=1>",
    "&lt;b&gt;",
    '"\\u003c',
    "\u2028\u2029",
    "\x00\x1b[31m",
    "\ud800",
    "\u202eevil",
    "{{script}}",
    "{{data}}",
    "__proto__",
    "'; DROP TABLE tokens; --",
]


class Page(HTMLParser):
    """The elements of a page, with the text of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.bodies: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self.open: str | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.bodies:
            self.open = tag
            self.bodies[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.open:
            self.open = None

    def handle_data(self, data: str) -> None:
        if self.open is not None:
            self.bodies[self.open][-1] += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.bodies["script"][0])


def unpacked(row: dict[str, Any]) -> dict[str, Any]:
    return json.loads(zlib.decompress(base64.b64decode(row["data"])))


def boards_of(document: dict[str, Any]) -> list[np.ndarray | None]:
    """The boards of a packed row as arrays (entries, 5), written from the description in the payload's docstring."""
    state = np.array([int(digit) for digit in document["state"]])
    last = np.zeros((len(state), 4))
    boards: list[np.ndarray | None] = []
    for _, flat, remasked, packed in document["steps"]:
        if packed is None:
            boards.append(None)
        else:
            positions = np.flatnonzero(state == UNDECIDED) if packed[0] == 0 else np.array(packed[0], dtype=int)
            last[positions] += np.array(packed[1:]).T
            boards.append(np.column_stack([positions, last[positions] / (1, 1000, 1000, 1000)]))
        state[remasked] = UNDECIDED
        state[flat[::6]] = 1
    return boards


def test_page_loads_nothing_from_elsewhere(stories, read) -> None:
    text = render_page(read(stories["sudoku"](2, 2)))
    page = Page(text)
    for tag, attributes in page.elements:
        assert "src" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        if "href" in attributes:
            assert (attributes["href"] or "").startswith(("#", "data:,")), tag
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|sendBeacon|WebSocket|import\(", text)
    addresses = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name space, never requested


def test_page_policy_names_its_own_script_and_style_and_no_other(stories, read) -> None:
    page = Page(render_page(read(stories["sudoku"](2, 2))))
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None

    def digest(body: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() + "'"

    assert len(page.bodies["script"]) == 2
    assert len(page.bodies["style"]) == 1
    assert f"script-src {digest(page.bodies['script'][1])}" in policy
    assert f"style-src {digest(page.bodies['style'][0])}" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_hostile_names_stay_text(stories, read) -> None:
    story = stories["text"](HOSTILE, 3 * len(HOSTILE))
    trace = read(story)
    page = Page(render_page(trace))
    assert len(page.bodies["script"]) == 2
    assert [tag for tag, _ in page.elements].count("img") == 0
    shown = page.data["traces"][0]["vocabulary"]
    assert [shown[str(token)] for token in range(len(HOSTILE))] == HOSTILE


def test_hostile_strategy_and_model_names_stay_text(stories, read) -> None:
    story = stories["sudoku"](2, 2, name=HOSTILE[0])
    text = story.text().replace('"a model"', json.dumps(HOSTILE[3]))
    page = Page(render_page(read(SimpleNamespace(text=lambda: text))))
    assert page.data["traces"][0]["label"] == HOSTILE[0]
    assert page.data["traces"][0]["model"] == HOSTILE[3]
    assert [tag for tag, _ in page.elements].count("img") == 0


def test_only_the_used_part_of_a_vocabulary_is_written(stories, read) -> None:
    story = stories["text"](["a", "b"], 12)
    story.vocabulary = ["a", "b", "[MASK]", *(f"unused-{i}" for i in range(1000))]
    assert Page(render_page(read(story))).data["traces"][0]["vocabulary"] == {"0": "a", "1": "b", "2": "[MASK]"}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    box=st.sampled_from([(1, 2), (2, 2), (2, 3)]),
    seed=st.integers(0, 10_000),
    remask=st.booleans(),
    at_once=st.integers(1, 3),
    board=st.booleans(),
)
def test_a_row_is_packed_without_loss(stories, read, box, seed, remask, at_once, board) -> None:
    story = stories["sudoku"](*box, seed=seed, decode_seed=seed, remask=remask, at_once=at_once, board=board, rows=2)
    data = Page(render_page(read(story))).data
    for row in data["traces"][0]["rows"]:
        document = unpacked(row)
        tokens, state = story.frames[row["row"]][0]
        assert document["tokens"] == tokens
        assert [int(digit) for digit in document["state"]] == state
        for (nfe, flat, _, _), revealed in zip(document["steps"], story.events[row["row"]], strict=True):
            assert nfe >= 1
            assert flat[::6] == [event["position"] for event in revealed]
            assert flat[1::6] == [event["token"] for event in revealed]
            for offset, name in enumerate(("log_probability", "probability", "margin", "entropy"), start=2):
                assert flat[offset::6] == pytest.approx([event[name] for event in revealed], abs=1e-6)
        for found, expected in zip(boards_of(document), story.boards[row["row"]], strict=True):
            if expected is None:
                assert found is None
            else:
                assert found is not None
                assert np.abs(found - np.array(expected).reshape(-1, 5)).max(initial=0) <= 0.0005 + 1e-9


def test_outcome_of_each_row_is_in_the_clear(stories, read) -> None:
    right = Page(render_page(read(stories["sudoku"](3, 3, mistakes=0)))).data["traces"][0]["rows"][0]
    assert (right["wrong"], right["undecided"]) == (0, 0)
    wrong = Page(render_page(read(stories["sudoku"](3, 3, mistakes=4)))).data["traces"][0]["rows"][0]
    assert (wrong["wrong"], wrong["undecided"]) == (4, 0)
    story = stories["sudoku"](3, 3, stop_after=10)
    stopped = Page(render_page(read(story))).data["traces"][0]["rows"][0]
    assert stopped["undecided"] == story.frames[0][-1][1].count(UNDECIDED) > 0
    unknown = Page(render_page(read(stories["sudoku"](3, 3, solution_known=False)))).data["traces"][0]["rows"][0]
    assert unknown["wrong"] is None


def test_traces_side_by_side_must_start_alike(stories, read) -> None:
    first = read(stories["sudoku"](2, 2, rows=2))
    assert len(Page(render_page([first, read(stories["sudoku"](2, 2, rows=2, decode_seed=5))])).data["traces"]) == 2
    others = {
        "positions": read(stories["sudoku"](2, 3, rows=2)),
        "rows differ": read(stories["sudoku"](2, 2, rows=1)),
        "other tokens": read(stories["sudoku"](2, 2, rows=2, seed=1)),
        "task differs": read(stories["text"](["a", "b"], 16)),
    }
    for said, other in others.items():
        with pytest.raises(UserError, match=rf"trace 2 .*{said}"):
            render_page([first, other])


def test_number_of_traces_is_bounded(stories, read) -> None:
    trace = read(stories["sudoku"](1, 2))
    assert len(Page(render_page([trace] * MOST_TRACES)).data["traces"]) == MOST_TRACES
    for count in (0, MOST_TRACES + 1):
        with pytest.raises(UserError, match="1 to 4 traces"):
            render_page([trace] * count)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "sudoku"},
        {"name": "sudoku", "box_rows": "three", "box_columns": 3},
        {"name": "sudoku", "box_rows": 3, "box_columns": 3},
        {"name": "sudoku", "box_rows": -2, "box_columns": -2},
    ],
)
def test_a_sudoku_task_that_does_not_fit_is_refused(stories, read, task) -> None:
    story = stories["sudoku"](2, 2)
    story.task = task
    with pytest.raises(UserError, match="sudoku"):
        render_page(read(story))


def changed(trace: Trace, step: int | None = None, **values: Any) -> Trace:
    """The trace with its first row, or one step of it, changed."""
    row = trace.rows[0]
    if step is None:
        row = replace(row, **values)
    else:
        row = replace(row, steps=(*row.steps[:step], replace(row.steps[step], **values), *row.steps[step + 1 :]))
    return replace(trace, rows=(row, *trace.rows[1:]))


def test_steps_that_cannot_have_happened_are_refused(stories, read) -> None:
    trace = read(stories["sudoku"](2, 2))
    row = trace.rows[0]
    render_page(trace)
    given = row.state.index(0)
    event, entry = row.steps[1].revealed[0], row.steps[1].board[0]
    bad = [
        (changed(trace, 1, revealed=(replace(event, position=given),)), "step 1: it changes a given position"),
        (changed(trace, 1, remasked=(given,)), "step 1: it changes a given position"),
        (changed(trace, 1, revealed=(event, event)), "step 1: it names a position twice"),
        (changed(trace, 1, remasked=(event.position,)), "step 1: it names a position twice"),
        (changed(trace, 1, board=(entry, entry)), "step 1: its board names a position twice"),
        (changed(trace, 1, board=(entry._replace(entropy=float("nan")),)), "step 1: its board holds a number"),
        (changed(trace, 1, revealed=(replace(event, token=event.token % 4 + 1),)), "do not lead to"),
        (changed(trace, 1, revealed=()), "do not lead to"),
        (changed(trace, tokens=(2**70, *row.tokens[1:])), "is no token"),
        (changed(trace, solution=(-1, *row.tokens[1:])), "is no token"),
        (changed(trace, 1, revealed=(replace(event, token=-5),)), "is no token"),
        (changed(trace, state=(7, *row.state[1:])), "a state is none of 0 .GIVEN."),
    ]
    for one, said in bad:
        with pytest.raises(UserError, match=f"row 0.*{said}"):
            render_page(one)


def test_a_figure_that_is_not_finite_is_left_out(stories, read) -> None:
    trace = read(stories["sudoku"](2, 2))
    event = replace(trace.rows[0].steps[0].revealed[0], log_probability=float("-inf"), probability=0.0)
    document = unpacked(Page(render_page(changed(trace, 0, revealed=(event,)))).data["traces"][0]["rows"][0])
    assert document["steps"][0][1][2:4] == [None, 0]


@pytest.mark.parametrize("name", sorted(strategies))
def test_what_every_named_strategy_does_can_be_shown(name) -> None:
    grids = torch.tensor([[1, 2, 2, 1], [2, 1, 1, 2]])
    model = EnumeratedJoint(torch.tensor([0.7, 0.3]), grids, vocab_size=3, mask_token_id=0, strict=False)
    unknown = torch.tensor([[True] * 4, [False, True, True, True]])
    canvas = Canvas(
        torch.tensor([[0] * 4, [2, 0, 0, 0]]), unknown, holes=dict.fromkeys(strategies[name].holes, unknown)
    )
    trace = trace_decode(model, canvas, strategies[name], name=name, solutions=grids)
    data = Page(render_page(trace)).data["traces"][0]
    assert data["label"] == name
    for row, packed in zip(trace.rows, data["rows"], strict=True):
        assert [nfe for nfe, *_ in unpacked(packed)["steps"]] == [step.nfe for step in row.steps]


def test_page_is_written_whole_or_not_at_all(stories, read, tmp_path: Path) -> None:
    trace = read(stories["sudoku"](2, 2))
    target = tmp_path / "page.html"
    write_page(trace, target)
    assert target.read_text(encoding="utf-8") == render_page(trace)
    with pytest.raises(UserError):
        write_page([trace] * 9, target)
    assert target.read_text(encoding="utf-8") == render_page(trace)
    with pytest.raises(UserError, match="folder"):
        write_page(trace, tmp_path)
    assert [path.name for path in tmp_path.glob("*.html")] == ["page.html"]
    assert not list(tmp_path.glob(".*"))


def test_a_page_is_far_smaller_than_its_trace(stories, read) -> None:
    story = stories["sudoku"](3, 3, rows=20)
    with_boards = len(render_page(read(story)))
    without = len(render_page(read(stories["sudoku"](3, 3, rows=20, board=False))))
    entries = sum(len(board) for row in story.boards.values() for board in row)
    # Boards of pure noise, in which no figure repeats, are the worst case: ten bytes for an entry of five numbers.
    assert with_boards - without < 10 * entries
    assert with_boards < len(story.text()) / 4
