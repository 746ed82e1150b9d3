"""Any canvas, any parts with any settings: the laws hold, or one line says what is wrong."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.decoding.fakes import FIELDS, MASK, HashDenoiser

import anyorder as ao

share = st.floats(0, 1)
most = st.none() | st.integers(1, 5)
counts = st.integers(1, 5)
views = st.sampled_from(["model", "sampled"])
schedules = st.sampled_from([ao.Linear(), ao.Cosine(), ao.Polynomial(0.5), ao.Geometric(), ao.LogLinear(0.1)])

plain_orders = st.one_of(
    st.just(ao.Random()),
    st.just(ao.LeftToRight()),
    st.builds(ao.TopProbability, log=st.booleans(), view=views),
    st.builds(ao.Margin, log=st.booleans(), view=views),
    st.builds(ao.Entropy, view=views),
    st.builds(ao.SampledProbability, log=st.booleans()),
)
orders = st.recursive(
    plain_orders,
    lambda inner: st.one_of(
        st.builds(ao.Noisy, inner, gumbel=st.floats(0, 5), anneal=st.booleans()),
        st.builds(ao.Noisy, inner, gaussian=st.floats(0, 5), anneal=st.booleans()),
        st.builds(ao.Prior, inner, decay=st.floats(-2, 2)),
        st.builds(ao.Defer, inner, st.integers(0, 6)),
        st.builds(ao.Lookahead, inner, st.integers(2, 5), share),
    ),
    max_leaves=2,
)
budgets = st.one_of(
    st.just(ao.OneByOne()),
    st.builds(ao.Fixed, st.integers(1, 9)),
    st.builds(ao.Schedule, st.integers(1, 30), schedules, st.sampled_from(["expected", "binomial"])),
    st.builds(ao.EntropyBelow, st.floats(0, 3), most, st.booleans(), views),
    st.builds(ao.EntropyBound, st.floats(0, 20), most, views),
    st.builds(ao.ProbabilityAbove, share, most, st.booleans(), views),
    st.builds(ao.Factor, st.floats(0, 5), most, views),
    st.builds(
        lambda limit, part, least, more: ao.Draft(limit, part, least, least + more), share, share, counts, counts
    ),
    st.builds(ao.KLASS, share, st.floats(0, 2), st.integers(1, 3), most, st.booleans()),
)
cuts = st.one_of(
    st.builds(ao.Temperature, st.floats(1e-3, 50)),
    st.builds(ao.TopK, st.integers(1, 9)),
    st.builds(ao.TopP, st.floats(1e-6, 1)),
    st.builds(ao.MinP, share),
)
samplers = st.one_of(st.just(ao.Greedy()), cuts, st.builds(lambda a, b: a | b, cuts, cuts))
inside = st.sampled_from([ao.Whole(), ao.Blocks(1), ao.Blocks(3), ao.Blocks(50), ao.Dilated(4), ao.Dilated(7, base=3)])
windows = st.one_of(
    inside,
    st.builds(lambda inner: ao.Holes("a", "b", inside=inner), inside),
    st.builds(lambda inner: ao.Holes("b", inside=inner), inside),
)
CAP = 12
remasks = st.one_of(
    st.none(),
    st.builds(ao.MaskPredict, st.integers(1, CAP), schedules),
    st.builds(ao.P2, st.integers(1, CAP), schedules),
    st.builds(ao.WINO, share),
    st.builds(ao.ReMDM, st.integers(1, CAP), st.sampled_from(["cap", "rescale", "conf", "loop"]), share),
    st.builds(ao.Reconsider, st.integers(1, CAP), st.floats(0.01, 1), share, st.integers(1, 4), st.integers(1, 5)),
)
counting = (ao.MaskPredict, ao.P2, ao.ReMDM)
stops = st.one_of(
    st.none(),
    st.sampled_from([ao.EndOfHole("a"), ao.EndOfHole("b")]),
    st.builds(ao.EndOfText, st.integers(0, 6), st.sampled_from([None, "a", "b"])),
    st.builds(ao.AnswerEntropy, st.floats(0, 12), st.sampled_from(["a", "b"])),
    st.builds(ao.Prophet, st.floats(0, 4), st.floats(0, 4), st.floats(0, 4), st.sampled_from([None, "a", "b"])),
    st.builds(
        lambda limit, token: ao.Stops(ao.EndOfText(token), ao.Prophet(limit)), st.floats(0, 4), st.integers(0, 6)
    ),
)


@st.composite
def canvases(draw: Any) -> ao.Canvas:
    batch, length = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    unknown = torch.rand(batch, length, generator=generator) < draw(share)
    places = torch.arange(length).expand(batch, -1)
    real = torch.ones_like(unknown)
    if draw(st.booleans()):
        sizes = torch.randint(0, length + 1, (batch, 1), generator=generator)
        real = places < sizes if draw(st.booleans()) else places >= sizes
    holes = {name: (torch.rand(batch, length, generator=generator) < 0.5) & real for name in "ab"}
    tokens = torch.randint(0, 7, (batch, length), generator=generator)
    return ao.Canvas(tokens, unknown & real, None if real.all() else real, holes)


@settings(max_examples=40)
@given(
    canvas=canvases(),
    order=orders,
    budget=budgets,
    sampler=samplers,
    window=windows,
    remask=remasks,
    stop=stops,
    seed=st.integers(-(2**63), 2**63 - 1),
    side=st.sampled_from(["left", "right"]),
    scale=st.floats(0, 40),
)
def test_laws_hold_for_any_canvas_and_parts(
    canvas, order, budget, sampler, window, remask, stop, seed, side, scale
) -> None:
    parts: dict[str, Any] = {"order": order, "sampler": sampler, "window": window, "stop": stop}
    parts |= {"remask": remask} if remask else {}
    parts |= {} if isinstance(remask, counting) else {"budget": budget}
    denoiser = HashDenoiser(scale=scale)
    result = ao.decode(denoiser, canvas, **parts, seed=seed)
    decided, undecided = result.state == ao.DECIDED, result.state == ao.UNDECIDED

    assert torch.equal(result.tokens[~canvas.unknown], canvas.tokens[~canvas.unknown])
    assert torch.equal(decided | undecided, canvas.unknown)
    assert not bool((result.tokens[decided] == MASK).any())
    assert bool((result.tokens[undecided] == MASK).all())
    ended = torch.tensor([reason not in ("complete", "evaluation_limit") for reason in result.finish_reason])
    assert not bool((undecided.any(dim=1) & ~ended).any())
    assert "evaluation_limit" not in result.finish_reason or isinstance(remask, ao.WINO | ao.Reconsider)
    assert int(result.nfe.sum()) == denoiser.rows
    steps = result.step_of.amax(dim=1) + 1 if canvas.length else result.nfe
    assert bool((steps <= (canvas.unknown.sum(dim=1) if remask is None else CAP * canvas.length)).all())
    assert torch.equal(result.step_of >= 0, decided)
    assert bool((result.log_probability[decided] <= 0).all())

    # Beside a longer neighbour, padded on either side, every row is what it was.
    neighbour = ao.Canvas(
        torch.zeros(1, canvas.length + 3, dtype=torch.long),
        torch.ones(1, canvas.length + 3, dtype=torch.bool),
        holes={name: torch.ones(1, canvas.length + 3, dtype=torch.bool) for name in "ab"},
    )
    keys = torch.cat((ao.row_seeds(seed, canvas.batch), torch.tensor([5])))
    company = ao.decode(HashDenoiser(scale=scale), ao.Canvas.stack([canvas, neighbour], side=side), **parts, seed=keys)
    columns = slice(3, None) if side == "left" else slice(0, canvas.length)
    for name in FIELDS:
        ours, theirs = getattr(result, name), getattr(company, name)[: canvas.batch]
        theirs = theirs[:, columns] if theirs.dim() == 2 else theirs
        assert torch.equal(ours.nan_to_num(nan=-7), theirs.nan_to_num(nan=-7)), name
    assert company.finish_reason[: canvas.batch] == result.finish_reason


numbers = st.one_of(st.integers(-3, 3), st.floats(), st.none(), st.booleans(), st.text(max_size=3), st.just([]))
SETTINGS = [
    (ao.Fixed, "k", "budget"),
    (ao.Schedule, "steps", "budget"),
    (ao.EntropyBelow, "limit", "budget"),
    (ao.EntropyBound, "total", "budget"),
    (ao.ProbabilityAbove, "limit", "budget"),
    (ao.Factor, "f", "budget"),
    (ao.KLASS, "limit", "budget"),
    (ao.KLASS, "divergence", "budget"),
    (ao.KLASS, "history", "budget"),
    (ao.Temperature, "t", "sampler"),
    (ao.TopK, "k", "sampler"),
    (ao.TopP, "p", "sampler"),
    (ao.MinP, "p", "sampler"),
    (ao.Blocks, "size", "window"),
    (ao.MaskPredict, "steps", "remask"),
    (ao.P2, "steps", "remask"),
    (ao.WINO, "verify", "remask"),
    (ao.ReMDM, "steps", "remask"),
    (ao.Reconsider, "evaluations", "remask"),
    (ao.Prophet, "early", "stop"),
    (ao.Lookahead, "candidates", "order"),
    (ao.Lookahead, "sure", "order"),
    (ao.Planned, "eta", "order"),
    (ao.Draft, "limit", "budget"),
    (ao.Dilated, "size", "window"),
    (ao.EndOfText, "tokens", "stop"),
    (ao.Margin, "log", "order"),
    (ao.Entropy, "view", "order"),
]


@settings(max_examples=120)
@given(setting=st.sampled_from(SETTINGS), value=numbers)
def test_a_setting_is_usable_or_refused_by_name(setting: tuple[Any, str, str], value: Any) -> None:
    part, name, where = setting
    refused = ""
    try:
        made = part(**{name: value})
    except ao.UserError as error:
        refused = str(error)
    if refused:
        assert refused.startswith(f"{part.__name__}: {name} must be ")
        assert len(refused.splitlines()) == 1
        return
    canvas = ao.Canvas(torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4, dtype=torch.bool))
    result = ao.decode(HashDenoiser(), canvas, **{where: made})
    assert where == "stop" or bool((result.state == ao.DECIDED).all())
