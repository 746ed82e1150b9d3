"""The law of a decoding rule, written out as a sum over all paths of a decode.

A decode is a path of (positions chosen, tokens drawn). ``law`` sums the probability of every path into its outcome,
the final sequence and the step at which each position was decided. It shares no code with the library: conditionals
are slices of a table (``exact``), and what a rule says is written anew (``rules``). Randomness other than tokens is
summed over as well: the permutation of a random order, Gumbel noise, tokens drawn and not kept, binomial counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.decoding.laws.exact import UNDECIDED, Joint, Sight, Tokens
from tests.decoding.laws.rules import (
    Memory,
    Plan,
    has_random_base,
    looks_at_drawn,
    plain,
    planned,
    rankings,
    stages,
    taken,
)

Outcome = tuple[Tokens, tuple[int, ...]]
"""The final tokens, and the step of every position, -1 where it was given."""


@dataclass(frozen=True)
class Rule:
    """Order x budget, the stage of every unknown position, and the permutation of a random order."""

    order: Any
    budget: Any
    stage: dict[int, int]
    permutation: tuple[int, ...] | None = None


@dataclass(frozen=True)
class State:
    """A row between two steps: ``taken`` of them are done."""

    tokens: Tokens
    steps: tuple[int, ...]
    taken: int
    stage: int
    plan: Plan
    memory: Memory


def law(
    order: Any, budget: Any, window: Any, joint: Joint, given: Tokens, holes: dict[str, list[int]] | None = None
) -> dict[Outcome, float]:
    """The distribution of (final tokens, step of every position) under one rule, at temperature 1.

    Raises ``NoLaw`` for a rule that has none, ``ClosedCall`` where a comparison is too close.
    """
    unknown = [i for i, t in enumerate(given) if t == UNDECIDED]
    rule = Rule(plain(order), budget, stages(window, unknown, holes or {}))
    start = State(given, (-1,) * len(given), 0, -1, (), {})
    outcomes: dict[Outcome, float] = {}
    permutations = list(itertools.permutations(unknown)) if has_random_base(order) else [None]
    for permutation in permutations:
        for probability, outcome in _paths(replace(rule, permutation=permutation), joint, start):
            outcomes[outcome] = outcomes.get(outcome, 0.0) + probability / len(permutations)
    total = math.fsum(outcomes.values())
    assert abs(total - 1) < 1e-9, f"the paths of {order!r}, {budget!r}, {window!r} have probability {total}"
    return outcomes


def _paths(rule: Rule, joint: Joint, state: State) -> Iterator[tuple[float, Outcome]]:
    left = [i for i, t in enumerate(state.tokens) if t == UNDECIDED]
    if not left:
        yield 1.0, (state.tokens, state.steps)
        return
    stage = min(rule.stage[i] for i in left)
    where = [i for i in left if rule.stage[i] == stage]
    size = sum(s == stage for s in rule.stage.values())
    plan_left = state.plan if stage == state.stage else ()
    sight = joint.look(state.tokens)
    for p_count, count, time, plan in planned(rule.order, rule.budget, plan_left, where, size):
        for p_drawn, drawn in _drawn(rule.order, sight, where):
            for p_rank, ranking in rankings(rule.order, sight, where, rule.permutation, drawn, time):
                if count is None:
                    chosen, memory = taken(rule.budget, ranking, sight, state.memory)
                else:
                    chosen, memory = ranking[:count], {}
                steps = tuple(state.taken if i in chosen else s for i, s in enumerate(state.steps))
                for p_tokens, tokens in _filled(sight, state.tokens, chosen, drawn):
                    after = State(tokens, steps, state.taken + 1, stage, plan, memory)
                    for p_rest, outcome in _paths(rule, joint, after):
                        yield p_count * p_drawn * p_rank * p_tokens * p_rest, outcome


def _drawn(order: Any, sight: Sight, where: list[int]) -> Iterator[tuple[float, dict[int, int] | None]]:
    """All tokens that may be drawn at the open positions, for an order that looks at them."""
    if not looks_at_drawn(order):
        yield 1.0, None
        return
    for values in itertools.product(*(range(len(sight.laws[i])) for i in where)):
        probability = math.prod(sight.laws[i][v] for i, v in zip(where, values, strict=True))
        if probability > 0:
            yield probability, dict(zip(where, values, strict=True))


def _filled(
    sight: Sight, tokens: Tokens, chosen: list[int], drawn: dict[int, int] | None
) -> Iterator[tuple[float, Tokens]]:
    """All fillings of the chosen positions, each drawn from its own law, or as drawn before."""
    for values in itertools.product(*(range(len(sight.laws[i])) if drawn is None else (drawn[i],) for i in chosen)):
        new = dict(zip(chosen, values, strict=True))
        probability = 1.0 if drawn is not None else math.prod(sight.laws[i][v] for i, v in new.items())
        if probability > 0:
            yield probability, tuple(new.get(i, t) for i, t in enumerate(tokens))
