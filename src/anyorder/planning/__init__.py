"""Decisions: which positions next, how many, which tokens, where, what to take back, when to stop.

Nothing here sees a model: a part gets the board, which holds statistics of a model's logits.
"""

from anyorder.planning.board import Ask, Board, Drawn, Gathered, Progress, Ranking, RowState
from anyorder.planning.budgets import (
    KLASS,
    CountBudget,
    Draft,
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
from anyorder.planning.lookahead import Lookahead
from anyorder.planning.orders import (
    Calibrated,
    Defer,
    Entropy,
    LeftToRight,
    Margin,
    Noisy,
    Order,
    Planned,
    Prior,
    Random,
    SampledProbability,
    TopProbability,
)
from anyorder.planning.reconsider import Reconsider
from anyorder.planning.remasking import P2, WINO, MaskPredict, Remask, Revision
from anyorder.planning.remdm import ReMDM
from anyorder.planning.samplers import Chain, Greedy, MinP, Sampler, Temperature, TopK, TopP
from anyorder.planning.statistics import Cut, Statistics
from anyorder.planning.stopping import AnswerEntropy, Ending, EndOfHole, EndOfText, Prophet, Stop, Stops
from anyorder.planning.windows import Blocks, Dilated, Holes, Whole, Window

__all__ = [
    "KLASS",
    "P2",
    "WINO",
    "AnswerEntropy",
    "Ask",
    "Blocks",
    "Board",
    "Calibrated",
    "Chain",
    "CountBudget",
    "Cut",
    "Defer",
    "Dilated",
    "Draft",
    "Drawn",
    "EndOfHole",
    "EndOfText",
    "Ending",
    "Entropy",
    "EntropyBelow",
    "EntropyBound",
    "Factor",
    "Fixed",
    "Gathered",
    "Greedy",
    "Holes",
    "LeftToRight",
    "Lookahead",
    "Margin",
    "MaskPredict",
    "MinP",
    "Noisy",
    "OneByOne",
    "Order",
    "Planned",
    "Prior",
    "ProbabilityAbove",
    "Progress",
    "Prophet",
    "Quota",
    "Random",
    "Ranking",
    "ReMDM",
    "Reconsider",
    "Remask",
    "Revision",
    "RowState",
    "SampledProbability",
    "Sampler",
    "Schedule",
    "Statistics",
    "Stop",
    "Stops",
    "Temperature",
    "ThresholdBudget",
    "TopK",
    "TopP",
    "TopProbability",
    "Whole",
    "Window",
]
