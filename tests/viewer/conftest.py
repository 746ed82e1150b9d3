"""Traces written by hand, line by line, with the states that a page must show; and a browser to look at it."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyorder.decoding.trace import Trace, read_trace
from anyorder.viewer import write_page

GIVEN, DECIDED, UNDECIDED, PADDING = 0, 1, 2, 3
NAMES = {"given": GIVEN, "decided": DECIDED, "undecided": UNDECIDED, "padding": PADDING}
PATIENCE = 30  # seconds before a page that does not answer fails a test
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@dataclass
class Story:
    """A trace in the making, and after every step the tokens and states that it leads to (``frames[row][step]``)."""

    length: int
    mask: int
    task: dict[str, Any] | None = None
    vocabulary: list[str] | None = None
    name: str = "margin"
    lines: list[dict[str, Any]] = field(default_factory=list)
    frames: dict[int, list[tuple[list[int], list[int]]]] = field(default_factory=dict)
    events: dict[int, list[list[dict[str, Any]]]] = field(default_factory=dict)
    boards: dict[int, list[list[list[float]] | None]] = field(default_factory=dict)

    def start(self, row: int, tokens: Sequence[int], state: Sequence[int], solution: Sequence[int] | None) -> None:
        self.frames[row] = [(list(tokens), list(state))]
        self.events[row], self.boards[row] = [], []
        listed = None if solution is None else list(solution)
        self.lines.append({"row": row, "tokens": list(tokens), "state": list(state), "solution": listed})

    def step(
        self,
        row: int,
        revealed: list[dict[str, Any]],
        remasked: Sequence[int] = (),
        board: list[list[float]] | None = None,
    ) -> None:
        tokens, state = (list(values) for values in self.frames[row][-1])
        for position in remasked:
            tokens[position], state[position] = self.mask, UNDECIDED
        for event in revealed:
            tokens[event["position"]], state[event["position"]] = event["token"], DECIDED
        index = len(self.frames[row]) - 1
        line: dict[str, Any] = {"row": row, "step": index, "nfe": index + 1, "revealed": revealed}
        line |= {"remasked": list(remasked), "undecided": state.count(UNDECIDED)}
        if board is not None:
            line["board"] = board
        self.lines.append(line)
        self.frames[row].append((tokens, state))
        self.events[row].append(revealed)
        self.boards[row].append(board)

    def finish(self, row: int, reason: str = "complete") -> None:
        tokens, state = self.frames[row][-1]
        nfe = len(self.frames[row]) - 1
        self.lines.append({"row": row, "finish_reason": reason, "nfe": nfe, "tokens": tokens, "state": state})

    def cells_after(self, row: int, step: int) -> list[dict[str, Any]]:
        """What a page must show of a row after ``step`` steps, computed here alone."""
        step = min(step, len(self.frames[row]) - 1)
        tokens, state = self.frames[row][step]
        line = next(line for line in self.lines if line["row"] == row and "solution" in line)
        steps = [line for line in self.lines if line["row"] == row and "step" in line]
        solution = line["solution"]
        fresh = {event["position"] for event in steps[step - 1]["revealed"]} if step else set()
        taken = set(steps[step - 1]["remasked"]) - fresh if step else set()
        expected = []
        for position, (token, what) in enumerate(zip(tokens, state, strict=True)):
            wrong = solution is not None and what == DECIDED and token != solution[position]
            expected.append(
                {
                    "state": next(name for name, value in NAMES.items() if value == what),
                    "token": None if what == UNDECIDED else str(token),
                    "fresh": position in fresh,
                    "taken": position in taken,
                    "wrong": wrong,
                }
            )
        return expected

    def text(self) -> str:
        header = {
            "anyorder_trace": 1,
            "model": "a model",
            "strategy": {"name": self.name, "order": "Margin()", "budget": "OneByOne()"},
            "seed": 0,
            "task": self.task,
            "vocabulary": self.vocabulary,
            "length": self.length,
            "rows": len(self.frames),
            "mask_token_id": self.mask,
        }
        return "".join(json.dumps(line) + "\n" for line in [header, *self.lines])


def decision(position: int, token: int, rng: np.random.Generator) -> dict[str, Any]:
    """A revealed position with figures that agree with one another."""
    top = float(rng.beta(6, 1))
    margin = top - float(rng.uniform(0, 1)) * min(top, 1 - top)
    entropy = -top * math.log(top) - (1 - top) * math.log(max(1 - top, 1e-12))
    figures = {"log_probability": math.log(top), "probability": top, "margin": margin, "entropy": entropy}
    return {"position": int(position), "token": int(token)} | figures


def board_of(state: Sequence[int], tokens: int, rng: np.random.Generator) -> list[list[float]]:
    entries = []
    for position in np.flatnonzero(np.asarray(state) == UNDECIDED).tolist():
        event = decision(position, int(rng.integers(1, tokens + 1)), rng)
        entries.append([position, event["token"], event["probability"], event["margin"], event["entropy"]])
    return entries


def solved_grid(box_rows: int, box_columns: int, rng: np.random.Generator) -> list[int]:
    size = box_rows * box_columns
    digits = rng.permutation(size) + 1
    index = np.arange(size)
    shift = box_columns * (index % box_rows) + index // box_rows
    return digits[(shift[:, None] + index[None, :]) % size].ravel().tolist()


def sudoku_story(
    box_rows: int,
    box_columns: int,
    *,
    rows: int = 1,
    seed: int = 0,
    decode_seed: int = 0,
    at_once: int = 1,
    mistakes: int = 2,
    board: bool = True,
    remask: bool = False,
    stop_after: int | None = None,
    solution_known: bool = True,
    name: str = "margin",
) -> Story:
    """Grids filled in a shuffled order, with a known number of mistakes; ``seed`` fixes the puzzles."""
    size = box_rows * box_columns
    task = {"name": "sudoku", "box_rows": box_rows, "box_columns": box_columns}
    story = Story(size * size, 0, task=task, name=name)
    for row in range(rows):
        rng = np.random.default_rng([seed, row])
        solution = solved_grid(box_rows, box_columns, rng)
        blanks = rng.permutation(size * size)[: int(0.6 * size * size)]
        unknown = np.isin(np.arange(size * size), blanks)
        tokens = [0 if hidden else digit for hidden, digit in zip(unknown, solution, strict=True)]
        story.start(row, tokens, np.where(unknown, UNDECIDED, GIVEN).tolist(), solution if solution_known else None)
        rng = np.random.default_rng([decode_seed, row, 1])
        order = rng.permutation(blanks).tolist()
        astray = set(order[2 : 2 + mistakes])
        for at in range(0, len(order), at_once):
            state = story.frames[row][-1][1]
            picked = [
                decision(p, solution[p] % size + 1 if p in astray else solution[p], rng)
                for p in order[at : at + at_once]
            ]
            back = [order[at - 3]] if remask and at_once == 1 and at >= 3 and at % 4 == 3 else []
            story.step(row, picked, back, board_of(state, size, rng) if board else None)
            if stop_after is not None and len(story.events[row]) == stop_after:
                break
        left = [p for p in order if story.frames[row][-1][1][p] == UNDECIDED]
        if remask:
            story.step(row, [decision(p, solution[p], rng) for p in left])
            left = []
        story.finish(row, "evaluation_limit" if left else "complete")
    return story


def text_story(
    vocabulary: Sequence[str],
    length: int,
    *,
    given: int = 8,
    at_once: int = 8,
    board: bool = False,
    padding: int = 0,
    solution_known: bool = False,
) -> Story:
    """A strip of tokens drawn from ``vocabulary``, decided from both ends inwards; the mask is one more token."""
    rng = np.random.default_rng(length)
    mask = len(vocabulary)
    story = Story(length, mask, task={"name": "text"}, vocabulary=[*vocabulary, "[MASK]"], name="llada")
    target = [int(token) for token in np.arange(length) % len(vocabulary)]
    real = length - padding
    tokens = [target[p] if p < given else mask for p in range(length)]
    state = [GIVEN if p < given else UNDECIDED if p < real else PADDING for p in range(length)]
    story.start(0, tokens, state, target if solution_known else None)
    open_positions = list(range(given, real))
    while open_positions:
        half = at_once // 2
        picked = open_positions[:half] + open_positions[half:][-half:]
        listed = board_of(story.frames[0][-1][1], mask - 1, rng) if board and mask > 1 else None
        story.step(0, [decision(p, target[p], rng) for p in picked], board=listed)
        open_positions = [p for p in open_positions if p not in picked]
    story.finish(0)
    return story


@pytest.fixture(scope="session")
def stories() -> dict[str, Callable[..., Story]]:
    return {"sudoku": sudoku_story, "text": text_story, "blank": Story}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Story], Trace]:
    """Writes a story to a file and reads it with the library's reader."""
    count = iter(range(1000))

    def reader(story: Story) -> Trace:
        path = tmp_path / f"trace-{next(count)}.jsonl"
        path.write_text(story.text(), encoding="utf-8")
        return read_trace(path)

    return reader


