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
    Draft,
    EntropyBelow,
    EntropyBound,
    Factor,
    Fixed,
    OneByOne,
    ProbabilityAbove,
    Schedule,
)
from anyorder.planning.lookahead import Lookahead
from anyorder.planning.orders import (
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
from anyorder.planning.remasking import P2, WINO, MaskPredict, Remask
from anyorder.planning.remdm import ReMDM
from anyorder.planning.samplers import Greedy, Sampler, Temperature, TopP
from anyorder.planning.stopping import AnswerEntropy, Prophet, Stop
from anyorder.planning.windows import Blocks, Dilated, Window


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

    @property
    def holes(self) -> tuple[str, ...]:
        """Names of holes that the canvas must have."""
        wanted = (getattr(self.stop, "hole", None), *getattr(self.window, "names", ()))
        return tuple(dict.fromkeys(name for name in wanted if name is not None))

    def as_text(self) -> dict[str, str]:
        """The parts that are chosen, as text."""
        return {name: repr(part) for name, part in self.parts().items() if part is not None}


PARTS = ("order", "budget", "sampler", "window", "remask", "stop")

_PLAN = "Kim et al. 2025, Train for the Worst, Plan for the Best (2502.06768)"
_NO_COMPUTE = "No Compute Left Behind (2510.19990)"
_REMDM = "Wang et al. 2025, Remasking Discrete Diffusion Models (2503.00307)"
_LLADA = "Nie et al. 2025, LLaDA (2502.09992), low-confidence remasking"
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


def _several(k: int) -> Strategy:
    return Strategy(
        TopProbability(),
        Fixed(k),
        Greedy(),
        Blocks(32),
        description=f"blocks of 32; the {k} positions of the highest probability",
        source=f"{_LLADA}; {_NO_COMPUTE}",
    )


def _remdm(rule: ReMDM, description: str) -> Strategy:
    return Strategy(
        Random(),
        sampler=TopP(0.9),
        remask=rule,
        description=f"{rule.steps} reverse steps at random positions, top-p 0.9; {description}",
        source=_REMDM,
    )


def _entropy_bounded(bound: float) -> Strategy:
    return Strategy(
        Entropy(),
        EntropyBound(bound),
        Greedy(),
        description=f"by entropy, the longest prefix with sum H - max H at most {bound:g} nats",
        source="Ben-Hamu et al. 2025, EB-Sampler (2505.24857)",
    )


def _reconsider(evaluations: int) -> Strategy:
    return Strategy(
        Margin(),
        EntropyBelow(0.02, prefix=False),
        Greedy(),
        remask=Reconsider(evaluations),
        description="all below 0.02 nats, else the best; a result that fails its check goes back to a doubtful choice, "
        f"for at most {evaluations} evaluations",
        source="this project",
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
        "eb": _entropy_bounded(0.1),
        "eb-0.01": _entropy_bounded(0.01),
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
            source=_LLADA,
        ),
        "fixed-2": _several(2),
        "fixed-4": _several(4),
        "llada-whole": Strategy(
            SampledProbability(),
            Fixed(1),
            Greedy(),
            description="no blocks; the position whose drawn token is the most probable",
            source=_LLADA,
        ),
        "early-exit": Strategy(
            TopProbability(),
            OneByOne(),
            Greedy(),
            Blocks(32),
            stop=AnswerEntropy(0.1, hole="answer"),
            description="blocks of 32, one at a time; reasoning ends once the answer's entropies sum below 0.1 nats",
            source=_NO_COMPUTE,
        ),
        "med-early-exit": Strategy(
            Entropy(),
            EntropyBelow(0.2, most=8),
            Greedy(),
            Blocks(32),
            stop=AnswerEntropy(0.1, hole="answer"),
            description="blocks of 32, all below 0.2 nats at once; early exit at 0.1 nats",
            source=_NO_COMPUTE,
        ),
        "prophet": Strategy(
            TopProbability(),
            OneByOne(),
            Greedy(),
            Blocks(32),
            stop=Prophet(),
            description="blocks of 32, one at a time; everything at once when the mean log p_1 / p_2 is large",
            source="Li et al. 2025, Diffusion Language Models Know the Answer Before Decoding (2508.19982)",
        ),
        "pc-sampler": Strategy(
            Prior(TopProbability(log=True), decay=0.25),
            OneByOne(),
            Greedy(),
            description="the highest probability times exp(-0.25 i); its word frequencies are `Calibrated`",
            source="Huang et al. 2025, PC-Sampler (2508.13021)",
        ),
        "dilated": Strategy(
            LeftToRight(),
            Schedule(1),
            Greedy(),
            Dilated(32),
            description="blocks of 32 in 5 steps, each of positions as far apart as can be",
            source="Luxembourg et al. 2025, Plan for Speed (2506.19037)",
        ),
        "first-hitting": Strategy(
            Random(),
            OneByOne(),
            Temperature(1.0),
            description="a random position at each transition time, tokens drawn; times matter to timed networks alone",
            source="Zheng et al. 2024, Masked Diffusion Models are Secretly Time-Agnostic (2409.02908)",
        ),
        "lookahead": Strategy(
            Lookahead(TopProbability(), candidates=8, sure=0.9),
            ProbabilityAbove(0.9, prefix=False),
            Greedy(),
            description="all above probability 0.9; where there is none, the best of 8 by information gain",
            source="Yang et al. 2026, Improving Sampling for Masked Diffusion Models via Information Gain (2602.18176)",
        ),
        "remdm-cap": _remdm(ReMDM(128, "cap", eta=0.04), "each token masked again with probability at most 0.04"),
        "remdm-rescale": _remdm(ReMDM(128, "rescale", eta=0.015), "masked again with 0.015 of the largest probability"),
        "remdm-conf": _remdm(ReMDM(128, "conf"), "masked again in inverse proportion to its probability"),
        "remdm-loop": _remdm(ReMDM(128, "loop", eta=0.02), "masked again at 0.02 while 90 % are decided"),
        "p2": Strategy(
            Planned(eta=1.0),
            sampler=Temperature(1.0),
            remask=P2(128),
            description="128 steps; the least probable tokens are masked, decided ones among them",
            source="Peng et al. 2025, Path Planning for Masked Diffusion Model Sampling (2502.03540), self-planning",
        ),
        "wino": Strategy(
            TopProbability(),
            Draft(0.6),
            Greedy(),
            Blocks(128),
            remask=WINO(0.9),
            description="blocks of 128; all above probability 0.6, then what fell below 0.9 is taken back",
            source="Hong et al. 2025, Wide-In, Narrow-Out (2507.18578); for a denoiser in `LeaveOut`",
        ),
        "reconsider": _reconsider(240),
        "reconsider-1000": _reconsider(1000),
        "vanilla-50": _fifty(Random(), "random positions"),
        "top-probability-50": _fifty(Noisy(TopProbability(), gumbel=0.5), "highest probability + 0.5 t/T Gumbel"),
        "margin-50": _fifty(Noisy(Margin(), gumbel=0.5), "largest margin + 0.5 t/T Gumbel"),
        "puzzle-code-top-probability": _code(TopProbability(log=True), "top probability"),
        "puzzle-code-margin": _code(Margin(log=True), "margin"),
    }
)
"""The named strategies, in the order in which they are listed."""
