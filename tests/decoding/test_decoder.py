"""The laws of the loop, each over every member of every part."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.decoding.fakes import FIELDS, MASK, VOCAB, HashDenoiser, TableDenoiser, assert_same, make_canvas, seeds
from tests.decoding.members import BUDGETS, ORDERS, REMASKS, SAMPLERS, STOPS, WINDOWS
from torch import Tensor

import anyorder as ao
from anyorder.planning.budgets import Quota
from anyorder.planning.remasking import Revision
from anyorder.planning.stopping import Ending

DECIDE = ("prophet", "prophet-in-hole", "several")
"""Stop rules that decide what is left, so that a row they ended can be complete."""
IDLE = ("p2", "reconsider", "remdm")
"""Remask rules with steps that only look or take back, or take back at once what they reveal."""


def one_at_a_time() -> list[Any]:
    """Every member once, the other parts at their defaults; with samplers that draw, so that draws are tested."""
    cases = []
    for part, members in {"order": ORDERS, "budget": BUDGETS, "sampler": SAMPLERS, "window": WINDOWS}.items():
        cases += [pytest.param({part: name}, id=f"{part}-{name}") for name in members]
    cases += [pytest.param({"remask": name}, id=f"remask-{name}") for name in REMASKS if name != "none"]
    cases += [pytest.param({"stop": name}, id=f"stop-{name}") for name in STOPS if name != "none"]
    return cases


def mixtures() -> list[Any]:
    """A fifth of all orders x budgets, each of either meeting a fifth of the other; the other parts take turns."""
    cases = []
    for i, order in enumerate(ORDERS):
        for j, budget in enumerate(BUDGETS):
            turn = i * len(BUDGETS) + j
            if (i + j) % 5:
                continue
            chosen = {"order": order, "budget": budget}
            chosen["sampler"] = list(SAMPLERS)[turn % len(SAMPLERS)]
            chosen["window"] = list(WINDOWS)[(turn // 2) % len(WINDOWS)]
            chosen["stop"] = list(STOPS)[(turn // 3) % len(STOPS)]
            cases.append(pytest.param(chosen, id="-".join(chosen.values())))
    for i, order in enumerate(ORDERS):
        remask = list(REMASKS)[1 + i % (len(REMASKS) - 1)]
        chosen = {"order": order, "remask": remask, "sampler": list(SAMPLERS)[i % len(SAMPLERS)]}
        chosen["window"] = list(WINDOWS)[i % len(WINDOWS)]
        cases.append(pytest.param(chosen, id="-".join(chosen.values())))
    return cases


def parts(chosen: dict[str, str]) -> dict[str, Any]:
    lists = {
        "order": ORDERS,
        "budget": BUDGETS,
        "sampler": SAMPLERS,
        "window": WINDOWS,
        "remask": REMASKS,
        "stop": STOPS,
    }
    made = {part: lists[part][name]() for part, name in chosen.items()}
    if chosen.get("remask") == "wino":
        # It takes back after a step that decides several positions.
        made.setdefault("budget", ao.Draft(0.2))
    return {"sampler": ao.Temperature(1.0), **made}


@pytest.mark.parametrize("chosen", [*one_at_a_time(), *mixtures()])
def test_laws_of_the_loop(chosen: dict[str, str]) -> None:
    canvas, denoiser = make_canvas(), HashDenoiser()
    result = ao.decode(denoiser, canvas, **parts(chosen), seed=11)

    # Given tokens never change, and nothing but an early stop leaves anything undecided.
    assert torch.equal(result.tokens[~canvas.unknown], canvas.tokens[~canvas.unknown])
    assert (result.state[~canvas.unknown] == ao.GIVEN).all()
    decided = result.state == ao.DECIDED
    undecided = result.state == ao.UNDECIDED
    assert torch.equal(decided | undecided, canvas.unknown)
    stopped = torch.tensor([reason not in ("complete", "evaluation_limit") for reason in result.finish_reason])
    assert not bool((undecided.any(dim=1) & ~stopped).any())
    if chosen.get("stop") not in DECIDE:
        assert torch.equal(undecided.any(dim=1), stopped)
    assert (result.tokens[undecided] == MASK).all()

    # The mask token is never decided on; statistics stand exactly where something was decided.
    assert (result.tokens[decided] != MASK).all()
    assert ((result.tokens >= 0) & (result.tokens < VOCAB)).all()
    for figures in (result.log_probability, result.margin, result.entropy):
        assert torch.equal(figures.isnan(), ~decided)
    assert torch.equal(result.step_of >= 0, decided)
    assert (result.log_probability[decided] <= 0).all()
    assert ((result.margin[decided] >= 0) & (result.margin[decided] <= 1)).all()

    # nfe counts real calls: in all, and for the row that takes longest. A finished row takes part in none.
    assert int(result.nfe.sum()) == denoiser.rows
    ahead = chosen.get("order", "").startswith("lookahead")
    assert int(result.nfe.max()) == denoiser.calls or ahead
    assert torch.equal(result.nfe == 0, ~canvas.unknown.any(dim=1))
    again = chosen.get("remask", "").startswith("reconsider")
    if chosen.get("stop", "none") == "none" and not ahead and not again:
        assert torch.equal(result.step_of.amax(dim=1) + 1, result.nfe)

    # Logits are asked for at undecided positions (or reopened ones) and nowhere else.
    assert all(bool(at.any(dim=1).all()) for at in denoiser.asked)

    # The same seed gives the same result, and a row in other company, or alone, is what it was.
    assert_same(result, ao.decode(HashDenoiser(), canvas, **parts(chosen), seed=11))
    row_seed = seeds(canvas.batch, 11)
    groups = [slice(2, 4), slice(4, 5)] if len(chosen) > 1 else [slice(row, row + 1) for row in range(canvas.batch)]
    for rows in groups:
        other = ao.decode(HashDenoiser(), canvas.rows(rows), **parts(chosen), seed=row_seed[rows])
        for name in FIELDS:
            ours, theirs = getattr(result, name)[rows], getattr(other, name)
            assert torch.equal(ours.nan_to_num(nan=-7), theirs.nan_to_num(nan=-7)), (name, rows)
        assert result.finish_reason[rows] == other.finish_reason


@pytest.mark.parametrize(
    ("turn", "chosen"), [pytest.param(i, *case.values, id=case.id) for i, case in enumerate(one_at_a_time())]
)
def test_padding_changes_nothing(turn: int, chosen: dict[str, str]) -> None:
    side = "left" if turn % 2 else "right"
    short, long = make_canvas(4, 9, seed=1), make_canvas(3, 14, seed=2)
    row_seed = seeds(7, 5)
    together = ao.Canvas.stack([short, long], side=side, pad_token=2)
    result = ao.decode(HashDenoiser(), together, **parts(chosen), seed=row_seed)
    alone = ao.decode(HashDenoiser(), short, **parts(chosen), seed=row_seed[:4])
    assert together.attention_mask is not None
    real = together.attention_mask[:4]
    assert (result.state[:4][~real] == ao.PADDING).all()
    for name in ("tokens", "state", "step_of", "log_probability", "margin", "entropy"):
        ours = getattr(result, name)[:4][real].view(4, 9)
        assert torch.equal(ours.nan_to_num(nan=-7), getattr(alone, name).nan_to_num(nan=-7)), name
    assert torch.equal(result.nfe[:4], alone.nfe)
    assert result.finish_reason[:4] == alone.finish_reason


@pytest.mark.parametrize("chosen", one_at_a_time())
def test_every_position_is_decided_once_unless_remasked(chosen: dict[str, str]) -> None:
    canvas = make_canvas()
    decisions = torch.zeros_like(canvas.tokens)
    left = canvas.unknown.sum(dim=1)
    for step in ao.stream(HashDenoiser(), canvas, **parts(chosen)):
        decisions[step.rows] += step.revealed.long()
        assert not bool((step.revealed & step.remasked).any())
        assert not bool((step.revealed & ~canvas.unknown[step.rows]).any())
        if "remask" not in chosen:
            assert not bool(step.remasked.any())
        assert bool((step.undecided <= left[step.rows]).all()) or "remask" in chosen
        left[step.rows] = step.undecided
    if "remask" in chosen:
        assert bool((decisions[canvas.unknown] >= 1).all())
        assert bool((decisions > 1).any())
    else:
        assert int(decisions.max()) == 1
        if "stop" not in chosen:
            assert torch.equal(decisions == 1, canvas.unknown)


@pytest.mark.parametrize("chosen", one_at_a_time())
def test_a_threshold_or_count_reveals_at_least_one_of_every_row(chosen: dict[str, str]) -> None:
    if chosen.get("remask", "").startswith(IDLE):
        pytest.skip("it can pass a step without deciding anything")
    for step in ao.stream(HashDenoiser(), make_canvas(), **parts(chosen)):
        assert bool(step.revealed.any(dim=1).all())


def test_stream_and_decode_are_the_same_loop() -> None:
    canvas = make_canvas()
    steps = ao.stream(HashDenoiser(), canvas, budget=ao.Fixed(2), seed=4)
    assert inspect.isgenerator(steps)
    tokens, nfe = canvas.tokens.masked_fill(canvas.unknown, MASK), torch.zeros(canvas.batch, dtype=torch.long)
    state = canvas.unknown * int(ao.UNDECIDED)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            result = end.value
            break
        tokens[step.rows], state[step.rows], nfe[step.rows] = step.tokens, step.state.long(), step.nfe
    assert torch.equal(tokens, result.tokens)
    assert torch.equal(state, result.state.long())
    assert torch.equal(nfe, result.nfe)
    assert_same(result, ao.decode(HashDenoiser(), canvas, budget=ao.Fixed(2), seed=4))


def test_a_stream_leaves_the_callers_grad_mode_alone() -> None:
    assert torch.is_grad_enabled()
    for _ in ao.stream(HashDenoiser(), make_canvas()):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_the_result_needs_no_grad() -> None:
    weight = torch.ones(VOCAB, requires_grad=True)

    class Learned(HashDenoiser):
        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            return super().__call__(tokens, attention_mask=attention_mask, at=at) * weight

    result = ao.decode(Learned(), make_canvas())
    assert not result.log_probability.requires_grad


def test_nothing_unknown_costs_nothing() -> None:
    tokens = torch.full((2, 5), MASK)
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, ao.Canvas(tokens, torch.zeros(2, 5, dtype=torch.bool)))
    assert denoiser.calls == 0
    assert torch.equal(result.tokens, tokens)
    assert result.nfe.tolist() == [0, 0]
    assert result.finish_reason == ("complete", "complete")


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_an_empty_canvas_is_decoded_to_itself(shape: tuple[int, int]) -> None:
    canvas = ao.Canvas(torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.bool))
    result = ao.decode(HashDenoiser(), canvas, window=ao.Blocks(2))
    assert result.tokens.shape == shape
    assert len(result.finish_reason) == shape[0]


def test_values_at_unknown_positions_are_not_looked_at() -> None:
    canvas = make_canvas()
    other = ao.Canvas(canvas.tokens.masked_fill(canvas.unknown, 5), canvas.unknown, holes=canvas.holes)
    assert_same(ao.decode(HashDenoiser(), canvas), ao.decode(HashDenoiser(), other))


def test_the_canvas_is_not_changed() -> None:
    canvas = make_canvas()
    tokens, unknown = canvas.tokens.clone(), canvas.unknown.clone()
    ao.decode(HashDenoiser(), canvas, remask=ao.MaskPredict(4))
    assert torch.equal(canvas.tokens, tokens)
    assert torch.equal(canvas.unknown, unknown)


def test_windows_are_finished_in_turn() -> None:
    canvas = make_canvas()
    for window in (ao.Blocks(4), ao.Holes("second", "first", inside=ao.Blocks(2))):
        stages = window.stages(canvas)
        result = ao.decode(HashDenoiser(), canvas, window=window, order=ao.Random())
        for row in range(canvas.batch):
            known = canvas.unknown[row]
            by_step = stages[row][known][result.step_of[row][known].argsort()]
            assert by_step.tolist() == sorted(by_step.tolist())


def test_logits_are_asked_for_in_the_window_only() -> None:
    canvas = ao.Canvas(torch.zeros(1, 9, dtype=torch.long), torch.ones(1, 9, dtype=torch.bool))
    denoiser = HashDenoiser()
    ao.decode(denoiser, canvas, window=ao.Blocks(3))
    assert denoiser.asked[0][0].nonzero().squeeze(1).tolist() == [0, 1, 2]
    assert denoiser.asked[3][0].nonzero().squeeze(1).tolist() == [3, 4, 5]


def test_ties_go_to_the_lowest_position_and_token() -> None:
    denoiser = TableDenoiser(torch.zeros(4, 5), mask_token_id=0)
    canvas = ao.Canvas(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))
    for order in (ao.TopProbability(), ao.Margin(), ao.Entropy(), ao.SampledProbability()):
        result = ao.decode(denoiser, canvas, order=order)
        assert result.step_of.tolist() == [[0, 1, 2, 3]]
        assert result.tokens.tolist() == [[1, 1, 1, 1]]
        twos = ao.decode(denoiser, canvas, order=order, budget=ao.Fixed(2))
        assert twos.step_of.tolist() == [[0, 0, 1, 1]]


def test_recorded_statistics_are_those_of_the_network_when_the_position_was_decided() -> None:
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)) * 2
    canvas = ao.Canvas(torch.zeros(1, 5, dtype=torch.long), torch.ones(1, 5, dtype=torch.bool))
    result = ao.decode(TableDenoiser(logits, 2), canvas, sampler=ao.Temperature(3.0) | ao.TopK(2), seed=1)
    kept = logits.double().clone()
    kept[:, 2] = -torch.inf
    log_p = kept.log_softmax(dim=1)
    p = log_p.exp().sort(dim=1, descending=True).values
    entropy = -torch.where(log_p > -torch.inf, log_p.exp() * log_p, 0.0).sum(dim=1)
    torch.testing.assert_close(
        result.log_probability[0], log_p.gather(1, result.tokens[0][:, None])[:, 0], atol=1e-6, rtol=0
    )
    torch.testing.assert_close(result.margin[0], p[:, 0] - p[:, 1], atol=1e-6, rtol=0)
    torch.testing.assert_close(result.entropy[0], entropy, atol=1e-6, rtol=0)


def test_strategies_on_one_seed_are_coupled() -> None:
    """One at a time, a position's token comes from the same uniform whatever the order: equal laws, equal tokens."""
    logits = torch.randn(8, 6, generator=torch.Generator().manual_seed(3))
    canvas = ao.Canvas(torch.zeros(4, 8, dtype=torch.long), torch.ones(4, 8, dtype=torch.bool))
    denoiser = TableDenoiser(logits, 0)
    results = [
        ao.decode(denoiser, canvas, order=order, budget=budget, sampler=ao.Temperature(1.0), seed=9).tokens
        for order in (ao.Random(), ao.LeftToRight(), ao.Margin(), ao.SampledProbability())
        for budget in (ao.OneByOne(), ao.Fixed(8))
    ]
    assert all(torch.equal(results[0], other) for other in results[:-2])
    assert torch.equal(results[0], results[-1])


