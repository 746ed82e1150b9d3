"""The law of a decoding rule, written out: what every rule says, in plain Python and float64, on a joint table.

This shares no code with the library: it has its own conditionals (slices of the table), its own scores, its own walk
along an order, its own rounding. A decode is a path of (positions chosen, tokens drawn); ``law`` sums the probability
of every path into its outcome, which is the final sequence and the step at which each position was decided.

Randomness that is not tokens is summed over as well:

* ``Random`` is one uniformly random permutation for a row: all N! are run through.
* Gumbel noise c on priorities f makes the order of a step a Plackett-Luce draw with weights exp(f / c).
* A binomial schedule reveals Binomial(left, share) at a reverse step; steps that reveal nothing cost nothing.

Where a decision compares two numbers that are close but not equal, float32 and float64 might part: ``ClosedCall`` is
raised, and the test needs another joint. Exact ties go to the lowest position.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import anyorder as ao
from anyorder.core.schedules import NoiseSchedule

UNDECIDED = -1
Tokens = tuple[int, ...]
Outcome = tuple[Tokens, tuple[int, ...]]
"""The final tokens, and the step of every position, -1 where it was given."""

_SAME, _CLEAR = 1e-11, 1e-5


class ClosedCall(Exception):
    """Two compared numbers nearly tie."""


class NoLaw(Exception):
    """The rule has no law that is written out here; the message says why."""


def above(a: float, b: float) -> bool:
    """a > b, told apart clearly or exactly equal."""
    if _SAME < abs(a - b) < _CLEAR:
        raise ClosedCall(f"{a} against {b}")
    return a - b > _SAME


def best_first(score: dict[int, float]) -> list[int]:
    """Positions by falling score, ties by position."""
    values = sorted(score.values())
    for low, high in itertools.pairwise(values):
        above(high, low)
    order: list[int] = []
    for position in sorted(score):
        place = len(order)
        while place and above(score[position], score[order[place - 1]]):
            place -= 1
        order.insert(place, position)
    return order


@dataclass
class Joint:
    """A distribution over sequences as a table (m,) * L; impossible evidence has uniform conditionals."""

    table: np.ndarray
    _cache: dict[Tokens, np.ndarray] = field(default_factory=dict)

    @property
    def m(self) -> int:
        return self.table.shape[0]

    @property
    def length(self) -> int:
        return self.table.ndim

    def conditionals(self, tokens: Tokens) -> np.ndarray:
        """P(x^i = v | the decided tokens), (L, m)."""
        if tokens not in self._cache:
            index = tuple(slice(None) if t == UNDECIDED else slice(t, t + 1) for t in tokens)
            part = np.zeros_like(self.table)
            part[index] = self.table[index]
            axes = range(self.length)
            laws = np.stack([part.sum(tuple(a for a in axes if a != i)) for i in axes])
            total = part.sum()
            self._cache[tokens] = laws / total if total > 0 else np.full_like(laws, 1 / self.m)
        return self._cache[tokens]

    def posterior(self, tokens: Tokens) -> dict[Tokens, float]:
        """P(full sequence | the given tokens)."""
        rows = {
            full: float(self.table[full])
            for full in itertools.product(range(self.m), repeat=self.length)
            if all(t in (UNDECIDED, f) for t, f in zip(tokens, full, strict=True))
        }
        total = sum(rows.values())
        return {full: p / total for full, p in rows.items() if p > 0}


@dataclass(frozen=True)
class Scores:
    """The statistics of one position's law."""

    top: float
    margin: float
    entropy: float
    token: int

    @staticmethod
    def of(law: np.ndarray) -> Scores:
        first, second = np.sort(law)[::-1][:2]
        positive = law[law > 0]
        token = next(v for v in range(len(law)) if law[v] >= first - _SAME)
        return Scores(float(first), float(first - second), float(-(positive * np.log(positive)).sum()), token)


@dataclass(frozen=True)
class State:
    """A row between two steps. ``left`` is what the order and the budget may look at: the open positions."""

    tokens: Tokens
    steps: tuple[int, ...]
    taken: int
    stage: int
    reverse: int
    """The next reverse step of a schedule in this stage."""
    before: tuple[tuple[int, tuple[float, ...], int], ...]
    """KLASS: (position, its last law, for how many evaluations it was stable)."""


