"""Zebra puzzles of 2-6 houses and 1-6 attributes: rules, deductive solver, generator, files, English, sequences."""

from .batches import Zebra, ZebraData, solver_order
from .data import Puzzles
from .deduction import RULES
from .formats import Entry, as_set, read_multizebralogic
from .generator import KINDS, Recipe, generate, symmetry_keys
from .rules import ALL, CLASSIC, Clue, Kind, Puzzle, Size, verify, verify_many
from .search import count_solutions
from .solver import Fill, Removal, Solution, Solutions, Step, solve, solve_arrays, solve_many
from .symmetry import augment
from .text import Names, as_answer, as_prompt, read_answer, read_prompt
from .tokens import Layout

__all__ = [
    "ALL",
    "CLASSIC",
    "KINDS",
    "RULES",
    "Clue",
    "Entry",
    "Fill",
    "Kind",
    "Layout",
    "Names",
    "Puzzle",
    "Puzzles",
    "Recipe",
    "Removal",
    "Size",
    "Solution",
    "Solutions",
    "Step",
    "Zebra",
    "ZebraData",
    "as_answer",
    "as_prompt",
    "as_set",
    "augment",
    "count_solutions",
    "generate",
    "read_answer",
    "read_multizebralogic",
    "read_prompt",
    "solve",
    "solve_arrays",
    "solve_many",
    "solver_order",
    "symmetry_keys",
    "verify",
    "verify_many",
]
