"""Zebra puzzles in English, both ways.

An item is a person: "the person whose pet is cat". Every kind of clue has one sentence, so a sentence is read back into
the clue that it was written from. A puzzle is rendered as a prompt for language models: the houses, the values of each
attribute, the numbered clues, and the form of the answer, a JSON object with a list of values for each house.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyorder.core.errors import UserError

from .rules import Clue, Item, Kind, Puzzle, Size

SENTENCES: dict[Kind, str] = {
    Kind.FOUND_AT: "{x} lives in house {n}.",
    Kind.NOT_AT: "{x} does not live in house {n}.",
    Kind.AT_END: "{x} lives in the first or the last house.",
    Kind.SAME_HOUSE: "{x} and {y} are the same person.",
    Kind.DIFFERENT_HOUSE: "{x} and {y} are different people.",
    Kind.JUST_LEFT_OF: "{x} lives directly to the left of {y}.",
    Kind.JUST_RIGHT_OF: "{x} lives directly to the right of {y}.",
    Kind.LEFT_OF: "{x} lives somewhere to the left of {y}.",
    Kind.RIGHT_OF: "{x} lives somewhere to the right of {y}.",
    Kind.NEXT_TO: "{x} lives next to {y}.",
    Kind.NOT_NEXT_TO: "{x} does not live next to {y}, and they are different people.",
    Kind.ONE_BETWEEN: "There is one house between {x} and {y}.",
    Kind.N_BETWEEN: "There are {n} houses between {x} and {y}.",
    Kind.BETWEEN: "{x} lives somewhere between {y} and {z}.",
    Kind.NOT_BETWEEN: "{x} does not live between {y} and {z}, and they are three different people.",
}
"""What each kind says, of the items x, y, z and the number n (houses are numbered from 1 here)."""

_USUAL = {
    "colour": ("red", "green", "blue", "yellow", "white", "black"),
    "nationality": ("Norwegian", "Spanish", "Japanese", "Ukrainian", "Danish", "Kenyan"),
    "pet": ("zebra", "dog", "fox", "horse", "snail", "cat"),
    "drink": ("water", "tea", "milk", "coffee", "juice", "cocoa"),
    "hobby": ("chess", "painting", "running", "sailing", "baking", "reading"),
    "fruit": ("apple", "banana", "cherry", "grape", "orange", "pear"),
}


@dataclass(frozen=True)
class Names:
    """The words of a puzzle: of each attribute, and of its values.

    Raises:
        UserError: a word is empty, comes twice, or holds a comma, a colon or more than single spaces between words;
            unequal numbers of values.
    """

    attributes: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.attributes) != len(self.values) or len({len(words) for words in self.values}) != 1:
            raise UserError("every attribute needs a name and equally many values")
        for words in (self.attributes, *self.values):
            for word in words:
                if not word or word != " ".join(word.split()) or re.search("[,:]", word):
                    raise UserError(f"{word!r} cannot be a name: it is empty, or holds a comma, colon or extra space")
            if len(set(words)) < len(words):
                raise UserError(f"a name comes twice among {', '.join(words)}")

    @classmethod
    def usual(cls, size: Size) -> Names:
        """Colours, nationalities, pets, ... for a puzzle of that size."""
        chosen = list(_USUAL.items())[: size.attributes]
        return cls(tuple(name for name, _ in chosen), tuple(words[: size.houses] for _, words in chosen))

    @property
    def size(self) -> Size:
        """The size of the puzzles that these words fit."""
        return Size(len(self.values[0]), len(self.attributes))

    def person(self, item: Item) -> str:
        """An item as a noun."""
        attribute, value = item
        return f"the person whose {self.attributes[attribute]} is {self.values[attribute][value]}"

    @cached_property
    def _people(self) -> dict[str, Item]:
        return {self.person((a, v)): (a, v) for a, words in enumerate(self.values) for v in range(len(words))}

    @cached_property
    def _patterns(self) -> list[tuple[Kind, re.Pattern[str]]]:
        # The longest first, so that no name that begins another hides it.
        anyone = "|".join(re.escape(person) for person in sorted(self._people, key=len, reverse=True))
        patterns = []
        for kind, sentence in SENTENCES.items():
            pattern = re.escape(sentence).replace(r"\{n\}", "(?P<n>[0-9]{1,2})")
            for name in "xyz":
                pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{anyone})")
            patterns.append((kind, re.compile(pattern)))
        return patterns

    def say(self, clue: Clue) -> str:
        """A clue as a sentence."""
        people = dict(zip("xyz", (self.person(item) for item in clue.items), strict=False))
        at = clue.kind in (Kind.FOUND_AT, Kind.NOT_AT)
        sentence = SENTENCES[clue.kind].format(**people, n=None if clue.number is None else clue.number + at)
        return sentence[0].upper() + sentence[1:]

    def understand(self, sentence: str) -> Clue:
        """The clue that `say` wrote.

        Raises:
            UserError: the sentence is none of ours, names somebody unknown, or says what no clue may say.
        """
        text = " ".join(sentence.split())
        for kind, pattern in self._patterns:
            # A sentence that begins with a person begins with a capital.
            found = pattern.fullmatch(text) or pattern.fullmatch(text[:1].lower() + text[1:])
            if found is None:
                continue
            said = found.groupdict()
            items = tuple(self._people[said[name]] for name in "xyz" if name in said)
            at = kind in (Kind.FOUND_AT, Kind.NOT_AT)
            clue = Clue(kind, items, int(said["n"]) - at if "n" in said else None)
            clue.fits(self.size)
            return clue
        raise UserError(f"not a clue of this puzzle: {text!r}")


def as_prompt(puzzle: Puzzle, names: Names, *, red_herrings: tuple[str, ...] = ()) -> str:
    """A puzzle as a prompt for a language model; ``red_herrings`` are sentences that are put behind the clues.

    Raises:
        UserError: the names do not fit the puzzle's size.
    """
    size = puzzle.size
    if names.size != size:
        raise UserError(f"names for a {names.size.name} puzzle do not fit one of {size.name}")
    said = [*(names.say(clue) for clue in puzzle.clues), *red_herrings]
    example = {f"house {h + 1}": ["..."] * size.attributes for h in range(size.houses)}
    return "\n".join(
        [
            f"There are {size.houses} houses in a row, numbered 1 to {size.houses} from left to right. "
            "In each lives one person.",
            "",
            "The people differ in all of these, and each value belongs to one of them:",
            *(f"- {name}: {', '.join(words)}" for name, words in zip(names.attributes, names.values, strict=True)),
            "",
            "What is known:",
            *(f"{number}. {sentence}" for number, sentence in enumerate(said, 1)),
            "",
            f"Who lives where? Answer with a JSON object that holds, for each house, the values of "
            f"{', '.join(names.attributes)} in this order:",
            json.dumps(example),
        ]
    )


def read_prompt(text: str) -> tuple[Puzzle, Names]:
    """The puzzle that `as_prompt` wrote (without red herrings), and its words.

    Raises:
        UserError: the text is no such prompt.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    listed = [line[2:].partition(": ") for line in lines if line.startswith("- ")]
    if not listed or not lines[0].startswith("There are "):
        raise UserError("this is no prompt of a Zebra puzzle: it names no houses or no values")
    names = Names(tuple(name for name, _, _ in listed), tuple(tuple(words.split(", ")) for _, _, words in listed))
    houses = re.match("There are ([0-9]{1,2}) houses", lines[0])
    if houses is None or int(houses[1]) != names.size.houses:
        raise UserError("the number of houses and the number of values differ")
    said = [found[1] for line in lines if (found := re.match(r"\d+\. (.*)", line))]
    return Puzzle(names.size, tuple(names.understand(sentence) for sentence in said)), names


