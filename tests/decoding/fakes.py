"""Small denoisers whose every logit is known: hashes of what a row shows, and counters of what was asked."""

from __future__ import annotations

import torch
from torch import Tensor

import anyorder as ao

VOCAB = 7
MASK = 3


def scramble(x: Tensor) -> Tensor:
    """Spread the bits of an int64 tensor."""
    x = (x ^ (x >> 29)) * 0x5851F42D4C957F2D
    x = (x ^ (x >> 32)) * 0x14057B7EF767814F
    return x ^ (x >> 31)


class HashDenoiser:
    """Logits that are a hash of the row's real tokens, the position and the token, in [-scale, scale].

    Positions count real tokens only and sums are of integers, so logits depend neither on the batch nor on padding, to
    the last bit. Calls and rows are counted.
    """

    def __init__(self, vocab_size: int = VOCAB, mask_token_id: int = MASK, scale: float = 3.0) -> None:
        self.vocab_size, self.mask_token_id, self.scale = vocab_size, mask_token_id, scale
        self.calls = 0
        self.rows = 0
        self.asked: list[Tensor] = []
        self.seen: list[Tensor] = []

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        self.calls += 1
        self.rows += tokens.shape[0]
        self.asked.append(at)
        self.seen.append(tokens)
        real = torch.ones_like(at) if attention_mask is None else attention_mask
        position = (real.long().cumsum(1) - 1).clamp(min=0)
        shown = scramble(position * 1_000_003 + tokens * 7_919 + 17).masked_fill(~real, 0)
        row = scramble(shown.sum(dim=1))[:, None, None]
        token = torch.arange(self.vocab_size)
        mixed = scramble(row + position[..., None] * 104_729 + token * 15_485_863)
        logits = (mixed >> 11).double() / 2.0**52 * self.scale
        return logits.float()[at]


class TableDenoiser:
    """The same logits (length, vocab) whatever is shown; counts calls and rows."""

    def __init__(self, logits: Tensor, mask_token_id: int, vocab_size: int | None = None) -> None:
        self.logits, self.mask_token_id = logits, mask_token_id
        self.vocab_size = logits.shape[1] if vocab_size is None else vocab_size
        self.calls = 0
        self.rows = 0
        self.asked: list[Tensor] = []

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        self.calls += 1
        self.rows += tokens.shape[0]
        self.asked.append(at)
        return self.logits.expand(tokens.shape[0], -1, -1)[at]


def make_canvas(batch: int = 5, length: int = 10, seed: int = 0, share: float = 0.7) -> ao.Canvas:
    """A canvas with given tokens among which is the mask token, and holes called ``first`` and ``second``.

    Row 0 has nothing unknown, row 1 everything.
    """
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, VOCAB, (batch, length), generator=generator)
    unknown = torch.rand(batch, length, generator=generator) < share
    if batch > 2:
        unknown[0], unknown[1] = False, True
    place = torch.arange(length).expand(batch, -1)
    return ao.Canvas(tokens, unknown, holes={"first": place < length // 3, "second": place >= length // 2})


def seeds(batch: int, seed: int = 0) -> Tensor:
    """One seed for each row."""
    return ao.row_seeds(seed, batch)


FIELDS = ("tokens", "state", "step_of", "nfe", "log_probability", "margin", "entropy")


def assert_same(one: ao.Decoded, other: ao.Decoded) -> None:
    """Two results are equal to the last bit."""
    assert one.finish_reason == other.finish_reason
    for name in FIELDS:
        ours, theirs = getattr(one, name), getattr(other, name)
        assert torch.equal(ours.nan_to_num(nan=-7.0), theirs.nan_to_num(nan=-7.0)), name
