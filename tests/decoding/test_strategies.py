"""Named strategies: each is its parts, decodes, and is what its source says where that can be checked."""

from __future__ import annotations

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, TableDenoiser, assert_same, make_canvas

import anyorder as ao
from anyorder.core.randomness import Purpose, gumbel

ONE_AT_A_TIME = ("random", "left-to-right", "top-probability", "margin", "entropy")
SEVERAL = ("med", "ar-med", "eb", "eb-0.01", "fast-dllm", "fast-dllm-factor", "klass", "llada")
PROTOCOLS = ("vanilla-50", "top-probability-50", "margin-50")
CODE = ("puzzle-code-margin", "puzzle-code-top-probability")
FIXED = ("fixed-2", "fixed-4", "llada-whole", "pc-sampler", "dilated", "first-hitting", "lookahead")
STOPPED = ("early-exit", "med-early-exit", "prophet")
TAKEN_BACK = ("remdm-cap", "remdm-rescale", "remdm-conf", "remdm-loop", "p2", "wino", "reconsider", "reconsider-1000")
NAMES = (*ONE_AT_A_TIME, *SEVERAL, *PROTOCOLS, *CODE, *FIXED, *STOPPED, *TAKEN_BACK)


def test_the_named_strategies_are_there() -> None:
    assert set(NAMES) == set(ao.strategies)
    with pytest.raises(TypeError):
        ao.strategies["mine"] = ao.Strategy()  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_a_strategy_is_its_parts(name: str) -> None:
    strategy, canvas = ao.strategies[name], make_canvas(4, 12)
    # The named hole is made of what is unknown; a network that is never sure ends nothing early.
    canvas = ao.Canvas(canvas.tokens, canvas.unknown, holes=dict.fromkeys(strategy.holes, canvas.unknown))
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, canvas, **strategy.parts(), seed=2)
    assert (result.state[canvas.unknown] == ao.DECIDED).all()
    assert int(result.nfe.sum()) == denoiser.rows
    assert strategy.description
    assert strategy.source
    assert "\n" not in strategy.description
    assert set(strategy.as_text()) <= set(strategy.parts())
    # What is written is what is built: the text of the parts makes the same strategy again.
    made = {
        part: eval(text, vars(ao) | {n: getattr(ao, n) for n in ao.__all__})
        for part, text in strategy.as_text().items()
    }
    assert made == {part: value for part, value in strategy.parts().items() if value is not None}


def test_left_to_right_with_entropy_below_is_ar_med_and_entropy_with_it_is_med() -> None:
    below = ao.EntropyBelow(0.2, most=8)
    assert ao.strategies["med"].parts() == ao.Strategy(ao.Entropy(), below, ao.Greedy()).parts()
    assert ao.strategies["ar-med"].parts() == ao.Strategy(ao.LeftToRight(), below, ao.Greedy()).parts()


def blank(batch: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(batch, length, dtype=torch.long), torch.ones(batch, length, dtype=torch.bool))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_published_protocols_take_fifty_reverse_steps_and_draw(name: str) -> None:
    logits = torch.zeros(120, 30)
    first = ao.decode(TableDenoiser(logits, 0), blank(1, 120), **ao.strategies[name].parts(), seed=1)
    assert first.nfe.tolist() == [50]
    assert len(first.tokens.unique()) > 20


@pytest.mark.parametrize("name", CODE)
def test_code_variants_are_the_published_code(name: str) -> None:
    """A plain transcription of the rule: arg-max everywhere, log score + 0.5 t/T Gumbel, mask the worst again."""
    canvas, denoiser, seed = blank(3, 20), HashDenoiser(), 6
    result = ao.decode(denoiser, canvas, **ao.strategies[name].parts(), seed=seed)
    positions, steps = torch.arange(20), 50
    for row in range(3):
        key = ao.row_seeds(seed, 3)[row]
        tokens = torch.full((20,), denoiser.mask_token_id)
        for t in range(steps - 1, -1, -1):
            logits = denoiser(tokens[None], at=torch.ones(1, 20, dtype=torch.bool)).double()
            logits[:, denoiser.mask_token_id] = -torch.inf
            best = logits.softmax(dim=1).sort(dim=1, descending=True).values
            score = (best[:, 0] - best[:, 1] if "margin" in name else best[:, 0]).log()
            score = score + 0.5 * t / steps * gumbel(key, Purpose.NOISE, positions, steps - 1 - t)
            tokens = logits.argmax(dim=1)
            worst = score.argsort(stable=True)[: int(20 * t / steps + 1e-9)]
            tokens[worst] = denoiser.mask_token_id
            if not len(worst):
                break
        assert result.tokens[row].tolist() == tokens.tolist()
        assert result.nfe[row] == steps - t


def test_llada_keeps_the_token_it_is_surest_of_in_each_block() -> None:
    canvas = blank(2, 40)
    assert_same(
        ao.decode(HashDenoiser(), canvas, **ao.strategies["llada"].parts()),
        ao.decode(HashDenoiser(), canvas, order=ao.TopProbability(), window=ao.Blocks(32)),
    )


def test_strategies_say_which_holes_they_need() -> None:
    assert ao.strategies["early-exit"].holes == ("answer",)
    assert ao.strategies["margin"].holes == ao.strategies["prophet"].holes == ()
    assert ao.Strategy(window=ao.Holes("b", "a"), stop=ao.EndOfHole("a")).holes == ("a", "b")


def test_dilated_decides_a_block_in_five_steps_far_apart_first() -> None:
    result = ao.decode(HashDenoiser(), blank(1, 64), **ao.strategies["dilated"].parts())
    assert result.nfe.tolist() == [10]
    steps = result.step_of[0]
    assert (steps == 0).nonzero().flatten().tolist() == [0, 16]
    assert (steps == 1).nonzero().flatten().tolist() == [8, 24]
    assert (steps == 4).nonzero().flatten().tolist() == list(range(1, 32, 2))
    assert (steps == 5).nonzero().flatten().tolist() == [32, 48]


def test_first_hitting_and_random_are_one_order() -> None:
    canvas = blank(3, 9)
    one = ao.decode(HashDenoiser(), canvas, **ao.strategies["first-hitting"].parts(), seed=4)
    other = ao.decode(HashDenoiser(), canvas, order=ao.Random(), sampler=ao.Temperature(1.0), seed=4)
    assert_same(one, other)
