"""Requests of the harness: holes where they belong, the same answers in any batch, likelihoods that bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from tests.core.test_template import Words

import anyorder as ao
from anyorder.core.objectives import nelbo_over_masks, surprisals
from anyorder.decoding.strategies import Strategy
from anyorder.evaluation.harness.model import Engine, read_chat, write_chat

BYTES = ao.ByteTokenizer()


@pytest.fixture(scope="module")
def network() -> ao.Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ao.Transformer(ao.TransformerConfig(259, 258, layers=2, heads=2, width=16, mlp_width=16))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def engine(network: Any, tokenizer: Any = BYTES, **options: Any) -> Engine:
    strategy = options.pop("strategy", Strategy(ao.Margin(), ao.Fixed(3)))
    return Engine(network, tokenizer, strategy, **options)


class Echo:
    """A denoiser that wants the letter x everywhere, and notes what it is shown."""

    vocab_size, mask_token_id = 259, 258

    def __init__(self) -> None:
        self.shown: list[str] = []

    def __call__(self, tokens: Any, *, attention_mask: Any = None, at: Any) -> torch.Tensor:
        holes = ["".join("_" if t == 258 else chr(t) if t < 256 else "|" for t in row) for row in tokens.tolist()]
        self.shown += holes
        logits = torch.zeros(int(at.sum()), 259)
        logits[:, ord("x")] = 9
        return logits


Request = tuple[str, Mapping[str, Any], Mapping[str, Any]]


def test_the_hole_stands_where_it_belongs() -> None:
    echo = Echo()
    document = {"prompt": "def f():", "suffix": "return", "line": "abcd"}
    options = {"template": "{prompt}{middle:64}{suffix}", "lengths": {"middle": "line"}}
    assert engine(echo).generate([("ignored", options, document)]) == ["xxxx"]
    assert echo.shown[0] == "def f():____return"
    both = {"template": "{context}{r:3} is {a:2}!", "hole": "r"}
    assert engine(echo).generate([("Q", both, {})]) == ["xxx"]
    assert echo.shown[-1].startswith("Q")
    assert engine(echo, max_tokens=5).generate([("Q", {}, {})]) == ["xxxxx"]
    assert engine(echo).generate([("Q", {"max_gen_toks": 4, "until": ["xxx"]}, {})]) == [""]


def test_a_mask_or_brace_in_a_document_is_text() -> None:
    echo = Echo()
    engine(echo).generate([("{a} \u0102", {"max_gen_toks": 2}, {})])
    assert echo.shown[0].endswith("__")
    assert echo.shown[0].startswith("{a} ")


def test_batches_change_nothing(network: ao.Transformer) -> None:
    requests: list[Request] = [("a" * (7 * i % 19 + 1), {"max_gen_toks": 3 + i % 5}, {}) for i in range(24)]
    requests += [("b", {"template": "{context}{r:4}-{a:3}", "do_sample": True, "temperature": 1.0}, {})] * 3
    strategy = Strategy(ao.Entropy(), ao.Fixed(2), ao.Temperature(1.0))
    alone = engine(network, strategy=strategy, batch_size=1)
    together = engine(network, strategy=strategy, batch_size=16)
    assert alone.generate(requests) == together.generate(requests)
    assert alone.generations == together.generations
    assert len(set(alone.generate(requests[-3:]))) > 1


def test_text_that_ended_costs_nothing_more() -> None:
    class Ends(Echo):
        def __call__(self, tokens: Any, *, attention_mask: Any = None, at: Any) -> torch.Tensor:
            logits = super().__call__(tokens, attention_mask=attention_mask, at=at)
            logits[:, 256] = 20
            return logits

    strategy = Strategy(ao.LeftToRight(), ao.OneByOne())
    judged = engine(Ends(), strategy=strategy)
    assert judged.generate([("Q", {"max_gen_toks": 50}, {})]) == [""]
    assert judged.generations[0].nfe == 1
    assert judged.generate([("Q", {"template": "{context}{r:5} so {a:2}"}, {})]) == [""]
    assert judged.generations[1].nfe == 7


def test_a_context_too_long_loses_its_beginning() -> None:
    echo = Echo()
    judged = engine(echo, max_length=10)
    judged.generate([("0123456789abc", {"max_gen_toks": 4}, {})])
    assert echo.shown[0] == "789abc____"
    assert judged.generations[0].truncated == 7
    with pytest.raises(ao.UserError, match="does not fit a network of length 10"):
        judged.generate([("0", {"max_gen_toks": 14}, {})])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_gen_tok": 3}, "'max_gen_tok' is unknown"),
        ({"template": "{context}"}, "has no hole"),
        ({"template": "{context}{a:2}", "hole": "b"}, "has no hole 'b'"),
        ({"template": "{nothing}{a:2}"}, "no field 'nothing'; they have prompt"),
        ({"template": "{context}{a:2}", "lengths": {"b": "prompt"}}, "no hole 'b'"),
        ({"template": "{context"}, "column 1"),
    ],
)
def test_mistakes_in_tasks_are_named(options: Any, message: str) -> None:
    with pytest.raises(ao.UserError, match=message):
        engine(Echo()).generate([("c", options, {"prompt": "p"})])


def test_few_tokens_are_scored_exactly_and_many_with_an_error(network: ao.Transformer) -> None:
    judged = engine(network, rounds=40)
    few, many, nothing = judged.score([("ab", "cde"), ("ab", "cdefgh"), ("ab", "")])
    tokens = torch.tensor(list(b"abcde"))
    with torch.no_grad():
        exact = nelbo_over_masks(surprisals(network, tokens, torch.arange(5) >= 2))
    assert (few.value, few.standard_error, few.tokens) == (pytest.approx(-exact), 0.0, 3)
    tokens = torch.tensor(list(b"abcdefgh"))
    with torch.no_grad():
        exact = nelbo_over_masks(surprisals(network, tokens, torch.arange(8) >= 2))
    assert 0 < many.standard_error < 1
    assert abs(many.value + exact) < 5 * many.standard_error
    assert (nothing.value, nothing.tokens) == (0.0, 0)
    assert engine(network, rounds=40).score([("ab", "cde"), ("ab", "cdefgh")])[1] == many


def test_conversations_are_marked_up_and_text_stays_text() -> None:
    words = Words()
    seen: list[list[int]] = []

    class Listens:
        vocab_size, mask_token_id = words.vocab_size, 1

        def __call__(self, tokens: Any, *, attention_mask: Any = None, at: Any) -> torch.Tensor:
            seen.append(tokens[0].tolist())
            logits = torch.zeros(int(at.sum()), 400)
            return torch.nn.functional.pad(logits, (0, words.vocab_size - 400), value=-9)

    context = write_chat([{"role": "user", "content": "1{}"}, {"role": "assistant", "content": "so "}])
    assert read_chat(context) == ([("user", "1{}")], "so ")
    engine(Listens(), words).generate([(context, {"max_gen_toks": 2}, {})])
    assert words.decode(seen[0]) == "user:1{}assistant:so "
    assert [token for token in seen[0] if token < 100] == [7, 4, 7, 1, 1]
    with pytest.raises(ao.UserError, match="must begin with"):
        engine(Listens(), words).generate([(context, {"template": "Q {context}{a:1}"}, {})])
