"""States that the network's own plan leads to, with the true tokens in them: what decoding will meet, in training.

A planned row starts with everything unknown masked. Then, for a number of steps drawn evenly from 0 to ``steps``, the
positions that multi-token entropy decoding would decide next are revealed: those whose entropy is below ``entropy``, at
most ``most``, at least the surest one. They get the true tokens, not those the network would write, so what is left is
an infilling problem of the data. Uniform masks hardly ever make such states, and a network that has not seen them is
sure of wrong tokens far from what is known.

That training should see the planner's states is the idea of Peng et al. (2509.23405); choosing them by multi-token
entropy steps under the weights of the moment is this module's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from anyorder.planning.statistics import Cut, statistics
from anyorder.training.batches import StepBatch, planned_rows, row_weights

if TYPE_CHECKING:
    from jaxtyping import Bool, Float64
    from torch import Tensor

    from anyorder.models.transformer import Transformer
    from anyorder.training.settings import ObjectiveSettings, PlannedSettings


def surest(entropy: Float64[Tensor, "b L"], masked: Bool[Tensor, "b L"], rules: PlannedSettings) -> Bool[Tensor, "b L"]:
    """The masked positions that one step of the plan reveals; none in a row that would have nothing left."""
    rank = entropy.masked_fill(~masked, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
    taken = masked & ((rank < 1) | ((rank < rules.most) & (entropy < rules.entropy)))
    return taken & (masked & ~taken).any(dim=1, keepdim=True)


def follow_plan(
    model: Transformer, batch: StepBatch, objective: ObjectiveSettings, *, seed: int, step: int
) -> StepBatch:
    """The global batch with its planned rows moved on by ``model``, and the weights of what is masked now.

    A function of the weights and of (seed, step): every process, whatever part of the batch is its own, gets the same.
    Costs one forward pass of the planned rows for each step of the plan.
    """
    rules = objective.planned
    steps = planned_rows(objective, seed, step, len(batch.tokens))
    index = (steps >= 0).nonzero()[:, 0]
    device = next(model.parameters()).device
    part = StepBatch(*(None if one is None else one[index] for one in batch)).to(device)  # pyright: ignore
    left, tokens, masked = steps[index].to(device), part.tokens, part.masked
    cut = Cut(model.vocab_size, model.mask_token_id)
    training = model.training
    model.eval()
    with torch.no_grad():
        for done in range(rules.steps):
            logits = model(tokens, attention_mask=part.attention_mask, at=masked)
            entropy = torch.full(masked.shape, torch.inf, dtype=torch.float64, device=device)
            entropy[masked] = statistics(logits, cut).entropy
            taken = surest(entropy, masked, rules) & (left > done)[:, None]
            tokens, masked = torch.where(taken, part.targets, tokens), masked & ~taken
    model.train(training)
    moved_tokens, moved = batch.tokens.clone(), batch.masked.clone()
    moved_tokens[index], moved[index] = tokens.to(moved_tokens.device), masked.to(moved.device)
    return batch._replace(tokens=moved_tokens, masked=moved, weight=row_weights(moved, objective.weight))
