"""What every rule says, in plain Python: orders, budgets and windows, from their published words.

* ``Random`` is one uniformly random permutation for a row.
* Gumbel noise c on priorities f makes the order of a step a Plackett-Luce draw with weights exp(f / c). Under Gaussian
  noise the order of two or three scores is an integral over one of them.
* A schedule's counts are known beforehand: a binomial one reveals Binomial(left, share) at a reverse step; steps that
  reveal nothing cost nothing.

A new rule adds a case here. ``UnknownRule`` asks for it; ``NoLaw`` says why a rule has no law to write out.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from tests.decoding.laws.exact import CLEAR, SAME, ClosedCall, Sight, above, best_first

import anyorder as ao
from anyorder.core.schedules import NoiseSchedule

MOST_PLANS = 400
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()

Plan = tuple[tuple[int, float], ...]
"""A schedule's steps in one stage: (positions to decide, time reached)."""
Memory = dict[int, tuple[list[float], int]]
"""What KLASS remembers of a position: its last law, and for how many evaluations it was stable."""


class NoLaw(Exception):
    """The rule has no law that can be written out; the message says why."""


class UnknownRule(Exception):
    """A new rule: write its law down here, or raise ``NoLaw`` with the reason why it has none."""


# ---------------------------------------------------------------- orders


def has_random_base(order: Any) -> bool:
    """Whether a random permutation decides."""
    match order:
        case ao.Random():
            return True
        case ao.Noisy() | ao.Prior() | ao.Defer() | ao.Lookahead():
            return has_random_base(order.order)
    return False


def looks_at_drawn(order: Any) -> bool:
    """Whether the tokens just drawn matter to the order."""
    match order:
        case ao.SampledProbability() | ao.Planned():
            return True
        case ao.Noisy() | ao.Prior() | ao.Defer() | ao.Lookahead():
            return looks_at_drawn(order.order)
    return False


def annealed(order: Any) -> bool:
    """Whether the time that a step reaches matters to the order."""
    return isinstance(order, ao.Noisy) and order.anneal


def plain(order: Any) -> Any:
    """The order without settings that mean nothing here: at temperature 1 there is one view, and the logarithm of a
    score ranks like the score."""
    match order:
        case ao.TopProbability():
            return ao.TopProbability()
        case ao.Margin():
            return ao.Margin()
        case ao.Entropy():
            return ao.Entropy()
    return order


def priorities(
    order: Any, sight: Sight, where: list[int], permutation: tuple[int, ...] | None, drawn: dict[int, int] | None
) -> dict[int, float]:
    """The score of every open position, the highest first."""
    scores = {i: sight.scores[i] for i in where}
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
                i: (math.log(s.margin) if s.margin > SAME else -math.inf) if order.log else s.margin
                for i, s in scores.items()
            }
        case ao.Entropy():
            return {i: -s.entropy for i, s in scores.items()}
        case ao.SampledProbability() | ao.Planned():
            # Without remasking no candidate is decided, and a planned position stands by the token drawn.
            assert drawn is not None
            return {i: sight.laws[i][drawn[i]] for i in where}
        case ao.Calibrated():
            rarity = [-math.log(max(f, 1e-12)) for f in order.frequencies.tolist()]
            return {i: math.log(min(s.top * rarity[s.token], order.clip)) for i, s in scores.items()}
        case ao.Lookahead():
            first = best_first(priorities(order.order, sight, where, permutation, drawn))
            tried = first[: order.candidates]
            if len(where) == 1 or not above(order.sure, scores[first[0]].top):
                return {i: -float(rank) for rank, i in enumerate(first)}
            cost = [scores[i].entropy + sight.mean_entropy(i, scores[i].token, where) for i in tried]
            # Ties keep the order that proposed them.
            ranking = [tried[rank] for rank in best_first({rank: -c for rank, c in enumerate(cost)})]
            return {i: -float(rank) for rank, i in enumerate(ranking + first[len(tried) :])}
        case ao.Prior():
            if has_random_base(order.order):
                raise NoLaw("a prior on a random order depends on the size of its random numbers")
            inner = priorities(order.order, sight, where, permutation, drawn)
            bias = [0.0] if order.bias is None else order.bias.tolist()
            return {i: f - order.decay * i + bias[min(i, len(bias) - 1)] for i, f in inner.items()}
        case ao.Defer():
            inner = best_first(priorities(order.order, sight, where, permutation, drawn))
            about = {i: scores[i].token if drawn is None else drawn[i] for i in where}
            late = [i for i in inner if about[i] in order.tokens]
            return {i: -float(rank) for rank, i in enumerate([i for i in inner if i not in late] + late)}
    raise UnknownRule(f"{type(order).__name__} is an order without a law here")


