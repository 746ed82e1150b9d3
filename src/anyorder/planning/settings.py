"""Checks that the settings of a part share: each names the argument, its value and what is allowed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

View = Literal["model", "sampled"]
"""Which distribution a part reads: the network's own, or the one that is drawn from (tempered and truncated)."""


def check_count(part: object, name: str, value: object, least: int = 1) -> None:
    """``value`` is an int of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{type(part).__name__}: {name} must be a whole number of at least {least}, not {value!r}")


def check_number(
    part: object, name: str, value: object, low: float, high: float = math.inf, *, low_open: bool = False
) -> None:
    """``value`` is a finite number in [low, high], or in (low, high] where ``low_open``."""
    real = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not math.isfinite(real) or not low <= real <= high or (low_open and real == low):
        closing = ")" if high == math.inf else "]"
        allowed = f"{'(' if low_open else '['}{low:g}, {high:g}{closing}"
        raise UserError(f"{type(part).__name__}: {name} must be a number in {allowed}, not {value!r}")


def check_choice(part: object, name: str, value: object, allowed: Iterable[str]) -> None:
    """``value`` is one of some strings."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise UserError(f"{type(part).__name__}: {name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")


def check_flag(part: object, name: str, value: object) -> None:
    """``value`` is a bool."""
    if not isinstance(value, bool):
        raise UserError(f"{type(part).__name__}: {name} must be True or False, not {value!r}")


def check_view(part: object, value: object) -> None:
    """``value`` names a view of the statistics."""
    check_choice(part, "view", value, ("model", "sampled"))


def shown(value: object) -> str:
    """How a wrong part is shown in a message; a class instead of an instance is the usual slip."""
    return f"the class {value.__name__}; write {value.__name__}(...)" if isinstance(value, type) else repr(value)


def token_set(part: object, name: str, value: object) -> tuple[int, ...]:
    """``value``, a token or several, as a sorted tuple without repeats; empty is refused."""
    tokens = (value,) if isinstance(value, int) else tuple(value) if isinstance(value, tuple | list | set) else ()
    if not tokens or any(isinstance(token, bool) or not isinstance(token, int) or token < 0 for token in tokens):
        raise UserError(f"{type(part).__name__}: {name} must be a token id or several, each 0 or more, not {value!r}")
    return tuple(sorted(set(tokens)))