def test_a_drawn_order_draws_anew_at_every_step() -> None:
    """Tokens drawn for the order's sake and thrown away are not drawn again: LLaDA's rule, not a frozen draw."""
    logits = torch.zeros(6, 30)
    canvas = ao.Canvas(torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.bool))
    frozen = ao.decode(
        TableDenoiser(logits, 0), canvas, budget=ao.Fixed(6), order=ao.SampledProbability(), sampler=ao.Temperature()
    )
    moving = ao.decode(TableDenoiser(logits, 0), canvas, order=ao.SampledProbability(), sampler=ao.Temperature())
    assert moving.tokens[0, 0] == frozen.tokens[0, 0]
    assert not torch.equal(moving.tokens, frozen.tokens)


def test_suppressed_tokens_are_never_decided() -> None:
    canvas = make_canvas()
    for sampler in (ao.Greedy(), ao.Temperature(2.0), ao.TopK(2)):
        result = ao.decode(HashDenoiser(), canvas, sampler=sampler, suppress=(0, 5))
        assert not torch.isin(result.tokens[canvas.unknown], torch.tensor([0, 5, MASK])).any()
    many = ao.decode(HashDenoiser(40), canvas, suppress=tuple(range(10, 40)), sampler=ao.Temperature(9.0))
    assert int(many.tokens.max()) < 10


