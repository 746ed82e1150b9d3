"""MultiZebraLogic files: every puzzle is read and solved as given, every bad line is refused by its number."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.zebra.cases import SatZebra

from anyorder.core.errors import UserError
from anyorder.tasks.zebra import Clue, Kind, as_prompt, as_set, read_multizebralogic, read_prompt, solve
from anyorder.tasks.zebra.checker import check_solution

GOOD: dict[str, Any] = {
    "id": "three-0",
    "n_houses": 3,
    "categories": {"pets": ["cat", "dog", "zebra"], "drinks": ["juice", "milk", "tea"]},
    "clues": [
        "The cat owner lives in house no. 1.",
        "The baker has a bike.",
        "The dog owner lives to the left of the zebra owner.",
        "There is one house between the tea drinker and the milk drinker.",
        "The cat owner does not drink milk.",
    ],
    "parsed": [
        {"type": "found_at", "attrs": [["pets", "cat"]], "pos": 1},
        {"type": "red_herring"},
        {"type": "left_of", "attrs": [["pets", "dog"], ["pets", "zebra"]]},
        {"type": "one_between", "attrs": [["drinks", "tea"], ["drinks", "milk"]]},
        {"type": "not_same_object", "attrs": [["pets", "cat"], ["drinks", "milk"]]},
    ],
    "solution": {"object_1": ["cat", "tea"], "object_2": ["dog", "juice"], "object_3": ["zebra", "milk"]},
}


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "puzzles.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines), "utf-8")
    return path


def test_a_puzzle_is_read(tmp_path: Path) -> None:
    second = {**GOOD, "id": "three-1", "extra": 1}
    entries = read_multizebralogic(write(tmp_path, GOOD, "", second))
    assert [entry.id for entry in entries] == ["three-0", "three-1"]
    assert [entry.line for entry in entries] == [1, 3]
    entry = entries[0]
    assert entry.puzzle.clues == (
        Clue(Kind.FOUND_AT, ((0, 0),), 0),
        Clue(Kind.LEFT_OF, ((0, 1), (0, 2))),
        Clue(Kind.ONE_BETWEEN, ((1, 2), (1, 1))),
        Clue(Kind.DIFFERENT_HOUSE, ((0, 0), (1, 1))),
    )
    assert entry.solution.tolist() == [[0, 1, 2], [2, 0, 1]]
    assert entry.red_herrings == ("The baker has a bike.",)
    assert len(entry.sentences) == 4
    assert (solve(entry.puzzle).grid == entry.solution).all()
    assert len(as_set(entries)) == 2


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + (json.dumps(GOOD) + "\r\n").encode())
    assert len(read_multizebralogic(path)) == 1


def test_several_between_of_one_is_one_between(tmp_path: Path) -> None:
    held = copy.deepcopy(GOOD)
    held["parsed"][3] = {"type": "multiple_between", "attrs": [["drinks", "tea"], ["drinks", "milk"]], "n_between": 1}
    assert read_multizebralogic(write(tmp_path, held))[0].puzzle.clues[2].kind == Kind.ONE_BETWEEN


def changed(path: tuple, value: Any) -> dict[str, Any]:
    """The good puzzle with one place changed; the value DELETE deletes it."""
    held = copy.deepcopy(GOOD)
    at: Any = held
    for key in path[:-1]:
        at = at[key]
    if value is DELETE:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return held


DELETE = object()
BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not JSON"),
    "cut short": (json.dumps(GOOD)[:-20], "not JSON"),
    "two puzzles in a line": (json.dumps(GOOD) * 2, "not JSON"),
    "deep nesting": ("[" * 100_000, "not"),
    "a list": ([GOOD], "not a JSON object but a list"),
    "a number": ("5", "a number"),
    "no id": (changed(("id",), DELETE), "'id' is missing"),
    "no clues": (changed(("clues",), DELETE), "'clues' is missing"),
    "no parsed": (changed(("parsed",), DELETE), "'parsed' is missing"),
    "no solution": (changed(("solution",), DELETE), "'solution' is missing"),
    "id no text": (changed(("id",), 5), "id must be text"),
    "houses no number": (changed(("n_houses",), "3"), "n_houses"),
    "houses true": (changed(("n_houses",), True), "n_houses"),
    "houses 1.5": (changed(("n_houses",), 1.5), "n_houses"),
    "too few houses": (changed(("n_houses",), 2), "must list 2 values"),
    "too many houses": (changed(("n_houses",), 99), "must list 99 values"),
    "categories a list": (changed(("categories",), []), "categories"),
    "categories empty": (changed(("categories",), {}), "categories"),
    "a value too many": (changed(("categories", "pets"), ["cat", "dog", "zebra", "fox"]), "must list 3"),
    "a value twice": (changed(("categories", "pets"), ["cat", "dog", "dog"]), "twice"),
    "a value no text": (changed(("categories", "pets"), ["cat", "dog", 3]), "must list 3"),
    "an empty value": (changed(("categories", "pets"), ["cat", "dog", ""]), "cannot be a name"),
    "seven categories": (changed(("categories",), {str(k): ["a", "b", "c"] for k in range(7)}), "1 to 6 attributes"),
    "clues no list": (changed(("clues",), "x"), "clues must be"),
    "a clue no text": (changed(("clues", 0), 7), "clues must be"),
    "a sentence less": (changed(("clues", 0), DELETE), "as many"),
    "parsed no list": (changed(("parsed",), {}), "as many"),
    "a parsed clue less": (changed(("parsed", 1), DELETE), "as many"),
    "a clue no object": (changed(("parsed", 2), "left"), "parsed clue 3: it must be an object"),
    "no type": (changed(("parsed", 2, "type"), DELETE), "parsed clue 3: it must be an object with a type"),
    "unknown type": (changed(("parsed", 2, "type"), "above"), "unknown type 'above'"),
    "at_end is not theirs": (changed(("parsed", 0), {"type": "at_end", "attrs": [["pets", "cat"]]}), "unknown type"),
    "an unknown key": (changed(("parsed", 2, "note"), 1), "has no 'note'"),
    "a position too many": (changed(("parsed", 2, "pos"), 1), "has no 'pos'"),
    "a red herring with items": (changed(("parsed", 1, "attrs"), [["pets", "cat"]]), "a red herring has no"),
    "no items": (changed(("parsed", 2, "attrs"), DELETE), "attrs"),
    "one item": (changed(("parsed", 2, "attrs"), [["pets", "dog"]]), "speaks of 2"),
    "three items": (changed(("parsed", 2, "attrs"), [["pets", v] for v in ("dog", "cat", "zebra")]), "speaks of 2"),
    "an item no pair": (changed(("parsed", 2, "attrs", 0), ["pets"]), "an item is"),
    "an item text": (changed(("parsed", 2, "attrs", 0), "dog"), "an item is"),
    "an unknown category": (changed(("parsed", 2, "attrs", 0), ["cars", "dog"]), "unknown category 'cars'"),
    "an unknown value": (changed(("parsed", 2, "attrs", 0), ["pets", "fox"]), "'fox' is no value"),
    "an item twice": (changed(("parsed", 2, "attrs", 0), ["pets", "zebra"]), "one item twice"),
    "same house in one category": (changed(("parsed", 2, "type"), "same_object"), "two attributes"),
    "no position": (changed(("parsed", 0, "pos"), DELETE), "needs pos"),
    "position 0": (changed(("parsed", 0, "pos"), 0), "no house 0"),
    "position 4": (changed(("parsed", 0, "pos"), 4), "no house 4"),
    "position text": (changed(("parsed", 0, "pos"), "1"), "needs pos"),
    "position true": (changed(("parsed", 0, "pos"), True), "needs pos"),
    "too many between": (
        changed(
            ("parsed", 3), {"type": "multiple_between", "attrs": [["drinks", "tea"], ["pets", "cat"]], "n_between": 2}
        ),
        "cannot lie between",
    ),
    "none between": (
        changed(
            ("parsed", 3), {"type": "multiple_between", "attrs": [["drinks", "tea"], ["pets", "cat"]], "n_between": 0}
        ),
        "n_between has 2",
    ),
    "solution a list": (changed(("solution",), []), "must have the keys"),
    "a house missing": (changed(("solution", "object_3"), DELETE), "must have the keys"),
    "a house too many": (changed(("solution", "object_4"), ["cat", "tea"]), "must have the keys"),
    "a house short": (changed(("solution", "object_1"), ["cat"]), "must list 2"),
    "a house no list": (changed(("solution", "object_1"), "cat, tea"), "must list 2"),
    "an unknown answer": (changed(("solution", "object_1"), ["cat", "wine"]), "'wine' is no value"),
    "columns exchanged": (changed(("solution", "object_1"), ["tea", "cat"]), "'tea' is no value"),
    "an answer twice": (changed(("solution", "object_1"), ["dog", "tea"]), "category 1 twice"),
    "a broken clue": (
        changed(
            ("solution",), {"object_1": ["cat", "milk"], "object_2": ["dog", "juice"], "object_3": ["zebra", "tea"]}
        ),
        "breaks clue 4",
    ),
    "several solutions": (changed(("parsed", 4), {"type": "red_herring"}), "more than one solution"),
    "an id twice": (GOOD, "stands in line 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_refused_with_its_number(name: str, tmp_path: Path) -> None:
    bad, words = BAD[name]
    if isinstance(bad, dict) and "id" in bad and bad["id"] == "three-0" and name != "an id twice":
        bad["id"] = "three-1"
    path = write(tmp_path, GOOD, "", bad)
    with pytest.raises(UserError) as caught:
        read_multizebralogic(path)
    message = str(caught.value)
    assert message.startswith(f"{path}, line 3: ")
    assert words in message
    assert "\n" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_multizebralogic(tmp_path / "none.jsonl")
    with pytest.raises(UserError, match="cannot read"):
        read_multizebralogic(tmp_path)
    with pytest.raises(UserError, match="holds no puzzle"):
        read_multizebralogic(write(tmp_path, "", "  "))
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\xff\n")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        read_multizebralogic(path)


@pytest.mark.data
@pytest.mark.parametrize("name", ["2x3", "4x5"])
def test_the_solver_finds_every_given_solution(name: str, data_folder: Path) -> None:
    entries = read_multizebralogic(data_folder / "zebra" / f"multizebralogic_en_houses_{name}_5rh_train.jsonl")
    assert len(entries) == 128
    for number, entry in enumerate(entries):
        solution = solve(entry.puzzle)
        assert solution.solved
        assert np.array_equal(solution.grid, entry.solution)
        assert len(entry.red_herrings) == 5
        if number < 24:
            check_solution(entry.puzzle, solution)
            assert SatZebra(entry.puzzle).count() == 1
        text = as_prompt(entry.puzzle, entry.names)
        assert read_prompt(text) == (entry.puzzle, entry.names)
