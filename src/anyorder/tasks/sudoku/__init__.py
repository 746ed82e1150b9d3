"""Sudoku of any box shape: rules, uniform grids, puzzles, solver, symmetries and data."""

from .data import GRADES, Puzzles, SudokuData
from .generator import generate
from .grids import random_grids
from .rules import Box, verify, verify_many
from .search import count_solutions, solve_exhaustively
from .symmetry import Symmetries, augment, random_symmetries

__all__ = [
    "GRADES",
    "Box",
    "Puzzles",
    "SudokuData",
    "Symmetries",
    "augment",
    "count_solutions",
    "generate",
    "random_grids",
    "random_symmetries",
    "solve_exhaustively",
    "verify",
    "verify_many",
]