@dataclass(frozen=True)
class Rule:
    """Order x budget on positions that are unknown, ``stage`` of each."""

    order: Any
    budget: Any
    stage: dict[int, int]


# ---------------------------------------------------------------- orders


def has_random_base(order: Any) -> bool:
    match order:
        case ao.Random():
            return True
        case ao.Noisy() | ao.Prior() | ao.Defer():
            return has_random_base(order.order)
    return False


def looks_at_drawn(order: Any) -> bool:
    """Whether the tokens just drawn matter to the order."""
    match order:
        case ao.SampledProbability():
            return True
        case ao.Noisy() | ao.Prior() | ao.Defer():
            return looks_at_drawn(order.order)
    return False


def priorities(
    order: Any, laws: np.ndarray, where: list[int], permutation: tuple[int, ...] | None, drawn: dict[int, int] | None
) -> dict[int, float]:
    """The score of every open position, the highest first."""
    scores = {i: Scores.of(laws[i]) for i in where}
    match order:
        case ao.Random():
            assert permutation is not None
            return {i: -float(permutation.index(i)) for i in where}
        case ao.LeftToRight():
            return {i: -float(i) for i in where}
        case ao.TopProbability():
            return {i: math.log(s.top) if order.log else s.top for i, s in scores.items()}
        case ao.Margin():
            return {
                i: (math.log(s.margin) if s.margin > _SAME else -math.inf) if order.log else s.margin
                for i, s in scores.items()
            }
        case ao.Entropy():
            return {i: -s.entropy for i, s in scores.items()}
        case ao.SampledProbability():
            assert drawn is not None
            return {i: float(laws[i, drawn[i]]) for i in where}
        case ao.Prior():
            if has_random_base(order.order):
                raise NoLaw("a prior on a random order compares it with numbers that are summed over only as ranks")
            inner = priorities(order.order, laws, where, permutation, drawn)
            bias = [0.0] if order.bias is None else order.bias.tolist()
            return {i: f - order.decay * i + bias[min(i, len(bias) - 1)] for i, f in inner.items()}
        case ao.Defer():
            inner = best_first(priorities(order.order, laws, where, permutation, drawn))
            about = {i: scores[i].token if drawn is None else drawn[i] for i in where}
            late = [i for i in inner if about[i] in order.tokens]
            return {i: -float(rank) for rank, i in enumerate([i for i in inner if i not in late] + late)}
    raise NoLaw(f"{type(order).__name__} is an order that this enumeration does not know")


def rankings(
    order: Any,
    laws: np.ndarray,
    where: list[int],
    permutation: tuple[int, ...] | None,
    drawn: dict[int, int] | None,
    time: float,
) -> Iterator[tuple[float, list[int]]]:
    """(probability, open positions best first)."""
    if not isinstance(order, ao.Noisy):
        if isinstance(order, ao.Prior | ao.Defer) and isinstance(order.order, ao.Noisy):
            raise NoLaw("noise inside another wrapper")
        yield 1.0, best_first(priorities(order, laws, where, permutation, drawn))
        return
    scale = (order.gumbel if order.gaussian is None else order.gaussian) * (time if order.anneal else 1.0)
    score = priorities(order.order, laws, where, permutation, drawn)
    if scale == 0:
        yield 1.0, best_first(score)
        return
    if order.gaussian is not None and len(where) > 1:
        raise NoLaw("the order of more than one Gaussian score has no closed form")
    if has_random_base(order.order):
        raise NoLaw("noise on a random order depends on the size of its random numbers")
    if len(where) > 1 and min(score.values()) == -math.inf:
        score = {i: max(f, -1e9) for i, f in score.items()}
    top = max(score.values())
    weight = {i: math.exp((f - top) / scale) for i, f in score.items()}
    for ranking in itertools.permutations(where):
        probability = 1.0
        for rank, position in enumerate(ranking):
            total = sum(weight[i] for i in ranking[rank:])
            # where only vanishing weights are left they tie, and the lowest position comes first
            probability *= weight[position] / total if total > 0 else float(position == min(ranking[rank:]))
        if probability > 0:
            yield probability, list(ranking)


# ---------------------------------------------------------------- budgets


def share_masked(schedule: NoiseSchedule, steps: int, step: int) -> float:
    """1 - alpha at the start of reverse step ``step`` of ``steps``, as a share of 1 - alpha(1)."""
    return float(schedule.masked(1 - step / steps)) / float(schedule.masked(1.0))


