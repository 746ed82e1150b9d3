"""Defects seen in other libraries, each as a test of the way from a published folder to text.

The numbers are those of ``tests/decoding/test_peer_defects.py``, which holds the loop to them with small fakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.models.families import checkpoints as tiny

import anyorder as ao
from anyorder.core.template import read_holes
from anyorder.decoding.strategies import Strategy
from anyorder.evaluation.harness.model import Engine
from anyorder.evaluation.likelihood import likelihood_bound

MASK, END = tiny.MASK, tiny.END
WRITERS = {"llada": tiny.write_llada, "dream": tiny.write_dream, "sdar": tiny.write_sdar}
THRESHOLDS: dict[str, ao.EntropyBelow | ao.ProbabilityAbove | ao.Factor | ao.EntropyBound] = {
    "entropy-below": ao.EntropyBelow(0.0),
    "probability-above": ao.ProbabilityAbove(1.0),
    "factor": ao.Factor(0.0),
    "entropy-bound": ao.EntropyBound(0.0),
}


class Letters:
    """The tiny checkpoints' bytes, without their merges: a tokenizer that needs no library."""

    vocab_size, mask_token_id, end_token_id, pad_token_id = END + len(tiny.SPECIAL), MASK, END, END

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return bytes(token for token in ids if token < 256).decode(errors="replace")


LETTERS = Letters()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ao.Transformer]:
    folder = tmp_path_factory.mktemp("defects")
    return {name: ao.from_pretrained(write(folder / name)) for name, write in WRITERS.items()}


def canvas_of(text: str, **values: str) -> ao.Canvas:
    return ao.Template(text).canvas(LETTERS, **values)


@pytest.mark.parametrize("family", WRITERS)
def test_defect_01_a_mask_in_the_prompt_is_text(models: dict[str, ao.Transformer], family: str) -> None:
    plain = canvas_of("abcd{h:6}ef")
    tokens = plain.tokens.clone()
    tokens[0, 1] = MASK
    result = ao.decode(models[family], ao.Canvas(tokens, plain.unknown), budget=ao.Schedule(3))
    assert result.tokens[0, 1] == MASK
    assert (result.state[plain.unknown] == ao.DECIDED).all()
    assert result.nfe.tolist() == [3]
    spelt = canvas_of("{v}{h:6}", v="<|mdm_mask|>")
    assert int((spelt.tokens == MASK).sum()) == int(spelt.unknown.sum()) == 6


@pytest.mark.parametrize("family", WRITERS)
def test_defects_02_and_03_a_row_is_its_own(models: dict[str, ao.Transformer], family: str) -> None:
    """Evaluations, counts and tokens beside a long neighbour are those alone."""
    rows = [canvas_of("{q}{h:3}", q="ab"), canvas_of("{q}{h:11}!", q="a much longer question"), canvas_of("{h:1}")]
    for budget in (ao.Schedule(4), ao.EntropyBelow(3.0, most=4), ao.Fixed(2)):
        together = ao.decode(models[family], ao.Canvas.stack(rows, pad_token=END), budget=budget, seed=torch.arange(3))
        for index, row in enumerate(rows):
            alone = ao.decode(models[family], row, budget=budget, seed=torch.tensor([index]))
            assert together.nfe[index] == alone.nfe[0]
            assert torch.equal(together.tokens[index, : row.length], alone.tokens[0])
            assert torch.equal(alone.tokens[~row.unknown], row.tokens[~row.unknown])


@pytest.mark.parametrize("budget", THRESHOLDS)
@pytest.mark.parametrize("family", ["llada", "sdar"])
def test_defect_04_thresholds_end_with_a_cache_and_without(
    models: dict[str, ao.Transformer], family: str, budget: str
) -> None:
    result = ao.decode(models[family], canvas_of("ab{h:9}"), budget=THRESHOLDS[budget])
    assert (result.state != ao.UNDECIDED).all()
    assert result.nfe.tolist() == [9]