def as_answer(grid: ArrayLike, names: Names) -> str:
    """A solution (attributes, houses) as the JSON object that the prompt asks for.

    Raises:
        UserError: the grid does not fit the names.
    """
    values, size = np.asarray(grid), names.size
    if values.shape != (size.attributes, size.houses) or values.min() < 0 or values.max() >= size.houses:
        raise UserError(f"a {size.name} solution has the shape {(size.attributes, size.houses)} and values from 0")
    columns = [[names.values[a][v] for a, v in enumerate(column)] for column in values.T.tolist()]
    return json.dumps({f"house {h + 1}": column for h, column in enumerate(columns)}, ensure_ascii=False)


def read_answer(text: str, names: Names) -> NDArray[np.int8]:
    """(attributes, houses): the grid that a model's answer names, -1 wherever it names no value of the attribute.

    The answer is the last JSON object in the text whose keys are the houses; a text without one gives -1 throughout.
    """
    size = names.size
    grid = np.full((size.attributes, size.houses), -1, np.int8)
    wanted = {f"house {h + 1}" for h in range(size.houses)}
    answers = [one for one in _objects(text) if wanted <= {str(key).strip().lower() for key in one}]
    if not answers:
        return grid
    lists = {str(key).strip().lower(): values for key, values in answers[-1].items()}
    known = [{word.lower(): v for v, word in enumerate(words)} for words in names.values]
    for h in range(size.houses):
        values = lists[f"house {h + 1}"]
        for a, value in enumerate(values[: size.attributes] if isinstance(values, list) else ()):
            grid[a, h] = known[a].get(str(value).strip().lower(), -1)
    return grid


def _objects(text: str) -> list[dict]:
    """The JSON objects that stand in a text, in order."""
    decoder, found, at = json.JSONDecoder(), [], text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    return found
