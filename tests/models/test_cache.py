"""The key-value cache: the same logits as the network alone, whatever changes between the calls, for fewer columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import anyorder as ao
from anyorder.models.cache import CachedSession
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, Sections, TransformerConfig

MASK = 10
SMALL = TransformerConfig(
    vocab_size=11, mask_token_id=MASK, layers=2, heads=4, width=32, mlp_width=48, attention="causal"
)
CONFIGS = {
    "rotary": SMALL,
    "shifted": dataclasses.replace(SMALL, logits_shift=True),
    "learned, shifted": dataclasses.replace(SMALL, positions="learned", length=16, logits_shift=True),
    "loops": dataclasses.replace(SMALL, loops=2),
    "grouped, gated": dataclasses.replace(SMALL, kv_heads=2, qk_norm=True, mlp="gated", attention_bias=True),
    "grid": dataclasses.replace(SMALL, positions="grid", grid=Grid(4, 4, 2, 2), length=16, relation_bias=True),
    "sections": dataclasses.replace(
        SMALL,
        positions="sections",
        sections=Sections(((1, 2), (2, 4), (2, 3))),
        length=16,
        relation_bias=True,
        same_token_bias=True,
        logits_shift=True,
    ),
    "same token": dataclasses.replace(SMALL, same_token_bias=True),
    "block-causal": dataclasses.replace(SMALL, attention="block-causal", block_size=4),
    "block-causal, same token": dataclasses.replace(
        SMALL, attention="block-causal", block_size=4, same_token_bias=True
    ),
    "block-causal, shifted": dataclasses.replace(SMALL, attention="block-causal", block_size=5, logits_shift=True),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


def network(config: TransformerConfig, seed: int = 0) -> Transformer:
    """A network whose every weight is random: fresh ones start with branches that add nothing."""
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3, generator=generator)
    return model


@contextmanager
def uncached(model: Transformer) -> Iterator[Transformer]:
    """The network without its cache, in the same decoding loop."""

    class Plain:
        vocab_size, mask_token_id = model.vocab_size, model.mask_token_id

        def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
            return model(tokens, attention_mask=attention_mask, at=at)

    yield Plain()  # pyright: ignore[reportReturnType]


def canvas(rows: int = 5, length: int = 16, seed: int = 0, pad: str | None = None) -> ao.Canvas:
    """Prompts of unequal lengths, given tokens among the unknown ones, rows that finish early; padded on request."""
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 10, (rows, length), generator=g)
    column = torch.arange(length)
    start = torch.randint(1, length - 2, (rows, 1), generator=g)
    unknown = (column >= start) & (torch.rand(rows, length, generator=g) < 0.8)
    if pad is None:
        return ao.Canvas(tokens, unknown)
    empty = torch.randint(0, 4, (rows, 1), generator=g)
    real = column >= empty if pad == "left" else column < length - empty
    return ao.Canvas(tokens, unknown & real, real)


@every_config
@pytest.mark.parametrize("pad", [None, "left", "right"])
def test_decoding_from_the_left_is_that_of_the_network_alone(config: TransformerConfig, pad: str | None) -> None:
    model = network(config)
    board = canvas(pad=pad if config.structure is None else None)
    with uncached(model) as plain:
        for sampler in (ao.Greedy(), ao.Temperature(1.0)):
            cached = ao.decode(model, board, order=ao.LeftToRight(), sampler=sampler, seed=3)
            alone = ao.decode(plain, board, order=ao.LeftToRight(), sampler=sampler, seed=3)
            for name in ("tokens", "state", "step_of", "nfe"):
                assert torch.equal(getattr(cached, name), getattr(alone, name)), name
            torch.testing.assert_close(cached.log_probability, alone.log_probability, equal_nan=True, **CLOSE)


@every_config
@pytest.mark.parametrize("order", [ao.Random(), ao.Margin(), ao.Noisy(ao.LeftToRight(), gumbel=3.0)], ids=repr)
def test_any_other_order_is_right_as_well(config: TransformerConfig, order: ao.Random) -> None:
    model, board = network(config), canvas(seed=4)
    with uncached(model) as plain:
        for budget in (ao.OneByOne(), ao.Fixed(3)):
            cached = ao.decode(model, board, order=order, budget=budget, seed=1)
            alone = ao.decode(plain, board, order=order, budget=budget, seed=1)
            assert torch.equal(cached.tokens, alone.tokens)
            assert torch.equal(cached.step_of, alone.step_of)


@every_config
@settings(max_examples=25)
@given(seed=st.integers(0, 2**31))
@torch.no_grad()
def test_logits_are_the_networks_whatever_changed(config: TransformerConfig, seed: int) -> None:
    """Tokens change anywhere, padding moves, rows go and change places, any positions are asked for."""
    g = torch.Generator().manual_seed(seed)
    model, board = network(config), canvas(rows=4, seed=seed % 97)
    session = model.open(board)
    tokens, real = board.tokens, torch.ones_like(board.unknown)
    for _ in range(6):
        at = (torch.rand(tokens.shape, generator=g) < 0.2) & real
        mask = None if bool(real.all()) else real
        got = session(tokens, attention_mask=mask, at=at)
        torch.testing.assert_close(got, model(tokens, attention_mask=mask, at=at), **CLOSE)
        change = torch.rand(tokens.shape, generator=g) < 0.1
        tokens = torch.where(change, torch.randint(0, 11, tokens.shape, generator=g), tokens)
        match int(torch.randint(0, 4, (), generator=g)):
            case 0:
                rows = torch.randperm(len(tokens), generator=g)[: max(1, len(tokens) - 1)]
                session.keep(rows)
                tokens, real = tokens[rows], real[rows]
            case 1 if config.structure is None:
                real = torch.rand(tokens.shape, generator=g) < 0.9  # also at either end


@every_config
@torch.no_grad()
def test_a_spliced_session_goes_on(config: TransformerConfig) -> None:
    if config.structure is not None or config.length:
        pytest.skip("one length only")
    model, board = network(config), canvas(rows=3)
    session = model.open(board)
    everywhere = torch.ones_like(board.unknown)
    session(board.tokens, at=everywhere)
    # two new positions after column 6 in each row, one taken out after column 11
    source = torch.cat((torch.arange(6), torch.tensor([-1, -1]), torch.arange(6, 11), torch.arange(12, 16)))
    source = source.expand(3, -1).contiguous()
    tokens = board.tokens.gather(1, source.clamp(min=0)).masked_fill(source < 0, MASK)
    session.splice(source)  # pyright: ignore[reportAttributeAccessIssue]
    at = torch.ones_like(tokens, dtype=torch.bool)
    torch.testing.assert_close(session(tokens, at=at), model(tokens, at=at), **CLOSE)


@torch.no_grad()
def test_one_new_column_a_step() -> None:
    """With the shift, the prompt is computed once and every decided token once; the last one never."""
    model = network(CONFIGS["learned, shifted"])
    tokens = torch.randint(0, 10, (2, 16), generator=torch.Generator().manual_seed(0))
    board = ao.Canvas(tokens, torch.arange(16).expand(2, -1) >= 6)
    columns = []
    inner = model.embed
    model.embed = lambda t, p, c: (columns.append(t.shape[1]), inner(t, p, c))[1]  # pyright: ignore
    ao.decode(model, board, order=ao.LeftToRight())
    assert columns == [6] + [1] * 9


@torch.no_grad()
def test_a_block_is_computed_anew_while_it_is_decoded_and_never_after() -> None:
    model = network(CONFIGS["block-causal"])
    tokens = torch.randint(0, 10, (1, 16), generator=torch.Generator().manual_seed(0))
    board = ao.Canvas(tokens, torch.arange(16)[None] >= 8)
    columns = []
    inner = model.embed
    model.embed = lambda t, p, c: (columns.append(t.shape[1]), inner(t, p, c))[1]  # pyright: ignore
    ao.decode(model, board, order=ao.Margin(), budget=ao.Fixed(2), window=ao.Blocks(4))
    # the prompt and a masked block; then the block with what was decided; then it and the next, and so on
    assert columns == [12, 4, 8, 4]


@torch.no_grad()
def test_the_neighbours_change_no_bit() -> None:
    """A row alone, among few and among many: other widths and numbers of rows, the same sums."""
    model = network(CONFIGS["learned, shifted"])
    board = canvas(rows=40, seed=2)
    together = ao.decode(model, board, order=ao.LeftToRight())
    for size in (1, 7):
        for start in range(0, 14, size):
            part = slice(start, start + size)
            alone = ao.decode(model, board.rows(part), order=ao.LeftToRight())
            assert torch.equal(alone.tokens, together.tokens[part])
            torch.testing.assert_close(
                alone.log_probability, together.log_probability[part], rtol=1e-6, atol=1e-6, equal_nan=True
            )


def test_gradients_flow_past_the_cache() -> None:
    model, board = network(SMALL), canvas(rows=2)
    session = model.open(board)
    loss = session(board.tokens, at=board.unknown).logsumexp(1).sum()
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())


def test_a_bidirectional_network_keeps_nothing() -> None:
    assert not isinstance(network(dataclasses.replace(SMALL, attention="bidirectional")).open(canvas()), CachedSession)


def test_a_canvas_that_is_too_long_is_refused_at_once() -> None:
    with pytest.raises(ao.UserError, match="at most 16"):
        network(CONFIGS["learned, shifted"]).open(canvas(length=17))