def find_chromium() -> str | None:
    return next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra `dev`)")
    chromium = find_chromium()
    if chromium is None:
        pytest.skip(f"no Chromium on PATH (looked for {', '.join(CHROMIUM_NAMES)}); install one to test the page")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_FLAGS.split())
        yield running
        running.close()


class Shown:
    """An open page: what Playwright offers, and a few questions that the tests share."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def __getattr__(self, name: str) -> Any:
        return getattr(self.page, name)

    @property
    def step(self) -> int:
        return int(self.page.locator("#slider").input_value())

    def cells(self, panel: int = 0) -> list[dict[str, Any]]:
        """The cells of a panel as they stand, read in one go."""
        return self.page.evaluate(
            """(panel) => [...document.querySelectorAll(".panel")[panel].querySelectorAll(".cell")].map((cell) => ({
              token: cell.dataset.token ?? null,
              glyph: cell.querySelector(".glyph").textContent,
              guess: cell.classList.contains("guess"),
              ramp: cell.dataset.ramp,
              at: Number(cell.style.getPropertyValue("--at")),
            }))""",
            panel,
        )

    def until(self, expression: str) -> None:
        """Waits until an expression holds in the page. (Playwright's own wait is an `eval`, which the page forbids.)"""
        since = time.monotonic()
        while time.monotonic() - since < PATIENCE:
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(f"it never came true: {expression}")


@pytest.fixture
def show(browser: Any, read: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page of one or several stories from a file; fails if the page complained or asked for anything else."""
    contexts: list[Any] = []
    complaints: list[str] = []
    requests: list[str] = []

    def opener(stories: Any, address: str = "", width: int = 1280, height: int = 900, **settings: Any) -> Shown:
        listed = stories if isinstance(stories, list) else [stories]
        path = tmp_path / f"page-{len(contexts)}.html"
        write_page([read(story) for story in listed], path)
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * PATIENCE)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri() + address)
        page.wait_for_selector("html[data-ready]")
        return Shown(page)

    yield opener
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
