"""The page in a real browser: legible, named for those who do not see it, within narrow windows, and on paper."""

from __future__ import annotations

import pytest

from anyorder.viewer import write_page

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


@pytest.mark.parametrize("width", [360, 900])
def test_nothing_runs_over_the_side(show, stories, width) -> None:
    wordy = ["a-rather-long-token-" * 6, "b" * 300, " c"]
    compared = [stories["sudoku"](2, 3, decode_seed=seed, name="name" * 30, at_once=4) for seed in range(4)]
    alone = [stories["sudoku"](4, 4, rows=2, at_once=9), stories["text"](wordy, 40, board=True)]
    for shown in [compared, *alone] if width < 500 else [compared]:
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
        step = int(0.7 * len(story.events[0]))
        page.evaluate(f"location.hash = '#step={step}&colour={colour}'")
        page.wait_for_selector(f"#colour [value={colour}][aria-pressed=true]")
        contrasts = page.evaluate(CONTRASTS)
        assert len(contrasts) >= 60
        for ratio, what in contrasts:
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


def test_a_browser_that_cannot_unpack_says_so(show, stories, browser, read, tmp_path) -> None:
    path = tmp_path / "old.html"
    write_page(read(stories["sudoku"](2, 2)), path)
    page = browser.new_page()
    page.add_init_script("delete window.DecompressionStream")
    page.goto(path.as_uri())
    page.wait_for_selector("#notice:visible")
    assert "too old" in page.locator("#notice").inner_text()
    page.close()
