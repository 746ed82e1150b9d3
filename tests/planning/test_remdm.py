"""ReMDM: against a plain transcription of the published reverse step, and its marginals against masked diffusion's."""

from __future__ import annotations

import math

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, TableDenoiser

import anyorder as ao
from anyorder.core.errors import UserError
from anyorder.core.randomness import Purpose, uniform


def blank(rows: int, length: int) -> ao.Canvas:
    return ao.Canvas(torch.zeros(rows, length, dtype=torch.long), torch.ones(rows, length, dtype=torch.bool))


def rates(rule: ao.ReMDM, k: int, conf: list[float]) -> tuple[list[float], list[float]]:
    """Per position: the probability that it is revealed if masked, and masked if revealed, at reverse step k."""
    t, s = 1 - k / rule.steps, 1 - (k + 1) / rule.steps
    now, then = 1 - t, 1 - s
    n = len(conf)
    if rule.rule == "loop":
        if t > rule.on:
            now, then = now * rule.held / (1 - rule.on), then * rule.held / (1 - rule.on)
        elif t <= rule.off:
            now, then = 1 - t * (1 - rule.held) / rule.off, 1 - s * (1 - rule.held) / rule.off
        else:
            return [rule.eta * rule.held / (1 - rule.held)] * n, [rule.eta] * n
        return [(then - now) / (1 - now)] * n, [0.0] * n
    largest = min(1.0, (1 - then) / now) if now > 0 else 1.0
    if rule.rule == "cap":
        sigma = min(rule.eta, largest)
    else:
        sigma = rule.eta * largest
    if rule.rule == "conf":
        total = sum(math.exp(c) for c in conf if c > -math.inf)
        share = [math.exp(c) / total if c > -math.inf else 0.0 for c in conf]
        return [(then - now) / (1 - now)] * n, [x * largest for x in share]
    return [(then - (1 - sigma) * now) / (1 - now)] * n, [sigma] * n


RULES = {
    "cap": ao.ReMDM(12, "cap", eta=0.3),
    "rescale": ao.ReMDM(9, "rescale", eta=0.7),
    "conf": ao.ReMDM(10, "conf"),
    # Times that the grid meets exactly, so that the published switch falls on a step.
    "loop": ao.ReMDM(20, "loop", eta=0.1, on=0.5, off=0.25, held=0.8),
}


@pytest.mark.parametrize("name", RULES)
def test_it_is_the_published_reverse_step(name: str) -> None:
    """The same uniforms, every step run, nothing skipped: the same sequences, and no more evaluations."""
    rule, length, rows, seed = RULES[name], 14, 5, 3
    denoiser = HashDenoiser()
    result = ao.decode(denoiser, blank(rows, length), order=ao.LeftToRight(), remask=rule, seed=seed)
    assert (result.state == ao.DECIDED).all()
    assert int(result.nfe.sum()) == denoiser.rows
    place, remasked = torch.arange(length), 0
    for row in range(rows):
        key = ao.row_seeds(seed, rows)[row]
        tokens = torch.full((length,), denoiser.mask_token_id)
        masked, conf = torch.ones(length, dtype=torch.bool), [-math.inf] * length
        for k in range(rule.steps):
            reveal, sigma = (torch.tensor(x) for x in rates(rule, k, conf))
            u = uniform(key, Purpose.COUNT, place, k)
            count = int((masked & (u < reveal)).sum())
            gone = ~masked & (uniform(key, Purpose.REMASK, place, k) < sigma)
            # Which positions are revealed is the order's choice: here the leftmost masked ones.
            new = masked & (masked.cumsum(0) <= count)
            if count:
                logits = denoiser(tokens[None], at=torch.ones(1, length, dtype=torch.bool)).double()
                logits[:, denoiser.mask_token_id] = -torch.inf
                p, token = logits.softmax(dim=1).max(dim=1)
                for i in new.nonzero().flatten().tolist():
                    tokens[i], conf[i] = token[i], -float(p[i])
            for i in gone.nonzero().flatten().tolist():
                tokens[i], conf[i] = denoiser.mask_token_id, -math.inf
            remasked += int(gone.sum())
            masked = masked & ~new | gone
        assert not bool(masked.any())
        assert result.tokens[row].tolist() == tokens.tolist()
    assert remasked > 3
    assert int(result.nfe.max()) <= rule.steps


@pytest.mark.parametrize("name", ["cap", "rescale", "loop"])
def test_remasking_keeps_the_marginals_of_masked_diffusion(name: str) -> None:
    """P(masked at s) = 1 - alpha_s whatever sigma is."""
    rule = RULES[name]
    revealed, masks = (column[:-1].tolist() for column in rule._table(torch.device("cpu")))
    left = [1.0]
    for reveal, mask in zip(revealed, masks, strict=True):
        left.append(left[-1] * (1 - reveal) + (1 - left[-1]) * mask)
    assert max(masks) > 0.05
    if name != "loop":
        assert left == pytest.approx([1 - k / rule.steps for k in range(rule.steps + 1)], abs=1e-9)
    else:
        held = left[10:16]
        assert held == pytest.approx([1 - rule.held] * 6, abs=1e-9)
        assert left[-1] == pytest.approx(0, abs=1e-9)


def test_more_remasking_costs_more_evaluations() -> None:
    canvas, denoiser = blank(60, 10), TableDenoiser(torch.zeros(10, 6), 0)
    parts = {"order": ao.Random(), "sampler": ao.Temperature(1.0), "seed": 8}
    mean = [
        float(ao.decode(denoiser, canvas, remask=ao.ReMDM(30, "cap", eta=eta), **parts).nfe.double().mean())
        for eta in (0.0, 0.1, 0.3)
    ]
    assert mean[0] + 1 < mean[1]
    assert mean[1] + 1 < mean[2]


def test_steps_that_reveal_nothing_cost_nothing_and_windows_start_anew() -> None:
    result = ao.decode(HashDenoiser(), blank(20, 3), remask=ao.ReMDM(50, "cap", eta=0.0))
    assert int(result.nfe.max()) <= 3
    blocks = ao.decode(HashDenoiser(), blank(6, 8), remask=ao.ReMDM(30, "cap", eta=0.3), window=ao.Blocks(4))
    assert (blocks.state == ao.DECIDED).all()
    assert bool((blocks.step_of[:, :4].amax(dim=1) < blocks.step_of[:, 4:].amin(dim=1)).all())
    assert set(blocks.finish_reason) == {"complete"}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ao.ReMDM(0), "steps"),
        (lambda: ao.ReMDM(5, "caps"), "rule"),
        (lambda: ao.ReMDM(5, eta=1.5), "eta"),
        (lambda: ao.ReMDM(5, "loop", on=0.1, off=0.5), "off < on"),
        (lambda: ao.ReMDM(5, "loop", held=1), "held"),
        (lambda: ao.ReMDM(5, schedule=ao.Linear), "schedule"),
    ],
)
def test_nonsense_is_refused(make, says: str) -> None:
    with pytest.raises(UserError, match=says):
        make()
