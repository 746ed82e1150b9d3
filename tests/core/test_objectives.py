"""The objective: its forms agree by enumeration, bound the likelihood, and are what the training loss estimates."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from anyorder.core.corruption import BetaCount, corrupt
from anyorder.core.errors import UserError
from anyorder.core.objectives import (
    AlongPermutation,
    causal_loss,
    cross_entropy,
    masked_loss,
    negative_log_likelihood,
    nelbo_over_counts,
    nelbo_over_masks,
    nelbo_over_orders,
    nelbo_over_time,
    order_loss,
    surprisals,
)
from anyorder.core.schedules import Cosine, Geometric, Linear, LogLinear, Polynomial
from anyorder.models.oracle import EnumeratedJoint
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig

M = 3
FORMS = [nelbo_over_masks, nelbo_over_counts, nelbo_over_orders]
SCHEDULES = [Linear(), Cosine(), Polynomial(0.4), Polynomial(3), Geometric()]


class Imperfect:
    """Conditionals that belong to no joint distribution: a random linear map of the one-hot tokens. Mask token M."""

    def __init__(self, length: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.vocab_size, self.mask_token_id = M + 1, M
        self.map = torch.randn(length, M + 1, length, M + 1, generator=g, dtype=torch.float64)

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        return torch.einsum("blv,lvkw->bkw", F.one_hot(tokens, M + 1).double(), self.map)[at]


class Exact(EnumeratedJoint):
    """The oracle in float64, so that equalities can be held to rounding."""

    def __call__(self, tokens: Tensor, *, attention_mask: Tensor | None = None, at: Tensor) -> Tensor:
        return self.conditionals(tokens, attention_mask=attention_mask, at=at).log()


def exact(length: int, seed: int) -> Exact:
    g = torch.Generator().manual_seed(seed)
    return Exact(torch.rand((M,) * length, generator=g, dtype=torch.float64) ** 3)


def unknown_sets(length: int) -> list[Tensor]:
    """Everything unknown, a conditional case, a single position, none."""
    everything = torch.ones(length, dtype=torch.bool)
    some = everything.clone()
    some[:: max(2, length // 2)] = False
    single = torch.zeros(length, dtype=torch.bool)
    single[-1] = True
    return [everything, some, single, torch.zeros(length, dtype=torch.bool)]


CASES = [
    pytest.param(length, unknown, id=f"L{length}-{''.join(str(int(u)) for u in unknown)}")
    for length in range(1, 7)
    for unknown in unknown_sets(length)
]


# ---------------------------------------------------------------- the equal forms and the bound


@pytest.mark.parametrize("length, unknown", CASES)
@pytest.mark.parametrize("make", [Imperfect, exact])
def test_three_forms_and_every_schedule_agree_by_enumeration(make, length: int, unknown: Tensor) -> None:
    for seed in range(3):
        tokens = torch.randint(0, M, (length,), generator=torch.Generator().manual_seed(seed))
        table = surprisals(make(length, seed), tokens, unknown)
        values = [form(table) for form in FORMS] + [nelbo_over_time(table, schedule) for schedule in SCHEDULES]
        assert max(values) - min(values) < 1e-10
        assert (values[0] > 0) == bool(unknown.any())


@pytest.mark.parametrize("length, unknown", CASES)
def test_bound_meets_the_exact_likelihood_for_the_exact_model(length: int, unknown: Tensor) -> None:
    joint = exact(length, 1)
    tokens = joint.sample(5, torch.Generator().manual_seed(2))
    truth = joint.log_prob(tokens.masked_fill(unknown, M)) - joint.log_prob(tokens)
    for row, value in zip(tokens, truth.tolist(), strict=True):
        table = surprisals(joint, row, unknown)
        assert nelbo_over_masks(table) == pytest.approx(value, abs=1e-10)
        assert negative_log_likelihood(table) == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("length, unknown", CASES)
def test_bound_lies_above_the_likelihood_of_an_imperfect_model(length: int, unknown: Tensor) -> None:
    for seed in range(4):
        model = Imperfect(length, seed)
        tokens = torch.randint(0, M, (length,), generator=torch.Generator().manual_seed(seed))
        table = surprisals(model, tokens, unknown)
        gap = nelbo_over_masks(table) - negative_log_likelihood(table)
        if unknown.sum() >= 2:
            assert gap > 1e-3  # inconsistent conditionals: strictly above
        else:
            assert gap == pytest.approx(0, abs=1e-12)


def test_mean_bound_lies_above_the_entropy_of_the_data() -> None:
    """Averaged over data, the bound of any model is at least the cross-entropy of its law, and that at least H."""
    length, data = 4, exact(4, 3)
    model = Imperfect(length, 3)
    everything = torch.ones(length, dtype=torch.bool)
    sequences = torch.tensor(list(itertools.product(range(M), repeat=length)))
    p = data.log_prob(sequences).exp()
    tables = [surprisals(model, row, everything) for row in sequences]
    bound = float(p @ torch.tensor([nelbo_over_masks(table) for table in tables], dtype=torch.float64))
    nll = torch.tensor([negative_log_likelihood(table) for table in tables], dtype=torch.float64)
    assert float((-nll).exp().sum()) == pytest.approx(1, abs=1e-12)  # one-at-a-time decoding is a distribution
    entropy = -float(p @ p.log())
    assert bound > float(p @ nll) > entropy


def test_likelihood_is_the_mean_over_orders_of_the_chain_rule() -> None:
    model, tokens = Imperfect(4, 0), torch.tensor([0, 2, 1, 1])
    chains = []
    for pi in itertools.permutations(range(4)):
        loss = order_loss(model, tokens[None], torch.tensor(pi))
        chains.append(-float(loss))
    direct = -(torch.tensor(chains).logsumexp(0) - math.log(24))
    table = surprisals(model, tokens, torch.ones(4, dtype=torch.bool))
    assert negative_log_likelihood(table) == pytest.approx(float(direct), abs=1e-5)
    assert nelbo_over_orders(table) == pytest.approx(-sum(chains) / 24, abs=1e-5)


def test_a_schedule_that_stops_early_covers_its_part() -> None:
    table = surprisals(Imperfect(3, 1), torch.tensor([0, 1, 2]), torch.ones(3, dtype=torch.bool))
    whole = nelbo_over_time(table, LogLinear(0.0))
    parts = [nelbo_over_time(table, LogLinear(epsilon)) for epsilon in (1e-4, 1e-3, 1e-2)]
    assert whole == pytest.approx(nelbo_over_masks(table), abs=1e-12)
    # what is missing: alpha in [0, epsilon], where nearly everything is masked
    everything = float(table[-1].sum())
    for epsilon, part in zip((1e-4, 1e-3, 1e-2), parts, strict=True):
        assert whole - part == pytest.approx(epsilon * everything, rel=0.05)


def test_an_impossible_sequence_costs_infinity_in_every_form() -> None:
    probabilities = torch.ones(2, 2, 2, dtype=torch.float64)
    probabilities[1, 1, 1] = 0
    joint = EnumeratedJoint(probabilities)
    table = surprisals(joint, torch.tensor([1, 1, 1]), torch.tensor([True, True, False]))
    assert all(form(table) == math.inf for form in FORMS)
    assert negative_log_likelihood(table) == math.inf


def test_enumeration_has_a_stated_limit() -> None:
    with pytest.raises(UserError, match="at most 16"):
        surprisals(Imperfect(2, 0), torch.zeros(17).long(), torch.ones(17).bool())
    with pytest.raises(UserError, match="at most 8"):
        nelbo_over_orders(torch.zeros(2**9, 9, dtype=torch.float64))


def test_surprisals_do_not_depend_on_the_batch_size() -> None:
    joint, tokens, unknown = exact(5, 0), torch.tensor([0, 1, 2, 0, 1]), torch.tensor([True, True, False, True, True])
    assert torch.equal(
        surprisals(joint, tokens, unknown, batch_size=3), surprisals(joint, tokens, unknown, batch_size=1000)
    )


# ---------------------------------------------------------------- the training loss


@pytest.mark.parametrize("law", [None, BetaCount(2, 0.6)])
def test_masked_loss_estimates_the_mean_nelbo_per_sequence(law) -> None:
    model = Imperfect(5, 0)
    sequences = torch.randint(0, M, (2, 5), generator=torch.Generator().manual_seed(0))
    unknown = torch.tensor([[True, True, True, True, True], [False, True, True, False, True]])
    exact_mean = sum(
        nelbo_over_masks(surprisals(model, row, free)) for row, free in zip(sequences, unknown, strict=True)
    ) / len(sequences)
    g = torch.Generator().manual_seed(1)
    tokens, eligible = sequences.repeat(64, 1), unknown.repeat(64, 1)
    estimates = []
    for _ in range(150):
        noisy = corrupt(tokens, eligible, M, g, law=law)
        logits = model(noisy.tokens, at=noisy.masked)
        row_of = noisy.masked.nonzero()[:, 0]
        estimates.append(masked_loss(logits, tokens[noisy.masked], row_of, noisy.weight, mask_token_id=M))
    values = torch.stack(estimates)
    assert abs(float(values.mean()) - exact_mean) < 4 * float(values.std()) / math.sqrt(len(values))


def test_splitting_a_batch_changes_nothing_when_rows_is_global() -> None:
    model, g = Imperfect(4, 0), torch.Generator().manual_seed(0)
    tokens = torch.randint(0, M, (8, 4), generator=g)
    noisy = corrupt(tokens, torch.ones_like(tokens, dtype=torch.bool), M, g)

    def loss(rows: slice, count: int | None) -> Tensor:
        at = noisy.masked[rows]
        logits = model(noisy.tokens[rows], at=at)
        return masked_loss(logits, tokens[rows][at], at.nonzero()[:, 0], noisy.weight[rows], rows=count)

    whole = loss(slice(0, 8), None)
    assert float(loss(slice(0, 3), 8) + loss(slice(3, 8), 8)) == pytest.approx(float(whole), rel=1e-12)


def test_cross_entropy_cuts_the_mask_token_and_keeps_precision() -> None:
    logits = torch.tensor([[1.0, 2.0, 50.0], [0.0, -torch.inf, 0.0]])
    losses = cross_entropy(logits, torch.tensor([1, 1]), mask_token_id=2)
    assert float(losses[0]) == pytest.approx(math.log1p(math.exp(-1)), rel=1e-6)
    assert float(losses[1]) == math.inf
    assert cross_entropy(logits.bfloat16(), torch.tensor([1, 0])).dtype == torch.float32
    # the caller's logits are left as they were
    assert float(logits[0, 2]) == 50


# ---------------------------------------------------------------- one fixed order


def causal_network(length: int) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(
        vocab_size=M + 1, mask_token_id=M, layers=2, heads=2, width=16, mlp_width=32, length=length,
        attention="causal", positions="learned",
    )  # fmt: skip
    network = Transformer(config)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.mark.parametrize("pi", [None, [0, 1, 2, 3, 4], [3, 0, 4, 1, 2], [4, 3, 2, 1, 0]])
def test_single_pass_of_a_causal_network_is_the_chain_rule_along_its_order(pi) -> None:
    network = causal_network(5)
    tokens = torch.randint(0, M, (7, 5), generator=torch.Generator().manual_seed(0))
    permutation = None if pi is None else torch.tensor(pi)
    once = causal_loss(network, tokens, permutation)
    chain = order_loss(AlongPermutation(network, permutation), tokens, permutation)
    assert once.shape == (7,)
    assert torch.allclose(once, chain, atol=1e-5)


def test_order_of_a_pi_learner_matters_and_sums_to_one() -> None:
    network = causal_network(4)
    sequences = torch.tensor(list(itertools.product(range(M), repeat=4)))
    losses = {pi: causal_loss(network, sequences, torch.tensor(pi)).detach() for pi in [(0, 1, 2, 3), (2, 0, 3, 1)]}
    for loss in losses.values():
        assert float((-loss.double()).exp().sum()) == pytest.approx(1, abs=1e-5)
    assert not torch.allclose(*losses.values(), atol=1e-2)


def test_along_permutation_sees_only_what_comes_before() -> None:
    network, pi = AlongPermutation(causal_network(4), torch.tensor([2, 0, 3, 1])), [2, 0, 3, 1]
    tokens = torch.tensor([[0, 1, 2, 1]])
    base = network(tokens, at=torch.ones_like(tokens, dtype=torch.bool))
    for place, position in enumerate(pi):
        changed = tokens.clone()
        changed[0, position] = M
        logits = network(changed, at=torch.ones_like(tokens, dtype=torch.bool))
        for later, other in enumerate(pi):
            same = torch.allclose(logits[other], base[other], atol=1e-6)
            assert same == (later <= place), (position, other)


def test_along_permutation_keeps_row_major_order_of_what_is_asked() -> None:
    network = AlongPermutation(causal_network(4), torch.tensor([2, 0, 3, 1]))
    tokens = torch.randint(0, M, (3, 4), generator=torch.Generator().manual_seed(3))
    full = network(tokens, at=torch.ones_like(tokens, dtype=torch.bool)).reshape(3, 4, -1)
    at = torch.tensor([[True, False, True, True], [False, False, False, False], [False, True, False, True]])
    assert torch.allclose(network(tokens, at=at), full[at], atol=1e-6)


def test_conditional_order_loss_starts_from_all_that_is_known() -> None:
    joint = exact(5, 4)
    tokens = joint.sample(6, torch.Generator().manual_seed(0))
    unknown = torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    unknown[0], unknown[1] = False, True
    truth = joint.log_prob(tokens.masked_fill(unknown, M)) - joint.log_prob(tokens)
    for pi in ([0, 1, 2, 3, 4], [3, 1, 4, 0, 2]):
        loss = order_loss(joint, tokens, torch.tensor(pi), unknown)
        assert torch.allclose(loss.double(), truth, atol=1e-5)


def test_order_loss_calls_the_denoiser_as_often_as_the_fullest_row_needs() -> None:
    joint, calls = exact(4, 0), []

    class Counting:
        vocab_size, mask_token_id = joint.vocab_size, joint.mask_token_id

        def __call__(self, tokens, *, attention_mask=None, at):
            calls.append(len(tokens))
            return joint(tokens, at=at)

    unknown = torch.tensor([[True, True, True, False], [False, True, False, False], [False] * 4])
    order_loss(Counting(), joint.sample(3, torch.Generator().manual_seed(0)), None, unknown)
    assert calls == [2, 1, 1]


def test_losses_carry_gradients() -> None:
    network = causal_network(3)
    tokens = torch.tensor([[0, 1, 2]])
    for loss in (causal_loss(network, tokens), order_loss(network, tokens)):
        network.zero_grad()
        loss.sum().backward()
        assert network.embedding.weight.grad is not None
        assert float(network.embedding.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("pi", [[0, 1], [0, 1, 1], [1, 2, 3]])
def test_a_bad_permutation_is_refused(pi: list[int]) -> None:
    with pytest.raises(UserError, match=r"each of 0\.\.2 once"):
        order_loss(Imperfect(3, 0), torch.tensor([[0, 1, 2]]), torch.tensor(pi))


def test_padding_is_refused_along_a_permutation() -> None:
    tokens = torch.tensor([[0, 1, 2]])
    mask = torch.tensor([[True, True, False]])
    with pytest.raises(UserError, match="no padding"):
        AlongPermutation(causal_network(3))(tokens, attention_mask=mask, at=mask)
