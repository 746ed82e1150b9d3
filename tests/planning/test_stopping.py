"""Stop rules: what each closes."""

from __future__ import annotations

import pytest
import torch
from tests.planning.boards import make_board, make_progress

from anyorder.core.errors import UserError
from anyorder.planning.stopping import EndOfHole, EndOfText

END = 9


def closed(stop, tokens: list[list[int]], undecided: list[list[int]], unknown=None, **holes) -> list[list[int]]:
    missing = torch.tensor(undecided, dtype=torch.bool)
    known = torch.ones_like(missing) if unknown is None else torch.tensor(unknown, dtype=torch.bool)
    masks = {name: torch.tensor(hole, dtype=torch.bool) for name, hole in holes.items()}
    progress = make_progress(known, missing, tokens=torch.tensor(tokens), holes=masks)
    result, _ = stop(progress, make_board(torch.zeros(*missing.shape, 4)), stop.init(progress))
    return [row.nonzero().squeeze(1).tolist() for row in result.close]


def test_end_of_text_closes_what_comes_after_once_all_before_is_decided() -> None:
    stop = EndOfText(END)
    assert closed(stop, [[1, END, 0, 0]], [[0, 0, 1, 1]]) == [[2, 3]]
    assert closed(stop, [[0, END, 0, 0]], [[1, 0, 1, 1]]) == [[]]
    assert closed(stop, [[1, 2, 0, 0]], [[0, 0, 1, 1]]) == [[]]
    assert closed(stop, [[1, END, 5, 0]], [[0, 0, 0, 1]]) == [[3]]


def test_several_end_tokens_and_rows() -> None:
    stop = EndOfText((END, 8))
    tokens = [[1, 8, 0, 0], [END, 0, 0, 0], [1, 1, 1, 1]]
    assert closed(stop, tokens, [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 1]]) == [[2, 3], [1, 2, 3], []]


def test_a_given_end_of_text_does_not_end_anything() -> None:
    assert closed(EndOfText(END), [[END, 1, 0, 0]], [[0, 0, 1, 1]], unknown=[[0, 1, 1, 1]]) == [[]]


def test_an_undecided_position_is_no_end_even_if_the_mask_token_is_the_end_token() -> None:
    assert closed(EndOfText(END), [[END, END, END]], [[1, 1, 1]]) == [[]]


def test_end_of_text_stays_inside_its_hole() -> None:
    stop = EndOfText(END, hole="a")
    a = [[0, 1, 1, 1, 0]]
    assert closed(stop, [[0, END, 0, 0, 0]], [[1, 0, 1, 1, 1]], a=a) == [[2, 3]]
    assert closed(stop, [[END, 1, 0, 0, 0]], [[0, 0, 1, 1, 1]], a=a) == [[]]


def test_end_of_hole_closes_the_row() -> None:
    stop = EndOfHole("a")
    tokens, a = [[1, 1, 0, 0]] * 3, [[1, 1, 0, 0]] * 3
    undecided = [[0, 0, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
    assert closed(stop, tokens, undecided, a=a) == [[2, 3], [], []]


def test_a_hole_with_nothing_unknown_ends_nothing() -> None:
    assert closed(EndOfHole("a"), [[1, 0, 0]], [[0, 1, 1]], unknown=[[0, 1, 1]], a=[[1, 0, 0]]) == [[]]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EndOfHole(""), "hole"),
        (lambda: EndOfHole(3), "hole"),
        (lambda: EndOfText(()), "tokens"),
        (lambda: EndOfText(-1), "tokens"),
        (lambda: EndOfText("<eos>"), "tokens"),
        (lambda: EndOfText(2, hole=""), "hole"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
