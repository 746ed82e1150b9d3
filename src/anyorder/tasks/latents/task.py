"""L&O distributions as a task: endless fresh sequences, and a verdict.

A batch is a pure function of (seed, step, size): its rows are drawn from a counter-based generator keyed by seed and
step, so nothing is stored and no sequence is met twice on purpose. ``len`` is the number of distinct settings of the
latents, cut to what an int64 holds: the data have no epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from anyorder.core.errors import UserError
from anyorder.tasks.task import Batch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from anyorder.tasks.latents.law import LatentLaw

HELD_OUT = 1 << 62  # in the place of a step, which no run reaches: the stream of held-out sequences


@dataclass(frozen=True, eq=False)
class LatentsData:
    """Training batches of a law, drawn as they are asked for."""

    law: LatentLaw

    @property
    def fingerprint(self) -> str:
        """That of the law."""
        return self.law.fingerprint

    def __len__(self) -> int:
        return min(self.law.values**self.law.latents, 2**62)

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The rows of one step; equal arguments give equal batches.

        Returns:
            tokens (size, length) int64; unknown (size, length) bool, all but the padding; order (size, length) int64, 0
            at latents, 1 at observations, 2 at padding.

        Raises:
            UserError: the seed or the step is negative, or the size is below 1.
        """
        if seed < 0 or step < 0 or size < 1:
            raise UserError(f"a batch needs seed >= 0, step >= 0 and size >= 1, not {seed}, {step}, {size}")
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, step])))
        tokens = torch.from_numpy(self.law.sample(size, rng))
        unknown = torch.from_numpy(self.law.unknown).expand(size, -1)
        return Batch(tokens, unknown.clone(), torch.from_numpy(self.law.ranks).expand(size, -1).clone())


@dataclass(frozen=True, eq=False)
class Latents:
    """The task of filling sequences of a law."""

    law: LatentLaw

    @property
    def name(self) -> str:
        return f"latents: {self.law.name}"

    @property
    def vocab_size(self) -> int:
        return self.law.vocab_size

    @property
    def mask_token_id(self) -> int:
        return self.law.mask_token_id

    @property
    def length(self) -> int:
        return self.law.length

    def data(self, count: int, *, seed: int, workers: int = 1) -> LatentsData:
        """Endless data; ``count``, ``seed`` and ``workers`` change nothing, as batches carry their own seed."""
        del count, seed, workers
        return LatentsData(self.law)

    def verify(self, given: ArrayLike, filled: ArrayLike) -> NDArray[np.bool_]:
        """(N,): which filled sequences are complete, agree with what was given, and have positive probability.

        ``given`` holds the mask token where a position was to be filled.

        Raises:
            UserError: the two have different shapes, or tokens stand where the law has none such.
        """
        before, after = np.asarray(given), np.asarray(filled)
        if before.shape != after.shape:
            raise UserError(f"given {before.shape} and filled {after.shape} sequences must have one shape")
        latents, observed = self.law.split(after)
        complete = (latents >= 0).all(1) & (observed >= 0).all(1)
        law = self.law.observations.law(latents.clip(0))
        chance = np.take_along_axis(law, observed.clip(0)[..., None], -1)[..., 0]
        prior = self.law.prior[np.arange(self.law.latents), latents.clip(0)]
        padded = (after[:, self.law.size :] == self.law.padding_token).all(1)
        kept = ((before == self.law.mask_token_id) | (before == after)).all(1)
        return complete & kept & padded & (chance > 0).all(1) & (prior > 0).all(1)


def held_out(law: LatentLaw, count: int, seed: int) -> NDArray[np.int64]:
    """``count`` sequences from a stream that no batch draws from."""
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, HELD_OUT])))
    return law.sample(count, rng)
