"""Exact denoisers: conditionals by Bayes' rule for every mask, padding, impossible evidence, sampling."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.models.oracle import EnumeratedJoint, MarkovChain

M, L = 3, 4
STATES = torch.tensor(list(itertools.product(range(M + 1), repeat=L)))
SEQUENCES = torch.tensor(list(itertools.product(range(M), repeat=L)))


def random_joint(seed: int = 0, **options) -> EnumeratedJoint:
    g = torch.Generator().manual_seed(seed)
    return EnumeratedJoint(torch.rand((M,) * L, generator=g, dtype=torch.float64) ** 2, **options)


def random_chain(seed: int = 0, **options) -> MarkovChain:
    g = torch.Generator().manual_seed(seed)
    initial = torch.rand(M, generator=g, dtype=torch.float64)
    return MarkovChain(initial, torch.rand(M, M, generator=g, dtype=torch.float64) ** 2, **options)


def chain_table(chain: MarkovChain, length: int) -> np.ndarray:
    """The joint of a chain, multiplied out."""
    table = chain.initial.numpy()
    for _ in range(length - 1):
        table = table[..., None] * chain.transition.numpy()
    return table


def by_bayes(table: np.ndarray, state: Tensor) -> np.ndarray:
    """P(x^i | evidence) for every position, (L, M), by slicing the joint table."""
    index = tuple(slice(None) if t == M else slice(int(t), int(t) + 1) for t in state)
    agreeing = np.zeros_like(table)
    agreeing[index] = table[index]
    marginals = [agreeing.sum(tuple(a for a in range(table.ndim) if a != i)) for i in range(table.ndim)]
    return np.stack(marginals) / agreeing.sum()


def everywhere(tokens: Tensor) -> Tensor:
    return torch.ones_like(tokens, dtype=torch.bool)


def test_enumerated_joint_is_bayes_rule_for_every_mask() -> None:
    joint = random_joint()
    table = torch.zeros(M**L, dtype=torch.float64)
    table[(joint.sequences * M ** torch.arange(L - 1, -1, -1)).sum(1)] = joint.probabilities
    logits = joint(STATES, at=everywhere(STATES)).reshape(len(STATES), L, M + 1)
    assert logits.dtype == torch.float32
    assert bool(torch.isneginf(logits[..., M]).all())
    for state, law in zip(STATES, logits.exp(), strict=True):
        assert np.allclose(law[:, :M].numpy(), by_bayes(table.reshape((M,) * L).numpy(), state), atol=1e-6)


def test_markov_chain_is_bayes_rule_for_every_mask() -> None:
    chain = random_chain()
    table = chain_table(chain, L)
    laws = chain.conditionals(STATES, at=everywhere(STATES)).reshape(len(STATES), L, M + 1)
    for state, law in zip(STATES, laws, strict=True):
        assert np.allclose(law[:, :M].numpy(), by_bayes(table, state), atol=1e-12)
    assert bool((laws[..., M] == 0).all())


def test_markov_chain_bridges_long_gaps() -> None:
    """Against forward-backward recursion over 200 positions with three known ones."""
    chain, length = random_chain(2), 200
    tokens = torch.full((1, length), M)
    for place, token in ((10, 2), (11, 0), (150, 1)):
        tokens[0, place] = token
    evidence = np.ones((length, M))
    for place in (10, 11, 150):
        evidence[place] = np.eye(M)[int(tokens[0, place])]
    forward, backward = np.zeros((length, M)), np.ones((length, M))
    forward[0] = chain.initial.numpy() * evidence[0]
    for i in range(1, length):
        forward[i] = (forward[i - 1] / forward[i - 1].sum()) @ chain.transition.numpy() * evidence[i]
    for i in range(length - 2, -1, -1):
        backward[i] = chain.transition.numpy() @ (evidence[i + 1] * backward[i + 1])
        backward[i] /= backward[i].sum()
    expected = forward * backward
    expected /= expected.sum(1, keepdims=True)
    law = chain.conditionals(tokens, at=everywhere(tokens))
    assert np.allclose(law[:, :M].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("make", [random_joint, random_chain])
def test_log_prob_sums_over_what_is_masked(make) -> None:
    oracle = make()
    full = oracle.log_prob(SEQUENCES).exp()
    assert float(full.sum()) == pytest.approx(1, abs=1e-12)
    agrees = ((STATES[:, None] == M) | (STATES[:, None] == SEQUENCES)).all(2)
    assert torch.allclose(oracle.log_prob(STATES).exp(), agrees.double() @ full, atol=1e-12)


@pytest.mark.parametrize("make", [random_joint, random_chain])
def test_answers_only_where_asked_in_row_major_order(make) -> None:
    oracle = make()
    full = oracle(STATES, at=everywhere(STATES)).reshape(*STATES.shape, -1)
    at = torch.rand(STATES.shape, generator=torch.Generator().manual_seed(0)) < 0.3
    assert torch.equal(oracle(STATES, at=at), full[at])
    assert oracle(STATES[:2], at=torch.zeros(2, L, dtype=torch.bool)).shape == (0, M + 1)
    assert oracle(STATES[:0], at=torch.zeros(0, L, dtype=torch.bool)).shape == (0, M + 1)


@pytest.mark.parametrize("make", [random_joint, random_chain])
def test_rows_do_not_depend_on_their_batch_or_padding(make) -> None:
    oracle = make()
    full = oracle(STATES, at=everywhere(STATES)).reshape(*STATES.shape, -1)
    for row in (0, 100, 255):
        alone = oracle(STATES[row : row + 1], at=everywhere(STATES[:1]))
        assert torch.equal(alone, full[row])
    for left, right in ((2, 0), (0, 3), (1, 1)):
        padded = torch.nn.functional.pad(STATES, (left, right), value=0)
        mask = torch.nn.functional.pad(everywhere(STATES), (left, right), value=False)
        assert torch.equal(oracle(padded, attention_mask=mask, at=mask).reshape(full.shape), full)


@pytest.mark.parametrize("make", [random_joint, random_chain])
def test_a_shorter_row_is_the_beginning_of_a_longer_one(make) -> None:
    oracle = make()
    tokens = torch.tensor([[0, M, 2, 1], [M, M, 7, 7]])  # 7: padding is never read
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    law = oracle(tokens, attention_mask=mask, at=mask)
    longer = oracle(torch.tensor([[M, M, M, M]]), at=torch.tensor([[True, True, False, False]]))
    assert torch.allclose(law[4:], longer, atol=1e-6)


def test_a_row_longer_than_the_joint_is_refused() -> None:
    with pytest.raises(UserError, match="5 positions, and this distribution is over 4"):
        random_joint()(torch.zeros(1, 5).long(), at=torch.ones(1, 5).bool())


@pytest.mark.parametrize("make", [random_joint, random_chain])
@pytest.mark.parametrize("token", [-1, M + 1])
def test_a_token_outside_the_vocabulary_is_refused(make, token: int) -> None:
    tokens = torch.tensor([[0, token, M, M]])
    with pytest.raises(UserError, match=r"\[0, 4\)"):
        make()(tokens, at=tokens == M)


def forbidding_joint(**options) -> EnumeratedJoint:
    """Equal neighbours never occur."""
    table = torch.ones((M,) * L, dtype=torch.float64)
    for index in itertools.product(range(M), repeat=L):
        table[index] = float(all(a != b for a, b in itertools.pairwise(index)))
    return EnumeratedJoint(table, **options)


def forbidding_chain(**options) -> MarkovChain:
    return MarkovChain(torch.ones(M), 1 - torch.eye(M), **options)


@pytest.mark.parametrize("make", [forbidding_joint, forbidding_chain])
def test_impossible_tokens_and_impossible_evidence(make) -> None:
    oracle = make()
    logits = oracle(torch.tensor([[0, M, M, M]]), at=torch.tensor([[False, True, False, False]]))
    assert torch.allclose(logits.exp(), torch.tensor([[0.0, 0.5, 0.5, 0.0]]))
    bad = torch.tensor([[0, M, 1, 2], [1, 1, M, M]])
    at = torch.tensor([[False, True, False, False], [False, False, False, True]])
    with pytest.raises(UserError, match=r"the tokens \[1, 1, 3, 3\] \(mask 3\) have probability 0"):
        oracle(bad, at=at)
    assert torch.isneginf(oracle.log_prob(bad)).tolist() == [False, True]


def test_not_strict_answers_impossible_evidence_with_the_uniform_law() -> None:
    uniform = torch.tensor([1 / 3, 1 / 3, 1 / 3, 0])
    at = torch.tensor([[True, False, False, False]])
    assert torch.allclose(forbidding_joint(strict=False)(torch.tensor([[M, 1, 1, M]]), at=at).exp(), uniform)
    # the gap itself is impossible for the chain: 2 steps of a cycle of 3 lead from 0 to 2 only
    cycle = MarkovChain(torch.ones(3), torch.eye(3).roll(1, 1), strict=False)
    at = torch.tensor([[False, True, False, False]])
    assert torch.allclose(cycle(torch.tensor([[0, M, 0, M]]), at=at).exp(), uniform)
    assert torch.allclose(cycle(torch.tensor([[0, M, 2, M]]), at=at).exp(), torch.tensor([0.0, 1, 0, 0]))


@pytest.mark.parametrize("make", [random_joint, random_chain])
def test_samples_follow_the_law(make) -> None:
    oracle, g = make(), torch.Generator().manual_seed(0)
    samples = oracle.sample(20_000, g) if isinstance(oracle, EnumeratedJoint) else oracle.sample(20_000, L, g)
    code = (samples * M ** torch.arange(L - 1, -1, -1)).sum(1)
    expected = oracle.log_prob(SEQUENCES).exp().numpy() * 20_000
    observed = torch.bincount(code, minlength=M**L).numpy()
    large = expected >= 5
    pooled = np.append(expected[large], expected[~large].sum())
    assert chisquare(np.append(observed[large], observed[~large].sum()), pooled).pvalue > 1e-4


def test_table_of_sequences_with_any_numbering() -> None:
    """Tokens 1..2 with mask 0, and only three possible sequences."""
    sequences = torch.tensor([[1, 2, 1], [2, 1, 1], [2, 2, 2]])
    joint = EnumeratedJoint(torch.tensor([1.0, 2.0, 1.0]), sequences, vocab_size=3, mask_token_id=0)
    law = joint(torch.tensor([[0, 0, 1]]), at=torch.tensor([[True, True, False]])).exp()
    assert torch.allclose(law, torch.tensor([[0, 1 / 3, 2 / 3], [0, 2 / 3, 1 / 3]]))
    assert torch.equal(joint.log_prob(torch.tensor([[1, 1, 1], [2, 0, 0]])).exp(), torch.tensor([0, 0.75]).double())


@pytest.mark.parametrize(
    "make, match",
    [
        (lambda: EnumeratedJoint(torch.ones(2, 3)), "same size"),
        (lambda: EnumeratedJoint(-torch.ones(2, 2)), "not negative"),
        (lambda: EnumeratedJoint(torch.zeros(2, 2)), "not all zero"),
        (lambda: EnumeratedJoint(torch.full((2, 2), torch.nan)), "finite"),
        (lambda: EnumeratedJoint(torch.ones(2, 2), mask_token_id=1), "other than the mask token"),
        (lambda: EnumeratedJoint(torch.ones(2), torch.tensor([[0], [1]])), "needs vocab_size"),
        (lambda: EnumeratedJoint(torch.ones(3), torch.ones(2, 1).long(), vocab_size=3, mask_token_id=2), "table needs"),
        (lambda: EnumeratedJoint(torch.ones(2), torch.tensor([[0], [0]]), vocab_size=3, mask_token_id=2), "distinct"),
        (lambda: EnumeratedJoint(torch.ones(2), torch.tensor([[0], [3]]), vocab_size=3, mask_token_id=2), r"\[0, 3\)"),
        (lambda: EnumeratedJoint(torch.ones(2), torch.tensor([[0], [1]]), vocab_size=2, mask_token_id=2), "outside"),
        (lambda: MarkovChain(torch.ones(2), torch.ones(3, 3)), "needs"),
        (lambda: MarkovChain(torch.ones(2), torch.tensor([[1.0, 0], [0, 0]])), "any row"),
        (lambda: MarkovChain(torch.ones(2), torch.tensor([[1.0, -1], [1, 1]])), "not negative"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused(make, match: str) -> None:
    with pytest.raises(UserError, match=match):
        make()
