"""Beam search against exhaustive search on exact models, and its laws."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from tests.decoding.fakes import MASK, HashDenoiser, TableDenoiser, make_canvas

import anyorder as ao
from anyorder.decoding.beam import beam_search
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig

M = 3


def chain(seed: int = 0) -> ao.MarkovChain:
    g = torch.Generator().manual_seed(seed)
    return ao.MarkovChain(torch.rand(M, generator=g), torch.rand(M, M, generator=g) ** 2)


def joint(seed: int = 0, length: int = 5) -> ao.EnumeratedJoint:
    g = torch.Generator().manual_seed(seed)
    table = torch.rand([M] * length, generator=g) ** 4
    table[table < 0.02] = 0  # some sequences are impossible
    return ao.EnumeratedJoint(table, strict=False)


def causal(seed: int = 0, shift: bool = True) -> Transformer:
    config = TransformerConfig(
        vocab_size=8, mask_token_id=0, layers=2, heads=2, width=16, mlp_width=32, attention="causal",
        positions="learned", length=12, logits_shift=shift,
    )  # fmt: skip
    model = Transformer(config).eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.4, generator=g)
    return model


def exhaustive(model, tokens: list[int], unknown: list[int]) -> list[tuple[float, list[int]]]:
    """Every filling with its exact log-probability given the known tokens, best first."""
    mask = model.mask_token_id
    known = [mask if i in unknown else token for i, token in enumerate(tokens)]
    base = float(model.log_prob(torch.tensor([known]))[0])
    fillings = []
    for values in itertools.product(range(M), repeat=len(unknown)):
        filled = list(tokens)
        for place, value in zip(unknown, values, strict=True):
            filled[place] = value
        fillings.append((float(model.log_prob(torch.tensor([filled]))[0]) - base, filled))
    return sorted(fillings, key=lambda pair: -pair[0])


@pytest.mark.parametrize("make", [chain, joint])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_enough_beams_are_exhaustive(make, seed: int) -> None:
    """All fillings, in the order of their exact probabilities, for answers that start and end at unequal places."""
    model = make(seed)
    tokens = model.sample(4, 5, torch.Generator().manual_seed(9)) if make is chain else None
    if tokens is None:
        tokens = model.sample(4, torch.Generator().manual_seed(9))
    places = [[0, 1, 2, 3], [2, 3, 4], [1, 4], []]
    unknown = torch.tensor([[i in row for i in range(5)] for row in places])
    found = beam_search(model, ao.Canvas(tokens, unknown), M**4)
    for row, where in enumerate(places):
        want = exhaustive(model, tokens[row].tolist(), where)
        possible = [pair for pair in want if pair[0] > -math.inf]
        scores = found.log_probability[row, : len(possible)].tolist()
        assert scores == pytest.approx([pair[0] for pair in possible], abs=1e-5)
        assert {tuple(t) for t in found.tokens[row, : len(possible)].tolist()} == {tuple(p[1]) for p in possible}
        assert bool((found.log_probability[row, len(possible) :] == -torch.inf).all())


def by_hand(model, tokens: list[int], unknown: list[int], beams: int) -> list[tuple[float, tuple[int, ...]]]:
    """The definition, one hypothesis at a time."""
    mask = model.mask_token_id
    held = [(0.0, tuple(mask if i in unknown else t for i, t in enumerate(tokens)))]
    for place in unknown:
        at = torch.zeros(1, len(tokens), dtype=torch.bool)
        at[0, place] = True
        longer = []
        for score, partial in held:
            logits = model(torch.tensor([partial]), at=at)[0].double()
            logits[mask] = -torch.inf
            for token, value in enumerate(logits.log_softmax(0).tolist()):
                longer.append((score + value, (*partial[:place], token, *partial[place + 1 :])))
        held = sorted(longer, key=lambda pair: -pair[0])[:beams]
    return held


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("shift", [True, False])
@torch.no_grad()
def test_a_cached_network_is_searched_as_by_hand(beams: int, shift: bool) -> None:
    model = causal(shift=shift)
    tokens = torch.randint(1, 8, (5, 12), generator=torch.Generator().manual_seed(1))
    starts, ends = [1, 4, 6, 9, 2], [5, 12, 9, 12, 3]
    column = torch.arange(12)
    unknown = (column >= torch.tensor(starts)[:, None]) & (column < torch.tensor(ends)[:, None])
    unknown[1, 6] = False  # a given token within the answer
    found = beam_search(model, ao.Canvas(tokens, unknown), beams)
    for row in range(5):
        where = unknown[row].nonzero()[:, 0].tolist()
        want = by_hand(model, tokens[row].tolist(), where, beams)
        assert found.log_probability[row].tolist() == pytest.approx([score for score, _ in want], abs=1e-4)
        assert [tuple(t) for t in found.tokens[row].tolist()] == [t for _, t in want]


def test_one_beam_is_greedy_decoding() -> None:
    model, canvas = HashDenoiser(), make_canvas()
    found, greedy = beam_search(model, canvas, 1), ao.decode(model, canvas, order=ao.LeftToRight())
    assert torch.equal(found.best, greedy.tokens)
    assert torch.equal(found.nfe, greedy.nfe)
    total = greedy.log_probability.nansum(1)
    torch.testing.assert_close(found.log_probability[:, 0], total, rtol=0, atol=1e-4)


def test_more_beams_find_nothing_worse_here() -> None:
    """No law of beam search, but so on these chains: the best of four beams is at least the greedy filling."""
    board = ao.Canvas(torch.zeros(1, 8, dtype=torch.int64), torch.ones(1, 8, dtype=torch.bool))
    best = [[float(beam_search(chain(seed), board, k).log_probability[0, 0]) for k in (1, 4, 27)] for seed in range(8)]
    assert all(one <= four + 1e-9 <= many + 2e-9 for one, four, many in best)
    assert any(one < many - 1e-3 for one, _, many in best)


@pytest.mark.parametrize("beams", [1, 3, 8])
def test_a_row_does_not_depend_on_its_batch_or_the_padding(beams: int) -> None:
    model, canvas = HashDenoiser(), make_canvas(batch=6)
    together = beam_search(model, canvas, beams)
    for row in range(6):
        alone = beam_search(model, canvas.rows(slice(row, row + 1)), beams)
        assert torch.equal(alone.tokens[0], together.tokens[row])
        assert torch.equal(alone.log_probability[0], together.log_probability[row])
        assert torch.equal(alone.nfe[0], together.nfe[row])
    for side in ("left", "right"):
        padded = ao.Canvas.stack([ao.Canvas(canvas.tokens, canvas.unknown), make_canvas(length=14)], side=side)
        found = beam_search(model, padded, beams)
        real = slice(4, None) if side == "left" else slice(None, 10)
        assert torch.equal(found.tokens[:6, :, real], together.tokens)
        assert torch.equal(found.log_probability[:6], together.log_probability)


def test_calls_are_counted_and_finished_rows_cost_nothing() -> None:
    model = HashDenoiser()
    tokens = torch.zeros(2, 6, dtype=torch.int64)
    unknown = torch.arange(6) >= torch.tensor([[1], [4]])
    found = beam_search(model, ao.Canvas(tokens, unknown), 3)
    assert found.nfe.tolist() == [1 + 3 * 4, 1 + 3]
    assert model.rows == found.nfe.sum()
    assert model.calls == 5


def test_given_tokens_stay_and_suppressed_ones_never_come() -> None:
    model, canvas = HashDenoiser(), make_canvas()
    found = beam_search(model, canvas, 4, suppress=(0, 5))
    given = ~canvas.unknown[:, None].expand(-1, 4, -1)
    assert torch.equal(found.tokens[given], canvas.tokens[:, None].expand(-1, 4, -1)[given])
    filled = found.tokens[1]  # everything unknown
    assert not any(bool((filled == token).any()) for token in (0, 5, MASK))


@pytest.mark.parametrize("beams", [0, -1, True, 2.0])
def test_bad_settings_are_refused(beams) -> None:
    with pytest.raises(ao.UserError, match="beams must be a whole number"):
        beam_search(HashDenoiser(), make_canvas(), beams)


def test_logits_that_say_nothing_are_refused() -> None:
    with pytest.raises(ao.UserError, match="no finite largest logit"):
        beam_search(TableDenoiser(torch.full((10, 7), torch.nan), MASK), make_canvas(), 2)
