"""The Monte-Carlo bound against enumeration: its mean, its standard error, its units, and what it is a bound of."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anyorder.core.canvas import Canvas
from anyorder.core.corruption import BetaCount
from anyorder.core.denoiser import StatelessSession
from anyorder.core.errors import UserError
from anyorder.core.objectives import negative_log_likelihood, nelbo_over_masks, surprisals
from anyorder.decoding.guidance import ClassifierFree
from anyorder.evaluation import exact_negative_log_likelihood, likelihood_bound
from anyorder.models.oracle import EnumeratedJoint, MarkovChain

M, LENGTH = 3, 5


class Imperfect:
    """Inconsistent conditionals: a random linear map of the one-hot tokens."""

    vocab_size, mask_token_id = M + 1, M

    def __init__(self, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        self.map = torch.randn(LENGTH, M + 1, LENGTH, M + 1, generator=g)

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        return torch.einsum("blv,lvkw->bkw", F.one_hot(tokens, M + 1).float(), self.map)[at]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def canvas(rows: int = 6) -> Canvas:
    g = generator(1)
    tokens = torch.randint(0, M, (rows, LENGTH), generator=g)
    unknown = torch.rand(rows, LENGTH, generator=g) < 0.7
    unknown[0], unknown[1] = True, False
    return Canvas(tokens, unknown)


def enumerated(model, given: Canvas) -> Tensor:
    pairs = zip(given.tokens, given.unknown, strict=True)
    return torch.tensor([nelbo_over_masks(surprisals(model, *pair)) for pair in pairs], dtype=torch.float64)


@pytest.mark.parametrize("law", [None, BetaCount(0.5, 2)])
def test_bound_estimates_the_nelbo_within_its_standard_error(law) -> None:
    model, given = Imperfect(), canvas()
    bound = likelihood_bound(model, given, generator(), rounds=24, draws=10, law=law)
    truth = enumerated(model, given)
    free = given.unknown.any(1)
    scores = (bound.mean - truth)[free] / bound.standard_error[free].clamp_min(1e-6)
    assert bool((scores.abs() < 4.5).all())
    assert float(bound.standard_error[free].max()) < 0.8
    # a row with nothing unknown costs exactly nothing
    assert bound.mean[1] == 0
    assert bound.standard_error[1] == 0


def test_standard_error_is_honest() -> None:
    """Over many repetitions the estimate's spread is what each repetition said of itself."""
    model, given = Imperfect(), canvas(2).rows(slice(0, 1))
    bounds = [likelihood_bound(model, given, generator(seed), rounds=6, draws=3) for seed in range(150)]
    spread = torch.stack([b.mean for b in bounds]).std()
    stated = torch.stack([b.standard_error for b in bounds]).square().mean().sqrt()
    assert float(stated / spread) == pytest.approx(1, abs=0.25)


def test_bound_is_above_the_likelihood_and_on_it_for_the_exact_model() -> None:
    given = canvas()
    model = Imperfect()
    nll = exact_negative_log_likelihood(model, given)
    bound = likelihood_bound(model, given, generator(), rounds=16, draws=20)
    inside = given.unknown.sum(1) >= 2
    assert bool((bound.mean + 4 * bound.standard_error >= nll)[inside].all())
    assert bool((enumerated(model, given) > nll)[inside].all())

    joint = EnumeratedJoint(torch.rand((M,) * LENGTH, generator=generator(2), dtype=torch.float64))
    truth = joint.log_prob(given.tokens.masked_fill(given.unknown, M)) - joint.log_prob(given.tokens)
    assert torch.allclose(exact_negative_log_likelihood(joint, given), truth, atol=1e-5)
    bound = likelihood_bound(joint, given, generator(), rounds=16, draws=20)
    assert bool(((bound.mean - truth).abs() <= 4.5 * bound.standard_error + 1e-5).all())


def test_spread_counts_leave_only_the_choice_of_positions() -> None:
    """Surprisals that depend on nothing: with as many draws as unknown positions, every round is exact."""
    independent = MarkovChain(torch.ones(M), torch.ones(M, M))
    given = Canvas(torch.zeros(1, 8).long(), torch.ones(1, 8).bool())
    bound = likelihood_bound(independent, given, generator(), rounds=3, draws=8)
    assert float(bound.mean[0]) == pytest.approx(8 * math.log(3), rel=1e-6)
    assert float(bound.standard_error[0]) < 1e-5


class Guided:
    """Classifier-free guidance written out for one row: its given positions are the condition."""

    def __init__(self, model, given: Tensor, scale: float) -> None:
        self.model, self.given, self.scale = model, given, scale
        self.vocab_size, self.mask_token_id = model.vocab_size, model.mask_token_id

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        without = self.model(tokens.masked_fill(self.given, self.mask_token_id), at=at)
        return (1 + self.scale) * self.model(tokens, at=at) - self.scale * without


