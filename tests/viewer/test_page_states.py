"""The page in a real browser: every step shows the state that the trace has there."""

from __future__ import annotations

from typing import Any

import pytest

UNDECIDED = 2

ALL_STEPS = """() => {
  const slider = document.getElementById("slider");
  const seen = [];
  const steps = [...Array(Number(slider.max) + 1).keys()];
  for (const step of [...steps, steps.length >> 1, 0]) {
    slider.value = step;
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    const panels = [...document.querySelectorAll(".panel")].map((panel) => [...panel.querySelectorAll(".cell")]);
    seen.push(panels.map((cells) => cells.map((cell) => ({
      state: cell.dataset.state,
      token: cell.dataset.token,
      glyph: cell.querySelector(".glyph").textContent,
      fresh: cell.classList.contains("fresh"),
      taken: cell.classList.contains("taken"),
      wrong: cell.classList.contains("wrong"),
      first: cell.classList.contains("first"),
    }))));
  }
  return { count: steps.length, seen };
}"""


def check_every_step(page: Any, story: Any, row: int = 0) -> None:
    result = page.evaluate(ALL_STEPS)
    count = result["count"]
    assert count == len(story.frames[row])
    for step, (panel,) in zip([*range(count), count // 2, 0], result["seen"], strict=True):
        expected = story.cells_after(row, step)
        found = [{name: cell.get(name) for name in expected[0]} for cell in panel]
        assert found == expected, f"step {step}"


@pytest.mark.parametrize(
    ("kind", "arguments", "settings"),
    [
        ("sudoku", (2, 2), {}),
        ("sudoku", (2, 3), {"remask": True}),
        ("sudoku", (3, 3), {"remask": True, "mistakes": 5, "board": False}),
        ("sudoku", (3, 3), {"stop_after": 5, "at_once": 4}),
        ("sudoku", (3, 4), {"solution_known": False, "board": False, "at_once": 9}),
        ("sudoku", (4, 4), {"at_once": 8}),
        ("text", (["alpha", " beta", "\n"], 512), {"at_once": 84}),
        ("text", (["a", "b"], 64), {"board": True, "padding": 9, "solution_known": True}),
        ("text", (["a"], 8), {"given": 8}),
    ],
)
def test_every_step_shows_the_state_of_the_trace(show, stories, kind, arguments, settings) -> None:
    story = stories[kind](*arguments, **settings)
    page = show(story)
    check_every_step(page, story)
    layout = "grid" if kind == "sudoku" else "strip"
    assert page.locator(f".{layout}").count() == 1


def test_glyphs_are_the_names_of_the_tokens_and_first_choices_are_faint(show, stories) -> None:
    story = stories["sudoku"](3, 3)
    page = show(story, "#step=7")
    tokens, state = story.frames[0][7]
    board = {int(entry[0]): int(entry[1]) for entry in story.boards[0][7]}
    for position, cell in enumerate(page.cells()):
        shown = board[position] if state[position] == UNDECIDED else tokens[position]
        assert (cell["glyph"], cell["guess"]) == (str(shown), state[position] == UNDECIDED)
    page.keyboard.press("End")
    assert page.locator(".guess").count() == 0


@pytest.mark.parametrize("colour", ["step", "margin", "entropy", "correctness"])
def test_colours_follow_the_figures_of_the_trace(show, stories, colour) -> None:
    story = stories["sudoku"](3, 3, mistakes=3)
    step = 20
    page = show(story, f"#step={step}&colour={colour}")
    most = page.evaluate("JSON.parse(document.getElementById('data').textContent).entropy_most")
    events = {event["position"]: (at, event) for at, (event,) in enumerate(story.events[0][:step])}
    board = {int(entry[0]): entry for entry in story.boards[0][step]}
    solution = story.lines[0]["solution"]
    last = len(story.events[0]) - 1
    for position, cell in enumerate(page.cells()):
        if position in events:
            at, event = events[position]
            expected = {
                "step": at / last,
                "margin": event["margin"],
                "entropy": 1 - event["entropy"] / most,
                "correctness": float(event["token"] == solution[position]),
            }[colour]
            ramp = {"step": "step", "correctness": "outcome"}.get(colour, "sure")
        elif position in board:
            expected = 1 - board[position][4] / most if colour == "entropy" else board[position][3]
            ramp = "sure"
        else:
            expected, ramp = 0.0, "none"
        assert cell["at"] == pytest.approx(expected, abs=2e-3), position
        assert cell["ramp"] == ramp


def test_first_mistake_is_marked_and_reached(show, stories) -> None:
    story = stories["sudoku"](3, 3, mistakes=2)
    page = show(story)
    page.keyboard.press("m")
    assert page.step == 3  # the story's third decision is its first mistake
    (event,) = story.events[0][2]
    first = page.locator(".cell.first")
    assert first.count() == 1
    assert first.get_attribute("data-position") == str(event["position"])
    page.keyboard.press("End")
    assert page.locator(".cell.first").get_attribute("data-position") == str(event["position"])
    assert page.locator(".cell.wrong").count() == 2
    assert page.locator('[data-counter="wrong"]').inner_text() == "2"
    page.keyboard.press("Home")
    page.get_by_role("button", name="first at step 3").click()
    assert page.step == 3


def test_without_a_solution_repeated_digits_are_marked(show, stories) -> None:
    page = show(stories["sudoku"](2, 2, mistakes=2, solution_known=False, board=False))
    page.keyboard.press("End")
    assert page.locator(".cell.wrong").count() == 0
    assert page.locator(".cell.clash").count() > 0
    assert page.locator('[data-holds="wrong"]').is_hidden()
    page = show(stories["sudoku"](2, 2, mistakes=0, solution_known=False, board=False))
    page.keyboard.press("End")
    assert page.locator(".cell.clash").count() == 0


def test_several_traces_stand_side_by_side(show, stories) -> None:
    short = stories["sudoku"](2, 3, rows=2, at_once=6, decode_seed=3, name="several at once")
    long = stories["sudoku"](2, 3, rows=2, name="one at a time")
    page = show([long, short], "#row=1")
    assert page.locator(".panel h2").all_inner_texts() == ["one at a time", "several at once"]
    assert int(page.locator("#slider").get_attribute("max")) == len(long.events[1])
    result = page.evaluate(ALL_STEPS)
    for step, panels in enumerate(result["seen"][: result["count"]]):
        for story, panel in zip((long, short), panels, strict=True):
            expected = [(cell["state"], cell["token"]) for cell in story.cells_after(1, step)]
            assert [(cell["state"], cell.get("token")) for cell in panel] == expected, step
    page.keyboard.press("End")
    counters = page.locator('[data-counter="nfe"]').all_inner_texts()
    assert counters == [f"{len(story.events[1])} of {len(story.events[1])}" for story in (long, short)]
    boxes = [panel.bounding_box() for panel in page.locator(".panel").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_hostile_tokens_stay_text(show, stories) -> None:
    names = [
        "</script><script>window.hacked = 1</script>",
        "<img src=x onerror='window.hacked=1'>",
        "</div></body>",
        "\u202e<b>bold</b>",
        "{{script}}",
        "__proto__",
        "a\nb",
        "\u2028",
        "",
    ]
    story = stories["text"](names, 45, board=True, solution_known=True)
    page = show(story, "#colour=margin")
    check_every_step(page, story)
    page.keyboard.press("End")
    drawn = {"a\nb": "a\u21b5\nb", "": "\u2205", "\u2028": "\u21b5\n", "\u202e<b>bold</b>": "<202e><b>bold</b>"}
    for token, cell in zip(story.frames[0][-1][0], page.cells(), strict=True):
        assert cell["glyph"] == drawn.get(names[token], names[token])
    page.evaluate(
        """() => document.querySelectorAll(".cell").forEach((cell) =>
          cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true })))"""
    )
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, b.bold").count() == 0


def test_padding_is_not_shown(show, stories) -> None:
    page = show(stories["text"](["a", "b"], 20, padding=6))
    assert page.locator(".cell:visible").count() == 14
    assert page.locator('[data-counter="decided"]').inner_text() == "0 of 6"
