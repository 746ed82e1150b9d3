"""The puzzle files of MultiZebraLogic (JSON lines), read and checked.

A line holds ``n_houses``, ``categories`` (name to values), ``clues`` (sentences), ``parsed`` (the same clues as data:
``type``, ``attrs`` as [category, value] pairs, ``pos`` from 1, ``n_between``) and ``solution`` (``object_1`` and so on,
a value of each category). Clues of the type ``red_herring`` speak of things outside the puzzle and say nothing of its
items: they are dropped from the clues, and their sentences are kept beside them, for prompts.

Every line is checked: its form, that the solution satisfies every clue, and that there is no other solution.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError, reason

from .data import Puzzles
from .rules import Clue, Item, Kind, Puzzle, Size, verify
from .search import count_solutions
from .text import Names

RED_HERRING = "red_herring"
TYPES: dict[str, Kind] = {
    "found_at": Kind.FOUND_AT,
    "not_at": Kind.NOT_AT,
    "same_object": Kind.SAME_HOUSE,
    "not_same_object": Kind.DIFFERENT_HOUSE,
    "just_left_of": Kind.JUST_LEFT_OF,
    "just_right_of": Kind.JUST_RIGHT_OF,
    "left_of": Kind.LEFT_OF,
    "right_of": Kind.RIGHT_OF,
    "next_to": Kind.NEXT_TO,
    "not_next_to": Kind.NOT_NEXT_TO,
    "one_between": Kind.ONE_BETWEEN,
    "multiple_between": Kind.N_BETWEEN,
    "between": Kind.BETWEEN,
    "not_between": Kind.NOT_BETWEEN,
}
"""Clue types of the files."""
_KEYS = ("id", "n_houses", "categories", "clues", "parsed", "solution")


@dataclass(frozen=True, eq=False)
class Entry:
    """One puzzle of a file.

    Attributes:
        id: its name in the file. line: where it stands, from 1.
        puzzle: size and clues, red herrings left out.
        names: its words.
        solution: (attributes, houses) int8.
        sentences: the file's sentence for each clue.
        red_herrings: the sentences that say nothing of the puzzle.
    """

    id: str
    line: int
    puzzle: Puzzle
    names: Names
    solution: NDArray[np.int8]
    sentences: tuple[str, ...]
    red_herrings: tuple[str, ...]


def read_multizebralogic(path: str | os.PathLike[str]) -> list[Entry]:
    """The puzzles of a MultiZebraLogic file.

    Raises:
        UserError: the file cannot be read or holds none; or, with file and line, a line is no such puzzle, its solution
            breaks a clue, or it has another solution.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line}: not UTF-8 ({error.reason})") from None
    entries: list[Entry] = []
    seen: dict[str, int] = {}
    # Not splitlines: a sentence may hold one of the rarer line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = _entry(line, number)
            if entry.id in seen:
                raise UserError(f"the id {entry.id!r} stands in line {seen[entry.id]} as well")
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from None
        seen[entry.id] = number
        entries.append(entry)
    if not entries:
        raise UserError(f"{path} holds no puzzle")
    several = np.flatnonzero(count_solutions([entry.puzzle for entry in entries]) != 1)
    if len(several):
        raise UserError(f"{path}, line {entries[several[0]].line}: the clues have more than one solution")
    return entries


def as_set(entries: list[Entry], origin: str = "MultiZebraLogic") -> Puzzles:
    """The puzzles of a file as a set."""
    return Puzzles.of([entry.puzzle for entry in entries], [entry.solution for entry in entries], origin=origin)


def _entry(line: str, number: int) -> Entry:
    try:
        held = json.loads(line)
    except ValueError as error:
        raise UserError(f"not JSON: {error}") from None
    except RecursionError:
        raise UserError("not a puzzle: nested too deeply") from None
    if not isinstance(held, dict):
        raise UserError(f"not a JSON object but {_kind(held)}")
    missing = [key for key in _KEYS if key not in held]
    if missing:
        raise UserError(f"the key {missing[0]!r} is missing")
    if not isinstance(held["id"], str):
        raise UserError(f"id must be text, not {_kind(held['id'])}")
    names = _names(held["categories"], held["n_houses"])
    size = names.size
    sentences, parsed = held["clues"], held["parsed"]
    if not _texts(sentences) or not isinstance(parsed, list) or len(parsed) != len(sentences):
        raise UserError("clues must be a list of sentences, and parsed a list of as many objects")
    clues = []
    for place, one in enumerate(parsed, 1):
        try:
            clues.append(_clue(one, names))
        except UserError as error:
            raise UserError(f"parsed clue {place}: {error}") from None
    kept = tuple(sentence for sentence, clue in zip(sentences, clues, strict=True) if clue is not None)
    herrings = tuple(sentence for sentence, clue in zip(sentences, clues, strict=True) if clue is None)
    puzzle = Puzzle(size, tuple(clue for clue in clues if clue is not None))
    solution = _solution(held["solution"], names)
    if not verify(puzzle, solution):
        raise UserError(f"the solution {_why_wrong(puzzle, solution)}")
    return Entry(held["id"], number, puzzle, names, solution, kept, herrings)