def rankings(
    order: Any,
    sight: Sight,
    where: list[int],
    permutation: tuple[int, ...] | None,
    drawn: dict[int, int] | None,
    time: float,
) -> Iterator[tuple[float, list[int]]]:
    """(probability, open positions best first)."""
    if not isinstance(order, ao.Noisy):
        if isinstance(order, ao.Prior | ao.Defer) and isinstance(order.order, ao.Noisy):
            raise NoLaw("noise inside another wrapper is not written out")
        yield 1.0, best_first(priorities(order, sight, where, permutation, drawn))
        return
    scale = (order.gumbel if order.gaussian is None else order.gaussian) * (time if order.anneal else 1.0)
    score = priorities(order.order, sight, where, permutation, drawn)
    if scale == 0 or len(where) == 1:
        yield 1.0, best_first(score)
        return
    if has_random_base(order.order):
        raise NoLaw("noise on a random order depends on the size of its random numbers")
    if order.gaussian is not None:
        yield from gaussian_rankings(score, scale)
        return
    top = max(score.values())
    weight = {i: math.exp((f - top) / scale) if f > -math.inf else 0.0 for i, f in score.items()}
    for ranking in itertools.permutations(where):
        probability = 1.0
        for rank, position in enumerate(ranking):
            total = sum(weight[i] for i in ranking[rank:])
            # where only vanishing weights are left they tie, and the lowest position comes first
            probability *= weight[position] / total if total > 0 else float(position == min(ranking[rank:]))
        if probability > 0:
            yield probability, list(ranking)


def gaussian_rankings(score: dict[int, float], scale: float) -> Iterator[tuple[float, list[int]]]:
    """(probability, ranking) of two or three scores with independent normal noise of standard deviation ``scale``.

    The middle one of three is at x: P(a > b > c) = E over b's noise of P(a > x) P(c < x), by Gauss-Hermite quadrature.
    """
    if len(score) > 3 or min(score.values()) == -math.inf:
        raise NoLaw("the order of more than three Gaussian scores is not a single integral")

    def below(gap: float) -> float:
        return math.erfc(-gap / scale / math.sqrt(2)) / 2

    for ranking in itertools.permutations(score):
        if len(ranking) == 2:
            first, second = (score[i] for i in ranking)
            yield below((first - second) / math.sqrt(2)), list(ranking)
        else:
            first, middle, last = (score[i] for i in ranking)
            at = [middle + scale * float(z) for z in NODES]
            yield (
                sum(float(w) * below(first - x) * below(x - last) for w, x in zip(WEIGHTS, at, strict=True)),
                list(ranking),
            )


# ---------------------------------------------------------------- budgets


def planned(
    order: Any, budget: Any, plan: Plan, where: list[int], size: int
) -> Iterator[tuple[float, int | None, float, Plan]]:
    """(probability, count or None for a threshold, time reached, rest of the plan), as known before the evaluation.

    ``plan`` is what is left of the stage's plan, empty at its start; ``size`` the number of the stage's positions.
    """
    match budget:
        case ao.OneByOne():
            yield 1.0, 1, (len(where) - 1) / size, ()
        case ao.Fixed(k=k):
            yield 1.0, k, max(len(where) - k, 0) / size, ()
        case ao.Schedule():
            for option, probability in ({plan: 1.0} if plan else plans(budget, size, annealed(order))).items():
                (count, time), *rest = option
                yield probability, count, time, tuple(rest)
        case _:
            yield 1.0, None, (len(where) - 1) / size, ()


