"""How likely a model holds a sequence: a bound by Monte-Carlo with its standard error, and the exact value.

The bound is the NELBO of ``core/objectives.py`` in its count form, for the unknown positions of a canvas given the
rest: in nats per sequence, an upper bound of -log p(unknown | known) of decoding one position at a time in a random
order. It is *not* an average over masked tokens, which would bound nothing: each sample is weighted by N / n.

An estimate is made in ``rounds`` independent rounds of ``draws`` samples. Inside a round the mask counts of a row are
spread evenly over 1..N, which removes most of the variance; the standard error comes from the spread of the rounds,
so it is honest about that.

A denoiser that wraps another (guidance, a constraint) is a denoiser, so the bound is that of the wrapped model. Every
batch is asked through a session opened on its rows, as in a decode, so that what is read off the canvas (which text is
the condition) is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anyorder.core.canvas import Canvas
from anyorder.core.corruption import CountLaw, corrupt
from anyorder.core.denoiser import open_session
from anyorder.core.errors import UserError
from anyorder.core.objectives import cross_entropy, negative_log_likelihood, nelbo_over_masks, surprisals
from anyorder.evaluation.batching import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jaxtyping import Float, Int

    from anyorder.core.denoiser import Denoiser


@dataclass(frozen=True, eq=False)
class Bound:
    """An upper bound of -log p(unknown | known) per row, in nats, estimated with a standard error.

    ``mean`` (b,) and ``standard_error`` (b,) are float64; ``tokens`` (b,) is the number of unknown positions. A row
    that some sample found impossible has an infinite mean and a standard error that is not a number.
    """

    mean: Float[Tensor, " b"]
    standard_error: Float[Tensor, " b"]
    tokens: Int[Tensor, " b"]

    def corpus(self) -> tuple[float, float]:
        """The mean over rows in nats per sequence, and its standard error for these very rows."""
        if len(self.mean) == 0:
            raise UserError("a mean likelihood needs at least one row")
        error = float(self.standard_error.square().sum().sqrt()) / len(self.mean)
        return float(self.mean.mean()), error

    def bits_per_token(self) -> float:
        """All nats over all unknown tokens, in bits. Raises ``UserError`` where nothing is unknown."""
        return float(self.mean.sum()) / self._count() / math.log(2)

    def perplexity(self) -> float:
        """exp of the nats per unknown token: an upper bound of the perplexity of this way of decoding."""
        return math.exp(float(self.mean.sum()) / self._count())

    def _count(self) -> int:
        if (count := int(self.tokens.sum())) == 0:
            raise UserError("a likelihood per token needs at least one unknown position")
        return count


@torch.no_grad()
def likelihood_bound(
    denoiser: Denoiser,
    canvas: Canvas,
    generator: torch.Generator,
    *,
    rounds: int = 8,
    draws: int = 16,
    law: CountLaw | None = None,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> Bound:
    """Bound -log p of the tokens at the unknown positions of ``canvas``, given its known ones.

    ``canvas.tokens`` holds the full sequences. ``rounds`` times ``draws`` samples are taken per row, ``batch_size``
    rows of them per call; ``law`` is the law of the mask count (uniform unless told otherwise; the weights make up for
    it). Raises ``UserError`` for fewer than two rounds, and for unknown positions that hold the mask token.
    """
    if rounds < 2 or draws < 1 or batch_size < 1:
        raise UserError("a bound needs at least 2 rounds, 1 draw and a batch size of 1")
    _check(denoiser, canvas)
    estimates = torch.zeros(rounds, canvas.batch, dtype=torch.float64)
    group = max(1, batch_size // draws)
    for index in range(rounds):
        for start in range(0, canvas.batch, group):
            rows = torch.arange(start, min(start + group, canvas.batch), device=canvas.device)
            estimates[index, start : start + group] = _round(denoiser, canvas, rows, generator, draws, law, batch_size)
        if progress is not None:
            progress(index + 1, rounds)
    mean = estimates.mean(0)
    error = estimates.std(0) / math.sqrt(rounds)
    return Bound(mean, error, canvas.unknown.sum(1).cpu())


@torch.no_grad()
def exact_negative_log_likelihood(denoiser: Denoiser, canvas: Canvas) -> Float[Tensor, " b"]:
    """-log p(unknown | known) per row in nats, float64, of decoding one position at a time in a random order.

    By enumeration of all mask sets, so for few unknown positions only (``UserError`` otherwise).
    """
    values = [negative_log_likelihood(table) for table in _tables(denoiser, canvas)]
    return torch.tensor(values, dtype=torch.float64)


@torch.no_grad()
def exact_bound(denoiser: Denoiser, canvas: Canvas) -> Bound:
    """What `likelihood_bound` estimates, by enumeration of all mask sets: without error, for few unknown positions."""
    mean = torch.tensor([nelbo_over_masks(table) for table in _tables(denoiser, canvas)], dtype=torch.float64)
    return Bound(mean, torch.zeros_like(mean), canvas.unknown.sum(1).cpu())


def _tables(denoiser: Denoiser, canvas: Canvas) -> Iterator[Tensor]:
    """The surprisals of every row."""
    _check(denoiser, canvas)
    attention = canvas.attention_mask
    for row in range(canvas.batch):
        of_row = _OnRow(denoiser, canvas.rows(slice(row, row + 1)))
        padding = None if attention is None else attention[row]
        yield surprisals(of_row, canvas.tokens[row], canvas.unknown[row], attention_mask=padding)


@dataclass(frozen=True, eq=False)
class _OnRow:
    """A denoiser for many states of one row of a canvas."""

    denoiser: Denoiser
    canvas: Canvas

    @property
    def vocab_size(self) -> int:
        return self.denoiser.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.denoiser.mask_token_id

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        rows = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        return _ask(self.denoiser, self.canvas, rows, tokens, at)


def _ask(denoiser: Denoiser, canvas: Canvas, rows: Tensor, tokens: Tensor, at: Tensor) -> Tensor:
    """Logits for states of some rows of the canvas, in a session of their own that never sees the truth."""
    part = canvas.rows(rows)
    hidden = part.tokens.masked_fill(part.unknown, denoiser.mask_token_id)
    session = open_session(denoiser, Canvas(hidden, part.unknown, part.attention_mask, part.holes))
    return session(tokens, attention_mask=part.attention_mask, at=at)


def _round(
    denoiser: Denoiser,
    canvas: Canvas,
    rows: Int[Tensor, " k"],
    generator: torch.Generator,
    draws: int,
    law: CountLaw | None,
    batch_size: int,
) -> Float[Tensor, " k"]:
    """The mean of ``draws`` samples for each of ``rows``, float64 on the CPU."""

    def spread(batch: int, generator: torch.Generator) -> Tensor:
        offset = torch.rand(batch // draws, 1, dtype=torch.float64, generator=generator, device=generator.device)
        grid = (torch.arange(draws, device=generator.device) + offset) / draws
        return grid.reshape(-1).clamp_max(1 - 2**-53)

    index = rows.repeat_interleave(draws)
    clean = canvas.tokens[index]
    noisy = corrupt(clean, canvas.unknown[index], denoiser.mask_token_id, generator, law=law, draws=spread)
    total = torch.zeros(len(index), dtype=torch.float64, device=clean.device)
    for part in batches(len(index), batch_size):
        at = noisy.masked[part]
        if not bool(at.any()):
            continue
        logits = _ask(denoiser, canvas, index[part], noisy.tokens[part], at)
        losses = cross_entropy(logits, clean[part][at], mask_token_id=denoiser.mask_token_id).double()
        total[part].index_add_(0, at.nonzero()[:, 0], losses)
    weighted = torch.where(noisy.weight > 0, total * noisy.weight, 0.0)
    return weighted.reshape(len(rows), draws).mean(1).cpu()


def _check(denoiser: Denoiser, canvas: Canvas) -> None:
    if bool((canvas.unknown & (canvas.tokens == denoiser.mask_token_id)).any()):
        raise UserError("a likelihood needs the true token at every unknown position, and one holds the mask token")
