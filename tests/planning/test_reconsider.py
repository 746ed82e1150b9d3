"""Search with take-back: what is checked, where it goes back to, and when it ends."""

from __future__ import annotations

import heapq
import itertools
import math

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, make_canvas
from tests.planning.boards import make_progress
from torch import Tensor

import anyorder as ao
from anyorder.core.errors import UserError

MASK = 0


def blank(rows: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(rows, length, dtype=torch.long), torch.ones(rows, length, dtype=torch.bool))


class Misled:
    """A constraint that the network knows only when it looks: positions must all differ, tokens 1..length.

    At a masked position it prefers, by a law that shrinks geometrically from a favourite on, tokens that no visible
    position holds. The favourites are such that the greedy decode of a hard row runs into a wall: the last positions
    may take few tokens (``allowed``), which the network notices only once they are all that is left. Counts rows.
    """

    def __init__(self, favourite: list[int], allowed: dict[int, list[int]], trust: float = 0.4) -> None:
        self.length, self.favourite, self.allowed, self.trust = len(favourite), favourite, allowed, trust
        self.vocab_size, self.mask_token_id = self.length + 1, MASK
        self.rows = 0

    def law(self, tokens: list[int], position: int) -> Tensor:
        law = torch.zeros(self.vocab_size)
        others = {t for i, t in enumerate(tokens) if i != position}
        for rank in range(self.length):
            token = (self.favourite[position] - 1 + rank) % self.length + 1
            if token not in others and token in self.allowed.get(position, range(1, self.length + 1)):
                law[token] = self.trust**rank
        if not bool(law.any()):
            # Contradictory evidence: anything, with little faith.
            law[1:] = 1.0
        return (law / law.sum()).log()

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        self.rows += tokens.shape[0]
        rows = tokens.tolist()
        return torch.stack([self.law(rows[r], i) for r, i in at.nonzero().tolist()]).clamp(min=-1e4)


def misled() -> Misled:
    # Position 3 may hold 1 or 2 and position 4 only 1; the favourites of the first ones are 2 and 1.
    return Misled([2, 1, 3, 1, 1], {3: [1, 2], 4: [1]})


def valid(tokens: list[int]) -> bool:
    return sorted(tokens) == [1, 2, 3, 4, 5] and tokens[3] in (1, 2) and tokens[4] == 1


def test_a_greedy_decode_fails_and_the_search_finds_the_solution() -> None:
    parts = {"order": ao.LeftToRight()}
    greedy = ao.decode(misled(), blank(1, 5), **parts)
    assert not valid(greedy.tokens[0].tolist())
    denoiser = misled()
    found = ao.decode(denoiser, blank(1, 5), remask=ao.Reconsider(600, groups=5), **parts)
    assert valid(found.tokens[0].tolist())
    assert found.finish_reason == ("complete",)
    assert found.nfe.tolist() == [denoiser.rows]
    assert 5 < denoiser.rows < 600


def test_a_result_that_holds_is_checked_once_and_kept() -> None:
    denoiser = Misled([1, 2, 3, 4], {}, trust=1e-6)
    steps = list(ao.stream(denoiser, blank(1, 4), order=ao.LeftToRight(), remask=ao.Reconsider(50)))
    # Four positions, then two groups of two: six evaluations.
    assert len(steps) == denoiser.rows == 6
    assert [int(step.undecided) for step in steps] == [3, 2, 1, 2, 2, 0]
    groups = [set(step.candidates[0].nonzero().flatten().tolist()) for step in steps[4:]]
    assert groups[0] | groups[1] == {0, 1, 2, 3}
    assert not groups[0] & groups[1]
    result = ao.decode(denoiser, blank(1, 4), order=ao.LeftToRight(), remask=ao.Reconsider(50))
    plain = ao.decode(denoiser, blank(1, 4), order=ao.LeftToRight())
    assert torch.equal(result.tokens, plain.tokens)
    # What was decided keeps the step and the figures of its decision.
    assert torch.equal(result.step_of, plain.step_of)
    assert torch.equal(result.log_probability, plain.log_probability)


