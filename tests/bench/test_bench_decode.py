"""The decode benchmark times what it says, and its baseline decodes by the same rule."""

from __future__ import annotations

import time

import pytest
import torch

from anyorder.bench.decode import TimedDenoiser, bench_statistics, full_canvas_decode
from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError
from anyorder.decoding import decode
from anyorder.decoding.strategies import strategies
from anyorder.models.oracle import MarkovChain


@pytest.fixture(scope="module")
def chain() -> MarkovChain:
    generator = torch.Generator().manual_seed(1)
    transition = torch.rand(4, 4, generator=generator, dtype=torch.float64) ** 3 + 0.01
    initial = torch.rand(4, generator=generator, dtype=torch.float64)
    return MarkovChain(initial / initial.sum(), transition / transition.sum(1, keepdim=True))


def canvas(rows: int = 6, length: int = 12) -> Canvas:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, 4, (rows, length), generator=generator)
    unknown = torch.rand(rows, length, generator=generator) < 0.7
    unknown[0] = False  # a row with nothing to do
    return Canvas(tokens, unknown)


def test_the_baseline_follows_the_same_rule(chain: MarkovChain) -> None:
    given = canvas()
    ours = decode(chain, given, **strategies["margin"].parts()).tokens
    assert torch.equal(full_canvas_decode(chain, given.tokens, given.unknown), ours)


def test_the_baseline_keeps_given_tokens_and_finishes(chain: MarkovChain) -> None:
    given = canvas(3, 8)
    filled = full_canvas_decode(chain, given.tokens, given.unknown)
    assert torch.equal(filled[~given.unknown], given.tokens[~given.unknown])
    assert int(filled.max()) < 4  # no mask token is left


def test_only_calls_of_the_denoiser_are_timed(chain: MarkovChain) -> None:
    timed = TimedDenoiser(chain, torch.device("cpu"))
    given = canvas()
    since = time.perf_counter()
    result = decode(timed, given, **strategies["margin"].parts())
    whole = time.perf_counter() - since
    assert 0 < timed.seconds < whole
    assert timed.calls == int(result.nfe.max())
    assert timed.rows == int(result.nfe.sum())  # finished rows are not evaluated


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(UserError, match="masked rows"):
        bench_statistics(canvas_rows=4, masked_rows=5, vocabulary=10)