def test_padded_vocabulary_is_never_decided() -> None:
    class Wide(HashDenoiser):
        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            logits = super().__call__(tokens, attention_mask=attention_mask, at=at)
            return torch.cat((logits, torch.full((len(logits), 9), 50.0)), dim=1)

    canvas = make_canvas()
    for sampler in (ao.Greedy(), ao.Temperature(1.0)):
        assert_same(
            ao.decode(Wide(), canvas, sampler=sampler, seed=2),
            ao.decode(HashDenoiser(), canvas, sampler=sampler, seed=2),
        )


@dataclass
class Watcher:
    """A budget that wants logits at a whole hole and checks that it gets them."""

    seen: int = 0

    def watch(self, canvas: ao.Canvas) -> Tensor:
        return canvas.holes["second"]

    def init(self, progress: Any) -> None:
        return None

    def __call__(self, board: Any, ranking: Any, state: None) -> tuple[Tensor, None]:
        assert not board.model.entropy[board.holes["second"]].isnan().any()
        self.seen += 1
        return ranking.best(), None


def test_watched_positions_are_asked_for_and_not_decided() -> None:
    canvas, denoiser, watcher = make_canvas(), HashDenoiser(), Watcher()
    result = ao.decode(denoiser, canvas, budget=watcher, window=ao.Holes("first"))
    assert watcher.seen == denoiser.calls
    assert all(bool(at[:, 5:].all()) for at in denoiser.asked)
    assert torch.equal(result.tokens[~canvas.unknown], canvas.tokens[~canvas.unknown])
    assert int(result.nfe.sum()) == denoiser.rows


