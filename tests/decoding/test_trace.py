"""Traces: what is written is what happened, and what is read is what was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decoding.fakes import MASK, HashDenoiser, make_canvas

import anyorder as ao
from anyorder.decoding.trace import Trace, read_trace, trace_decode, write_trace

STRATEGY = ao.strategies["med"]


def record(**more) -> Trace:
    strategy = more.pop("strategy", STRATEGY)
    return trace_decode(HashDenoiser(), more.pop("canvas", make_canvas()), strategy, **more)


@pytest.mark.parametrize("name", ["margin", "med", "vanilla-50", "puzzle-code-margin", "fast-dllm"])
@pytest.mark.parametrize("board", [True, False])
def test_a_trace_survives_its_file(tmp_path: Path, name: str, board: bool) -> None:
    trace = record(
        strategy=ao.strategies[name],
        name=name,
        model_name="a model",
        seed=3,
        board=board,
        task={"name": "sudoku", "box_rows": 3, "box_columns": 3},
        vocabulary=[str(token) for token in range(7)],
        solutions=make_canvas().tokens,
    )
    path = tmp_path / "deep" / "trace.jsonl"
    write_trace(path, trace)
    assert read_trace(path) == trace
    assert trace.strategy["name"] == name
    assert (trace.rows[1].steps[0].board is not None) == board


@pytest.mark.parametrize("name", ["margin", "med", "puzzle-code-margin", "puzzle-code-top-probability"])
def test_replaying_the_steps_gives_the_end(name: str) -> None:
    canvas = make_canvas()
    result = ao.decode(HashDenoiser(), canvas, **ao.strategies[name].parts(), seed=5)
    trace = record(strategy=ao.strategies[name], seed=5)
    for index, row in enumerate(trace.rows):
        tokens, state = list(row.tokens), list(row.state)
        assert [t for t, s in zip(tokens, state, strict=True) if s == ao.UNDECIDED] == [MASK] * state.count(
            ao.UNDECIDED
        )
        for step in row.steps:
            assert step.board is not None
            assert [entry.position for entry in step.board] == [i for i, s in enumerate(state) if s == ao.UNDECIDED]
            assert not {event.position for event in step.revealed} & set(step.remasked)
            for position in step.remasked:
                tokens[position], state[position] = MASK, int(ao.UNDECIDED)
            for event in step.revealed:
                tokens[event.position], state[event.position] = event.token, int(ao.DECIDED)
            assert step.undecided == state.count(ao.UNDECIDED)
        assert tuple(tokens) == row.final_tokens == tuple(result.tokens[index].tolist())
        assert tuple(state) == row.final_state == tuple(result.state[index].tolist())
        assert row.nfe == result.nfe[index] == (row.steps[-1].nfe if row.steps else 0)
        assert row.finish_reason == result.finish_reason[index]


def test_figures_are_those_of_the_result() -> None:
    canvas = make_canvas()
    result = ao.decode(HashDenoiser(), canvas, **STRATEGY.parts(), seed=5)
    for index, row in enumerate(record(seed=5).rows):
        for step in row.steps:
            for event in step.revealed:
                place = (index, event.position)
                assert result.step_of[place] == step.step
                assert event.log_probability == result.log_probability[place]
                assert event.margin == pytest.approx(float(result.margin[place]))
                assert event.entropy == pytest.approx(float(result.entropy[place]))
                assert event.probability == pytest.approx(float(result.log_probability[place].exp()))


def test_the_board_shows_the_undecided_positions_that_were_asked_about() -> None:
    trace = record(strategy=ao.Strategy(ao.LeftToRight(), window=ao.Blocks(3)))
    for row in trace.rows:
        for step in row.steps:
            assert step.board is not None
            assert step.revealed[0].position in [entry.position for entry in step.board]
            assert len(step.board) <= 3
            assert all(entry.token != MASK for entry in step.board)


def test_an_early_stop_is_recorded() -> None:
    trace = record(strategy=ao.Strategy(ao.LeftToRight(), stop=ao.EndOfHole("first"), window=ao.Holes("first")))
    row = trace.rows[1]
    assert row.finish_reason == "end_of_hole"
    assert row.final_state.count(ao.UNDECIDED) == row.steps[-1].undecided == 7


def test_padding_and_seed_tensors(tmp_path: Path) -> None:
    canvas = ao.Canvas.stack([make_canvas(2, 5), make_canvas(2, 8)])
    trace = record(canvas=canvas, seed=ao.row_seeds(1, 4))
    assert trace.seed is None
    assert trace.rows[0].state[5:] == (int(ao.PADDING),) * 3
    write_trace(tmp_path / "trace.jsonl", trace)
    assert read_trace(tmp_path / "trace.jsonl") == trace


def test_solutions_must_fit() -> None:
    with pytest.raises(ao.UserError, match="solutions have shape"):
        record(solutions=torch.zeros(1, 2, dtype=torch.long))


def lines_of(tmp_path: Path) -> tuple[Path, list[dict]]:
    path = tmp_path / "trace.jsonl"
    write_trace(path, record(canvas=make_canvas(2, 6)))
    return path, [json.loads(line) for line in path.read_text().splitlines()]


BREAKS = {
    "no trace": (lambda lines: [{"a": 1}], "line 1: anyorder_trace is missing"),
    "a later format": (lambda lines: [lines[0] | {"anyorder_trace": 2}], "format 2; this version reads 1"),
    "no length": (lambda lines: [{k: v for k, v in lines[0].items() if k != "length"}], "length is missing"),
    "a length of nothing": (lambda lines: [lines[0] | {"length": 0}], "at least 1"),
    "a strategy that is a list": (lambda lines: [lines[0] | {"strategy": []}, *lines[1:]], "strategy"),
    "cut after the header": (lambda lines: lines[:1], "cut short: it has 0 of 2 rows"),
    "cut in a row": (lambda lines: lines[:-1], "cut short: row 1 has no end"),
    "a row twice": (lambda lines: [*lines, lines[1]], "row 0 has already ended"),
    "a start twice": (lambda lines: [*lines[:2], lines[1], *lines[2:]], "already started"),
    "tokens of another length": (lambda lines: [lines[0], lines[1] | {"tokens": [1]}], "tokens has 1 entries"),
    "tokens that are text": (lambda lines: [lines[0], lines[1] | {"tokens": ["a"] * 6}], "whole numbers"),
    "a row that is a list": (lambda lines: [lines[0], [1, 2]], "JSON object"),
    "a position outside": (lambda lines: change_event(lines, position=6), r"lies in \[0, 6\)"),
    "a token that is text": (lambda lines: change_event(lines, token="x"), "has a token"),
    "a figure that is null": (lambda lines: change_event(lines, entropy=None), "four numbers"),
    "a figure too many": (lambda lines: change_event(lines, surprise=1.0), "needs exactly position, token"),
    "a board entry cut short": (lambda lines: change_step(lines, board=[[0, 1, 0.5]]), "board entry"),
    "a board outside": (lambda lines: change_step(lines, board=[[9, 1, 0.5, 0.1, 0.1]]), "board entry"),
    "remasked outside": (
        lambda lines: change_step(lines, remasked=[-1]),
        r"remasked must be whole numbers in \[0, 6\)",
    ),
    "a step without evaluations": (lambda lines: change_step(lines, nfe=None), "nfe is missing"),
    "a figure that is no number": (lambda lines: change_event(lines, margin=float("nan")), "NaN is not a number"),
    "an infinite figure": (lambda lines: change_event(lines, entropy=float("inf")), "Infinity is not a number"),
    "an unknown state": (lambda lines: [lines[0], lines[1] | {"state": [4] * 6}], r"state must be .* in \[0, 4\)"),
    "a row decided from the start": (lambda lines: [lines[0], lines[1] | {"state": [1] * 6}], "nothing decided"),
    "a negative token": (lambda lines: [lines[0], lines[1] | {"tokens": [-1] * 6}], "0 or more"),
    "a negative row": (lambda lines: [lines[0], lines[1] | {"row": -1}], "row must be at least 0"),
    "a vocabulary of numbers": (lambda lines: [lines[0] | {"vocabulary": [1]}, *lines[1:]], "list of texts"),
    "a given position revealed": (lambda lines: change_event(lines, position=given_position(lines)), "was not unknown"),
    "a position revealed twice": (
        lambda lines: change_step(lines, revealed=2 * first_step(lines)["revealed"]),
        "twice",
    ),
    "an undecided position taken back": (lambda lines: change_step(lines, remasked=[0]), "was not decided"),
    "a wrong count": (lambda lines: change_step(lines, undecided=0), "undecided is 0, but"),
    "a board of a given position": (
        lambda lines: change_step(lines, board=[[given_position(lines), 1, 0.5, 0.1, 0.1]]),
        "which is not undecided",
    ),
    "a board that repeats itself": (lambda lines: change_step(lines, board=2 * first_step(lines)["board"]), "twice"),
    "a board position that is a fraction": (lambda lines: change_step(lines, board=[[0.0, 1, 0.5, 0.1, 0.1]]), "entry"),
    "a step again": (lambda lines: change_end(lines, step=0, revealed=[], remasked=[], undecided=0), "step must be at"),
    "another end": (lambda lines: change_end(lines, tokens=[5] * 6), "tokens are not what the steps lead to"),
    "another final state": (lambda lines: change_end(lines, state=[0] * 6), "state is not what the steps lead to"),
    "fewer evaluations at the end": (lambda lines: change_end(lines, nfe=0), "nfe must be at least"),
}


def first_step(lines: list[dict]) -> dict:
    return next(line for line in lines if "step" in line)


def given_position(lines: list[dict]) -> int:
    """A given position of the row that takes the first step."""
    row = first_step(lines)["row"]
    start = next(line for line in lines[1:] if line["row"] == row)
    return start["state"].index(int(ao.GIVEN))


def change_end(lines: list[dict], **values) -> list[dict]:
    """Another end of the row that takes the first step; given a step, its line becomes that step."""
    row = first_step(lines)["row"]
    place = next(i for i, line in enumerate(lines) if line.get("row") == row and "finish_reason" in line)
    line = lines[place] if "step" not in values else {"row": row, "nfe": lines[place]["nfe"]}
    return [*lines[:place], line | values, *lines[place + 1 :]]


def change_step(lines: list[dict], **values) -> list[dict]:
    place = next(i for i, line in enumerate(lines) if "step" in line)
    return [*lines[:place], lines[place] | values, *lines[place + 1 :]]


def change_event(lines: list[dict], **values) -> list[dict]:
    return change_step(lines, revealed=[first_step(lines)["revealed"][0] | values])


@pytest.mark.parametrize("case", BREAKS)
def test_broken_traces_are_refused_in_one_line_that_names_the_place(tmp_path: Path, case: str) -> None:
    path, lines = lines_of(tmp_path)
    change, says = BREAKS[case]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))
    with pytest.raises(ao.UserError, match=says) as error:
        read_trace(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ao.UserError, match="no such file"):
        read_trace(tmp_path / "none.jsonl")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00\x80" * 50)
    with pytest.raises(ao.UserError, match="not UTF-8"):
        read_trace(binary)
    empty = tmp_path / "empty"
    empty.write_text("\n")
    with pytest.raises(ao.UserError, match="is empty"):
        read_trace(empty)


@settings(max_examples=25)
@given(cut=st.integers(0, 4000), junk=st.text(max_size=20))
def test_a_trace_cut_anywhere_is_refused_or_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: str
) -> None:
    path = tmp_path_factory.mktemp("cut") / "trace.jsonl"
    trace = record(canvas=make_canvas(3, 6))
    write_trace(path, trace)
    text = path.read_text()
    cut = min(cut, len(text))
    path.write_text(text[:cut] + junk, encoding="utf-8")
    try:
        read = read_trace(path)
    except ao.UserError:
        return
    assert read == trace


def test_a_very_long_number_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(f'{{"anyorder_trace": {"9" * 5000}}}')
    with pytest.raises(ao.UserError, match="line 1: this is not JSON"):
        read_trace(path)


def test_any_text_of_a_vocabulary_survives(tmp_path: Path) -> None:
    """Byte-level tokenizers yield lone surrogates; separators of lines are not ends of lines."""
    words = ("\ud800", "\u2028", "ä", "\n", '"')
    trace = record(canvas=make_canvas(1, 4), vocabulary=words)
    write_trace(tmp_path / "trace.jsonl", trace)
    assert read_trace(tmp_path / "trace.jsonl").vocabulary == words


def test_a_failed_write_leaves_the_earlier_trace(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    trace = record(canvas=make_canvas(3, 6))
    write_trace(path, trace)
    before = path.read_text()
    broken = replace(trace, task={"weight": float("nan")})
    with pytest.raises(ao.UserError, match="JSON"):
        write_trace(path, broken)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]
