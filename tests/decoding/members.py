"""Every member of every part, by name. A law is tested over the whole list, so a new rule costs one line here.

Values are factories without arguments. Holes are named ``first`` and ``second``; end-of-text is token 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

import anyorder as ao

Factory = Callable[[], Any]

ORDERS: Mapping[str, Factory] = {
    "random": ao.Random,
    "left-to-right": ao.LeftToRight,
    "top-probability": ao.TopProbability,
    "top-probability-log": lambda: ao.TopProbability(log=True),
    "top-probability-sampled": lambda: ao.TopProbability(view="sampled"),
    "margin": ao.Margin,
    "margin-log": lambda: ao.Margin(log=True),
    "margin-sampled": lambda: ao.Margin(view="sampled"),
    "entropy": ao.Entropy,
    "entropy-sampled": lambda: ao.Entropy(view="sampled"),
    "sampled-probability": ao.SampledProbability,
    "noisy-gumbel": lambda: ao.Noisy(ao.Margin(log=True), gumbel=0.5),
    "noisy-gumbel-flat": lambda: ao.Noisy(ao.TopProbability(log=True), gumbel=1.0, anneal=False),
    "noisy-gaussian": lambda: ao.Noisy(ao.Margin(), gaussian=0.1),
    "prior-decay": lambda: ao.Prior(ao.TopProbability(log=True), decay=0.3),
    "prior-bias": lambda: ao.Prior(ao.Margin(), bias=torch.tensor([0.3, 0.0, -0.2])),
    "defer": lambda: ao.Defer(ao.Margin(), 1),
    "planned": lambda: ao.Planned(eta=2.0),
    "calibrated": lambda: ao.Prior(ao.Calibrated(torch.tensor([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1])), decay=0.1),
    "lookahead": lambda: ao.Lookahead(candidates=3),
    "defer-drawn": lambda: ao.Defer(ao.SampledProbability(), (1, 2)),
}

BUDGETS: Mapping[str, Factory] = {
    "one-by-one": ao.OneByOne,
    "fixed": lambda: ao.Fixed(3),
    "schedule-expected": lambda: ao.Schedule(4),
    "schedule-expected-long": lambda: ao.Schedule(40, ao.Cosine()),
    "schedule-binomial": lambda: ao.Schedule(4, rounding="binomial"),
    "schedule-binomial-long": lambda: ao.Schedule(40, ao.LogLinear(), rounding="binomial"),
    "entropy-below": lambda: ao.EntropyBelow(1.2, most=4),
    "entropy-below-all": lambda: ao.EntropyBelow(1.2, prefix=False),
    "entropy-below-some": lambda: ao.EntropyBelow(1.2, most=2, prefix=False),
    "entropy-bound": lambda: ao.EntropyBound(2.0),
    "entropy-bound-model": lambda: ao.EntropyBound(2.0, most=3, view="model"),
    "probability-above": lambda: ao.ProbabilityAbove(0.5),
    "probability-above-all": lambda: ao.ProbabilityAbove(0.5, prefix=False),
    "factor": lambda: ao.Factor(1.5),
    "klass": lambda: ao.KLASS(limit=0.4, divergence=0.5, history=1),
    "draft": lambda: ao.Draft(0.3, share=0.6, least=2, most=3),
}

SAMPLERS: Mapping[str, Factory] = {
    "greedy": ao.Greedy,
    "temperature-1": ao.Temperature,
    "temperature": lambda: ao.Temperature(0.7),
    "top-k": lambda: ao.TopK(3),
    "top-p": lambda: ao.TopP(0.8),
    "min-p": lambda: ao.MinP(0.2),
    "chain": lambda: ao.Temperature(1.3) | ao.TopK(4) | ao.TopP(0.9) | ao.MinP(0.05),
}

WINDOWS: Mapping[str, Factory] = {
    "whole": ao.Whole,
    "blocks": lambda: ao.Blocks(4),
    "blocks-of-one": lambda: ao.Blocks(1),
    "dilated": lambda: ao.Dilated(6),
    "holes": lambda: ao.Holes("second", "first"),
    "holes-in-blocks": lambda: ao.Holes("second", inside=ao.Blocks(3)),
}

REMASKS: Mapping[str, Factory] = {
    "none": lambda: None,
    "mask-predict": lambda: ao.MaskPredict(5),
    "mask-predict-cosine": lambda: ao.MaskPredict(9, ao.Cosine()),
    "p2": lambda: ao.P2(6),
    "wino": lambda: ao.WINO(0.5),
    "remdm-cap": lambda: ao.ReMDM(6, "cap", eta=0.4),
    "remdm-rescale": lambda: ao.ReMDM(7, "rescale", eta=0.6, schedule=ao.Cosine()),
    "remdm-conf": lambda: ao.ReMDM(6, "conf"),
    "remdm-loop": lambda: ao.ReMDM(20, "loop", eta=0.3, on=0.6, off=0.2),
    "reconsider": lambda: ao.Reconsider(30, doubt=0.2, agree=0.3),
    "reconsider-few": lambda: ao.Reconsider(9, doubt=0.1, agree=0.9, groups=3, alternatives=2, depth=1),
}

STOPS: Mapping[str, Factory] = {
    "none": lambda: None,
    "end-of-hole": lambda: ao.EndOfHole("first"),
    "end-of-text": lambda: ao.EndOfText(1),
    "answer-entropy": lambda: ao.AnswerEntropy(4.0, hole="first"),
    "prophet": lambda: ao.Prophet(1.2, 1.0, 0.5),
    "prophet-in-hole": lambda: ao.Prophet(1.0, 0.8, 0.5, hole="second"),
    "several": lambda: ao.Stops(ao.EndOfText(1, hole="second"), ao.AnswerEntropy(3.0, hole="first"), ao.Prophet(2.0)),
    "end-of-text-in-hole": lambda: ao.EndOfText((1, 2), hole="second"),
}