class Sessions(HashDenoiser):
    """Keeps state over a decode: which rows it still holds."""

    sees_right = True

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[Sessions.Session] = []

    class Session:
        def __init__(self, owner: Sessions, canvas: ao.Canvas) -> None:
            self.owner, self.held = owner, torch.arange(canvas.batch)
            self.given = canvas.tokens.masked_fill(canvas.unknown, MASK)
            self.unknown, self.sees_right = canvas.unknown, owner.sees_right

        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            assert len(tokens) == len(self.held)
            known = ~self.unknown[self.held]
            assert torch.equal(tokens[known], self.given[self.held][known])
            return self.owner(tokens, attention_mask=attention_mask, at=at)

        def keep(self, rows: Tensor) -> None:
            self.held = self.held[rows]

    def open(self, canvas: ao.Canvas) -> Session:
        self.opened.append(self.Session(self, canvas))
        return self.opened[-1]


def test_sessions_are_told_which_rows_go_on() -> None:
    canvas, denoiser = make_canvas(), Sessions()
    result = ao.decode(denoiser, canvas)
    assert_same(result, ao.decode(HashDenoiser(), canvas))
    assert len(denoiser.opened) == 1
    assert int(result.nfe.sum()) == denoiser.rows


def test_a_session_without_logits_to_the_right_refuses_a_watcher() -> None:
    denoiser = Sessions()
    denoiser.sees_right = False
    with pytest.raises(ao.UserError, match="right of its block"):
        ao.decode(denoiser, make_canvas(), budget=Watcher())


