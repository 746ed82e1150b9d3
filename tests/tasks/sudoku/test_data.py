"""Batches as a pure function of seed, step and size; files that come back whole or are refused."""

from __future__ import annotations

import pickle
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from anyorder.core.errors import UserError
from anyorder.core.files import replacing
from anyorder.tasks.shuffling import permuted
from anyorder.tasks.sudoku import Box, Puzzles, SudokuData, random_grids, verify_many
from anyorder.tasks.task import TaskData

SIX = Box(2, 3)


@cache
def some_puzzles(box: Box = SIX, count: int = 37, seed: int = 0) -> Puzzles:
    solutions = random_grids(box, count, seed)
    rng = np.random.default_rng(seed)
    puzzles = np.where(rng.random(solutions.shape) < 0.6, 0, solutions).astype(np.uint8)
    order = np.where(puzzles > 0, -1, rng.random(puzzles.shape).argsort(1)).astype(np.int16)
    strategy = np.where(puzzles > 0, 0, rng.integers(2, 9, puzzles.shape)).astype(np.uint8)
    grade = rng.integers(0, 2, count).astype(np.uint8)
    return Puzzles(box, puzzles, solutions, grade, order, strategy, origin="a test")


def data_of(held: Puzzles, augment: bool = False) -> SudokuData:
    return SudokuData(held.puzzles, held.solutions, held.box, augment=augment)


@given(st.integers(0, 2**62), st.integers(0, 10**6), st.integers(1, 50), st.booleans())
def test_a_batch_depends_on_its_arguments_alone(seed: int, step: int, size: int, augment: bool) -> None:
    held = some_puzzles()
    one, two = data_of(held, augment), data_of(held, augment)
    two.batch(seed, step + 1, size)
    first, second = one.batch(seed, step, size), two.batch(seed, step, size)
    assert first.tokens.equal(second.tokens)
    assert first.unknown.equal(second.unknown)
    tokens, unknown = first.tokens.numpy(), first.unknown.numpy()
    assert tokens.shape == unknown.shape == (size, 36)
    assert tokens.dtype == np.int64
    assert unknown.dtype == bool
    assert verify_many(held.box, np.where(unknown, 0, tokens), tokens).all()


