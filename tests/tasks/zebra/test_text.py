"""English: what is said is understood, prompts and answers come back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tasks.zebra.cases import SIZES, made

from anyorder.core.errors import UserError
from anyorder.tasks.zebra import ALL, Clue, Kind, Names, Puzzle, Size, as_answer, as_prompt, read_answer, read_prompt
from anyorder.tasks.zebra.text import SENTENCES

words = st.text(
    st.characters(codec="utf-8", exclude_characters=",:\r\n", exclude_categories=("C", "Z")), min_size=1, max_size=6
)


def test_every_kind_has_a_sentence() -> None:
    assert set(SENTENCES) == set(ALL)
    assert len(set(SENTENCES.values())) == len(ALL)


def test_puzzles_come_back_from_their_prompts() -> None:
    puzzles = made(SIZES, 60)
    for row in range(60):
        puzzle = puzzles.puzzle(row)
        names = Names.usual(puzzle.size)
        text = as_prompt(puzzle, names)
        assert read_prompt(text) == (puzzle, names)
        assert "None" not in text
        answer = as_answer(puzzles.solution(row), names)
        assert (read_answer(answer, names) == puzzles.solution(row)).all()


@given(st.lists(words, min_size=12, max_size=12, unique_by=str.lower), st.sampled_from(ALL), st.randoms())
def test_any_names_are_understood(texts: list[str], kind: Kind, random) -> None:
    names = Names(tuple(texts[:3]), (tuple(texts[3:6]), tuple(texts[6:9]), tuple(texts[9:12])))
    items = random.sample([(a, v) for a in range(3) for v in range(3)], kind.arity)
    if kind in (Kind.SAME_HOUSE, Kind.DIFFERENT_HOUSE):
        items = [(0, random.randrange(3)), (2, random.randrange(3))]
    if kind == Kind.N_BETWEEN:
        return
    clue = Clue(kind, tuple(items), random.randrange(3) if kind.numbered else None)
    assert names.understand(names.say(clue)) == clue


def test_a_name_that_begins_another() -> None:
    names = Names(("pet", "pet food"), (("cat", "cat and the person whose pet is dog", "dog"), ("a", "ab", "abc")))
    for clue in (
        Clue(Kind.SAME_HOUSE, ((0, 0), (1, 2))),
        Clue(Kind.SAME_HOUSE, ((0, 1), (1, 1))),
        Clue(Kind.NEXT_TO, ((0, 2), (1, 0))),
        Clue(Kind.BETWEEN, ((0, 1), (1, 0), (0, 0))),
    ):
        assert names.understand(names.say(clue)) == clue


def test_red_herrings_are_said_and_not_understood() -> None:
    puzzle = made(SIZES, 60).puzzle(0)
    text = as_prompt(puzzle, Names.usual(puzzle.size), red_herrings=("The baker owns a bike.",))
    assert f"{len(puzzle.clues) + 1}. The baker owns a bike." in text
    with pytest.raises(UserError, match="not a clue"):
        read_prompt(text)


def test_answers_of_a_model_are_read_leniently_and_marked_strictly() -> None:
    puzzles = made((Size(3, 3),), 25, 4)
    names, grid = Names.usual(Size(3, 3)), puzzles.solution(0)
    right = as_answer(grid, names)
    shouted = right.upper()
    for text in (f"So the answer is\n```json\n{right}\n```", f"{{no}} {{}} {right} is it.", shouted):
        assert (read_answer(text, names) == grid).all()
    first = json.loads(right)
    swapped = json.dumps({**first, "house 1": first["house 2"], "house 2": first["house 1"]})
    assert (read_answer(f"{right} or rather {swapped}", names) == grid[:, [1, 0, 2]]).all()
    for text in ("", "I do not know.", "{", '{"house 1": []}', json.dumps({f"house {h}": 5 for h in (1, 2, 3)})):
        assert (read_answer(text, names) == -1).all()
    short = json.dumps({**first, "house 2": first["house 2"][:1], "house 3": ["?", None, 3, "more"]})
    read = read_answer(short, names)
    assert (read[:, 0] == grid[:, 0]).all()
    assert read[0, 1] == grid[0, 1]
    assert (read[1:, 1:] == -1).all()


@pytest.mark.parametrize(
    "sentence",
    [
        "",
        "The person whose pet is cat.",
        "The person whose pet is unicorn lives next to the person whose pet is dog.",
        "The person whose pet is dog lives next to the person whose pet is dog.",
        "The person whose pet is dog lives in house 4.",
        "The person whose pet is dog lives in house 0.",
        "There are 2 houses between the person whose pet is dog and the person whose colour is red.",
        "There are 1 houses between the person whose pet is dog and the person whose colour is red.",
        "The person whose pet is dog and the person whose pet is zebra are the same person.",
        "The person whose pet is dog lives next to the person whose colour is red. Really.",
    ],
)
def test_other_sentences_are_refused(sentence: str) -> None:
    with pytest.raises(UserError):
        Names.usual(Size(3, 3)).understand(sentence)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Names(("a",), (("x", "x"),)),
        lambda: Names(("a", "a"), (("x", "y"), ("x", "y"))),
        lambda: Names(("a", "b"), (("x", "y"), ("x",))),
        lambda: Names(("a",), (("x", "y,z"),)),
        lambda: Names(("a:",), (("x", "y"),)),
        lambda: Names(("a",), (("x", " y"),)),
        lambda: Names(("a",), (("x", ""),)),
        lambda: Names((), ()),
        lambda: as_prompt(Puzzle(Size(3, 3), ()), Names.usual(Size(3, 4))),
        lambda: as_answer(np.zeros((3, 4), int), Names.usual(Size(3, 3))),
        lambda: as_answer(np.full((3, 3), 3), Names.usual(Size(3, 3))),
        lambda: read_prompt("What is the time?"),
        lambda: read_prompt(as_prompt(Puzzle(Size(3, 3), ()), Names.usual(Size(3, 3))).replace("are 3", "are 4")),
    ],
)
def test_refused(make) -> None:
    with pytest.raises(UserError):
        make()