def test_defect_05_an_end_of_text_ends_the_hole(tmp_path: Path) -> None:
    tensors = tiny.random_tensors(tiny.llada_shapes())
    head = tensors["model.transformer.ff_out.weight"]
    norm = tensors["model.transformer.ln_f.weight"]
    norm.zero_()[0] = 1.0
    head.zero_()
    head[END, 0], head[97, 0] = 1.0, -1.0  # the end where the first feature is positive, else the letter a
    model = ao.from_pretrained(tiny.write(tmp_path / "llada", tiny.LLADA_CONFIG, tensors))
    canvas = canvas_of(
        "Q{h:24}",
    )
    parts = {"order": ao.LeftToRight(), "window": ao.Blocks(4)}
    whole = ao.decode(model, canvas, **parts)
    assert (whole.tokens == END).any()
    ended = ao.decode(model, canvas, **parts, stop=ao.EndOfText(END))
    first = int((whole.tokens[0] == END).int().argmax())
    assert ended.nfe.tolist() == [first]
    assert (ended.state[0, first + 1 :] == ao.UNDECIDED).all()
    assert torch.equal(ended.tokens[0, : first + 1], whole.tokens[0, : first + 1])
    assert read_holes(LETTERS, canvas, ended.tokens) == read_holes(LETTERS, canvas, whole.tokens)


@pytest.mark.parametrize("name", sorted(ao.strategies))
def test_defect_06_every_named_strategy_works(models: dict[str, ao.Transformer], name: str) -> None:
    result = ao.decode(models["llada"], canvas_of("ab{reasoning:5}cd{answer:2}"), **ao.strategies[name].parts())
    assert (result.tokens < models["llada"].vocab_size).all()


def test_defect_08_guidance_reaches_the_likelihood(models: dict[str, ao.Transformer]) -> None:
    model = models["llada"]
    canvas = ao.Canvas(torch.tensor([list(b"question: yes")]), torch.arange(13)[None] >= 10)
    figures = {}
    for scale in (0.0, 2.0):
        guided = ao.ClassifierFree(model, scale)
        bound = likelihood_bound(guided, canvas, torch.Generator().manual_seed(0))
        figures[scale] = float(bound.mean[0])
    plain = float(likelihood_bound(model, canvas, torch.Generator().manual_seed(0)).mean[0])
    assert figures[0.0] == pytest.approx(plain, abs=1e-4)
    assert abs(figures[2.0] - plain) > 0.05
    judged = Engine(ao.ClassifierFree(model, 2.0), LETTERS, Strategy())
    unguided = Engine(model, LETTERS, Strategy())
    assert judged.score([("question: ", "yes")])[0].value != unguided.score([("question: ", "yes")])[0].value


@pytest.mark.parametrize("family", ["llada", "dream"])
def test_defect_09_padding_on_either_side_is_not_read(models: dict[str, ao.Transformer], family: str) -> None:
    rows = [canvas_of("{h:4} short"), canvas_of("a long question with {h:6} inside")]
    left, right = (ao.Canvas.stack(rows, side=side, pad_token=7) for side in ("left", "right"))  # type: ignore[arg-type]
    from_left, from_right = ao.decode(models[family], left), ao.decode(models[family], right)
    assert torch.equal(from_left.tokens[left.unknown], from_right.tokens[right.unknown])
    other = ao.Canvas.stack(rows, side="left", pad_token=70)
    assert torch.equal(ao.decode(models[family], other).tokens[other.unknown], from_left.tokens[left.unknown])


@pytest.mark.parametrize("sampler", [ao.Greedy(), ao.Temperature(0.7), ao.Temperature(1.5) | ao.TopP(0.9)])
def test_defect_10_suppression_at_every_temperature(models: dict[str, ao.Transformer], sampler: Any) -> None:
    canvas = canvas_of("{h:12}")
    free = ao.decode(models["llada"], canvas, sampler=sampler)
    banned = sorted(set(free.tokens[0].tolist()))
    held = ao.decode(models["llada"], canvas, sampler=sampler, suppress=banned)
    assert not set(banned) & set(held.tokens[0].tolist())
    guided = ao.decode(ao.ClassifierFree(models["llada"], 1.0), canvas, sampler=sampler)
    assert (guided.state == ao.DECIDED).all()