def _names(categories: Any, houses: Any) -> Names:
    if not isinstance(houses, int) or isinstance(houses, bool):
        raise UserError(f"n_houses must be a whole number, not {_kind(houses)}")
    if not isinstance(categories, dict) or not categories:
        raise UserError("categories must be an object of names and values")
    for name, values in categories.items():
        if not _texts(values) or len(values) != houses:
            raise UserError(f"category {name!r} must list {houses} values, one for each house")
    Size(houses, len(categories))  # refuses what is too small or too large
    return Names(tuple(categories), tuple(tuple(values) for values in categories.values()))


def _clue(held: Any, names: Names) -> Clue | None:
    """A parsed clue; None for a red herring."""
    if not isinstance(held, dict) or not isinstance(held.get("type"), str):
        raise UserError("it must be an object with a type")
    title = held["type"]
    if title == RED_HERRING:
        if len(held) > 1:
            raise UserError(f"a red herring has no {next(key for key in held if key != 'type')!r}")
        return None
    if title not in TYPES:
        raise UserError(f"unknown type {title!r}; known: {', '.join(TYPES)}, {RED_HERRING}")
    kind = TYPES[title]
    number_key = "n_between" if kind == Kind.N_BETWEEN else "pos" if kind.numbered else None
    unknown = [key for key in held if key not in ("type", "attrs", number_key)]
    if unknown:
        raise UserError(f"a clue {title} has no {unknown[0]!r}")
    pairs = held.get("attrs")
    if not isinstance(pairs, list):
        raise UserError("attrs must be a list of [category, value]")
    items = tuple(_item(pair, names) for pair in pairs)
    number: int | None = None
    if number_key is not None:
        number = held.get(number_key)
        if not isinstance(number, int) or isinstance(number, bool):
            raise UserError(f"a clue {title} needs {number_key}, a whole number")
        if number_key == "pos":
            if not 1 <= number <= names.size.houses:
                raise UserError(f"there is no house {number}")
            number -= 1
        elif number == 1:
            kind, number = Kind.ONE_BETWEEN, None
    clue = Clue(kind, items, number)
    clue.fits(names.size)
    return clue


def _item(pair: Any, names: Names) -> Item:
    if not _texts(pair) or len(pair) != 2:
        raise UserError(f"an item is [category, value], not {_kind(pair)}")
    category, value = pair
    if category not in names.attributes:
        raise UserError(f"unknown category {category!r}")
    attribute = names.attributes.index(category)
    if value not in names.values[attribute]:
        raise UserError(f"{value!r} is no value of {category!r}")
    return attribute, names.values[attribute].index(value)


def _solution(held: Any, names: Names) -> NDArray[np.int8]:
    size = names.size
    keys = [f"object_{h + 1}" for h in range(size.houses)]
    if not isinstance(held, dict) or sorted(held) != sorted(keys):
        raise UserError(f"the solution must have the keys {keys[0]} to {keys[-1]}")
    grid = np.full((size.attributes, size.houses), -1, np.int8)
    for h, key in enumerate(keys):
        if not _texts(held[key]) or len(held[key]) != size.attributes:
            raise UserError(f"{key} of the solution must list {size.attributes} values")
        for a, value in enumerate(held[key]):
            grid[a, h] = _item([names.attributes[a], value], names)[1]
    return grid


def _why_wrong(puzzle: Puzzle, grid: NDArray[np.int8]) -> str:
    for a, row in enumerate(grid.tolist()):
        if len(set(row)) < len(row):
            return f"has a value of category {a + 1} twice"
    broken = _broken(puzzle, grid)
    return f"breaks clue {next(broken) + 1} (red herrings not counted)"


def _broken(puzzle: Puzzle, grid: NDArray[np.int8]) -> Iterator[int]:
    for number, clue in enumerate(puzzle.clues):
        if not verify(Puzzle(puzzle.size, (clue,)), grid):
            yield number


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _kind(value: Any) -> str:
    """A JSON value's kind in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