def planned(rule: Rule, state: State, where: list[int], size: int) -> Iterator[tuple[float, int | None, float, int]]:
    """(probability, count or None for a threshold, time reached, next reverse step), as known before the evaluation."""
    match rule.budget:
        case ao.OneByOne():
            yield 1.0, 1, (len(where) - 1) / size, 0
        case ao.Fixed(k=k):
            yield 1.0, k, max(len(where) - k, 0) / size, 0
        case ao.Schedule():
            yield from _reverse(rule.budget, state.reverse, len(where), size)
        case _:
            yield 1.0, None, (len(where) - 1) / size, 0


def _reverse(budget: Any, step: int, left: int, size: int) -> Iterator[tuple[float, int | None, float, int]]:
    """Reverse steps from ``step`` on until one reveals something."""
    start = share_masked(budget.schedule, budget.steps, step)
    end = share_masked(budget.schedule, budget.steps, step + 1)
    time = 1 - (step + 1) / budget.steps
    if budget.rounding == "expected":
        stays = size * end
        if _SAME < abs(stays % 1 - 0.5) < _CLEAR:
            raise ClosedCall(f"{stays} positions to leave")
        counts = {left - math.ceil(stays - 0.5 - _SAME): 1.0}
    else:
        p = 1 - end / start
        counts = {k: math.comb(left, k) * p**k * (1 - p) ** (left - k) for k in range(left + 1)}
    for count, probability in counts.items():
        if probability == 0:
            continue
        if count:
            yield probability, count, time, step + 1
        else:
            for further, *rest in _reverse(budget, step + 1, left, size):
                yield probability * further, *rest  # type: ignore[misc]


def walk(ranking: list[int], passes: Callable[[int, int], bool], prefix: bool, most: int | None) -> list[int]:
    """The positions that a threshold takes: ``passes(position, rank)``, at least the best one."""
    if prefix:
        chosen = ranking[:1]
        for rank, position in enumerate(ranking[1:], 1):
            if not passes(position, rank):
                break
            chosen.append(position)
    else:
        chosen = [position for rank, position in enumerate(ranking) if passes(position, rank)] or ranking[:1]
    return chosen[:most]


def taken(
    budget: Any, ranking: list[int], laws: np.ndarray, before: dict[int, tuple[tuple[float, ...], int]]
) -> tuple[list[int], dict[int, tuple[tuple[float, ...], int]]]:
    """What a threshold budget decides, and what it remembers."""
    scores = {i: Scores.of(laws[i]) for i in ranking}
    match budget:
        case ao.EntropyBelow():
            return walk(ranking, lambda i, _: above(budget.limit, scores[i].entropy), budget.prefix, budget.most), {}
        case ao.ProbabilityAbove():
            return walk(ranking, lambda i, _: above(scores[i].top, budget.limit), budget.prefix, budget.most), {}
        case ao.EntropyBound():

            def inside(_: int, rank: int) -> bool:
                first = [scores[i].entropy for i in ranking[: rank + 1]]
                return not above(sum(first) - max(first), budget.total)

            return walk(ranking, inside, True, budget.most), {}
        case ao.Factor():

            def sure(i: int, rank: int) -> bool:
                return not above(1 - budget.f / (rank + 2), scores[i].top)

            return walk(ranking, sure, True, budget.most), {}
        case ao.KLASS():
            now: dict[int, tuple[tuple[float, ...], int]] = {}
            for i in ranking:
                run = 0
                if i in before:
                    old, run = before[i]
                    pairs = [(p, q) for p, q in zip(laws[i], old, strict=True) if p > 0]
                    change = sum(p * (math.log(p / q) if q > 0 else math.inf) for p, q in pairs)
                    run = run + 1 if above(budget.divergence, change) else 0
                now[i] = (tuple(laws[i].tolist()), run)

            def settled(i: int, _: int) -> bool:
                return above(scores[i].top, budget.limit) and now[i][1] >= budget.history

            return walk(ranking, settled, budget.prefix, budget.most), now
    raise NoLaw(f"{type(budget).__name__} is a budget that this enumeration does not know")


# ---------------------------------------------------------------- windows and the recursion


