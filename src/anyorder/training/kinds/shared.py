"""What the kinds have in common: checks of their settings, sets made once and kept, held-out sets to be judged by."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from anyorder.core.errors import UserError
from anyorder.decoding.strategies import strategies
from anyorder.training.strict import require

if TYPE_CHECKING:
    import torch

    from anyorder.models.transformer import Transformer


class KeptSet(Protocol):
    """Puzzles that are kept in a file; ``origin`` says what made them."""

    @property
    def origin(self) -> str: ...

    def save(self, path: Path) -> None: ...


class Report(Protocol):
    """What became of a held-out set."""

    def summary(self) -> dict[str, Any]: ...


S = TypeVar("S", bound=KeptSet)
P = TypeVar("P")


@dataclass(frozen=True)
class HeldOutSet(Generic[P]):
    """Puzzles or problems kept from training.

    Attributes:
        name: of the set.
        puzzles: what it holds.
        ways: the ways to answer it by name, each ``(model, puzzles, device)`` to a report.
    """

    name: str
    puzzles: P
    ways: Mapping[str, Callable[[Transformer, P, torch.device], Report]]

    def measure(self, model: Transformer, device: torch.device) -> list[dict[str, Any]]:
        """One record for each way: solved share with its 95 % interval, count, evaluations a puzzle."""
        return [
            {"puzzles": self.name, "strategy": name, **answer(model, self.puzzles, device).summary()}
            for name, answer in self.ways.items()
        ]


def check_evaluation(rules: Any, counted: str, *lists: str) -> None:
    """Check the settings of decoding during training.

    Args:
        rules: the settings, with ``every_steps`` and ``batch_size``.
        counted: the field that says how many puzzles.
        lists: fields of which no value may stand twice; ``beams`` may not be negative either.

    Raises:
        UserError: naming the field.
    """
    require(rules.every_steps is None or rules.every_steps >= 1, "evaluation.every_steps must be at least 1")
    require(getattr(rules, counted) >= 0, f"evaluation.{counted} must not be negative")
    require(rules.batch_size >= 1, "evaluation.batch_size must be at least 1")
    require(all(beams >= 0 for beams in getattr(rules, "beams", ())), "evaluation.beams must not be negative")
    for name in lists:
        values = getattr(rules, name)
        require(len(set(values)) == len(values), f"evaluation.{name} names one twice")


def strategy_parts(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The named strategies as arguments of ``decode``. Raises ``UserError`` for an unknown name."""
    chosen = {}
    for name in names:
        if name not in strategies:
            raise UserError(f"evaluation.strategies: unknown {name!r}; known: {', '.join(strategies)}")
        chosen[name] = strategies[name].parts()
    return chosen


def beam_widths(beams: Iterable[int]) -> dict[str, int]:
    """Beam widths by the name they have in records; 0 is greedy decoding."""
    return {f"beam-{width}" if width else "greedy": width for width in beams}


def kept(
    path: Path,
    origin: str,
    load: Callable[[Path], S],
    make: Callable[[], S],
    stale: Literal["refused", "made anew"],
) -> S:
    """A set that is made once and kept in ``path``, marked with its ``origin``.

    Args:
        path: of the file.
        origin: what the set is made from, in words; another one in the file makes it stale.
        load, make: how the set is read and made.
        stale: what becomes of a stale file.

    Raises:
        UserError: a stale file that is refused, or one that cannot be read.
    """
    if path.exists():
        known = load(path)
        if known.origin == origin:
            return known
        if stale == "refused":
            raise UserError(
                f"{path} was made by other settings ({known.origin}); delete it, or choose another --run-dir"
            )
    made: S = dataclasses.replace(make(), origin=origin)  # pyright: ignore[reportArgumentType]
    made.save(path)
    return made


def describe_puzzles(data: dict[str, Any]) -> str:
    """The data settings of puzzles in words."""
    source = f"the file {Path(data['path']).name}" if data["path"] else f"generated with seed {data['seed']}"
    return f"{source}, {'a random symmetry at each use' if data['augment'] else 'used as they are'}"
