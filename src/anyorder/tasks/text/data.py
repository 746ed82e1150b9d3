"""Training sequences from a set of tokens, without loader state.

A batch is a function of (seed, step, size). An epoch lays windows of ``length`` tokens end to end over the split, from
an offset of its own, and takes every window once, in the order of a keyed permutation; the rows of all steps, laid end
to end, run through epoch after epoch. So a run resumes exactly, and any number of processes draw the same rows.

Along a permutation pi, place j of a row holds the token of position pi[j], behind one known start token (the end of
text): a causal network that reads place j - 1 to predict place j is then trained on form 3 of the objective with the
one order pi, -sum over j of log p(x^pi(j) | x^pi(0), ..., x^pi(j-1)).

Source of the permuted sequences: Kim et al., "Train for the Worst, Plan for the Best" (2502.06768), section 3.2.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch

from anyorder.core.errors import UserError
from anyorder.core.randomness import fold
from anyorder.tasks.shuffling import epoch_keys, rows_of_step
from anyorder.tasks.task import Batch

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from .shards import TokenSet


class TextData:
    """Windows of a set of tokens, as they are or permuted behind a start token.

    Args:
        tokens: a split.
        length: tokens of text in a row.
        permutation: int64 (length,), pi; None leaves the text as it is, with no start token in front.

    Raises:
        UserError: the split is shorter than one row, or the permutation is of another length.
    """

    def __init__(self, tokens: TokenSet, length: int, permutation: Int64[Tensor, " length"] | None = None) -> None:
        if length < 1 or len(tokens) < length:
            raise UserError(
                f"{tokens.folder}: its {len(tokens)} {tokens.split} tokens are too few for one sequence of {length}"
            )
        if permutation is not None and permutation.shape != (length,):
            raise UserError(
                f"a permutation of {length} positions has shape ({length},), not {tuple(permutation.shape)}"
            )
        self.tokens, self.length, self.permutation = tokens, length, permutation
        self.windows = max(1, (len(tokens) - length + 1) // length)
        digest = hashlib.sha256(f"text {tokens.fingerprint} {length}\n".encode())
        if permutation is not None:
            digest.update(permutation.numpy().astype("<i8").tobytes())
        self._fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        """Windows of an epoch."""
        return self.windows

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the tokens, the length and the permutation, in hexadecimal."""
        return self._fingerprint

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Returns:
            tokens (size, L) int64 and unknown (size, L) bool, L = ``length``, or ``length`` + 1 along a permutation,
            whose first place is known.

        Raises:
            UserError: the seed or the step is negative, or the size is below 1.
        """
        index = rows_of_step(seed, step, size, self.windows)
        key = epoch_keys(seed, step, size, self.windows)
        slack = min(self.length, len(self.tokens) - self.windows * self.length + 1)
        offset = (fold(torch.from_numpy(key.view(np.int64)), 0).numpy().view(np.uint64) % np.uint64(slack)).astype(int)
        return self._rows(index * self.length + offset)

    def evenly(self, count: int) -> Batch:
        """``count`` rows (or as many as there are) spread evenly over the split: what a model is judged on."""
        if count < 1:
            raise UserError(f"at least one sequence must be asked for, not {count}")
        whole = len(self.tokens) // self.length
        chosen = np.unique(np.linspace(0, whole - 1, min(count, whole)).round().astype(np.int64))
        return self._rows(chosen * self.length)

    def _rows(self, starts: np.ndarray) -> Batch:
        tokens = torch.from_numpy(self.tokens.windows(starts, self.length))
        if self.permutation is None:
            return Batch(tokens, torch.ones_like(tokens, dtype=torch.bool))
        start = torch.full((len(tokens), 1), self.tokens.index.end_token_id)
        tokens = torch.cat((start, tokens[:, self.permutation]), dim=1)
        unknown = torch.ones_like(tokens, dtype=torch.bool)
        unknown[:, 0] = False
        return Batch(tokens, unknown)
