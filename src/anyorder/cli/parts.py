"""From text to the parts of a decode. Strings stop here: behind this file a part is an object.

A part is written ``NAME`` or ``NAME:VALUE,VALUE``: ``--order margin``, ``--budget fixed:4``,
``--budget entropy-below:0.02,8``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyorder.cli.options import FloatOption, IntOption, TextOption, at_least
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.decoding.strategies import Strategy

Maker = tuple[Callable[..., Any], tuple[Callable[[str], Any], ...], int]
"""What makes the part, the types of its values in order, and how many of them must be given."""


@dataclass(frozen=True)
class Decoding:
    """Which positions next, how many, and with which tokens."""

    order: TextOption = None
    """which position next: random, left-to-right, top-probability, margin, entropy (default: margin)"""
    budget: TextOption = None
    """how many at once: one, fixed:4, schedule:50, entropy-below:0.2,8, entropy-bound:0.1, probability-above:0.9,
    factor:1 (default: one)"""
    temperature: FloatOption = None
    """0 takes the most likely token, above 0 draws one (default: 0)"""
    block: IntOption = None
    """decode left to right in blocks of this many positions (default: the whole canvas)"""
    strategy: TextOption = None
    """a named strategy instead of single parts; `anyorder strategies` lists them"""
    seed: int = 0
    """of every random choice; a row draws the same in any batch"""

    def __post_init__(self) -> None:
        at_least("--temperature", self.temperature, 0.0)
        at_least("--block", self.block, 1)
        for part in ("order", "budget", "temperature", "block"):
            if self.strategy is not None and getattr(self, part) is not None:
                raise UserError(f"--strategy names every part; drop --{part}, or drop --strategy and name the parts")

    def resolve(self) -> tuple[str, Strategy]:
        """A name for the choice, and the strategy itself.

        Raises:
            UserError: an unknown name, or values that the part refuses.
        """
        from anyorder.decoding.strategies import Strategy
        from anyorder.planning.samplers import Greedy, Temperature
        from anyorder.planning.windows import Blocks

        if self.strategy is not None:
            return self.strategy, named_strategy(self.strategy)
        order, budget = self.order or "margin", self.budget or "one"
        temperature = self.temperature or 0.0
        strategy = Strategy(
            order=_make("--order", order, _orders()),
            budget=_make("--budget", budget, _budgets()),
            sampler=Temperature(temperature) if temperature > 0 else Greedy(),
            window=None if self.block is None else Blocks(self.block),
        )
        extras = [f"temperature {temperature:g}"] if temperature else []
        extras += [f"blocks of {self.block}"] if self.block else []
        return " + ".join([order, budget, *extras]), strategy


def named_strategy(name: str) -> Strategy:
    """The strategy of that name; an unknown one is refused with the nearest."""
    from anyorder.decoding.strategies import strategies

    if name not in strategies:
        raise UserError(f"unknown strategy {name!r}{_near(name, strategies)} (see `anyorder strategies`)")
    return strategies[name]


def _orders() -> Mapping[str, Maker]:
    from anyorder.planning import orders

    return {
        "random": (orders.Random, (), 0),
        "left-to-right": (orders.LeftToRight, (), 0),
        "top-probability": (orders.TopProbability, (), 0),
        "margin": (orders.Margin, (), 0),
        "entropy": (orders.Entropy, (), 0),
        "sampled-probability": (orders.SampledProbability, (), 0),
    }


def _budgets() -> Mapping[str, Maker]:
    from anyorder.planning import budgets

    return {
        "one": (budgets.OneByOne, (), 0),
        "fixed": (budgets.Fixed, (int,), 1),
        "schedule": (budgets.Schedule, (int,), 1),
        "entropy-below": (budgets.EntropyBelow, (float, int), 1),
        "entropy-bound": (budgets.EntropyBound, (float,), 1),
        "probability-above": (budgets.ProbabilityAbove, (float,), 1),
        "factor": (budgets.Factor, (float,), 1),
    }


def _make(option: str, text: str, makers: Mapping[str, Maker]) -> Any:
    name, colon, rest = text.partition(":")
    if name not in makers:
        raise UserError(f"{option} {name!r} is unknown{_near(name, makers)}; choose from {', '.join(makers)}")
    make, kinds, least = makers[name]
    values = rest.split(",") if colon else []
    if not least <= len(values) <= len(kinds):
        wanted = str(least) if least == len(kinds) else f"{least} to {len(kinds)}"
        raise UserError(f"{option} {name} takes {wanted} values (as in {name}:1), not {len(values)}: {text!r}")
    try:
        return make(*(kind(value) for kind, value in zip(kinds, values, strict=False)))
    except UserError as error:
        raise UserError(f"{option} {text}: {error}") from error
    except ValueError as error:
        raise UserError(f"{option} {text!r}: the values must be numbers") from error


def _near(name: str, known: Mapping[str, Any]) -> str:
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
