"""What the experiments on the arithmetic model share: its problems, decodes that are kept, and paired comparisons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import mcnemar, paired_bootstrap, wilson
from anyorder.evaluation.problems import solve_problems
from anyorder.models.checkpoints import from_pretrained
from anyorder.planning.orders import Entropy, LeftToRight
from anyorder.planning.stopping import EndOfText, Stops
from anyorder.planning.windows import Blocks
from anyorder.tasks.arithmetic import ANSWER, REASONING, TOKENIZER, Difficulty, Problem, hole_lengths, make_problems

if TYPE_CHECKING:
    from anyorder.experiments.experiment import Settings
    from anyorder.models.transformer import Transformer
    from anyorder.planning.stopping import Stop

MODEL = "arithmetic"
HELD_OUT_SEED = 577_215  # of the problems that are measured
DECODES = "reasoning-decodes"
MARGIN = 0.015
"""How much worse a share may be and still count as no worse: its interval must end above minus this."""
END = TOKENIZER.end_token_id
ORDERS: dict[str, dict[str, Any]] = {
    "entropy": {"order": Entropy()},
    "left to right": {"order": LeftToRight()},
    "entropy, blocks of 8": {"order": Entropy(), "window": Blocks(8)},
}
"""The orders that experiments share under DECODES, with one position at a time and with several."""


def load_model(settings: Settings) -> Transformer:
    """The arithmetic model, or the one that was asked for.

    Raises:
        UserError: it was not made for arithmetic.
    """
    model = from_pretrained(settings.model, device=settings.device)
    if not model.task or model.task.get("name") != "arithmetic":
        raise UserError(f"{settings.model} is no arithmetic model; name one that is with --model")
    return model


def difficulty_of(model: Transformer, name: str) -> Difficulty:
    """The range ``normal`` or ``hard`` that a model was made for."""
    assert model.task is not None
    values = model.task[name]
    return Difficulty(**{**values, "operations": tuple(values["operations"])})


def hard_range(model: Transformer) -> str:
    """The range ``hard`` in words, for the notes of a record."""
    hard = difficulty_of(model, "hard")
    fewest, most = hard.operations
    count = f"{most}" if fewest == most else f"{fewest} to {most}"
    normal = difficulty_of(model, "normal").operand
    return f"Hard problems: {count} operations, operands up to {hard.operand}; normal ones: up to {normal}."


def held_out_problems(model: Transformer, name: str, count: int, seed: int = HELD_OUT_SEED) -> list[Problem]:
    """Unseen problems of a range."""
    return make_problems(difficulty_of(model, name), count, seed, "held-out")


def ends() -> Stop:
    """Both holes end at their end of text: what follows it is not decoded."""
    return Stops(EndOfText(END, REASONING), EndOfText(END, ANSWER))


@dataclass(frozen=True)
class Contender:
    """A strategy under its name; ``baseline`` names the contender that it is compared with."""

    name: str
    parts: Mapping[str, Any]
    baseline: str | None = None


def decoded(
    model: Transformer,
    range_name: str,
    problems: Sequence[Problem],
    parts: Mapping[str, Any],
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """What a strategy makes of the problems, as JSON data: one entry per problem under each name."""
    report = solve_problems(
        model,
        problems,
        *hole_lengths(difficulty_of(model, range_name)),
        parts,
        seed=settings.seed,
        batch_size=settings.batch_size,
        device=settings.device,
        progress=progress,
    )
    figures = {name: getattr(report, name) for name in ("right", "valid", "nfe", "text_nfe", "text")}
    return {name: values.astype(int).tolist() for name, values in figures.items()}


def leg_of(name: str) -> str:
    """The file name of a strategy's decode. Experiments that decode the same problems keep them in one folder,
    DECODES, and share what they have in common."""
    return name.replace(">", "above").replace(",", "").replace(" ", "-")


def differences(found: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """By how much more answers are right and traces valid than the baseline's, paired by problem, with intervals."""
    figures: dict[str, Any] = {}
    for name, counted in (("difference", "right"), ("valid_difference", "valid")):
        mine, theirs = np.array(found[counted], bool), np.array(baseline[counted], bool)
        interval = paired_bootstrap(mine, theirs, np.random.default_rng(0))
        figures |= {name: interval.mean, f"{name}_interval": [interval.low, interval.high]}
    return figures


def row(name: str, found: Mapping[str, Any], baseline: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A line of the table; with a baseline, differences to it problem by problem.

    ``fewer`` is the baseline's evaluations on text over this strategy's evaluations of any kind, so that a baseline's
    work on padding counts against nobody but this strategy's does.
    """
    right, nfe = np.array(found["right"], bool), np.array(found["nfe"])
    line: dict[str, Any] = {
        "strategy": name,
        "count": len(right),
        "solved_share": float(right.mean()),
        "interval": list(wilson(int(right.sum()), len(right))),
        "valid_share": float(np.mean(found["valid"])),
        "nfe_mean": float(nfe.mean()),
        "text_nfe_mean": float(np.mean(found["text_nfe"])),
        "text_mean": float(np.mean(found["text"])),
    }
    if baseline is None:
        return line
    line |= differences(found, baseline)
    line["no_worse"] = line["difference_interval"][0] > -MARGIN
    line["p_value"] = mcnemar(right, np.array(baseline["right"], bool)).p_value
    line["fewer"] = float(np.mean(baseline["text_nfe"]) / nfe.mean())
    return line


def pearson(x: np.ndarray, y: np.ndarray) -> tuple[float | None, list[float] | None]:
    """Pearson's r and its 95 % interval by Fisher's z; None where one of them does not vary."""
    if len(x) < 4 or x.std() == 0 or y.std() == 0:
        return None, None
    r = float(np.corrcoef(x, y)[0, 1])
    z, half = math.atanh(max(-0.999999, min(0.999999, r))), 1.959964 / math.sqrt(len(x) - 3)
    return r, [math.tanh(z - half), math.tanh(z + half)]
