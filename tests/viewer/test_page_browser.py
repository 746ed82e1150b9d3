"""The page in a real browser: every step shows the state that the trace has there, and every control works."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anyorder.viewer import write_page

GIVEN, DECIDED, UNDECIDED, PADDING = 0, 1, 2, 3
STATES = {"given": GIVEN, "decided": DECIDED, "undecided": UNDECIDED, "padding": PADDING}

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

# Contrast of every visible piece of text on the boards with what is painted behind it (WCAG 2.1, relative luminance).
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (...layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const [colour, alpha] of layers) {
      canvas.globalAlpha = alpha;
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const cell of document.querySelectorAll(".cell")) {
    const paper = getComputedStyle(cell.closest(".grid, .strip")).backgroundColor;
    const layers = [[paper, 1], [getComputedStyle(cell).backgroundColor, 1]];
    layers.push([getComputedStyle(cell, "::before").backgroundColor, 1]);
    for (const part of cell.children) {
      const style = getComputedStyle(part);
      if (part.textContent.trim() === "" || style.display === "none") continue;
      const behind = luminance(rgb(...layers));
      const ink = luminance(rgb(...layers, [style.color, Number(style.opacity)]));
      const ratio = (Math.max(behind, ink) + 0.05) / (Math.min(behind, ink) + 0.05);
      found.push([ratio, cell.className + " " + cell.dataset.state + " " + part.className]);
    }
  }
  return found;
}"""


@pytest.fixture
def show(browser: Any, read: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of one or several stories from a file; fails if the page complained or asked for anything else."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def opener(stories: Any, address: str = "", width: int = 1280, height: int = 900, **settings: Any) -> Any:
        listed = stories if isinstance(stories, list) else [stories]
        path = tmp_path / f"page-{len(contexts)}.html"
        write_page([read(story) for story in listed], path)
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + address)
        page.wait_for_selector("html[data-ready]")
        return page

    yield opener
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []


def cells(page: Any, panel: int = 0) -> list[dict[str, Any]]:
    """The cells of a panel as they stand, read in one go."""
    return page.evaluate(
        """(panel) => [...document.querySelectorAll(".panel")[panel].querySelectorAll(".cell")].map((cell) => ({
          token: cell.dataset.token ?? null,
          glyph: cell.querySelector(".glyph").textContent,
          guess: cell.classList.contains("guess"),
          ramp: cell.dataset.ramp,
          at: Number(cell.style.getPropertyValue("--at")),
        }))""",
        panel,
    )


def until(page: Any, expression: str) -> None:
    """Waits until an expression holds in the page. (Playwright's own wait is an `eval`, which the page forbids.)"""
    for _ in range(200):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"it never came true: {expression}")


def step_of(page: Any) -> int:
    return int(page.locator("#slider").input_value())


def expected_cells(story: Any, row: int, step: int) -> list[dict[str, Any]]:
    """What the page must show of a row after ``step`` steps, from the story alone."""
    step = min(step, len(story.frames[row]) - 1)
    tokens, state = story.frames[row][step]
    line = next(line for line in story.lines if line["row"] == row and "solution" in line)
    steps = [line for line in story.lines if line["row"] == row and "step" in line]
    solution = line["solution"]
    fresh = {event["position"] for event in steps[step - 1]["revealed"]} if step else set()
    taken = set(steps[step - 1]["remasked"]) - fresh if step else set()
    expected = []
    for position, (token, what) in enumerate(zip(tokens, state, strict=True)):
        wrong = solution is not None and what == DECIDED and token != solution[position]
        expected.append(
            {
                "state": next(name for name, value in STATES.items() if value == what),
                "token": None if what == UNDECIDED else str(token),
                "fresh": position in fresh,
                "taken": position in taken,
                "wrong": wrong,
            }
        )
    return expected


