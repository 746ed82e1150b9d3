"""Decisions: which positions next, how many, which tokens, where, what to take back, when to stop.

Nothing here sees a model: a part gets the board, which holds statistics of a model's logits.
"""

from anyorder.planning.board import Board, Drawn, Gathered, Progress, Ranking, RowState
from anyorder.planning.budgets import (
    KLASS,
    CountBudget,
    EntropyBelow,
    EntropyBound,
    Factor,
    Fixed,
    OneByOne,
    ProbabilityAbove,
    Quota,
    Schedule,
    ThresholdBudget,
)
from anyorder.planning.orders import (
    Defer,
    Entropy,
    LeftToRight,
    Margin,
    Noisy,
    Order,
    Prior,
    Random,
    SampledProbability,
    TopProbability,
)
from anyorder.planning.remasking import MaskPredict, Remask
from anyorder.planning.samplers import Chain, Greedy, MinP, Sampler, Temperature, TopK, TopP
from anyorder.planning.statistics import Cut, Statistics
from anyorder.planning.stopping import EndOfHole, EndOfText, Stop
from anyorder.planning.windows import Blocks, Holes, Whole, Window

__all__ = [
    "KLASS",
    "Blocks",
    "Board",
    "Chain",
    "CountBudget",
    "Cut",
    "Defer",
    "Drawn",
    "EndOfHole",
    "EndOfText",
    "Entropy",
    "EntropyBelow",
    "EntropyBound",
    "Factor",
    "Fixed",
    "Gathered",
    "Greedy",
    "Holes",
    "LeftToRight",
    "Margin",
    "MaskPredict",
    "MinP",
    "Noisy",
    "OneByOne",
    "Order",
    "Prior",
    "ProbabilityAbove",
    "Progress",
    "Quota",
    "Random",
    "Ranking",
    "Remask",
    "RowState",
    "SampledProbability",
    "Sampler",
    "Schedule",
    "Statistics",
    "Stop",
    "Temperature",
    "ThresholdBudget",
    "TopK",
    "TopP",
    "TopProbability",
    "Whole",
    "Window",
]