def searched(denoiser: HashDenoiser, key: Tensor, given: list[int], rule: ao.Reconsider) -> tuple[list[int], int]:
    """Best-first search with a heap, one row, its first token given, from the left: (result, evaluations)."""
    length = len(given)
    progress = make_progress(torch.arange(length)[None] > 0, seeds=key[None])
    group = rule._groups(progress)[0]
    mask = denoiser.mask_token_id

    def ask(tokens: list[int], at: list[int]) -> dict[int, Tensor]:
        where = torch.zeros(1, length, dtype=torch.bool)
        where[0, at] = True
        logits = denoiser(torch.tensor([tokens]), at=where).double()
        logits[:, mask] = -torch.inf
        return dict(zip(at, logits, strict=True))

    heap: list[tuple[float, list[int], list[tuple[int, int]]]] = []
    tokens, out, path, used = [given[0]] + [mask] * (length - 1), [], 0.0, 0
    best, best_score = None, -math.inf
    while True:
        while mask in tokens and used < rule.evaluations:
            position = tokens.index(mask)
            logits = ask(tokens, [position])[position]
            used += 1
            for place, token in out:
                if place == position:
                    logits[token] = -torch.inf
            p = logits.softmax(dim=0)
            token = int(p.argmax())
            if 1 - float(p[token]) >= rule.doubt and len(out) < rule.depth:
                alternative = path + math.log1p(-float(p[token]))
                heapq.heappush(heap, (-alternative, list(tokens), [*out, (position, token)]))
            path += math.log(float(p[token]))
            tokens[position] = token
        score, holds = 0.0, mask not in tokens
        for index in range(rule.groups if holds else 0):
            if used >= rule.evaluations:
                return tokens, used
            at = [i for i in range(1, length) if int(group[i]) == index]
            hidden = [mask if i in at else t for i, t in enumerate(tokens)]
            laws = ask(hidden, at)
            used += 1
            score = min(score, *(float(laws[i].log_softmax(dim=0)[tokens[i]]) for i in at))
            if score < math.log(rule.agree):
                holds = False
                break
        if mask not in tokens and score > best_score:
            best, best_score = list(tokens), score
        if holds or used >= rule.evaluations or not heap:
            return tokens if holds or best is None else best, used
        priority, tokens, out = heapq.heappop(heap)
        tokens, path = list(tokens), -priority


@pytest.mark.parametrize("cap", [400, 57])
def test_it_is_best_first_search(cap: int) -> None:
    rows, seed = 8, 4
    given = torch.tensor([[row % 7 if row % 7 != 3 else 0, 0, 0, 0, 0] for row in range(rows)])
    canvas = ao.Canvas(given, torch.arange(5).expand(rows, -1) > 0)
    rule = ao.Reconsider(cap, doubt=0.05, agree=0.2, alternatives=500)
    denoiser = HashDenoiser(scale=7.0)
    result = ao.decode(denoiser, canvas, order=ao.LeftToRight(), remask=rule, seed=seed)
    used = []
    for row in range(rows):
        tokens, evaluations = searched(denoiser, ao.row_seeds(seed, rows)[row], given[row].tolist(), rule)
        used.append(evaluations)
        if evaluations < cap:
            assert result.tokens[row].tolist() == tokens
        assert result.nfe[row] == evaluations
    assert len(set(used)) > 2
    assert min(used) < cap


def test_given_and_known_rows_stay_and_one_position_is_a_group_of_its_own() -> None:
    canvas = ao.Canvas(torch.tensor([[2, 1, 3, 4], [1, 2, 3, 4]]), torch.tensor([[False] * 3 + [True], [False] * 4]))
    result = ao.decode(Misled([1, 2, 3, 4], {}), canvas, remask=ao.Reconsider(9))
    assert result.tokens.tolist() == [[2, 1, 3, 4], [1, 2, 3, 4]]
    assert result.nfe.tolist() == [2, 0]


def test_the_cap_gives_the_best_result_that_was_found() -> None:
    canvas = make_canvas(6, 9)
    for cap in (1, 2, 5, 12, 13, 14, 30):
        denoiser = HashDenoiser()
        result = ao.decode(denoiser, canvas, budget=ao.Fixed(4), remask=ao.Reconsider(cap, agree=1.0))
        assert (result.state[canvas.unknown] == ao.DECIDED).all()
        assert int(result.nfe.max()) <= cap
        assert int(result.nfe.sum()) == denoiser.rows
        assert not bool((result.tokens[canvas.unknown] == denoiser.mask_token_id).any())


def test_every_path_can_be_searched_to_its_end() -> None:
    """With room for all alternatives, a row for which nothing holds ends when the tree is exhausted, before its cap."""
    denoiser = Misled([1, 2, 3], {0: [1, 2], 1: [1, 2], 2: [1, 2]}, trust=0.5)
    result = ao.decode(denoiser, blank(1, 3), order=ao.LeftToRight(), remask=ao.Reconsider(5000, doubt=0.05))
    assert int(result.nfe) < 5000
    assert (result.state == ao.DECIDED).all()


@pytest.mark.parametrize(("cap", "window"), list(itertools.product((7, 40), (ao.Blocks(2), ao.Blocks(5)))))
def test_windows_are_checked_as_a_whole(cap: int, window: ao.Blocks) -> None:
    canvas = make_canvas(5, 10)
    result = ao.decode(HashDenoiser(scale=8), canvas, remask=ao.Reconsider(cap + 10, agree=0.2), window=window)
    assert (result.state[canvas.unknown] == ao.DECIDED).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ao.Reconsider(0), "evaluations"),
        (lambda: ao.Reconsider(9, doubt=0.0), "doubt"),
        (lambda: ao.Reconsider(9, agree=1.2), "agree"),
        (lambda: ao.Reconsider(9, groups=0), "groups"),
        (lambda: ao.Reconsider(9, alternatives=0), "alternatives"),
        (lambda: ao.Reconsider(9, depth=True), "depth"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