def check_every_step(page: Any, story: Any, row: int = 0) -> None:
    result = page.evaluate(ALL_STEPS)
    count = result["count"]
    assert count == len(story.frames[row])
    for step, (panel,) in zip([*range(count), count // 2, 0], result["seen"], strict=True):
        expected = expected_cells(story, row, step)
        found = [{name: cell.get(name) for name in expected[0]} for cell in panel]
        assert found == expected, f"step {step}"


@pytest.mark.parametrize(
    ("kind", "arguments", "settings"),
    [
        ("sudoku", (2, 2), {}),
        ("sudoku", (2, 3), {"remask": True}),
        ("sudoku", (3, 3), {"remask": True, "mistakes": 5}),
        ("sudoku", (3, 3), {"stop_after": 9, "at_once": 3}),
        ("sudoku", (3, 3), {"solution_known": False, "board": False}),
        ("sudoku", (4, 4), {"at_once": 8}),
        ("text", (["alpha", " beta", "\n"], 512), {"at_once": 32}),
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
    for position, cell in enumerate(cells(page)):
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
    for position, cell in enumerate(cells(page)):
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
    assert step_of(page) == 3  # the story's third decision is its first mistake
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
    assert step_of(page) == 3


def test_without_a_solution_repeated_digits_are_marked(show, stories) -> None:
    page = show(stories["sudoku"](2, 2, mistakes=2, solution_known=False, board=False))
    page.keyboard.press("End")
    assert page.locator(".cell.wrong").count() == 0
    assert page.locator(".cell.clash").count() > 0
    assert page.locator('[data-holds="wrong"]').is_hidden()
    page = show(stories["sudoku"](2, 2, mistakes=0, solution_known=False, board=False))
    page.keyboard.press("End")
    assert page.locator(".cell.clash").count() == 0


def test_keyboard_moves_through_steps_and_rows(show, stories) -> None:
    story = stories["sudoku"](2, 2, rows=3)
    page = show(story)
    last = len(story.events[0])
    presses = [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", last), ("ArrowRight", last)]
    presses += [("Home", 0), ("ArrowLeft", 0), (".", 1), (",", 0), ("Shift+ArrowRight", min(10, last))]
    for key, expected in presses:
        page.keyboard.press(key)
        assert step_of(page) == expected, key
    page.keyboard.press("ArrowDown")
    until(page, "location.hash.includes('row=1')")
    page.keyboard.press("ArrowUp")
    until(page, "location.hash.includes('row=0')")
    page.keyboard.press("ArrowUp")
    assert "row=0" in page.url


def test_slider_and_buttons_by_pointer_leave_the_keys_to_the_page(show, stories) -> None:
    page = show(stories["sudoku"](3, 3, rows=2))
    page.get_by_role("button", name="One step on").click()
    page.get_by_role("button", name="entropy", exact=True).first.click()
    page.keyboard.press("ArrowRight")
    assert step_of(page) == 2
    page.locator("#row").select_option("1")
    until(page, "location.hash.includes('row=1')")
    page.locator(".cell").nth(40).click()
    page.keyboard.press("ArrowRight")
    assert step_of(page) == 3
    page.get_by_role("button", name="To the end").click()
    assert step_of(page) == int(page.locator("#slider").get_attribute("max"))


def test_play_runs_to_the_end_and_pauses(show, stories) -> None:
    story = stories["sudoku"](2, 2)
    page = show(story, "#speed=8")
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    until(page, "document.getElementById('slider').value === document.getElementById('slider').max")
    page.wait_for_selector("#play[aria-label='Play']")
    assert f"step={len(story.events[0])}&" in page.url
    page.keyboard.press("Space")  # from the end it starts again
    until(page, "Number(document.getElementById('slider').value) > 0")
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    here = step_of(page)
    page.wait_for_timeout(300)
    assert step_of(page) == here


def test_address_round_trip(show, stories) -> None:
    story = stories["sudoku"](2, 3, rows=4)
    page = show(story, "#row=3&step=5&colour=entropy&chart=probability&speed=2")
    assert [page.locator(f"#{name}").input_value() for name in ("row", "slider", "speed")] == ["3", "5", "2"]
    for group, value in (("colour", "entropy"), ("chart", "probability")):
        assert page.locator(f"#{group} [aria-pressed=true]").get_attribute("value") == value
    found = [cell["token"] for cell in cells(page)]
    assert found == [cell["token"] for cell in expected_cells(story, 3, 5)]
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="right or wrong").click()
    address = page.url.split("#")[1]
    assert address == "row=3&step=6&colour=correctness&chart=probability&speed=2"
    before = page.evaluate("document.getElementById('panels').innerText")
    again = show(story, f"#{address}")
    assert again.url.split("#")[1] == address
    assert again.evaluate("document.getElementById('panels').innerText") == before
    again.evaluate("location.hash = '#row=1&step=2'")
    until(again, "document.getElementById('row').value === '1'")
    assert step_of(again) == 2


@pytest.mark.parametrize(
    "address",
    [
        "#row=99&step=-4&colour=red",
        "#step=1e9&row=%00",
        "#step=99999",
        "#row=1,1,x&colour=__proto__",
        "#&&=&",
        "#%E0%A4%A",
    ],
)
def test_impossible_addresses_show_something_possible(show, stories, address) -> None:
    story = stories["sudoku"](2, 2, rows=2)
    page = show(story, address)
    assert 0 <= step_of(page) <= len(story.events[0])
    assert page.locator(".panel").count() == 1
    page.keyboard.press("Home")
    assert page.url.endswith("step=0&colour=step")


def test_several_traces_stand_side_by_side(show, stories) -> None:
    short = stories["sudoku"](2, 3, rows=2, at_once=6, decode_seed=3, name="several at once")
    long = stories["sudoku"](2, 3, rows=2, name="one at a time")
    page = show([long, short], "#row=1")
    assert page.locator(".panel h2").all_inner_texts() == ["one at a time", "several at once"]
    assert int(page.locator("#slider").get_attribute("max")) == len(long.events[1])
    result = page.evaluate(ALL_STEPS)
    for step, panels in enumerate(result["seen"][: result["count"]]):
        for story, panel in zip((long, short), panels, strict=True):
            expected = [(cell["state"], cell["token"]) for cell in expected_cells(story, 1, step)]
            assert [(cell["state"], cell.get("token")) for cell in panel] == expected, step
    page.keyboard.press("End")
    counters = page.locator('[data-counter="nfe"]').all_inner_texts()
    assert counters == [f"{len(story.events[1])} of {len(story.events[1])}" for story in (long, short)]
    boxes = [panel.bounding_box() for panel in page.locator(".panel").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_rows_of_one_trace_stand_side_by_side(show, stories) -> None:
    story = stories["sudoku"](2, 2, rows=6)
    page = show(story, "#row=4&step=3")
    page.get_by_role("button", name="Add a row beside").click()
    until(page, "document.querySelectorAll('.panel').length === 2")
    assert page.url.endswith("#row=4,0&step=3&colour=step")
    page.locator(".panel-row").nth(1).select_option("5")
    until(page, "location.hash.includes('row=4,5')")
    for panel, row in enumerate((4, 5)):
        found = [cell["token"] for cell in cells(page, panel)]
        assert found == [cell["token"] for cell in expected_cells(story, row, 3)]
    for count in (3, 4):
        page.locator("#beside").click()
        until(page, f"document.querySelectorAll('.panel').length === {count}")
    assert page.locator("#beside").is_disabled()
    page.get_by_role("button", name="Remove this row").first.click()
    until(page, "document.querySelectorAll('.panel').length === 3")
    assert "row=5," in page.url


def test_tooltips_on_hover_and_on_focus(show, stories) -> None:
    story = stories["sudoku"](3, 3, mistakes=2)
    page = show(story, "#step=3")
    (event,) = story.events[0][2]
    tooltip = page.locator("#tooltip")
    assert tooltip.is_hidden()
    page.locator(f'.cell[data-position="{event["position"]}"]').hover()
    said = tooltip.inner_text()
    row, column = divmod(event["position"], 9)
    for part in (
        f"Row {row + 1}, column {column + 1}: {event['token']}",
        "decided at step 3 of",
        f"{event['margin']:.3f}",
        f"{event['entropy']:.3f} nats",
        f"First mistake: the solution has {story.lines[0]['solution'][event['position']]}",
    ):
        assert part in said
    page.mouse.move(2, 2)
    assert tooltip.is_hidden()
    page.locator(".grid .cell[tabindex='0']").focus()
    assert "Row 1, column 1" in tooltip.inner_text()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert "Row 2, column 2" in tooltip.inner_text()
    page.keyboard.press("End")
    assert "Row 2, column 9" in tooltip.inner_text()
    assert step_of(page) == 3
    page.keyboard.press(".")
    assert step_of(page) == 4
    page.keyboard.press("Escape")
    assert tooltip.is_hidden()
    page.keyboard.press("ArrowLeft")
    assert step_of(page) == 3


def test_chart_moves_the_step_and_draws_every_decision(show, stories) -> None:
    story = stories["sudoku"](3, 3, mistakes=3, at_once=2)
    page = show(story)
    wrong = (page.locator(".plot path.wrong").get_attribute("d") or "").count("M")
    right = (page.locator(".plot path.right").get_attribute("d") or "").count("M")
    assert (right, wrong) == (len([e for step in story.events[0] for e in step]) - 3, 3)
    box = page.locator(".plot").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    assert abs(step_of(page) - len(story.events[0]) / 2) <= 1
    for name in ("probability", "entropy"):
        page.locator(f'#chart [value="{name}"]').click()
        assert name in page.locator(".chart figcaption").inner_text()
        assert name in (page.locator(".plot svg").get_attribute("aria-label") or "")


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
    for token, cell in zip(story.frames[0][-1][0], cells(page), strict=True):
        assert cell["glyph"] == drawn.get(names[token], names[token])
    page.evaluate(
        """() => document.querySelectorAll(".cell").forEach((cell) =>
          cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true })))"""
    )
    assert page.evaluate("window.hacked") is None
    assert page.locator("img, b.bold").count() == 0


@pytest.mark.parametrize("width", [360, 900])
def test_nothing_runs_over_the_side(show, stories, width) -> None:
    wordy = ["a-rather-long-token-" * 6, "b" * 300, " c"]
    compared = [stories["sudoku"](2, 3, decode_seed=seed, name="name" * 30) for seed in range(4)]
    for shown in (stories["sudoku"](4, 4, rows=2), compared, stories["text"](wordy, 40, board=True)):
        page = show(shown, "#step=4", width=width, height=800)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.locator(".cell").last.hover()
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["sudoku", "text"])
def test_text_on_every_colour_can_be_read(show, stories, scheme, kind) -> None:
    if kind == "sudoku":
        story = stories["sudoku"](3, 3, mistakes=12, solution_known=True)
    else:
        story = stories["text"](["one", "two", "three"], 60, board=True, solution_known=True)
    page = show(story, color_scheme=scheme)
    for colour in ("step", "margin", "entropy", "correctness"):
        for share in (0.3, 0.9):
            step = int(share * len(story.events[0]))
            page.evaluate(f"location.hash = '#step={step}&colour={colour}'")
            page.wait_for_selector(f"#colour [value={colour}][aria-pressed=true]")
            until(page, f"document.getElementById('slider').value === '{step}'")
            for ratio, what in page.evaluate(CONTRASTS):
                # First choices are faint on purpose; 3 to 1 is the bound for large and incidental text.
                least = 3.0 if "undecided" in what else 4.5
                assert ratio >= least, (colour, what)


def test_every_control_and_position_has_a_name(show, stories) -> None:
    page = show(stories["sudoku"](2, 2, rows=2), "#step=2")
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, [role=gridcell], [role=grid], [role=img]")]
          .filter((e) => !e.hidden && !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
          .map((e) => e.outerHTML)"""
    )
    assert unnamed == []
    tree = page.locator(".grid").aria_snapshot()
    assert (tree.count("- row"), tree.count("gridcell")) == (4, 16)
    assert page.locator("[role=gridcell][tabindex='0']").count() == 1


def test_wrong_positions_are_told_without_colour(show, stories) -> None:
    page = show(stories["sudoku"](3, 3, mistakes=2), "#step=99", forced_colors="active")
    for cell in page.locator(".cell.wrong").all():
        assert "solution has" in (cell.get_attribute("aria-label") or "")
        assert "underline" in cell.locator(".glyph").evaluate("glyph => getComputedStyle(glyph).textDecorationLine")


def test_printed_page_keeps_the_board_and_drops_the_controls(show, stories) -> None:
    page = show(stories["sudoku"](3, 3), "#step=12&colour=margin")
    page.emulate_media(media="print")
    for hidden in (".buttons", ".track", ".options", ".keys"):
        assert page.locator(hidden).is_hidden()
    for shown in (".grid", ".plot svg", ".legend", "#position"):
        assert page.locator(shown).is_visible()
    assert page.locator("#position").inner_text().startswith("step 12 of")


def test_padding_is_not_shown(show, stories) -> None:
    page = show(stories["text"](["a", "b"], 20, padding=6))
    assert page.locator(".cell:visible").count() == 14
    assert page.locator('[data-counter="decided"]').inner_text() == "0 of 6"


def test_a_browser_that_cannot_unpack_says_so(show, stories, browser, read, tmp_path) -> None:
    path = tmp_path / "old.html"
    write_page(read(stories["sudoku"](2, 2)), path)
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_selector("#notice:visible")
    assert "too old" in page.locator("#notice").inner_text()
    page.close()