def stages(window: Any, unknown: list[int], holes: dict[str, list[int]]) -> dict[int, int]:
    """The stage of every unknown position."""
    match window:
        case ao.Whole():
            return dict.fromkeys(unknown, 0)
        case ao.Blocks(size=size):
            return {i: (i - unknown[0]) // size for i in unknown}
        case ao.Holes():
            result: dict[int, int] = {}
            for number, positions in enumerate([*(holes[name] for name in window.names), unknown]):
                inside = [i for i in unknown if i in positions and i not in result]
                if inside:
                    inner = stages(window.inside, inside, {})
                    result |= {i: number * len(unknown) + inner[i] for i in inside}
            return result
    raise NoLaw(f"{type(window).__name__} is a window that this enumeration does not know")


def law(
    order: Any,
    budget: Any,
    window: Any,
    joint: Joint,
    given: Tokens,
    holes: dict[str, list[int]] | None = None,
) -> dict[Outcome, float]:
    """The distribution of (final tokens, step of every position) under one rule, at temperature 1.

    Raises ``NoLaw`` for a rule that has none written out here, ``ClosedCall`` where a comparison is too close.
    """
    unknown = [i for i, t in enumerate(given) if t == UNDECIDED]
    rule = Rule(order, budget, stages(window, unknown, holes or {}))
    outcomes: dict[Outcome, float] = {}
    orders = list(itertools.permutations(unknown)) if has_random_base(order) else [None]
    for permutation in orders:
        start = State(given, (-1,) * len(given), 0, -1, 0, ())
        for probability, outcome in _paths(rule, joint, permutation, start):
            outcomes[outcome] = outcomes.get(outcome, 0.0) + probability / len(orders)
    total = sum(outcomes.values())
    assert abs(total - 1) < 1e-9, total
    return outcomes


def _paths(
    rule: Rule, joint: Joint, permutation: tuple[int, ...] | None, state: State
) -> Iterator[tuple[float, Outcome]]:
    left = [i for i, t in enumerate(state.tokens) if t == UNDECIDED]
    if not left:
        yield 1.0, (state.tokens, state.steps)
        return
    stage = min(rule.stage[i] for i in left)
    where = [i for i in left if rule.stage[i] == stage]
    size = sum(s == stage for s in rule.stage.values())
    if stage != state.stage:
        state = State(state.tokens, state.steps, state.taken, stage, 0, state.before)
    laws = joint.conditionals(state.tokens)
    before = {i: (law, run) for i, law, run in state.before}
    for p_count, count, time, reverse in planned(rule, state, where, size):
        for p_drawn, drawn in _drawn(rule.order, laws, where):
            for p_rank, ranking in rankings(rule.order, laws, where, permutation, drawn, time):
                if count is None:
                    chosen, memory = taken(rule.budget, ranking, laws, before)
                else:
                    chosen, memory = ranking[:count], {}
                for p_tokens, tokens in _filled(laws, state.tokens, chosen, drawn):
                    steps = tuple(state.taken if i in chosen else s for i, s in enumerate(state.steps))
                    kept = tuple((i, law, run) for i, (law, run) in memory.items())
                    after = State(tokens, steps, state.taken + 1, stage, reverse, kept)
                    for p_rest, outcome in _paths(rule, joint, permutation, after):
                        yield p_count * p_drawn * p_rank * p_tokens * p_rest, outcome


def _drawn(order: Any, laws: np.ndarray, where: list[int]) -> Iterator[tuple[float, dict[int, int] | None]]:
    """All tokens that may be drawn at the open positions, for an order that looks at them."""
    if not looks_at_drawn(order):
        yield 1.0, None
        return
    for values in itertools.product(range(laws.shape[1]), repeat=len(where)):
        probability = math.prod(float(laws[i, v]) for i, v in zip(where, values, strict=True))
        if probability > 0:
            yield probability, dict(zip(where, values, strict=True))


def _filled(
    laws: np.ndarray, tokens: Tokens, chosen: list[int], drawn: dict[int, int] | None
) -> Iterator[tuple[float, Tokens]]:
    """All fillings of the chosen positions, each drawn from its own conditional."""
    options = [range(laws.shape[1]) if drawn is None else [drawn[i]] for i in chosen]
    for values in itertools.product(*options):
        new = dict(zip(chosen, values, strict=True))
        probability = 1.0 if drawn is not None else math.prod(float(laws[i, v]) for i, v in new.items())
        if probability > 0:
            yield probability, tuple(new.get(i, t) for i, t in enumerate(tokens))