def test_evaluations_per_call_are_counted() -> None:
    denoiser = HashDenoiser()
    denoiser.evaluations_per_call = 2  # type: ignore[attr-defined]
    result = ao.decode(denoiser, make_canvas())
    assert int(result.nfe.sum()) == 2 * denoiser.rows


@dataclass(frozen=True)
class Grudging:
    """Takes everything back, always: a livelock but for its cap."""

    cap: int = 9

    def init(self, progress: Any) -> Tensor:
        return torch.zeros_like(progress.seeds)

    def limit(self, progress: Any) -> Tensor:
        return torch.full_like(progress.seeds, self.cap) + progress.unknown.sum(dim=1) % 3

    def reopen(self, progress: Any) -> Tensor:
        return torch.zeros_like(progress.unknown)

    def __call__(self, board: Any, chosen: Tensor, drawn: Any, state: Tensor) -> tuple[Revision, Tensor]:
        assert len(state) == len(chosen)
        return Revision(chosen, board.unknown), state + 1


@pytest.mark.parametrize("window", WINDOWS)
def test_a_cap_ends_a_livelock_with_everything_decided(window: str) -> None:
    canvas, denoiser = make_canvas(), HashDenoiser()
    result = ao.decode(denoiser, canvas, remask=Grudging(), window=WINDOWS[window]())
    assert (result.state[canvas.unknown] == ao.DECIDED).all()
    wanted = torch.where(canvas.unknown.any(dim=1), 9 + canvas.unknown.sum(dim=1) % 3, 0)
    assert torch.equal(result.nfe, wanted)
    assert int(result.nfe.sum()) == denoiser.rows
    assert set(result.finish_reason[1:]) == {"evaluation_limit"}