def test_defect_11_confidences_of_bfloat16_weights_are_told_apart(tmp_path: Path) -> None:
    folder = tiny.write_llada(tmp_path / "llada", dtype=torch.bfloat16)
    model = ao.from_pretrained(folder)
    assert model.embedding.weight.dtype == torch.bfloat16
    canvas = canvas_of("The hen and the others{h:256}")
    step = next(ao.stream(model, canvas, order=ao.TopProbability()))
    seen = step.statistics.log_probability[0, canvas.unknown[0]]
    with torch.no_grad():
        logits = model(torch.where(canvas.unknown, MASK, canvas.tokens), at=canvas.unknown)
    half = logits.bfloat16().softmax(-1).amax(-1)
    assert len(seen.unique()) > 1.2 * len(half.unique())


def test_defect_12_a_mask_that_the_network_loves_is_never_written(tmp_path: Path) -> None:
    tensors = tiny.random_tensors(tiny.llada_shapes())
    head = tensors["model.transformer.ff_out.weight"]
    model = ao.from_pretrained(tiny.write(tmp_path / "llada", tiny.LLADA_CONFIG, tensors))
    canvas = canvas_of("ab{h:8}")
    with torch.no_grad():
        hidden = model(torch.where(canvas.unknown, MASK, canvas.tokens), at=canvas.unknown)
        assert model.head is not None
        model.head.weight[MASK] = 40 * head[int(hidden.mean(0).argmax())]
    result = ao.decode(model, canvas, budget=ao.ProbabilityAbove(0.9))
    assert not (result.tokens == MASK).any()
    assert int(result.nfe) <= 8


@pytest.mark.parametrize("family", ["llada", "sdar"])
def test_defect_13_requests_do_not_hear_of_each_other(models: dict[str, ao.Transformer], family: str) -> None:
    engine = Engine(models[family], LETTERS, Strategy(ao.Entropy(), ao.Fixed(2)))
    requests = [(text, {"max_gen_toks": 5}, {}) for text in ("one", "another one", "x")]
    first = engine.generate(requests)
    assert engine.generate(requests[::-1]) == first[::-1]
    assert [engine.generate([request])[0] for request in requests] == first


def test_defect_14_the_order_reads_the_network_not_the_sampler(models: dict[str, ao.Transformer]) -> None:
    canvas = canvas_of("ab{h:6}")
    steps = [
        next(ao.stream(models["dream"], canvas, order=ao.Margin(), sampler=sampler))
        for sampler in (ao.Greedy(), ao.Temperature(0.1), ao.Temperature(1.0) | ao.TopP(0.2))
    ]
    assert all(torch.equal(step.revealed, steps[0].revealed) for step in steps)
    margins = [step.statistics.margin[canvas.unknown] for step in steps]
    assert all(torch.equal(margin, margins[0]) for margin in margins)


def test_defects_17_and_19_no_call_too_many(models: dict[str, ao.Transformer], monkeypatch: pytest.MonkeyPatch) -> None:
    """As many calls as the longest row needs, each with the rows that are not finished."""
    model, rows = models["llada"], []
    forward = type(model).forward

    def counted(self: Any, tokens: torch.Tensor, **options: Any) -> torch.Tensor:
        rows.append(len(tokens))
        return forward(self, tokens, **options)

    monkeypatch.setattr(type(model), "forward", counted)
    engine = Engine(model, LETTERS, Strategy(ao.Margin(), ao.OneByOne()))
    engine.generate([("q", {"template": f"{{context}}{{h:{count}}}."}, {}) for count in (1, 8, 3)])
    assert [made.nfe for made in engine.generations] == [1, 8, 3]
    assert rows == [3, 2, 2, 1, 1, 1, 1, 1]
