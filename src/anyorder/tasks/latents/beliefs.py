"""A belief-propagation denoiser for L&O distributions with local observations.

The known observations are the factors of a graph over the latents, the known latents are pinned, and belief propagation
runs on each row by itself until its messages rest. Then

    P(z_i = v | E) ~ b_i(v),     P(o_j = v | E) ~ sum over the arguments of P(o_j = v | arguments) prod of their b_i:

exact where the factors, the unknown observation among them, form a tree, an approximation elsewhere. It scales to any
number of latents, where `exact.ExactPosterior` cannot go.

Its limit is symmetry. Under not-all-equal every setting has a mirror image (colours can be renamed), so as long as no
latent is known all beliefs are uniform, and what several observations together say of one more is lost: the posterior
is a mixture of mirror images, and one set of beliefs cannot hold a mixture. One known latent breaks the symmetry.

Contradicting evidence, which several tokens drawn at once can produce, is passed over message by message; ``report``
says how often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from anyorder.core.denoiser import FromConditionals
from anyorder.core.errors import UserError
from anyorder.tasks.latents import kernels
from anyorder.tasks.latents.exact import aligned
from anyorder.tasks.latents.law import MASK, LatentLaw
from anyorder.tasks.latents.observations import LocalObservations
from anyorder.tasks.latents.propagation import incidence, setting_digits

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor


@dataclass
class BeliefReport:
    """What became of the rows asked so far: how many, how many came to rest, and contradicted messages."""

    rows: int = 0
    converged: int = 0
    contradictions: int = 0
    iterations: int = 0


class BeliefDenoiser(FromConditionals):
    """The denoiser of a law with `LocalObservations`, by belief propagation; computes on the CPU.

    Args:
        law: the distribution.
        damping: share of the old message that is kept, in [0, 1).
        tolerance: on the largest change of a message.
        most: iterations at most, for each row.

    ``report`` adds up over calls.

    Raises:
        UserError: the observations are not local, or a setting is out of range.
    """

    def __init__(self, law: LatentLaw, *, damping: float = 0.25, tolerance: float = 1e-6, most: int = 200) -> None:
        if not isinstance(law.observations, LocalObservations):
            raise UserError(f"{law.name}: belief propagation needs LocalObservations, with scopes and tables")
        if not 0 <= damping < 1 or not tolerance >= 0 or most < 1:
            raise UserError(f"need 0 <= damping < 1, tolerance >= 0 and most >= 1, not {damping}, {tolerance}, {most}")
        self.law, self.damping, self.tolerance, self.most = law, damping, tolerance, most
        self.vocab_size, self.mask_token_id = law.vocab_size, law.mask_token_id
        self.report = BeliefReport()
        seen = law.observations
        self._graph = (seen.scopes, *incidence(seen.scopes, law.latents), seen.which, seen.flat)
        self._digits = setting_digits(seen.k, seen.values)

    def conditionals(
        self,
        tokens: Int[Tensor, "b L"],
        *,
        attention_mask: Bool[Tensor, "b L"] | None = None,
        at: Bool[Tensor, "b L"],
    ) -> Float[Tensor, "n v"]:
        """The approximate P(x^i = v | evidence) in float64; a known position is certain of its token."""
        law = self.law
        sequence, place = aligned(law, tokens, attention_mask)
        needed = at.any(1)
        held = sequence[needed]
        latents, observed = law.split(held.cpu().numpy())
        beliefs, laws, iterations, changes, failures = kernels.rows(
            *self._graph, self._digits, latents, observed, law.prior, self.damping, self.tolerance, self.most
        )
        self.report.rows += len(held)
        self.report.converged += int((changes <= self.tolerance).sum())
        self.report.contradictions += int(failures.sum())
        self.report.iterations += int(iterations.sum())
        full = np.zeros((len(held), law.length, law.vocab_size))
        full[:, law.latent_positions, 1 : law.values + 1] = beliefs
        full[:, law.observation_positions, 1 : law.symbols + 1] = laws
        if law.padding:
            full[:, law.size :, law.padding_token] = 1
        spread = torch.zeros(*sequence.shape, law.vocab_size, dtype=torch.float64, device=tokens.device)
        spread[needed] = torch.from_numpy(full).to(tokens.device)
        known = sequence != MASK
        spread[known] = torch.nn.functional.one_hot(sequence[known], law.vocab_size).double()
        row, column = at.nonzero(as_tuple=True)
        return spread[row, place[row, column]]