@functools.cache
def plans(schedule: Any, size: int, timed: bool) -> dict[Plan, float]:
    """The law of the counts of all reverse steps that reveal something, for a stage of ``size`` positions.

    Times are 0 where they do not matter (also for what is decided last), so that plans which differ in them alone are
    one.
    """

    @functools.cache
    def after(step: int, left: int) -> dict[Plan, float]:
        if left == 0:
            return {(): 1.0}
        stays = share_masked(schedule.schedule, schedule.steps, step + 1)
        if schedule.rounding == "expected":
            expected = size * stays
            if SAME < abs(expected % 1 - 0.5) < CLEAR:
                raise ClosedCall(f"{expected} positions to leave")
            counts = {left - math.ceil(expected - 0.5 - SAME): 1.0}
        else:
            p = 1 - stays / share_masked(schedule.schedule, schedule.steps, step)
            counts = {k: math.comb(left, k) * p**k * (1 - p) ** (left - k) for k in range(left + 1)}
        result: dict[Plan, float] = {}
        for count, probability in counts.items():
            time = 1 - (step + 1) / schedule.steps if timed and count < left else 0.0
            for rest, p_rest in after(step + 1, left - count).items() if probability > 0 else ():
                plan = ((count, time), *rest) if count else rest
                result[plan] = result.get(plan, 0.0) + probability * p_rest
        if len(result) > MOST_PLANS:
            raise NoLaw(f"counts over {schedule.steps} annealed steps have more than {MOST_PLANS} outcomes")
        return result

    return after(0, size)


def share_masked(schedule: NoiseSchedule, steps: int, step: int) -> float:
    """1 - alpha at the start of reverse step ``step`` of ``steps``, as a share of 1 - alpha(1)."""
    return float(schedule.masked(1 - step / steps)) / float(schedule.masked(1.0))


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


def taken(budget: Any, ranking: list[int], sight: Sight, before: Memory) -> tuple[list[int], Memory]:
    """What a threshold budget decides, and what it remembers."""
    scores = sight.scores
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
        case ao.Draft():
            most = min(max(int(len(ranking) * budget.share + 1e-9), budget.least), budget.most)
            passing = [i for i in ranking[:most] if above(scores[i].top, budget.limit)]
            return passing or ranking[:1], {}
        case ao.Factor():

            def sure(i: int, rank: int) -> bool:
                return not above(1 - budget.f / (rank + 2), scores[i].top)

            return walk(ranking, sure, True, budget.most), {}
        case ao.KLASS():
            now = {i: (sight.laws[i], stable_for(sight.laws[i], before.get(i), budget.divergence)) for i in ranking}

            def settled(i: int, _: int) -> bool:
                return above(scores[i].top, budget.limit) and now[i][1] >= budget.history

            return walk(ranking, settled, budget.prefix, budget.most), now
    raise UnknownRule(f"{type(budget).__name__} is a budget without a law here")


def stable_for(law: list[float], before: tuple[list[float], int] | None, divergence: float) -> int:
    """For how many evaluations in a row KL(now || before) was below ``divergence``."""
    if before is None:
        return 0
    pairs = [(p, q) for p, q in zip(law, before[0], strict=True) if p > 0]
    change = sum(p * (math.log(p / q) if q > 0 else math.inf) for p, q in pairs)
    return before[1] + 1 if above(divergence, change) else 0


# ---------------------------------------------------------------- windows


def stages(window: Any, unknown: list[int], holes: dict[str, list[int]]) -> dict[int, int]:
    """The stage of every unknown position."""
    match window:
        case ao.Whole():
            return dict.fromkeys(unknown, 0)
        case ao.Blocks(size=size):
            return {i: (i - unknown[0]) // size for i in unknown}
        case ao.Dilated(size=size, base=base):
            spacings = []
            while (spacings or [size])[-1] > 1:
                spacings.append(max((spacings or [size])[-1] // base, 1))
            return {
                i: (i - unknown[0]) // size * max(len(spacings), 1)
                + next((j for j, gap in enumerate(spacings) if (i - unknown[0]) % size % gap == 0), 0)
                for i in unknown
            }
        case ao.Holes():
            result: dict[int, int] = {}
            for number, positions in enumerate([*(holes[name] for name in window.names), unknown]):
                inside = [i for i in unknown if i in positions and i not in result]
                if inside:
                    inner = stages(window.inside, inside, {})
                    result |= {i: number * (max(unknown) + 1) + inner[i] for i in inside}
            return result
    raise UnknownRule(f"{type(window).__name__} is a window without a law here")
