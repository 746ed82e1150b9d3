"""The page in a real browser: keys, buttons, slider, rows, tooltips, chart and address do what they say."""

from __future__ import annotations

import pytest


def test_keyboard_moves_through_steps_and_rows(show, stories) -> None:
    story = stories["sudoku"](2, 2, rows=3)
    page = show(story)
    last = len(story.events[0])
    presses = [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", last), ("ArrowRight", last)]
    presses += [("Home", 0), ("ArrowLeft", 0), (".", 1), (",", 0), ("Shift+ArrowRight", min(10, last))]
    for key, expected in presses:
        page.keyboard.press(key)
        assert page.step == expected, key
    page.keyboard.press("ArrowDown")
    page.until("location.hash.includes('row=1')")
    page.keyboard.press("ArrowUp")
    page.until("location.hash.includes('row=0')")
    page.keyboard.press("ArrowUp")
    assert "row=0" in page.url


def test_slider_and_buttons_by_pointer_leave_the_keys_to_the_page(show, stories) -> None:
    page = show(stories["sudoku"](3, 3, rows=2))
    page.get_by_role("button", name="One step on").click()
    page.get_by_role("button", name="entropy", exact=True).first.click()
    page.keyboard.press("ArrowRight")
    assert page.step == 2
    page.locator("#row").select_option("1")
    page.until("location.hash.includes('row=1')")
    page.locator(".cell").nth(40).click()
    page.keyboard.press("ArrowRight")
    assert page.step == 3
    page.get_by_role("button", name="To the end").click()
    assert page.step == int(page.locator("#slider").get_attribute("max"))


def test_play_runs_to_the_end_and_starts_again(show, stories) -> None:
    story = stories["sudoku"](2, 2)
    page = show(story, "#speed=8")
    page.keyboard.press("Space")
    page.until("document.getElementById('slider').value === document.getElementById('slider').max")
    page.wait_for_selector("#play[aria-label='Play']")
    assert f"step={len(story.events[0])}&" in page.url
    page.locator("#speed").select_option("0.5")
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-label") == "Pause"
    assert page.step < len(story.events[0])


def test_play_pauses(show, stories) -> None:
    page = show(stories["sudoku"](3, 3), "#speed=0.5")
    page.get_by_role("button", name="Play").click()
    page.until("Number(document.getElementById('slider').value) > 0")
    page.keyboard.press("Space")
    assert page.locator("#play").get_attribute("aria-label") == "Play"
    here = page.step
    page.wait_for_timeout(800)  # longer than a step lasts
    assert page.step == here
    assert f"step={here}&" in page.url


def test_address_round_trip(show, stories) -> None:
    story = stories["sudoku"](2, 3, rows=4)
    page = show(story, "#row=3&step=5&colour=entropy&chart=probability&speed=2")
    assert [page.locator(f"#{name}").input_value() for name in ("row", "slider", "speed")] == ["3", "5", "2"]
    for group, value in (("colour", "entropy"), ("chart", "probability")):
        assert page.locator(f"#{group} [aria-pressed=true]").get_attribute("value") == value
    found = [cell["token"] for cell in page.cells()]
    assert found == [cell["token"] for cell in story.cells_after(3, 5)]
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="right or wrong").click()
    address = page.url.split("#")[1]
    assert address == "row=3&step=6&colour=correctness&chart=probability&speed=2"
    before = page.evaluate("document.getElementById('panels').innerText")
    again = show(story, f"#{address}")
    assert again.url.split("#")[1] == address
    assert again.evaluate("document.getElementById('panels').innerText") == before
    again.evaluate("location.hash = '#row=1&step=2'")
    again.until("document.getElementById('row').value === '1'")
    assert again.step == 2


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
    assert 0 <= page.step <= len(story.events[0])
    assert page.locator(".panel").count() == 1
    page.keyboard.press("Home")
    assert page.url.endswith("step=0&colour=step")


def test_rows_of_one_trace_stand_side_by_side(show, stories) -> None:
    story = stories["sudoku"](2, 2, rows=6)
    page = show(story, "#row=4&step=3")
    page.get_by_role("button", name="Add a row beside").click()
    page.until("document.querySelectorAll('.panel').length === 2")
    assert page.url.endswith("#row=4,0&step=3&colour=step")
    page.locator(".panel-row").nth(1).select_option("5")
    page.until("location.hash.includes('row=4,5')")
    for panel, row in enumerate((4, 5)):
        found = [cell["token"] for cell in page.cells(panel)]
        assert found == [cell["token"] for cell in story.cells_after(row, 3)]
    for count in (3, 4):
        page.locator("#beside").click()
        page.until(f"document.querySelectorAll('.panel').length === {count}")
    assert page.locator("#beside").is_disabled()
    page.get_by_role("button", name="Remove this row").first.click()
    page.until("document.querySelectorAll('.panel').length === 3")
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
    assert page.step == 3
    page.keyboard.press(".")
    assert page.step == 4
    page.keyboard.press("Escape")
    assert tooltip.is_hidden()
    page.keyboard.press("ArrowLeft")
    assert page.step == 3


def test_chart_moves_the_step_and_draws_every_decision(show, stories) -> None:
    story = stories["sudoku"](3, 3, mistakes=3, at_once=2)
    page = show(story)
    wrong = (page.locator(".plot path.wrong").get_attribute("d") or "").count("M")
    right = (page.locator(".plot path.right").get_attribute("d") or "").count("M")
    assert (right, wrong) == (len([e for step in story.events[0] for e in step]) - 3, 3)
    box = page.locator(".plot").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
    assert abs(page.step - len(story.events[0]) / 2) <= 1
    for name in ("probability", "entropy"):
        page.locator(f'#chart [value="{name}"]').click()
        assert name in page.locator(".chart figcaption").inner_text()
        assert name in (page.locator(".plot svg").get_attribute("aria-label") or "")
