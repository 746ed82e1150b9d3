"""Latents-and-observations distributions, their exact and approximate posteriors, and planted constraint problems.

``LatentLaw`` is a distribution; ``nae_sat``, ``sparse_predicate``, ``noisy_parity``, ``random_slab``,
``planted_colouring``, ``one_way_bits``, ``predicate_law`` and ``function_law`` make some. ``ExactPosterior`` and
``BeliefDenoiser`` are its denoisers. ``plant``, ``propagate`` and ``thresholds`` are the theory.
"""

from .beliefs import BeliefDenoiser
from .exact import ExactPosterior
from .families import (
    function_law,
    nae_sat,
    noisy_parity,
    one_way_bits,
    planted_colouring,
    predicate_law,
    random_slab,
    sparse_predicate,
)
from .law import LatentLaw, diversity
from .observations import FunctionObservations, LocalObservations, Observations
from .predicates import Predicate, colouring, exactly, not_all_equal, one_way, parity, predicate_of, second_eigenvalue
from .propagation import FactorGraph, FixedPoint, Planted, overlap, plant, propagate, solve_planted
from .task import Latents, LatentsData, held_out
from .thresholds import growth, hard_masks, measured_stability, neighbours, ordered, parting, stability_threshold

__all__ = [
    "BeliefDenoiser",
    "ExactPosterior",
    "FactorGraph",
    "FixedPoint",
    "FunctionObservations",
    "LatentLaw",
    "Latents",
    "LatentsData",
    "LocalObservations",
    "Observations",
    "Planted",
    "Predicate",
    "colouring",
    "diversity",
    "exactly",
    "function_law",
    "growth",
    "hard_masks",
    "held_out",
    "measured_stability",
    "nae_sat",
    "neighbours",
    "noisy_parity",
    "not_all_equal",
    "one_way",
    "one_way_bits",
    "ordered",
    "overlap",
    "parity",
    "parting",
    "plant",
    "planted_colouring",
    "predicate_law",
    "predicate_of",
    "propagate",
    "random_slab",
    "second_eigenvalue",
    "solve_planted",
    "sparse_predicate",
    "stability_threshold",
]