def test_defect_08_guidance_is_honoured_in_a_likelihood() -> None:
    given, model = canvas(), Imperfect()
    guided = ClassifierFree(model, scale=1.5)  # the condition is whatever the canvas gives
    by_hand = [Guided(model, ~unknown, 1.5) for unknown in given.unknown]
    tables = [surprisals(m, t, u) for m, t, u in zip(by_hand, given.tokens, given.unknown, strict=True)]
    truth = torch.tensor([nelbo_over_masks(table) for table in tables], dtype=torch.float64)
    bound = likelihood_bound(guided, given, generator(), rounds=24, draws=10)
    free = given.unknown.any(1)
    assert bool(((bound.mean - truth)[free].abs() < 4.5 * bound.standard_error[free].clamp_min(1e-6)).all())
    assert float((truth - enumerated(model, given))[free].abs().max()) > 1
    nll = torch.tensor([negative_log_likelihood(table) for table in tables], dtype=torch.float64)
    assert torch.allclose(exact_negative_log_likelihood(guided, given), nll, atol=1e-9)


def test_a_session_never_sees_the_truth() -> None:
    seen: list[Tensor] = []

    class Peeking(Imperfect):
        def open(self, canvas: Canvas):
            seen.append(canvas.tokens[canvas.unknown])
            return StatelessSession(self)

    likelihood_bound(Peeking(), canvas(), generator(), rounds=2, draws=2)
    exact_negative_log_likelihood(Peeking(), canvas())
    assert bool((torch.cat(seen) == M).all())


def test_defect_17_bound_is_not_averaged_per_masked_token() -> None:
    """On text whose surprisal depends on how much is masked, the mean over masked tokens is another, lower number."""
    chain = MarkovChain(torch.ones(M), torch.eye(M) * 0.9 + 0.1 / M)
    tokens = torch.zeros(4, 12).long()
    given = Canvas(tokens, torch.ones_like(tokens, dtype=torch.bool))
    bound = likelihood_bound(chain, given, generator(), rounds=16, draws=48)
    nll = -float(chain.log_prob(tokens)[0])
    mean, error = bound.corpus()
    assert abs(mean - nll) < 4.5 * error
    assert bound.bits_per_token() == pytest.approx(mean / 12 / math.log(2))
    assert bound.perplexity() == pytest.approx(math.exp(mean / 12))

    # the wrong number: pool all masked tokens of all samples and take their mean
    losses, masked = 0.0, 0
    g = generator(1)
    for n in torch.randint(1, 13, (300,), generator=g).tolist():
        at = (torch.rand(1, 12, generator=g).argsort(1) < n).expand(1, -1)
        logits = chain(torch.where(at, M, tokens[:1]), at=at)
        losses += float(F.cross_entropy(logits, tokens[:1][at], reduction="sum"))
        masked += n
    assert abs(losses / masked - nll / 12) > 0.05 * nll / 12


def test_batch_size_changes_memory_only() -> None:
    given = canvas()
    first = likelihood_bound(Imperfect(), given, generator(4), rounds=2, draws=6, batch_size=6)
    second = likelihood_bound(Imperfect(), given, generator(4), rounds=2, draws=6, batch_size=7)
    assert torch.allclose(first.mean, second.mean, rtol=1e-6)


def test_padding_is_passed_on_and_costs_nothing() -> None:
    chain = MarkovChain(torch.ones(M), torch.eye(M) + 0.2)
    tokens = torch.tensor([[9, 9, 0, 1, 1], [0, 1, 1, 2, 2]])
    mask = torch.tensor([[False, False, True, True, True], [True] * 5])
    given = Canvas(tokens, mask.clone(), mask)
    truth = -torch.stack([chain.log_prob(tokens[:1, 2:])[0], chain.log_prob(tokens[1:])[0]])
    assert torch.allclose(exact_negative_log_likelihood(chain, given), truth, atol=1e-5)
    bound = likelihood_bound(chain, given, generator(), rounds=16, draws=10)
    assert bound.tokens.tolist() == [3, 5]
    assert bool(((bound.mean - truth).abs() < 4.5 * bound.standard_error).all())


def test_impossible_text_has_an_infinite_bound() -> None:
    chain = MarkovChain(torch.ones(M), torch.eye(M).roll(1, 1))
    given = Canvas(torch.tensor([[0, 1, 1, 0]]), torch.tensor([[False, True, True, False]]))
    bound = likelihood_bound(MarkovChain(torch.ones(M), torch.eye(M).roll(1, 1), strict=False), given, generator())
    assert bound.mean[0] == math.inf
    with pytest.raises(UserError, match="probability 0"):
        likelihood_bound(chain, given, generator())


def test_bad_settings_are_refused() -> None:
    given = canvas()
    with pytest.raises(UserError, match="2 rounds"):
        likelihood_bound(Imperfect(), given, generator(), rounds=1)
    masked = Canvas(given.tokens.masked_fill(given.unknown, M), given.unknown)
    for call in (
        lambda: likelihood_bound(Imperfect(), masked, generator()),
        lambda: exact_negative_log_likelihood(Imperfect(), masked),
    ):
        with pytest.raises(UserError, match="true token"):
            call()
    nothing = likelihood_bound(Imperfect(), given.rows(slice(1, 2)), generator())
    with pytest.raises(UserError, match="unknown position"):
        nothing.bits_per_token()
