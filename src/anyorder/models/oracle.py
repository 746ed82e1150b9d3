"""Exact denoisers: distributions whose conditionals are known for any set of masked positions.

They stand where a trained network would, so that what a decoder does can be held against the truth. A position is
masked where its token is the mask token, and everything else is evidence. With E the evidence, the logits at position
i are log P(x^i = v | E), minus infinity where that is 0 (the mask token always); float64 inside, float32 out.

* :class:`EnumeratedJoint` lists the sequences of positive probability: P(x^i = v | E) is a ratio of sums over those
  that agree with E.
* :class:`MarkovChain` is x^1 ~ initial, x^{i+1} ~ transition[x^i]. By the Markov property only the nearest evidence on
  either side matters, and a gap of d steps is bridged by the d-th power of the transition matrix:

      P(x^i = v | E) in proportion to  (T^a)[x^{i-a}, v] (T^c)[v, x^{i+c}],

  with (initial T^{i-1})[v] where nothing is known to the left, and 1 where nothing is known to the right.

Evidence of probability 0 has no conditionals. A decoder that reveals several positions at once can produce such
evidence; ``strict=False`` then answers with the uniform distribution over the tokens, otherwise it is a ``UserError``.

Rows may be padded on either side: with an ``attention_mask`` a row's sequence is what is attended to, in order, and a
shorter one is the beginning of a longer one whose end is not observed.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anyorder.core.denoiser import FromConditionals
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int


class EnumeratedJoint:
    """A distribution over sequences of ``length`` tokens, given as a table.

    ``EnumeratedJoint(probabilities)`` with one axis per position, each of size m: tokens 0..m-1, mask token m.
    ``EnumeratedJoint(probabilities, sequences, vocab_size=..., mask_token_id=...)`` with (S,) probabilities of the
    distinct rows of ``sequences`` (S, L), for laws with few possible sequences and any numbering of tokens.
    Probabilities are normalised. Raises ``UserError`` for negative ones, for none positive, for repeated sequences and
    for sequences that hold the mask token.
    """

    def __init__(
        self,
        probabilities: Float[Tensor, "..."],
        sequences: Int[Tensor, "S L"] | None = None,
        *,
        vocab_size: int | None = None,
        mask_token_id: int | None = None,
        strict: bool = True,
    ) -> None:
        probabilities = probabilities.detach().to(torch.float64)
        if sequences is None:
            sizes = set(probabilities.shape)
            if len(sizes) != 1:
                raise UserError(
                    f"a joint table needs one axis of the same size per position, not {probabilities.shape}"
                )
            (m,) = sizes
            sequences = torch.tensor(list(itertools.product(range(m), repeat=probabilities.ndim)))
            probabilities = probabilities.reshape(-1)
            mask_token_id = m if mask_token_id is None else mask_token_id
            vocab_size = max(m, mask_token_id + 1) if vocab_size is None else vocab_size
        if vocab_size is None or mask_token_id is None:
            raise UserError("a table of sequences needs vocab_size and mask_token_id")
        self.vocab_size, self.mask_token_id, self.strict = vocab_size, mask_token_id, strict
        self._check(probabilities, sequences)
        possible = probabilities > 0
        self.sequences = sequences[possible]
        self.probabilities = probabilities[possible] / probabilities.sum()
        self.length = sequences.shape[1]

    def _check(self, probabilities: Tensor, sequences: Tensor) -> None:
        if sequences.ndim != 2 or sequences.shape[1] == 0 or probabilities.shape != sequences.shape[:1]:
            raise UserError(
                f"a table needs sequences (S, L) and probabilities (S,), not {tuple(sequences.shape)} and "
                f"{tuple(probabilities.shape)}"
            )
        if not bool(torch.isfinite(probabilities).all()) or bool((probabilities < 0).any()) or probabilities.sum() <= 0:
            raise UserError("probabilities must be finite, not negative, and not all zero")
        if not 0 <= self.mask_token_id < self.vocab_size:
            raise UserError(f"the mask token {self.mask_token_id} lies outside the vocabulary of {self.vocab_size}")
        if bool(((sequences < 0) | (sequences >= self.vocab_size) | (sequences == self.mask_token_id)).any()):
            raise UserError(f"sequences must hold tokens in [0, {self.vocab_size}) other than the mask token")
        if len(torch.unique(sequences, dim=0)) != len(sequences):
            raise UserError("the sequences of a table must be distinct")

    def __call__(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        """Log-probabilities in float32 at the positions of ``at``, row-major."""
        laws, index = self._laws(tokens, attention_mask, at)
        return laws.log().float()[index]

    def conditionals(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        """P(x^i = v | evidence) in float64, for the positions of ``at``."""
        laws, index = self._laws(tokens, attention_mask, at)
        return laws[index]

    def _laws(
        self, tokens: Int[Tensor, "b L"], attention_mask: Bool[Tensor, "b L"] | None, at: Bool[Tensor, "b L"]
    ) -> tuple[Float[Tensor, "k v"], Int[Tensor, " n"]]:
        """The laws of all positions of the distinct rows, and which of them belongs to each position of ``at``."""
        sequence, place = _aligned(tokens, attention_mask, self, self.length)
        states, row_of = _distinct(sequence, self.vocab_size)
        row, column = at.nonzero(as_tuple=True)
        index = row_of[row] * self.length + place[row, column]
        return self._marginals(states).flatten(0, 1), index

    def _marginals(self, states: Int[Tensor, "k L"]) -> Float[Tensor, "k L v"]:
        weights = self._agreement(states)
        total = weights.sum(1)
        if self.strict and not bool((total > 0).all()):
            raise UserError(
                f"the tokens {states[total == 0][0].tolist()} (mask {self.mask_token_id}) have probability 0"
            )
        marginals = weights.new_zeros(len(states), self.length, self.vocab_size)
        table = self.sequences.to(states.device)
        for place in range(self.length):
            # adds in the order of the table for every state: the result knows nothing of the other rows
            index = table[:, place].expand(len(states), -1)
            marginals[:, place].scatter_add_(1, index, weights)
        norm = marginals.sum(2, keepdim=True)
        return torch.where(norm > 0, marginals / norm.clamp_min(1e-300), self._uniform(states.device))

    def _agreement(self, states: Int[Tensor, "k L"]) -> Float[Tensor, "k S"]:
        """P(sequence) where it agrees with the evidence, else 0."""
        table = self.sequences.to(states.device)
        agrees = torch.ones(len(states), len(table), dtype=torch.bool, device=states.device)
        for place in range(self.length):
            state = states[:, place, None]
            agrees &= (state == self.mask_token_id) | (state == table[:, place])
        return agrees * self.probabilities.to(states.device)

    def _uniform(self, device: torch.device) -> Float[Tensor, " v"]:
        uniform = torch.full((self.vocab_size,), 1 / max(self.vocab_size - 1, 1), dtype=torch.float64, device=device)
        uniform[self.mask_token_id] = 0
        return uniform

    def log_prob(self, tokens: Int[Tensor, "b L"]) -> Float[Tensor, " b"]:
        """log P in nats, float64, of each row; masked positions are summed over. -inf where impossible."""
        sequence, _ = _aligned(tokens, None, self, self.length)
        return self._agreement(sequence).sum(1).log()

    def sample(self, count: int, generator: torch.Generator) -> Int[Tensor, "count L"]:
        """``count`` independent sequences."""
        index = torch.multinomial(self.probabilities, count, replacement=True, generator=generator)
        return self.sequences[index]


class MarkovChain(FromConditionals):
    """A homogeneous Markov chain on tokens 0..m-1, for sequences of any length; the mask token is m.

    ``initial`` (m,) and ``transition`` (m, m), rows from, columns to; each is normalised. Raises ``UserError`` for
    wrong shapes, negative values and a row without a positive one.
    """

    def __init__(self, initial: Float[Tensor, " m"], transition: Float[Tensor, "m m"], *, strict: bool = True) -> None:
        m = len(initial)
        if initial.ndim != 1 or m == 0 or transition.shape != (m, m):
            raise UserError(f"a chain needs (m,) and (m, m), not {tuple(initial.shape)} and {tuple(transition.shape)}")
        both = torch.cat((initial.detach()[None], transition.detach())).to(torch.float64)
        if not bool(torch.isfinite(both).all()) or bool((both < 0).any()) or bool((both.sum(1) <= 0).any()):
            raise UserError("the probabilities of a chain must be finite, not negative, and not all zero in any row")
        both = both / both.sum(1, keepdim=True)
        self.initial, self.transition = both[0], both[1:]
        self.mask_token_id, self.vocab_size, self.strict = m, m + 1, strict
        self._powers = torch.eye(m, dtype=torch.float64)[None]

    def _steps(self, length: int, device: torch.device) -> Float[Tensor, "d m m"]:
        """T^0 .. T^length, kept between calls."""
        while len(self._powers) <= length:
            self._powers = torch.cat((self._powers, (self._powers[-1] @ self.transition)[None]))
        return self._powers.to(device)

    def conditionals(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        """P(x^i = v | evidence) in float64, for the positions of ``at``."""
        m, length = self.mask_token_id, tokens.shape[1]
        sequence, places = _aligned(tokens, attention_mask, self, length)
        powers = self._steps(length, tokens.device)
        if self.strict and bool((impossible := torch.isneginf(self._log_prob(sequence))).any()):
            raise UserError(f"the tokens {sequence[impossible][0].tolist()} (mask {m}) have probability 0")
        before, after = _nearest(sequence != m)
        row, column = at.nonzero(as_tuple=True)
        place = places[row, column]
        # a position that holds evidence itself is its own neighbour on both sides, at distance 0
        left, right = before[row, place], after[row, place]
        known_left, known_right = left >= 0, right < length
        start = (self.initial.to(tokens.device) @ powers)[place]
        seen = sequence[row, left.clamp_min(0)]
        come = torch.where(known_left[:, None], powers[(place - left).clamp(0, length), seen.clamp_max(m - 1)], start)
        seen = sequence[row, right.clamp_max(length - 1)]
        go = powers[(right - place).clamp(0, length), :, seen.clamp_max(m - 1)]
        weight = come * torch.where(known_right[:, None], go, 1.0)
        total = weight.sum(1, keepdim=True)
        law = torch.where(total > 0, weight / total.clamp_min(1e-300), 1 / m)
        return torch.cat((law, law.new_zeros(len(law), 1)), dim=1)

    def log_prob(self, tokens: Int[Tensor, "b L"]) -> Float[Tensor, " b"]:
        """log P in nats, float64, of each row; masked positions are summed over. -inf where impossible."""
        sequence, _ = _aligned(tokens, None, self, tokens.shape[1])
        return self._log_prob(sequence)

    def _log_prob(self, sequence: Int[Tensor, "b L"]) -> Float[Tensor, " b"]:
        m, length = self.mask_token_id, sequence.shape[1]
        powers = self._steps(length, sequence.device)
        known = sequence != m
        before, _ = _nearest(known)
        # the evidence strictly before each position
        previous = torch.cat((torch.full_like(before[:, :1], -1), before[:, :-1]), dim=1)
        place = torch.arange(length, device=sequence.device)
        token = sequence.clamp_max(m - 1)
        start = (self.initial.to(sequence.device) @ powers)[place, token]
        step = powers[place - previous.clamp_min(0), token.gather(1, previous.clamp_min(0)), token]
        factor = torch.where(previous >= 0, step, start)
        return torch.where(known, factor, 1.0).log().sum(1)

    def sample(self, count: int, length: int, generator: torch.Generator) -> Int[Tensor, "count L"]:
        """``count`` independent sequences of ``length`` tokens."""
        sequence = torch.empty(count, length, dtype=torch.int64)
        for place in range(length):
            law = self.initial.expand(count, -1) if place == 0 else self.transition[sequence[:, place - 1]]
            sequence[:, place] = torch.multinomial(law, 1, generator=generator)[:, 0]
        return sequence


def _aligned(
    tokens: Int[Tensor, "b L"],
    attention_mask: Bool[Tensor, "b L"] | None,
    oracle: EnumeratedJoint | MarkovChain,
    length: int,
) -> tuple[Int[Tensor, "b length"], Int[Tensor, "b L"]]:
    """Each row's sequence without its padding, filled up with mask tokens, and the place of every column in it."""
    attended = torch.ones_like(tokens, dtype=torch.bool) if attention_mask is None else attention_mask
    place = (attended.cumsum(1) - 1).clamp_min(0)
    longest = int(attended.sum(1).max()) if len(tokens) else 0
    if longest > length:
        raise UserError(f"a row has {longest} positions, and this distribution is over {length}")
    # padding is sent to one column too many, which is then cut off
    target = torch.where(attended, place, length)
    sequence = tokens.new_full((len(tokens), length + 1), oracle.mask_token_id).scatter(1, target, tokens)[:, :length]
    if bool(((sequence < 0) | (sequence >= oracle.vocab_size)).any()):
        raise UserError(f"tokens must lie in [0, {oracle.vocab_size})")
    return sequence, place.clamp_max(length - 1)


def _distinct(sequence: Int[Tensor, "b L"], vocab_size: int) -> tuple[Int[Tensor, "k L"], Int[Tensor, " b"]]:
    """The distinct rows, and which of them each row is."""
    if vocab_size ** sequence.shape[1] >= 2**62:
        return torch.unique(sequence, dim=0, return_inverse=True)
    # a row as one number: far faster to sort
    powers = vocab_size ** torch.arange(sequence.shape[1], device=sequence.device)
    codes, row_of = torch.unique((sequence * powers).sum(1), return_inverse=True)
    return codes[:, None] // powers % vocab_size, row_of


def _nearest(known: Bool[Tensor, "b L"]) -> tuple[Int[Tensor, "b L"], Int[Tensor, "b L"]]:
    """The nearest known place at or before each place (-1: none), and at or after it (L: none)."""
    length = known.shape[1]
    place = torch.arange(length, device=known.device).expand(known.shape)
    before = torch.where(known, place, -1).cummax(1).values
    after = torch.where(known, place, length).flip(1).cummin(1).values.flip(1)
    return before, after
