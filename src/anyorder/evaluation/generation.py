"""What generated text is worth: its perplexity under a judge, and the entropy of its tokens, always together.

For samples y_1, ..., y_S that a judge reads as n_1, ..., n_S tokens with the log-likelihoods log q(y_s) in nats,

    generative perplexity = exp( sum over s of -log q(y_s)  /  sum over s of n_s )

over *all* samples: none is rejected, and a long sample counts for more than a short one. It can be driven down by
repeating oneself, so it means nothing without the samples' token entropy, the mean over samples of

    H(y) = - sum over tokens v of p_v log p_v,     p_v the share of v in y,

in nats; at most log L for L tokens. The interval of the perplexity comes from the spread of the samples (the delta
method for a ratio of means).

A judge here is an autoregressive network of this library; ``judges.TransformersJudge`` is any causal language model of
the transformers library.

Source: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 4.2 and figure 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Protocol

import torch

from anyorder.core.errors import UserError
from anyorder.core.objectives import cross_entropy
from anyorder.core.tokenizers import Tokenizer
from anyorder.evaluation.batching import batches

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64, Int64
    from torch import Tensor

    from anyorder.models.transformer import Transformer


@dataclass(frozen=True, eq=False)
class Samples:
    """Finished samples: ``tokens`` (b, L) int64, of ``tokenizer``, which ``tokenizer_name`` tells from others.

    Raises:
        UserError: no samples, or one that still holds the mask.
    """

    tokens: Int64[Tensor, "b L"]
    tokenizer: Tokenizer
    tokenizer_name: str

    def __post_init__(self) -> None:
        if self.tokens.dim() != 2 or self.tokens.dtype != torch.int64 or not self.tokens.numel():
            raise UserError(f"samples must be int64 of shape (samples, length), not {tuple(self.tokens.shape)}")
        if bool((self.tokens == self.tokenizer.mask_token_id).any()):
            raise UserError("a sample still holds the mask: only finished samples can be judged")

    @property
    def texts(self) -> list[str]:
        """The samples as text."""
        return [self.tokenizer.decode(row) for row in self.tokens.tolist()]


@dataclass(frozen=True, eq=False)
class Judged:
    """What a judge says: ``nats`` (b,) float64, -log q of each sample, and ``tokens`` (b,) int64, the judge's count."""

    nats: Float64[Tensor, " b"]
    tokens: Int64[Tensor, " b"]

    @property
    def nats_per_token(self) -> float:
        """All nats over all tokens; infinite where some sample is impossible. Raises ``UserError`` without tokens."""
        if (count := int(self.tokens.sum())) == 0:
            raise UserError("the judge read no tokens: the samples are empty texts")
        return float(self.nats.sum()) / count

    @property
    def standard_error(self) -> float:
        """Of ``nats_per_token``, from the spread of the samples; not a number for fewer than two."""
        count = len(self.nats)
        if count < 2:
            return math.nan
        residual = self.nats - self.nats_per_token * self.tokens
        return float(residual.square().sum() / (count * (count - 1))) ** 0.5 / float(self.tokens.double().mean())

    @property
    def perplexity(self) -> float:
        """Generative perplexity; infinite where it is beyond a float."""
        nats = self.nats_per_token
        return math.exp(nats) if nats < 700 else math.inf

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """An interval of the perplexity, exp(mean -+ z standard errors)."""
        mean = self.nats_per_token
        half = NormalDist().inv_cdf((1 + level) / 2) * self.standard_error
        return math.exp(mean - half), math.exp(min(mean + half, 700.0))


class Judge(Protocol):
    """Reads samples and says how likely they are."""

    @property
    def name(self) -> str: ...

    def __call__(self, samples: Samples) -> Judged: ...