class Idle:
    """A budget that never decides anything, or something that it must not."""

    def __init__(self, choose: str) -> None:
        self.choose = choose

    def init(self, progress: Any) -> None:
        return None

    def __call__(self, board: Any, ranking: Any, state: None) -> tuple[Tensor, None]:
        return (torch.zeros_like(board.candidates) if self.choose == "nothing" else ~board.candidates), None


class IdleCount:
    """A count budget that says none, or fewer."""

    def init(self, progress: Any) -> None:
        return None

    def count(self, progress: Any, state: None) -> tuple[Any, None]:
        return Quota(-progress.stage - 1, progress.stage.double()), None


@pytest.mark.parametrize("budget", [Idle("nothing"), Idle("the rest"), IdleCount()])
def test_a_budget_that_decides_nothing_cannot_loop(budget: Any) -> None:
    canvas = make_canvas()
    assert_same(ao.decode(HashDenoiser(), canvas, budget=budget), ao.decode(HashDenoiser(), canvas))


def test_hole_order_is_followed_and_the_rest_comes_last() -> None:
    canvas = make_canvas()
    result = ao.decode(HashDenoiser(), canvas, window=ao.Holes("second", "first"))
    steps = result.step_of[1]
    assert steps[5:].max() < steps[:3].min()
    assert steps[:3].max() < steps[3:5].min()


class Enough:
    """Closes everything after a number of steps, decided and given positions too if it had its way."""

    reason = "enough"

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def init(self, progress: Any) -> Tensor:
        return torch.zeros_like(progress.seeds)

    def __call__(self, progress: Any, board: Any, state: Tensor) -> tuple[Ending, Tensor]:
        assert len(state) == len(progress.tokens)
        return Ending((state + 1 >= self.steps)[:, None].expand_as(progress.unknown)), state + 1


