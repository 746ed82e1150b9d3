"""Zebra data: a set of puzzles with its fingerprint and its file."""

from __future__ import annotations

import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from anyorder.core.errors import UserError
from anyorder.core.files import replacing

from .rules import KIND, MOST, MOST_CLUES, NUMBER, Kind, Puzzle, Size, X, Z, verify_many

FORMAT_VERSION = 1
_COLUMNS = ("houses", "attributes", "clues", "solutions", "order", "rule")


@dataclass(frozen=True, eq=False)
class Puzzles:
    """Puzzles of any sizes with their solutions, and the order in which the solver fills them.

    Attributes:
        houses, attributes: (N,) uint8, each puzzle's size.
        clues: (N, C, 5) int8, rows as `rules.KIND` says; rows of -1 are padding and come last.
        solutions: (N, A, H) int8, the value in each house; -1 outside a puzzle's size.
        order: (N, A, H) int16, the turn in which the solver fills the cell, from 0; -1 where it never does, and outside
            the size; None where it is not known.
        rule: (N, A, H) uint8, the hardest rule that the filling rests on, 0 where there is none; None where it is not
            known.
        origin: where they come from.

    Raises:
        UserError: shapes disagree, a clue is none, or a solution does not solve its puzzle.
    """

    houses: NDArray[np.uint8]
    attributes: NDArray[np.uint8]
    clues: NDArray[np.int8]
    solutions: NDArray[np.int8]
    order: NDArray[np.int16] | None = None
    rule: NDArray[np.uint8] | None = None
    origin: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        for name, kind in zip(_COLUMNS, (np.uint8, np.uint8, np.int8, np.int8, np.int16, np.uint8), strict=True):
            value = getattr(self, name)
            if value is None and name in ("order", "rule"):
                continue
            array = np.asarray(value)
            if not np.issubdtype(array.dtype, np.integer):
                raise UserError(f"{name} must hold whole numbers, not {array.dtype}")
            object.__setattr__(self, name, np.ascontiguousarray(array, kind))
        self._check_clues()
        for name in ("order", "rule"):
            value = getattr(self, name)
            if value is not None and value.shape != self.solutions.shape:
                raise UserError(f"{name} must have the solutions' shape {self.solutions.shape}, not {value.shape}")
        right = verify_many(self.houses, self.attributes, self.clues, self.solutions)
        if not right.all():
            raise UserError(f"the solution of puzzle {int(np.argmin(right)) + 1} does not solve it")

    def _check_clues(self) -> None:
        sides, rows, clues = self.houses.astype(int), self.attributes.astype(int), self.clues
        if sides.ndim != 1 or rows.shape != sides.shape:
            raise UserError(f"sizes must be two lists of one length, not {sides.shape} and {rows.shape}")
        if len(sides) and (sides.min() < 2 or sides.max() > MOST or rows.min() < 1 or rows.max() > MOST):
            raise UserError(f"a Zebra puzzle has 2 to {MOST} houses and 1 to {MOST} attributes")
        if clues.shape[::2] != (len(sides), 5) or clues.ndim != 3 or clues.shape[1] > MOST_CLUES:
            raise UserError(f"clues of {len(sides)} puzzles must be (N, up to {MOST_CLUES}, 5), not {clues.shape}")
        given = clues[..., KIND] >= 0
        if (given[:, 1:] & ~given[:, :-1]).any():
            raise UserError("padding must come after the clues")
        if (clues[..., KIND] >= len(Kind)).any():
            raise UserError(f"clue kinds are 0 to {len(Kind) - 1}, not {clues[..., KIND].max()}")
        items = clues[..., X : Z + 1].astype(int)
        arity = np.array([kind.arity for kind in Kind])[clues[..., KIND]]
        wanted = (np.arange(3) < arity[..., None]) & given[..., None]
        inside = (items // MOST < rows[:, None, None]) & (items % MOST < sides[:, None, None]) & (items >= 0)
        if (wanted & ~inside).any() or (~wanted & (items != -1)).any():
            raise UserError("a clue names an item outside its puzzle, or too many or too few items")
        numbered = np.array([kind.numbered for kind in Kind])[clues[..., KIND]] & given
        if ((clues[..., NUMBER] >= 0) != numbered).any():
            raise UserError("a clue lacks its number, or has one that its kind does not take")

    def __len__(self) -> int:
        return len(self.houses)

    @property
    def clue_counts(self) -> NDArray[np.int64]:
        """(N,): how many clues each puzzle has."""
        return (self.clues[..., KIND] >= 0).sum(1)

    @property
    def size(self) -> Size:
        """The least size that every puzzle fits into."""
        return Size(int(self.houses.max()), int(self.attributes.max()))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over sizes, clues and solutions, in hexadecimal."""
        digest = hashlib.sha256(f"zebra {self.clues.shape} {self.solutions.shape}\n".encode())
        for name in _COLUMNS[:4]:
            digest.update(getattr(self, name).tobytes())
        return digest.hexdigest()

    def puzzle(self, index: int) -> Puzzle:
        """One puzzle by itself."""
        size = Size(int(self.houses[index]), int(self.attributes[index]))
        return Puzzle.of_array(size, self.clues[index])

    def solution(self, index: int) -> NDArray[np.int8]:
        """(attributes, houses): the solution of one puzzle."""
        return self.solutions[index, : self.attributes[index], : self.houses[index]]

    def histogram(self) -> dict[str, int]:
        """How many clues of each kind there are."""
        kinds = self.clues[..., KIND]
        counts = np.bincount(kinds[kinds >= 0], minlength=len(Kind))
        return {kind.title: int(counts[kind]) for kind in Kind}

    def rows(self, index: NDArray | slice) -> Puzzles:
        """The chosen puzzles, with everything known of them."""
        kept = {name: None if (value := getattr(self, name)) is None else value[index] for name in _COLUMNS}
        return replace(self, **kept)

    @classmethod
    def of(cls, puzzles: list[Puzzle], solutions: list[NDArray], *, origin: str = "") -> Puzzles:
        """A set from puzzles and their solutions (attributes, houses), orders not known.

        Raises:
            UserError: there is none, or a solution does not solve its puzzle.
        """
        if not puzzles:
            raise UserError("there is no puzzle")
        most = max(len(puzzle.clues) for puzzle in puzzles)
        shape = max(p.size.attributes for p in puzzles), max(p.size.houses for p in puzzles)
        clues = np.full((len(puzzles), most, 5), -1, np.int8)
        grids = np.full((len(puzzles), *shape), -1, np.int8)
        for row, (puzzle, solution) in enumerate(zip(puzzles, solutions, strict=True)):
            clues[row, : len(puzzle.clues)] = puzzle.array()
            grids[row, : puzzle.size.attributes, : puzzle.size.houses] = solution
        sides = np.array([(p.size.houses, p.size.attributes) for p in puzzles], np.uint8)
        return cls(sides[:, 0], sides[:, 1], clues, grids, origin=origin)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file; it appears under its name only once it is complete.

        Raises:
            UserError: the file cannot be written.
        """
        known = {name: value for name in _COLUMNS if (value := getattr(self, name)) is not None}
        marks = {"zebra": np.array(FORMAT_VERSION), "fingerprint": np.array(self.fingerprint)}
        with replacing(path, binary=True) as file:
            np.savez_compressed(file, **marks, origin=np.array(self.origin), **known)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Puzzles:
        """Read what `save` wrote, and check it against its fingerprint.

        Raises:
            UserError: the file is missing, damaged, of another kind, or its content does not match its fingerprint.
        """
        hint = "make it with `anyorder data zebra`"
        try:
            with np.load(path, allow_pickle=False) as archive:
                held = {name: archive[name] for name in archive.files}
        except FileNotFoundError as error:
            raise UserError(f"no such file: {path}") from error
        # A damaged archive can fail anywhere inside zipfile, zlib or numpy's header parser.
        except (OSError, ValueError, EOFError, KeyError, TypeError, AttributeError, SyntaxError, zlib.error) as error:
            raise UserError(f"{path} is no puzzle set, or is damaged; {hint}") from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, MemoryError) as error:
            raise UserError(f"{path} is no puzzle set, or is damaged; {hint}") from error
        needed = {"zebra", "fingerprint", *_COLUMNS[:4]}
        if not needed <= held.keys() or held["zebra"].shape != () or held["zebra"] != FORMAT_VERSION:
            raise UserError(f"{path} is no Zebra puzzle set of format {FORMAT_VERSION}; {hint}")
        loaded = cls(**{name: held.get(name) for name in _COLUMNS}, origin=str(held.get("origin", "")))  # pyright: ignore[reportArgumentType]
        if loaded.fingerprint != str(held["fingerprint"]):
            raise UserError(f"{path} is damaged: its content does not match its fingerprint; make it again")
        return loaded
