"""LLaDA's rule of decoding at temperature 0, stated by itself and held against our parts, token for token.

In every block of positions, left to right, as often as there are positions: take the network's law at every undecided
position of the block, its most probable token and that token's probability; decide the position where it is highest.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.decoding.fakes import TableDenoiser
from tests.models.families import checkpoints as tiny
from torch import Tensor

import anyorder as ao


def stated(model: ao.Transformer, prompt: Tensor, count: int, block: int) -> Tensor:
    """The rule, one row at a time, without any of the library's parts."""
    rows = []
    for row in prompt:
        tokens = torch.cat([row, torch.full((count,), model.mask_token_id)])
        open_ = torch.zeros(len(tokens), dtype=torch.bool)
        open_[len(row) :] = True
        for start in range(len(row), len(tokens), block):
            for _ in range(block):
                logits = model(tokens[None])[:, : model.vocab_size].double()
                logits[:, model.mask_token_id] = -torch.inf
                best, token = logits.softmax(-1).max(-1)
                here = open_ & (torch.arange(len(tokens)) >= start) & (torch.arange(len(tokens)) < start + block)
                place = int(best.masked_fill(~here, -1).argmax())
                tokens[place], open_[place] = token[place], False
        rows.append(tokens)
    return torch.stack(rows)


@pytest.mark.parametrize("block", [1, 4, 12])
def test_the_parts_are_the_rule(tmp_path: Path, block: int) -> None:
    generator = torch.Generator().manual_seed(block)
    for seed in range(4):
        model = ao.from_pretrained(tiny.write_llada(tmp_path / f"{seed}", seed=seed))
        prompt = torch.randint(256, (2, 5), generator=generator)
        tokens = torch.cat([prompt, torch.zeros(2, 12, dtype=torch.int64)], 1)
        canvas = ao.Canvas(tokens, (torch.arange(17) >= 5).expand(2, -1))
        parts = {"budget": ao.OneByOne(), "window": ao.Blocks(block)}
        with torch.no_grad():
            expected = stated(model, prompt, 12, block)
        for order in (ao.TopProbability(), ao.SampledProbability()):
            result = ao.decode(model, canvas, order=order, **parts)
            assert torch.equal(result.tokens, expected)
            assert result.nfe.tolist() == [12, 12]


def test_where_we_differ_on_purpose_the_mask_has_no_say() -> None:
    """A confidence that leaves the mask's weight in ranks by how unlikely the mask is, not by how sure the token is.

    At position 0 two tokens are about equally likely and the mask is not; at position 1 one token is clearly the best
    of all that may be chosen, but the mask has the most weight. We decide position 1 first.
    """
    mask = 3
    logits = torch.tensor([[2.0, 1.9, -5.0, -9.0], [2.0, 0.0, -5.0, 3.0]])
    published = logits.softmax(-1)[:, :mask].amax(-1)
    assert published[0] > published[1]
    canvas = ao.Canvas(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool))
    result = ao.decode(TableDenoiser(logits, mask), canvas, order=ao.TopProbability())
    assert result.step_of.tolist() == [[1, 0]]
    assert not (result.tokens == mask).any()


def test_where_we_differ_on_purpose_padded_rows_of_the_vocabulary_are_never_chosen(tmp_path: Path) -> None:
    """Tokens that the tokenizer has not cannot be written, whatever the network thinks of them."""
    tensors = tiny.random_tensors(tiny.llada_shapes())
    head = tensors["model.transformer.ff_out.weight"]
    head[-3] *= 50
    head[-2] = -head[-3]
    model = ao.from_pretrained(tiny.write(tmp_path / "llada", tiny.LLADA_CONFIG, tensors))
    canvas = ao.Canvas(torch.zeros(2, 9, dtype=torch.int64), torch.ones(2, 9, dtype=torch.bool))
    assert model.vocab_size < tiny.ROWS - 3
    with torch.no_grad():
        assert (model(canvas.tokens).argmax(-1) >= model.vocab_size).any()
    assert (ao.decode(model, canvas).tokens < model.vocab_size).all()
