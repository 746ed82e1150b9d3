"""Sudoku of any box shape: rules, uniform grids, graded puzzles, the seven-strategy solver, symmetries, files, data."""

from .data import GRADES, Puzzles, SudokuData
from .formats import PuzzleFile, as_text, read_puzzles, write_puzzles
from .generator import Recipe, generate
from .grading import Band, grade_file, grade_puzzles
from .grids import random_grids
from .rules import Box, verify, verify_many
from .search import count_solutions, solve_exhaustively
from .solver import Elimination, Fill, Solution, Solutions, Step, solve, solve_many
from .strategies import STRATEGIES
from .symmetry import Symmetries, augment, puzzle_keys, random_symmetries, symmetry_keys
from .task import Sudoku

__all__ = [
    "GRADES",
    "STRATEGIES",
    "Band",
    "Box",
    "Elimination",
    "Fill",
    "PuzzleFile",
    "Puzzles",
    "Recipe",
    "Solution",
    "Solutions",
    "Step",
    "Sudoku",
    "SudokuData",
    "Symmetries",
    "as_text",
    "augment",
    "count_solutions",
    "generate",
    "grade_file",
    "grade_puzzles",
    "puzzle_keys",
    "random_grids",
    "random_symmetries",
    "read_puzzles",
    "solve",
    "solve_exhaustively",
    "solve_many",
    "symmetry_keys",
    "verify",
    "verify_many",
    "write_puzzles",
]