def token_entropy(tokens: Int64[Tensor, "b L"]) -> Float64[Tensor, " b"]:
    """-sum p log p of the shares of the tokens in each row, in nats, (b,) float64; between 0 and log L."""
    length = tokens.shape[1]
    ordered = tokens.sort(dim=1).values
    rows, places = torch.ones_like(ordered, dtype=torch.bool), torch.arange(length, device=tokens.device)
    rows[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = torch.where(rows, places, length)  # where a run of equal tokens begins
    following = torch.cat((start, torch.full_like(start[:, :1], length)), dim=1)
    end = following.flip(1).cummin(dim=1).values.flip(1)[:, 1:]
    count = torch.where(rows, end - places, 1).double()
    # every run of c tokens contributes -(c / L) log(c / L), the other places nothing
    return torch.where(rows, -count / length * (count / length).log(), 0.0).sum(1)


@torch.no_grad()
def teacher_forced(
    model: Transformer,
    tokens: Int64[Tensor, "b L"],
    unknown: Bool[Tensor, "b L"],
    *,
    attention_mask: Bool[Tensor, "b L"] | None = None,
    batch_size: int = 32,
) -> Float64[Tensor, " b"]:
    """-log q(unknown tokens | the tokens before each) of an autoregressive network, in one pass; nats, (b,) float64.

    ``model`` is causal and reads the logits of position i at i - 1, so the first position must be known.

    Raises:
        UserError: another kind of network, or an unknown first position.
    """
    check_autoregressive(model)
    if bool(unknown[:, 0].any()):
        raise UserError("an autoregressive network has no law for the first position: put a start token there")
    total = torch.zeros(len(tokens), dtype=torch.float64)
    for part in batches(len(tokens), batch_size):
        at = unknown[part]
        mask = None if attention_mask is None else attention_mask[part]
        logits = model(tokens[part], attention_mask=mask, at=at)
        losses = cross_entropy(logits, tokens[part][at], mask_token_id=model.mask_token_id).double()
        sums = torch.zeros(len(at), dtype=torch.float64, device=losses.device)
        total[part] = sums.index_add_(0, at.nonzero()[:, 0], losses).cpu()
    return total


def check_autoregressive(model: Transformer) -> None:
    """Refuse a network that is not autoregressive."""
    if model.config.attention != "causal" or not model.config.logits_shift:
        raise UserError("an autoregressive network is wanted (attention: causal, logits_shift: true)")


class AutoregressiveJudge:
    """A causal network trained here (kind ``text``, order ``left-to-right``) as a judge.

    Samples made with the judge's own tokenizer are read token by token as they are; others are read as text. A sample
    longer than the network's context is read in pieces, each behind a start token.

    Args:
        model: the network.
        tokenizer: of the network.
        tokenizer_name: tells it from others.
        name: of the judge, for records.
        batch_size: pieces read together.
        context: tokens of a piece; None takes the network's own limit.

    Raises:
        UserError: a network that is not autoregressive, has no limit, or does not fit the tokenizer.
    """

    def __init__(
        self,
        model: Transformer,
        tokenizer: Tokenizer,
        tokenizer_name: str,
        *,
        name: str = "autoregressive judge",
        batch_size: int = 32,
        context: int | None = None,
    ) -> None:
        check_autoregressive(model)
        if model.vocab_size != tokenizer.vocab_size or model.mask_token_id != tokenizer.mask_token_id:
            raise UserError(f"the judge has {model.vocab_size} tokens, but its tokenizer {tokenizer.vocab_size}")
        context = context or model.config.length - 1
        if context < 1:
            raise UserError("a judge without a limit of its own needs a context")
        self.name, self.context = name, context
        self._model, self._tokenizer, self._tokenizer_name = model, tokenizer, tokenizer_name
        self._batch_size = batch_size

    def __call__(self, samples: Samples) -> Judged:
        if samples.tokenizer_name == self._tokenizer_name:
            rows: Sequence[Sequence[int]] = samples.tokens.tolist()
        else:
            rows = [self._tokenizer.encode(text) for text in samples.texts]
        pieces = [(row[start : start + self.context], number) for number, row in enumerate(rows)
                  for start in range(0, len(row), self.context)]  # fmt: skip
        counts = torch.tensor([len(row) for row in rows])
        nats = torch.zeros(len(rows), dtype=torch.float64)
        if not pieces:
            return Judged(nats, counts)
        device = next(self._model.parameters()).device
        longest = max(len(piece) for piece, _ in pieces)
        tokens = torch.full((len(pieces), longest + 1), self._tokenizer.pad_token_id)
        tokens[:, 0] = self._tokenizer.end_token_id
        length = torch.tensor([len(piece) for piece, _ in pieces])
        for index, (piece, _) in enumerate(pieces):
            tokens[index, 1 : len(piece) + 1] = torch.tensor(piece)
        place = torch.arange(longest + 1)
        seen = place <= length[:, None]
        losses = teacher_forced(
            self._model,
            tokens.to(device),
            (seen & (place > 0)).to(device),
            attention_mask=None if bool(seen.all()) else seen.to(device),
            batch_size=self._batch_size,
        )
        owner = torch.tensor([number for _, number in pieces])
        return Judged(nats.index_add(0, owner, losses), counts)