@pytest.mark.parametrize("size", [1, 5, 37, 50])
def test_every_epoch_visits_each_puzzle_once_in_an_order_of_its_own(size: int) -> None:
    held = some_puzzles()
    data = data_of(held)
    epochs = 4
    batches = [data.batch(3, step, size) for step in range(-(-epochs * len(held) // size))]
    tokens = np.concatenate([batch.tokens.numpy() for batch in batches])[: epochs * len(held)]
    unknown = np.concatenate([batch.unknown.numpy() for batch in batches])[: epochs * len(held)]
    match = (tokens[:, None] == held.solutions).all(-1) & (unknown[:, None] == (held.puzzles == 0)).all(-1)
    assert (match.sum(1) == 1).all()
    order = match.argmax(1).reshape(epochs, len(held))
    assert (np.sort(order, 1) == np.arange(len(held))).all()
    assert len(np.unique(order, axis=0)) == epochs
    assert not (order == np.arange(len(held))).all(1).any()
    # The rows of all steps are one run, however it is cut.
    whole = data.batch(3, 0, epochs * len(held))
    assert np.array_equal(whole.tokens.numpy(), tokens)


def test_seeds_and_steps_differ() -> None:
    data = data_of(some_puzzles(), augment=True)
    batches = [data.batch(seed, step, 37).tokens.numpy().tobytes() for seed in range(3) for step in range(3)]
    assert len(set(batches)) == 9
    plain = data_of(some_puzzles())
    assert not plain.batch(0, 0, 37).tokens.equal(plain.batch(1, 0, 37).tokens)


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_the_keyed_order_is_a_permutation(count: int, key: int) -> None:
    index = permuted(np.arange(count), np.full(count, key, np.uint64), count)
    assert np.array_equal(np.sort(index), np.arange(count))


def test_each_place_is_as_likely_for_each_puzzle() -> None:
    """Where 20,000 keyed orders of 1,000 puzzles send one of them, in twenty groups of 50 places (error rate 1e-3).

    Orders of a handful of puzzles are less even: four rounds reach only some of the permutations evenly.
    """
    keys = np.random.default_rng(0).integers(0, 2**63, 20_000).astype(np.uint64)
    for index in (0, 1, 499, 999):
        place = permuted(np.full(len(keys), index), keys, 1000)
        assert chisquare(np.bincount(place // 50, minlength=20)).pvalue > 1e-3 / 4


def test_augmented_rows_are_symmetric_copies_of_the_plain_ones() -> None:
    held = some_puzzles(Box(3, 3), 20)
    plain, turned = data_of(held).batch(1, 2, 64), data_of(held, augment=True).batch(1, 2, 64)
    assert plain.unknown.sum(1).equal(turned.unknown.sum(1))
    assert not plain.tokens.equal(turned.tokens)


def test_the_task_protocol_and_refusals() -> None:
    held = some_puzzles()
    data = data_of(held)
    assert isinstance(data, TaskData)
    assert len(data) == 37
    assert data.fingerprint == held.fingerprint
    for seed, step, size in ((-1, 0, 1), (0, -1, 1), (0, 0, 0)):
        with pytest.raises(UserError, match="batch"):
            data.batch(seed, step, size)
    with pytest.raises(UserError, match="at least one"):
        SudokuData(held.puzzles[:0], held.solutions[:0], held.box)
    wrong = held.solutions.copy()
    wrong[4] = wrong[3]
    with pytest.raises(UserError, match="puzzle 5 "):
        SudokuData(held.puzzles, wrong, held.box)
    with pytest.raises(UserError, match="cells"):
        SudokuData(held.puzzles, held.solutions, Box(2, 2))
    with pytest.raises(UserError, match="grade"):
        Puzzles(held.box, held.puzzles, held.solutions, np.zeros(3, np.uint8))


def test_the_fingerprint_is_of_the_content() -> None:
    held = some_puzzles()
    assert len(held.fingerprint) == 64
    assert held.fingerprint == some_puzzles().fingerprint != some_puzzles(seed=1).fingerprint
    assert held.rows(slice(0, 36)).fingerprint != held.fingerprint
    fewer = held.puzzles.copy()
    fewer[0, np.flatnonzero(fewer[0])[0]] = 0
    assert Puzzles(held.box, fewer, held.solutions).fingerprint != held.fingerprint
    assert held.rows(np.arange(37)[::-1]).fingerprint != held.fingerprint


@pytest.mark.parametrize("known", [True, False])
def test_a_file_comes_back_as_it_was(tmp_path: Path, known: bool) -> None:
    held = some_puzzles()
    if not known:
        held = Puzzles(held.box, held.puzzles, held.solutions)
    path = tmp_path / "set.npz"
    held.save(path)
    held.save(path)
    back = Puzzles.load(path)
    assert back.box == held.box
    assert back.fingerprint == held.fingerprint
    assert back.origin == held.origin
    for field in ("puzzles", "solutions", "grade", "order", "strategy"):
        one, two = getattr(held, field), getattr(back, field)
        assert (one is None and two is None) or (one.dtype == two.dtype and np.array_equal(one, two))
    assert [file.name for file in tmp_path.iterdir()] == ["set.npz"]
    data = SudokuData.load(path, augment=False)
    assert data.batch(0, 3, 9).tokens.equal(data_of(held).batch(0, 3, 9).tokens)
    chosen = held.rows(np.array([3, 1]))
    assert np.array_equal(chosen.puzzles, held.puzzles[[3, 1]])
    assert (chosen.clues == (held.puzzles[[3, 1]] > 0).sum(1)).all()
    assert not known or np.array_equal(chosen.order, held.order[[3, 1]])


class Harmful:
    """Would make a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def rewritten(path: Path, **change: np.ndarray) -> None:
    """Save the test's set with some arrays replaced and all the others, the fingerprint too, as they were."""
    some_puzzles().save(path)
    with np.load(path) as archive:
        arrays = dict(archive) | change
    np.savez(path, **arrays)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    held = some_puzzles()
    fewer = held.puzzles.copy()
    fewer[0] = 0
    rewritten(path, puzzles=fewer)
    with pytest.raises(UserError, match="fingerprint"):
        Puzzles.load(path)
    rewritten(path, sudoku=np.array([1, 3, 2]))
    with pytest.raises(UserError):
        Puzzles.load(path)
    rewritten(path, sudoku=np.array([99, 2, 3]))
    with pytest.raises(UserError, match="format"):
        Puzzles.load(path)
    rewritten(path, puzzles=held.puzzles[:5])
    with pytest.raises(UserError):
        Puzzles.load(path)
    np.savez(path, puzzles=held.puzzles)
    with pytest.raises(UserError, match="format"):
        Puzzles.load(path)


def test_pickled_content_is_refused_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "set.npz"
    content = np.empty(1, object)
    content[0] = Harmful(trap)
    rewritten(path, origin=content)
    with pytest.raises(UserError, match="damaged"):
        Puzzles.load(path)
    path.write_bytes(pickle.dumps(Harmful(trap)))
    with pytest.raises(UserError, match="damaged"):
        Puzzles.load(path)
    assert not trap.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99])
def test_a_cut_file_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "set.npz"
    some_puzzles().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match="damaged"):
        Puzzles.load(path)


def test_a_file_with_a_flipped_byte_is_refused_or_reads_the_same(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    held = some_puzzles()
    held.save(path)
    whole = path.read_bytes()
    refused = 0
    for at in np.random.default_rng(0).integers(0, len(whole), 150):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            back = Puzzles.load(path)
        except UserError:
            refused += 1
            continue
        assert back.fingerprint == held.fingerprint
    assert refused > 75


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        Puzzles.load(tmp_path / "missing.npz")
    with pytest.raises(UserError):
        Puzzles.load(tmp_path)
    text = tmp_path / "text.npz"
    text.write_text("53..7....")
    with pytest.raises(UserError, match="damaged"):
        Puzzles.load(text)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(UserError, match="damaged"):
        Puzzles.load(tmp_path / "array.npy")
    with zipfile.ZipFile(tmp_path / "zip.npz", "w") as archive:
        archive.writestr("puzzles.npy", b"no array")
    with pytest.raises(UserError):
        Puzzles.load(tmp_path / "zip.npz")


def test_a_target_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    held = some_puzzles()
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="cannot write"):
        held.save(file / "set.npz")
    folder = tmp_path / "folder.npz"
    folder.mkdir()
    with pytest.raises(UserError, match="cannot write"):
        held.save(folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.npz"]


def test_a_write_that_fails_leaves_the_old_file_and_no_scrap(tmp_path: Path) -> None:
    """A disk that fills while the file is written."""
    path = tmp_path / "set.npz"
    some_puzzles().save(path)
    before = path.read_bytes()

    def half(error: BaseException) -> None:
        with replacing(path, binary=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(UserError, match="no space left"):
        half(OSError(28, "No space left on device"))
    with pytest.raises(KeyboardInterrupt):
        half(KeyboardInterrupt())
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.npz"]
