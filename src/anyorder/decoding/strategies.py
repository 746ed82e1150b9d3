"""Named strategies: published samplers as one-line recipes of the parts.

``strategies["med"].parts()`` are arguments of `anyorder.decode`. A name fixes the published setting; another setting is
the same recipe with another number.

No confidence order is best everywhere. On puzzles the margin finds the cells that follow from the clues; on language,
one-at-a-time confidence orders can loop, and commit end-of-text too early (`Defer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from anyorder.planning.budgets import (
    KLASS,
    Budget,
    EntropyBelow,
    EntropyBound,
    Factor,
    Fixed,
    OneByOne,
    ProbabilityAbove,
    Schedule,
)
from anyorder.planning.orders import (
    Entropy,
    LeftToRight,
    Margin,
    Noisy,
    Order,
    Random,
    SampledProbability,
    TopProbability,
)
from anyorder.planning.remasking import MaskPredict, Remask
from anyorder.planning.samplers import Greedy, Sampler, Temperature
from anyorder.planning.stopping import Stop
from anyorder.planning.windows import Blocks, Window


@dataclass(frozen=True)
class Strategy:
    """A choice of parts. A part that is ``None`` is the default of `anyorder.decode`.

    Attributes:
        order, budget, sampler, window, remask, stop: as for `anyorder.decode`.
        description: what it does, one line.
        source: where it is published.
    """

    order: Order | None = None
    budget: Budget | None = None
    sampler: Sampler | None = None
    window: Window | None = None
    remask: Remask | None = None
    stop: Stop | None = None
    description: str = ""
    source: str = ""

    def parts(self) -> dict[str, Any]:
        """The parts as keyword arguments of `anyorder.decode`."""
        return {name: getattr(self, name) for name in PARTS}

    def as_text(self) -> dict[str, str]:
        """The parts that are chosen, as text."""
        return {name: repr(part) for name, part in self.parts().items() if part is not None}


PARTS = ("order", "budget", "sampler", "window", "remask", "stop")

_PLAN = "Kim et al. 2025, Train for the Worst, Plan for the Best (2502.06768)"
_NO_COMPUTE = "No Compute Left Behind (2510.19990)"
_FAST_DLLM = "Wu et al. 2025, Fast-dLLM (2505.22618)"


def _one(order: Order, description: str, source: str) -> Strategy:
    return Strategy(order, OneByOne(), Greedy(), description=f"{description}, one at a time, arg-max", source=source)


def _fifty(order: Order, description: str) -> Strategy:
    return Strategy(
        order,
        Schedule(50),
        Temperature(1.0),
        description=f"{description}; 50 reverse steps, tokens drawn",
        source=f"{_PLAN}, D.2, as the text has it",
    )


def _code(order: Order, description: str) -> Strategy:
    return Strategy(
        Noisy(order, gumbel=0.5, anneal=True),
        sampler=Greedy(),
        remask=MaskPredict(50),
        description=f"log {description} + 0.5 t/T Gumbel; 50 steps of mask-predict, arg-max",
        source=f"{_PLAN}, as its code has it",
    )


strategies: Mapping[str, Strategy] = MappingProxyType(
    {
        "random": _one(Random(), "a random position", "Austin et al. 2021, D3PM (2107.03006)"),
        "left-to-right": _one(LeftToRight(), "the leftmost position", "autoregressive decoding"),
        "top-probability": _one(TopProbability(), "the highest probability", _PLAN),
        "margin": _one(Margin(), "the largest gap of the two highest probabilities", _PLAN),
        "entropy": _one(Entropy(), "the lowest entropy", _PLAN),
        "med": Strategy(
            Entropy(),
            EntropyBelow(0.2, most=8),
            Greedy(),
            description="by entropy, all below 0.2 nats, at most 8 at once",
            source=_NO_COMPUTE,
        ),
        "ar-med": Strategy(
            LeftToRight(),
            EntropyBelow(0.2, most=8),
            Greedy(),
            description="from the left as long as the entropy is below 0.2 nats, at most 8 at once",
            source=_NO_COMPUTE,
        ),
        "eb": Strategy(
            Entropy(),
            EntropyBound(0.1),
            Greedy(),
            description="by entropy, the longest prefix with sum H - max H at most 0.1 nats",
            source="Ben-Hamu et al. 2025, EB-Sampler (2505.24857)",
        ),
        "fast-dllm": Strategy(
            TopProbability(),
            ProbabilityAbove(0.9, prefix=False),
            Greedy(),
            Blocks(32),
            description="blocks of 32; every position above probability 0.9, else the best",
            source=_FAST_DLLM,
        ),
        "fast-dllm-factor": Strategy(
            TopProbability(),
            Factor(1.0),
            Greedy(),
            Blocks(32),
            description="blocks of 32; as long as the n-th probability is at least 1 - 1/(n+1)",
            source=_FAST_DLLM,
        ),
        "klass": Strategy(
            TopProbability(),
            KLASS(limit=0.9, divergence=0.01, history=2),
            Greedy(),
            Blocks(64),
            description="blocks of 64; every position above probability 0.9 whose law has settled, else the best",
            source="Kim et al. 2025, KLASS (2511.05664)",
        ),
        "llada": Strategy(
            SampledProbability(),
            Fixed(1),
            Greedy(),
            Blocks(32),
            description="blocks of 32; the position whose drawn token is the most probable",
            source="Nie et al. 2025, LLaDA (2502.09992), low-confidence remasking",
        ),
        "vanilla-50": _fifty(Random(), "random positions"),
        "top-probability-50": _fifty(Noisy(TopProbability(), gumbel=0.5), "highest probability + 0.5 t/T Gumbel"),
        "margin-50": _fifty(Noisy(Margin(), gumbel=0.5), "largest margin + 0.5 t/T Gumbel"),
        "puzzle-code-top-probability": _code(TopProbability(log=True), "top probability"),
        "puzzle-code-margin": _code(Margin(log=True), "margin"),
    }
)
"""The named strategies, in the order in which they are listed."""
