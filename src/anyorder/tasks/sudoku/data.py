"""Sudoku data: a set of puzzles with its fingerprint, its file, and training batches without loader state.

A batch is a pure function of ``(seed, step, size)``: its rows are those of `tasks.shuffling`, its symmetries are drawn
from the step's seed and number.
"""

from __future__ import annotations

import copy
import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from anyorder.core.errors import UserError
from anyorder.core.files import replacing
from anyorder.tasks.shuffling import rows_of_step
from anyorder.tasks.task import Batch

from .rules import Box, as_grids, verify_many
from .symmetry import random_symmetries

GRADES = ("logic", "hard")
"""Grade names by code: 0, the seven strategies finish the puzzle; 1, they do not."""
FORMAT_VERSION = 1


@dataclass(frozen=True, eq=False)
class Puzzles:
    """Puzzles of one box shape with their solutions, and what the seven-strategy solver said of them.

    ``puzzles``, ``solutions`` (N, cells) uint8. The others may be None where they are not known:
    ``grade`` (N,) uint8 indexes :data:`GRADES`. ``order`` (N, cells) int16: the solver's fill order, 0, 1, 2, ... over
    the cells it filled, -1 at clues and at cells it never filled. ``strategy`` (N, cells) uint8: the id of the
    strategy behind each fill (2..8), 0 at clues and cells never filled.

    Raises:
        UserError: shapes disagree, or a solution does not solve its puzzle.
    """

    box: Box
    puzzles: NDArray[np.uint8]
    solutions: NDArray[np.uint8]
    grade: NDArray[np.uint8] | None = None
    order: NDArray[np.int16] | None = None
    strategy: NDArray[np.uint8] | None = None
    origin: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        puzzles, solutions = as_grids(self.box, self.puzzles), as_grids(self.box, self.solutions, "solution")
        right = verify_many(self.box, puzzles, solutions)
        if not right.all():
            raise UserError(f"the solution of puzzle {int(np.argmin(right)) + 1} does not solve it")
        object.__setattr__(self, "puzzles", puzzles)
        object.__setattr__(self, "solutions", solutions)
        shapes = {"grade": puzzles.shape[:1], "order": puzzles.shape, "strategy": puzzles.shape}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise UserError(f"{name} of {len(puzzles)} puzzles must have shape {shape}, not {value.shape}")

    def __len__(self) -> int:
        return len(self.puzzles)

    @property
    def clues(self) -> NDArray[np.int64]:
        """(N,): how many clues each puzzle has."""
        return (self.puzzles > 0).sum(1)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the box, the puzzles and the solutions, in hexadecimal."""
        digest = hashlib.sha256(f"sudoku {self.box.box_rows}x{self.box.box_columns} {len(self)}\n".encode())
        digest.update(self.puzzles.tobytes())
        digest.update(self.solutions.tobytes())
        return digest.hexdigest()

    def rows(self, index: NDArray | slice) -> Puzzles:
        """The chosen puzzles, with everything known of them."""
        chosen = {name: getattr(self, name) for name in ("grade", "order", "strategy")}
        kept = {name: None if value is None else value[index] for name, value in chosen.items()}
        return replace(self, puzzles=self.puzzles[index], solutions=self.solutions[index], **kept)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file; it appears under its name only once it is complete.

        Raises:
            UserError: the file cannot be written.
        """
        arrays = {name: getattr(self, name) for name in ("puzzles", "solutions", "grade", "order", "strategy")}
        known = {name: value for name, value in arrays.items() if value is not None}
        shape = np.array([FORMAT_VERSION, self.box.box_rows, self.box.box_columns], np.int64)
        marks = {"sudoku": shape, "fingerprint": np.array(self.fingerprint), "origin": np.array(self.origin)}
        with replacing(path, binary=True) as file:
            np.savez_compressed(file, **marks, **known)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Puzzles:
        """Read what :meth:`save` wrote, and check it against its fingerprint.

        Raises:
            UserError: the file is missing, damaged, of another kind, or its content does not match its fingerprint.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                held = {name: archive[name] for name in archive.files}
        except FileNotFoundError as error:
            raise UserError(f"no such file: {path}") from error
        # A damaged archive can fail anywhere inside zipfile, zlib or numpy's header parser.
        except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, SyntaxError, zlib.error) as error:
            raise UserError(f"{path} is no puzzle set, or is damaged; make it with `anyorder data sudoku`") from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError) as error:
            raise UserError(f"{path} is no puzzle set, or is damaged; make it with `anyorder data sudoku`") from error
        header = held.get("sudoku")
        needed = {"sudoku", "fingerprint", "puzzles", "solutions"}
        if header is None or not needed <= held.keys() or header.shape != (3,) or header[0] != FORMAT_VERSION:
            raise UserError(f"{path} is no puzzle set of format {FORMAT_VERSION}; make it with `anyorder data sudoku`")
        loaded = cls(
            Box(int(header[1]), int(header[2])),
            held["puzzles"],
            held["solutions"],
            held.get("grade"),
            held.get("order"),
            held.get("strategy"),
            origin=str(held.get("origin", "")),
        )
        if loaded.fingerprint != str(held["fingerprint"]):
            raise UserError(f"{path} is damaged: its content does not match its fingerprint; make it again")
        return loaded


class SudokuData:
    """Training batches from a set of puzzles.

    Args:
        puzzles: (N, cells) clues, 0 = blank.
        solutions: (N, cells) their solutions.
        box: the box shape.
        augment: apply a random symmetry to every row.

    Raises:
        UserError: the set is empty, does not fit the box, or a solution does not solve its puzzle.
    """

    def __init__(self, puzzles: NDArray, solutions: NDArray, box: Box, *, augment: bool = True) -> None:
        self.set = Puzzles(box, puzzles, solutions)
        if len(self.set) == 0:
            raise UserError("a data set needs at least one puzzle")
        self.box = box
        self.augment = augment
        self.order: NDArray[np.int16] | None = None

    def ordered_by(self, order: NDArray[np.int16]) -> SudokuData:
        """The same data, whose batches carry the rank of every cell as well: ``order`` (N, cells), -1 at clues."""
        if order.shape != self.set.puzzles.shape:
            raise UserError(f"an order of {len(self)} puzzles must have shape {self.set.puzzles.shape}")
        ordered = copy.copy(self)
        ordered.order = order
        return ordered

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, augment: bool = True) -> SudokuData:
        """Batches from a file written by :meth:`Puzzles.save`."""
        held = Puzzles.load(path)
        return cls(held.puzzles, held.solutions, held.box, augment=augment)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the puzzles and solutions."""
        return self.set.fingerprint

    def __len__(self) -> int:
        return len(self.set)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Returns:
            tokens (size, cells) int64, the solutions; unknown (size, cells) bool, the blanks of the puzzles; order
            (size, cells) int64 where the data have one.

        Raises:
            UserError: the seed or the step is negative, or the size is below 1.
        """
        index = rows_of_step(seed, step, size, len(self))
        puzzles, solutions = self.set.puzzles[index], self.set.solutions[index]
        order = None if self.order is None else self.order[index]
        if self.augment:
            rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
            symmetries = random_symmetries(self.box, size, rng)
            puzzles, solutions = symmetries.apply(puzzles), symmetries.apply(solutions)
            order = None if order is None else symmetries.move(order)
        return Batch(
            torch.from_numpy(solutions.astype(np.int64)),
            torch.from_numpy(puzzles == 0),
            None if order is None else torch.from_numpy(order.astype(np.int64)),
        )
