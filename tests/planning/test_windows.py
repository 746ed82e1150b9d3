"""Windows: stages of the unknown positions."""

from __future__ import annotations

import pytest
import torch
from tests.planning.boards import make_progress

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.planning.windows import Blocks, Holes, Whole


def canvas_of(unknown: list[list[int]], mask: list[list[int]] | None = None, **holes: list[list[int]]) -> Canvas:
    known = torch.tensor(unknown, dtype=torch.bool)
    return Canvas(
        torch.zeros_like(known, dtype=torch.long),
        known,
        None if mask is None else torch.tensor(mask, dtype=torch.bool),
        {name: torch.tensor(hole, dtype=torch.bool) for name, hole in holes.items()},
    )


def test_the_whole_canvas_is_one_stage() -> None:
    assert Whole().stages(canvas_of([[1, 0, 1]])).tolist() == [[0, 0, 0]]


def test_blocks_count_from_the_first_unknown_position() -> None:
    stages = Blocks(2).stages(canvas_of([[0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 1, 0, 1, 1]]))
    assert stages[0, 3:].tolist() == [0, 0, 1, 1]
    assert stages[1].tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_blocks_do_not_see_padding() -> None:
    bare = Blocks(2).stages(canvas_of([[0, 1, 1, 1, 1]]))
    left = Blocks(2).stages(canvas_of([[0, 0, 0, 0, 1, 1, 1, 1]], mask=[[0, 0, 0, 1, 1, 1, 1, 1]]))
    right = Blocks(2).stages(canvas_of([[0, 1, 1, 1, 1, 0, 0, 0]], mask=[[1, 1, 1, 1, 1, 0, 0, 0]]))
    assert left[0, 4:].tolist() == right[0, 1:5].tolist() == bare[0, 1:].tolist() == [0, 0, 1, 1]


def test_holes_come_in_the_stated_order_and_the_rest_last() -> None:
    canvas = canvas_of([[1, 1, 0, 1, 1, 1]], a=[[1, 1, 1, 0, 0, 0]], b=[[0, 1, 0, 0, 0, 1]])

    def ranks(*names: str, inside=None) -> list[int]:
        stages = Holes(*names, inside=inside).stages(canvas)[canvas.unknown]
        return [sorted(set(stages.tolist())).index(stage) for stage in stages.tolist()]

    assert ranks("a", "b") == [0, 0, 2, 2, 1]
    assert ranks("b", "a") == [1, 0, 2, 2, 0]
    assert ranks("a") == [0, 0, 1, 1, 1]
    assert ranks("a", inside=Blocks(1)) == [0, 1, 2, 3, 4]
    assert ranks("b", "a", inside=Blocks(2)) == [2, 0, 3, 3, 1]


def test_a_rows_stages_do_not_depend_on_its_batch() -> None:
    unknown = [[1, 1, 1, 1], [0, 0, 1, 1]]
    both = canvas_of(unknown, a=[[0, 1, 1, 0], [0, 0, 1, 0]])
    for window in (Blocks(3), Holes("a"), Holes("a", inside=Blocks(1))):
        whole = window.stages(both)
        for row in range(2):
            assert torch.equal(window.stages(both.rows(slice(row, row + 1)))[0], whole[row])


def test_windows_of_nothing() -> None:
    empty = canvas_of([[0, 0, 0]], a=[[1, 0, 0]])
    for window in (Whole(), Blocks(2), Holes("a"), Holes("a", inside=Blocks(2))):
        assert window.stages(empty).shape == (1, 3)
    assert make_progress(empty.unknown).open.sum() == 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Blocks(0), "size"),
        (lambda: Blocks(1.5), "size"),
        (lambda: Holes(), "one or more"),
        (lambda: Holes("a", "a"), "different"),
        (lambda: Holes(3), "names"),
        (lambda: Holes("a", inside=8), "window"),
        (lambda: Holes("a", inside=Blocks), "class Blocks"),
        (lambda: Holes("c").stages(canvas_of([[1]], a=[[1]], b=[[0]])), "no hole 'c'; it has 'a', 'b'"),
        (lambda: Holes("c").stages(canvas_of([[1]])), "it has none"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()


def test_holes_compare_and_print() -> None:
    assert Holes("a", "b") == Holes("a", "b", inside=Whole())
    assert Holes("a", "b") != Holes("b", "a")
    assert repr(Holes("a", "b", inside=Blocks(4))) == "Holes('a', 'b', inside=Blocks(size=4, aligned=False))"