@pytest.mark.parametrize("remask", [None, ao.MaskPredict(8)])
def test_closing_touches_undecided_positions_only_and_leaves_no_trace_of_what_was_taken_back(remask: Any) -> None:
    canvas = make_canvas(6, 16)
    taken_back = 0
    for step in ao.stream(HashDenoiser(), canvas, order=ao.Random(), remask=remask, stop=Enough(4)):
        taken_back += int(step.remasked.sum())
    assert taken_back > 0 or remask is None
    result = ao.decode(HashDenoiser(), canvas, order=ao.Random(), remask=remask, stop=Enough(4))
    left = result.state == ao.UNDECIDED
    assert torch.equal(result.tokens[~canvas.unknown], canvas.tokens[~canvas.unknown])
    assert (result.state[~canvas.unknown] == ao.GIVEN).all()
    assert (result.tokens[left] == MASK).all()
    assert torch.equal(result.step_of >= 0, result.state == ao.DECIDED)
    assert torch.equal(result.log_probability.isnan(), result.state != ao.DECIDED)
    assert [reason == "enough" for reason in result.finish_reason] == left.any(dim=1).tolist()
    assert (result.nfe <= 4).all()
    assert (left[1:].any(dim=1)).any()


def test_end_of_hole_leaves_the_rest_undecided() -> None:
    canvas = make_canvas()
    result = ao.decode(HashDenoiser(), canvas, window=ao.Holes("first"), stop=ao.EndOfHole("first"))
    first, rest = canvas.holes["first"] & canvas.unknown, ~canvas.holes["first"] & canvas.unknown
    begun = first.any(dim=1)
    assert (result.state[first] == ao.DECIDED).all()
    assert (result.state[rest & begun[:, None]] == ao.UNDECIDED).all()
    assert torch.equal(result.nfe[begun], first.sum(dim=1)[begun])


