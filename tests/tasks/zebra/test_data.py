"""Puzzle sets and their files, symmetries, and batches that are functions of their arguments."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.zebra.cases import SIZES, made

from anyorder.core.errors import UserError
from anyorder.tasks.shuffling import rows_of_step
from anyorder.tasks.task import Task, TaskData
from anyorder.tasks.zebra import Layout, Puzzles, Size, Zebra, ZebraData, augment, solve, solver_order, verify

MIXED = (Size(3, 3), Size(4, 4), Size(3, 5))


def test_a_file_comes_back(tmp_path: Path) -> None:
    puzzles = made(SIZES, 60)
    puzzles.save(tmp_path / "a.npz")
    back = Puzzles.load(tmp_path / "a.npz")
    assert back.fingerprint == puzzles.fingerprint
    assert back.origin == puzzles.origin
    for name in ("houses", "attributes", "clues", "solutions", "order", "rule"):
        assert (getattr(back, name) == getattr(puzzles, name)).all()
    bare = replace(puzzles, order=None, rule=None)
    bare.save(tmp_path / "b.npz")
    assert Puzzles.load(tmp_path / "b.npz").order is None


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    puzzles = made(SIZES, 60)
    puzzles.save(path)
    whole = path.read_bytes()
    for at in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:at])
        with pytest.raises(UserError):
            Puzzles.load(path)
    with pytest.raises(UserError, match="no such file"):
        Puzzles.load(tmp_path / "none.npz")
    np.savez(path, sudoku=np.array(1))
    with pytest.raises(UserError, match="no Zebra puzzle set"):
        Puzzles.load(path)
    held = {name: getattr(puzzles, name) for name in ("houses", "attributes", "clues", "solutions")}
    np.savez(path, zebra=np.array(1), fingerprint=np.array("0" * 64), **held)
    with pytest.raises(UserError, match="fingerprint"):
        Puzzles.load(path)
    np.savez(
        path, zebra=np.array(1), fingerprint=np.array("0" * 64), **held | {"solutions": held["solutions"][:, ::-1]}
    )
    with pytest.raises(UserError):
        Puzzles.load(path)


def test_wrong_sets_are_refused() -> None:
    puzzles = made(SIZES, 60)

    def changed(name: str, at: tuple, value: int):
        array = getattr(puzzles, name).copy()
        array[at] = value
        return lambda: replace(puzzles, **{name: array})

    cases = [
        changed("houses", (0,), 7),
        changed("attributes", (0,), 0),
        changed("solutions", (0, 0, 0), 5),
        changed("clues", (0, 0, 0), 15),
        changed("clues", (0, 0, 0), -1),
        changed("clues", (0, 0, 1), 35),
        changed("clues", (0, 0, 1), -1),
        lambda: replace(puzzles, houses=puzzles.houses[1:]),
        lambda: replace(puzzles, clues=puzzles.clues[:, :, :4]),
        lambda: replace(puzzles, order=puzzles.order[1:]),  # pyright: ignore[reportOptionalSubscript]
        lambda: replace(puzzles, houses=puzzles.houses.astype(float)),
        lambda: Puzzles.of([], []),
    ]
    for case in cases:
        with pytest.raises(UserError) as caught:
            case()
        assert "\n" not in str(caught.value)


def test_symmetries_keep_puzzles_solved_in_order() -> None:
    puzzles = made(MIXED, 60, 6)
    for seed in range(3):
        copies = augment(puzzles, np.random.default_rng(seed))
        assert copies.order is not None
        assert (np.sort(copies.order.reshape(60, -1)) == np.sort(puzzles.order.reshape(60, -1))).all()  # pyright: ignore
        for row in range(60):
            assert verify(copies.puzzle(row), copies.solution(row))
            assert (solve(copies.puzzle(row)).grid == copies.solution(row)).all()


def test_symmetries_reach_every_one_alike() -> None:
    puzzles = made((Size(3, 3),), 1, 9)
    many = puzzles.rows(np.zeros(6000, np.int64))
    copies = augment(many, np.random.default_rng(0))
    first = copies.solutions[:, 0]
    kinds, counts = np.unique(first, axis=0, return_counts=True)
    assert len(kinds) == 6
    # 6000 draws of 6 kinds: five standard deviations
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(6000 / 6 * 5 / 6)
    orders = np.unique(copies.clues[:, 0, 0], return_counts=True)[1]
    assert len(orders) > 1


def test_rows_of_an_epoch_come_once() -> None:
    for count, size in ((10, 3), (7, 7), (1, 4), (64, 16)):
        steps = -(-2 * count // size)
        rows = np.concatenate([rows_of_step(5, step, size, count) for step in range(steps)])
        assert sorted(rows[:count]) == sorted(rows[count : 2 * count]) == list(range(count))
    assert (rows_of_step(0, 0, 64, 64) != rows_of_step(1, 0, 64, 64)).any()
    for seed, step, size in ((-1, 0, 1), (0, -1, 1), (0, 0, 0)):
        with pytest.raises(UserError):
            rows_of_step(seed, step, size, 10)


@pytest.mark.parametrize("answer", ["grid", "triples"])
@pytest.mark.parametrize("order", ["fixed", "solver"])
def test_batches_are_functions_of_their_arguments(answer, order) -> None:
    puzzles = made(MIXED, 60, 6)
    layout = Layout(4, 5, 24, answer)
    data = ZebraData(puzzles, layout, order=order)
    assert isinstance(data, TaskData)
    one, two = data.batch(3, 5, 16), ZebraData(puzzles, layout, order=order).batch(3, 5, 16)
    assert (one.tokens == two.tokens).all()
    assert (one.unknown == two.unknown).all()
    assert (data.batch(3, 6, 16).tokens != one.tokens).any()
    assert (data.batch(4, 5, 16).tokens != one.tokens).any()
    assert one.tokens.shape == (16, layout.length)
    assert Zebra(Size(4, 5), 24).layout == Layout(4, 5, 24)
    houses, attributes, _ = layout.read_known(one.tokens.numpy())
    per_cell = 1 if answer == "grid" else 3
    assert (one.unknown.sum(1).numpy() == per_cell * houses * attributes).all()
    assert (one.order is not None) == (answer == "grid" and order == "solver")
    other = ZebraData(puzzles, layout, order="fixed" if order == "solver" else "solver")
    assert data.fingerprint != other.fingerprint


def test_a_grid_s_order_is_the_solvers_of_what_is_shown() -> None:
    puzzles = made(MIXED, 60, 6)
    layout = Layout(4, 5, 24)
    batch = ZebraData(puzzles, layout, order="solver").batch(0, 0, 32)
    assert batch.order is not None
    houses, attributes, clues = layout.read_known(batch.tokens.numpy())
    shown = Puzzles(houses.astype(np.uint8), attributes.astype(np.uint8), clues, layout.read(batch.tokens.numpy()))
    expected = solver_order(shown)
    ranks = batch.order[:, layout.answer_start :].numpy().reshape(expected.shape)
    inside = shown.solutions >= 0
    assert (ranks[inside] == expected[inside]).all()


def test_the_task_judges_what_is_filled() -> None:
    task = Zebra(Size(4, 4), 20)
    assert isinstance(task, Task)
    data = task.data(20, seed=1)
    tokens = data.batch(0, 0, 20).tokens.numpy()
    given = np.where(data.batch(0, 0, 20).unknown.numpy(), task.mask_token_id, tokens)
    assert task.verify(given, tokens).all()
    wrong = tokens.copy()
    wrong[:, [-1, -2]] = wrong[:, [-2, -1]]
    assert not task.verify(given, wrong).any()
    changed = tokens.copy()
    changed[:, 3] += 1
    assert not task.verify(given, changed).any()


def test_refused() -> None:
    puzzles = made(MIXED, 60, 6)
    with pytest.raises(UserError, match="at least one"):
        ZebraData(puzzles.rows(slice(0)), Layout(4, 5, 24))
    with pytest.raises(UserError, match="order"):
        ZebraData(puzzles, Layout(4, 5, 24), order="best")  # pyright: ignore[reportArgumentType]
    for layout in (Layout(3, 5, 24), Layout(4, 4, 24), Layout(4, 5, 4)):
        with pytest.raises(UserError, match="do not fit"):
            ZebraData(puzzles, layout)
