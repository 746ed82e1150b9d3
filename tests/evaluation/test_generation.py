"""Generative perplexity and entropy against numbers worked out by hand, and a judge against its own chain rule."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer
from anyorder.evaluation.generation import AutoregressiveJudge, Judged, Samples, teacher_forced, token_entropy
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import TransformerConfig

BYTES = ByteTokenizer()


def network(length: int = 17, **changes: object) -> Transformer:
    settings = {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32, "attention": "causal", "logits_shift": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(
            TransformerConfig(vocab_size=259, mask_token_id=258, length=length, **{**settings, **changes})  # pyright: ignore
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def samples(texts: list[str]) -> Samples:
    return Samples(torch.tensor([list(text.encode()) for text in texts]), BYTES, "bytes")


def test_entropy_of_tokens_by_hand() -> None:
    tokens = torch.tensor([[7, 7, 7, 7], [1, 2, 3, 4], [5, 9, 5, 5], [2, 8, 8, 2]])
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert token_entropy(tokens).tolist() == pytest.approx([0, math.log(4), quarter, math.log(2)])
    rows = torch.randint(0, 5, (30, 40), generator=torch.Generator().manual_seed(0))
    shares = torch.nn.functional.one_hot(rows, 5).double().mean(1)
    assert torch.allclose(token_entropy(rows), -torch.special.xlogy(shares, shares).sum(1))
    assert token_entropy(rows[:, :1]).tolist() == [0.0] * 30


def test_perplexity_weighs_tokens_and_not_samples() -> None:
    judged = Judged(torch.tensor([2.0, 9.0, 0.0], dtype=torch.float64), torch.tensor([1, 9, 0]))
    assert judged.nats_per_token == pytest.approx(1.1)
    assert judged.perplexity == pytest.approx(math.exp(1.1))
    # ratio of means: residuals 2 - 1.1, 9 - 9.9, 0; their standard error over the mean of 10/3 tokens
    error = math.sqrt((0.9**2 + 0.9**2) / (3 * 2)) / (10 / 3)
    assert judged.standard_error == pytest.approx(error)
    low, high = judged.interval()
    assert (math.log(low) + math.log(high)) / 2 == pytest.approx(1.1)
    assert math.log(high / low) == pytest.approx(2 * 1.959964 * error)


def test_impossible_and_empty_samples_are_not_passed_over() -> None:
    assert Judged(torch.tensor([1.0, math.inf]).double(), torch.tensor([1, 1])).perplexity == math.inf
    with pytest.raises(UserError, match="empty texts"):
        _ = Judged(torch.zeros(2).double(), torch.zeros(2, dtype=torch.int64)).perplexity
    assert math.isnan(Judged(torch.ones(1).double(), torch.ones(1, dtype=torch.int64)).standard_error)


def test_the_interval_covers() -> None:
    # 400 sets of 40 samples of known mean: the 95 % interval covers in 95 %; fails once in 10,000 seeds
    g = torch.Generator().manual_seed(5)
    covered = 0
    for _ in range(400):
        tokens = torch.randint(5, 30, (40,), generator=g)
        nats = 2.0 * tokens + 3 * torch.randn(40, generator=g).double() * tokens.sqrt()
        low, high = Judged(nats.double(), tokens).interval()
        covered += low <= math.exp(2.0) <= high
    assert 0.89 < covered / 400 < 0.99


def test_one_pass_is_the_chain_rule() -> None:
    model = network()
    tokens = torch.randint(0, 256, (3, 12), generator=torch.Generator().manual_seed(1))
    unknown = torch.ones_like(tokens, dtype=torch.bool)
    unknown[:, 0] = False
    unknown[1, 4:7] = False
    total = torch.zeros(3, dtype=torch.float64)
    for position in range(1, 12):
        prefix = tokens[:, : position + 1].clone()
        prefix[:, position] = 99  # the network must not see the token that it is asked for
        at = torch.zeros_like(prefix, dtype=torch.bool)
        at[:, position] = True
        logits: Tensor = model(prefix, at=at).detach()
        logits[:, 258] = -torch.inf
        losses = -logits.log_softmax(1).gather(1, tokens[:, position, None])[:, 0].double()
        total += losses * unknown[:, position]
    assert torch.allclose(teacher_forced(model, tokens, unknown, batch_size=2), total, atol=1e-5)


def test_a_judge_reads_text_behind_a_start_token() -> None:
    model = network()
    judge = AutoregressiveJudge(model, BYTES, "bytes", batch_size=2)
    texts = ["hello world", "other words"]
    given = samples(texts)
    judged = judge(given)
    assert judged.tokens.tolist() == [11, 11]
    start = torch.cat((torch.full((2, 1), 256), given.tokens), dim=1)
    unknown = torch.ones_like(start, dtype=torch.bool)
    unknown[:, 0] = False
    assert torch.allclose(judged.nats, teacher_forced(model, start, unknown))
    # samples of another tokenizer are read as text, here the same bytes
    assert torch.allclose(judge(Samples(given.tokens, BYTES, "other")).nats, judged.nats)


def test_lengths_and_pieces_do_not_mix() -> None:
    model = network(positions="learned")
    judge = AutoregressiveJudge(model, BYTES, "bytes", batch_size=3)
    assert judge.context == 16
    text = "a text of more than sixteen bytes, read in pieces"
    padded = [text, text[:5] + "\0" * 0]

    class Cut(ByteTokenizer):
        """Its samples are padded, and decode to texts of different lengths."""

    rows = torch.full((2, len(text)), BYTES.pad_token_id)
    for index, one in enumerate(padded):
        rows[index, : len(one)] = torch.tensor(list(one.encode()))
    judged = judge(Samples(rows, Cut(), "cut"))
    assert judged.tokens.tolist() == [len(text), 5]
    parts = [samples([text[k : k + 16]]) for k in range(0, len(text), 16)]
    assert float(judged.nats[0]) == pytest.approx(sum(float(judge(part).nats[0]) for part in parts), rel=1e-5)
    assert float(judged.nats[1]) == pytest.approx(float(judge(samples([text[:5]])).nats[0]), rel=1e-5)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(UserError, match="still holds the mask"):
        Samples(torch.tensor([[1, 258]]), BYTES, "bytes")
    with pytest.raises(UserError, match="samples must be int64"):
        Samples(torch.zeros(0, 4, dtype=torch.int64), BYTES, "bytes")
    with pytest.raises(UserError, match="an autoregressive network is wanted"):
        AutoregressiveJudge(network(attention="bidirectional", logits_shift=False), BYTES, "bytes")
    with pytest.raises(UserError, match="needs a context"):
        AutoregressiveJudge(network(length=0), BYTES, "bytes")
    with pytest.raises(UserError, match="no law for the first position"):
        teacher_forced(network(), torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool))

    class Small(ByteTokenizer):
        vocab_size = 5

    with pytest.raises(UserError, match="the judge has 259 tokens"):
        AutoregressiveJudge(network(), Small(), "small")