WRONG = {
    "an order that is a class": ({"order": ao.Margin}, "order"),
    "an order that is a string": ({"order": "margin"}, "order"),
    "a budget that is a number": ({"budget": 4}, "budget"),
    "a budget that is a class": ({"budget": ao.Fixed}, "budget"),
    "a sampler that is a number": ({"sampler": 0.7}, "sampler"),
    "a sampler that is a class": ({"sampler": ao.Greedy}, "sampler"),
    "a window that is a number": ({"window": 32}, "window"),
    "a remask rule that is a string": ({"remask": "mask-predict"}, "remask"),
    "a stop rule that is a string": ({"stop": "answer"}, "stop"),
    "a seed that is a float": ({"seed": 1.5}, "seed"),
    "a seed that is a bool": ({"seed": True}, "seed"),
    "seeds of another shape": ({"seed": torch.zeros(2, dtype=torch.long)}, "seed"),
    "seeds of another dtype": ({"seed": torch.zeros(6)}, "seed"),
    "a budget beside mask-predict": ({"budget": ao.Fixed(2), "remask": ao.MaskPredict(4)}, "MaskPredict"),
    "a suppressed token that is not one": ({"suppress": [VOCAB]}, "suppress"),
    "a negative suppressed token": ({"suppress": [-1]}, "suppress"),
    "everything suppressed": ({"suppress": range(VOCAB)}, "no token is left"),
    "a hole that is not there": ({"window": ao.Holes("third")}, "third"),
    "an end of a hole that is not there": ({"stop": ao.EndOfHole("third")}, "third"),
    "an end of text in a hole that is not there": ({"stop": ao.EndOfText(1, hole="third")}, "third"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_in_one_line(case: str) -> None:
    arguments, named = WRONG[case]
    with pytest.raises(ao.UserError, match=named) as error:
        ao.decode(HashDenoiser(), make_canvas(), **arguments)
    assert "\n" not in str(error.value)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="temprature"):
        ao.decode(HashDenoiser(), make_canvas(), temprature=0.7)  # type: ignore[call-arg]


def test_arguments_are_checked_before_the_first_step() -> None:
    with pytest.raises(ao.UserError, match="order"):
        ao.stream(HashDenoiser(), make_canvas(), order=3)  # type: ignore[arg-type]
    with pytest.raises(ao.UserError, match="canvas"):
        ao.stream(HashDenoiser(), torch.zeros(1, 3))  # type: ignore[arg-type]


def test_what_a_denoiser_answers_is_checked() -> None:
    class Wrong(HashDenoiser):
        def __init__(self, change: Any) -> None:
            super().__init__()
            self.change = change

        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            return self.change(super().__call__(tokens, attention_mask=attention_mask, at=at))

    changes = {
        "shape": lambda logits: logits[:-1],
        "vocabulary": lambda logits: logits[:, :-1],
        "floating": lambda logits: logits.long(),
        "finite": lambda logits: logits.masked_fill(logits == logits.max(), torch.nan),
        "ruled out": lambda logits: torch.full_like(logits, -torch.inf),
        "infinity": lambda logits: logits.masked_fill(logits == logits.max(), torch.inf),
    }
    for named, change in changes.items():
        with pytest.raises(ao.UserError, match=named):
            ao.decode(Wrong(change), make_canvas())


def test_an_order_that_returns_nonsense_is_refused() -> None:
    with pytest.raises(ao.UserError, match="NaN"):
        ao.decode(HashDenoiser(), make_canvas(), order=lambda board: board.model.entropy * torch.nan)
    with pytest.raises(ao.UserError, match="shape"):
        ao.decode(HashDenoiser(), make_canvas(), order=lambda board: board.model.entropy[0])


def test_windows_and_watchers_that_return_nonsense_are_refused() -> None:
    class Bad:
        def stages(self, canvas: ao.Canvas) -> Any:
            return torch.zeros(1, 2)

    class Looks(Watcher):
        def watch(self, canvas: ao.Canvas) -> Any:
            return canvas.tokens

    with pytest.raises(ao.UserError, match="stages of Bad"):
        ao.decode(HashDenoiser(), make_canvas(), window=Bad())
    with pytest.raises(ao.UserError, match="Looks: watch"):
        ao.decode(HashDenoiser(), make_canvas(), budget=Looks())


def test_a_plain_function_object_is_an_order() -> None:
    """Infinite priorities rank first and last."""

    def middle_out(board: Any) -> Tensor:
        away = (board.positions - 4).abs().double()
        return torch.where(away == 0, torch.inf, torch.where(away > 3, -torch.inf, -away))

    canvas = ao.Canvas(torch.zeros(1, 9, dtype=torch.long), torch.ones(1, 9, dtype=torch.bool))
    result = ao.decode(HashDenoiser(), canvas, order=middle_out)
    assert result.step_of.tolist() == [[7, 5, 3, 1, 0, 2, 4, 6, 8]]


def test_a_networks_rows_are_decoded_alike_in_any_batch() -> None:
    """A transformer with drawn weights, one row at a time, in threes and all at once."""
    torch.manual_seed(0)
    model = ao.Transformer(
        ao.TransformerConfig(vocab_size=VOCAB, mask_token_id=MASK, layers=2, heads=2, width=32, mlp_width=64)
    ).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3)
    canvas, row_seed = make_canvas(9, 12), seeds(9)
    for parts in (ao.strategies["margin"].parts(), ao.strategies["med"].parts(), ao.strategies["vanilla-50"].parts()):
        whole = ao.decode(model, canvas, **parts, seed=row_seed)
        for size in (1, 3):
            for start in range(0, 9, size):
                rows = slice(start, start + size)
                part = ao.decode(model, canvas.rows(rows), **parts, seed=row_seed[rows])
                assert torch.equal(part.tokens, whole.tokens[rows])
                assert torch.equal(part.nfe, whole.nfe[rows])
