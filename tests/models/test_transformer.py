"""The transformer: what each setting promises, on small random networks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, Sections, TransformerConfig
from anyorder.models.transformer_layers import rotate

SMALL = TransformerConfig(vocab_size=11, mask_token_id=10, layers=2, heads=4, width=32, mlp_width=64)
GRID = dataclasses.replace(SMALL, positions="grid", grid=Grid(4, 4, 2, 2), length=16, relation_bias=True)

SECTIONS = dataclasses.replace(
    SMALL, positions="sections", sections=Sections(((1, 2), (3, 2), (2, 4))), length=16, relation_bias=True
)
CONFIGS = {
    "rotary": SMALL,
    "learned": dataclasses.replace(SMALL, positions="learned", length=16),
    "grid": GRID,
    "sections": SECTIONS,
    "loops": dataclasses.replace(GRID, loops=3),
    "same token": dataclasses.replace(SMALL, same_token_bias=True),
    "same token, sections": dataclasses.replace(SECTIONS, same_token_bias=True),
    "grouped queries": dataclasses.replace(SMALL, kv_heads=2, qk_norm=True, attention_bias=True),
    "gated, layer norm, tied": dataclasses.replace(SMALL, mlp="gated", activation="silu", norm="layer", tied_head=True),
    "squared": dataclasses.replace(SMALL, activation="relu-squared", head_bias=True, output_bias=True, mlp_bias=True),
    "causal": dataclasses.replace(SMALL, attention="causal"),
    "block-causal": dataclasses.replace(SMALL, attention="block-causal", block_size=4),
    "shifted": dataclasses.replace(SMALL, logits_shift=True),
}
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())


def network(config: TransformerConfig, seed: int = 0) -> Transformer:
    """A network whose every weight is random: fresh ones start with branches that add nothing."""
    model = Transformer(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.3, generator=generator)
    return model


def some_tokens(batch: int = 3, length: int = 16, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 11, (batch, length), generator=torch.Generator().manual_seed(seed))


@every_config
@torch.no_grad()
def test_logits_at_chosen_positions_are_those_of_the_whole(config: TransformerConfig) -> None:
    model, tokens = network(config), some_tokens()
    at = torch.rand(tokens.shape, generator=torch.Generator().manual_seed(2)) < 0.3
    whole = model(tokens).view(3, 16, 11)
    chosen = model(tokens, at=at)
    assert chosen.dtype == torch.float32
    assert chosen.shape == (int(at.sum()), 11)
    torch.testing.assert_close(chosen, whole[at], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_no_positions_asked_for_gives_no_logits() -> None:
    assert network(SMALL)(some_tokens(), at=torch.zeros(3, 16, dtype=torch.bool)).shape == (0, 11)


@every_config
@torch.no_grad()
def test_padding_on_either_side_changes_nothing(config: TransformerConfig) -> None:
    if config.structure is not None:
        pytest.skip("a structure has one length")
    model, tokens = network(config), some_tokens(length=11)
    alone = model(tokens).view(3, 11, 11)
    for side in ("right", "left"):
        junk, real = torch.full((3, 5), 7), torch.ones(3, 11, dtype=torch.bool)
        parts, seen = (tokens, junk), (real, torch.zeros(3, 5, dtype=torch.bool))
        if side == "left":
            parts, seen = parts[::-1], seen[::-1]
        mask = torch.cat(seen, dim=1)
        padded = model(torch.cat(parts, dim=1), attention_mask=mask).view(3, 16, 11)
        start = 0 if side == "right" else 5
        got = padded[:, start : start + 11]
        if config.logits_shift and side == "left":
            got, want = got[:, 1:], alone[:, 1:]  # the first real token has only padding to be read from
        else:
            want = alone
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name, unseen", [("causal", 9), ("block-causal", 12)])
@torch.no_grad()
def test_nothing_is_seen_from_the_right(name: str, unseen: int) -> None:
    """Position 8 reads up to itself (causal) or to the end of its block of four, and nothing after."""
    model, tokens = network(CONFIGS[name]), some_tokens()
    changed = tokens.clone()
    changed[:, unseen:] = (changed[:, unseen:] + 1) % 11
    at = torch.zeros_like(tokens, dtype=torch.bool)
    at[:, 8] = True
    torch.testing.assert_close(model(changed, at=at), model(tokens, at=at), rtol=0, atol=0)
    changed[:, unseen - 1] = (changed[:, unseen - 1] + 1) % 11
    assert not torch.equal(model(changed, at=at), model(tokens, at=at))


@torch.no_grad()
def test_rotary_scores_depend_on_distances_only() -> None:
    model = network(SMALL)
    query, key = torch.randn(2, 1, 4, 12, 8, generator=torch.Generator().manual_seed(0))
    here, there = (model.phases(torch.arange(12)[None] + offset, torch.float32) for offset in (0, 100))
    scores = rotate(query, *here) @ rotate(key, *here).mT
    torch.testing.assert_close(scores, rotate(query, *there) @ rotate(key, *there).mT, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(scores, query @ key.mT, atol=0.1)


@torch.no_grad()
def test_relation_bias_alone_makes_symmetric_grids_equivalent() -> None:
    """Without unit embeddings, swapping two rows of a band permutes the output and changes nothing else."""
    model, tokens = network(GRID), some_tokens()
    assert model.unit_embedding is not None
    for table in model.unit_embedding:
        table.zero_()
    swap = torch.tensor([4, 5, 6, 7, 0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15])
    straight, swapped = model(tokens).view(3, 16, 11), model(tokens[:, swap]).view(3, 16, 11)
    torch.testing.assert_close(swapped, straight[:, swap], rtol=1e-4, atol=1e-4)
    across = torch.tensor([8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15])
    assert not torch.allclose(model(tokens[:, across]).view(3, 16, 11), straight[:, across], atol=1e-2)


@torch.no_grad()
def test_same_token_bias_is_between_equal_tokens_and_theirs() -> None:
    model, tokens = network(CONFIGS["same token"]), some_tokens()
    assert model.same_token_bias is not None
    bias = model.attention_bias(tokens, None, model.embedding.weight)
    assert bias is not None
    for row, head, here, there in ((0, 0, 0, 0), (1, 3, 5, 9), (2, 2, 4, 4)):
        tokens[row, there] = tokens[row, here]
        bias = model.attention_bias(tokens, None, model.embedding.weight)
        assert bias is not None
        assert bias[row, head, here, there] == model.same_token_bias[head, tokens[row, here]] != 0
    assert bool((bias[(tokens[:, :, None] != tokens[:, None, :])[:, None].expand_as(bias)] == 0).all())
    model.same_token_bias.zero_()
    plain = Transformer(SMALL).eval()
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name != "same_token_bias"})
    torch.testing.assert_close(model(tokens), plain(tokens))


@torch.no_grad()
def test_same_token_bias_knows_names_only_by_where_else_they_stand() -> None:
    """With equal embeddings, renaming the tokens changes nothing; who has the name of whom does."""
    model, tokens = network(CONFIGS["same token, sections"]), some_tokens()
    assert model.same_token_bias is not None
    model.embedding.weight[:] = model.embedding.weight[0]
    model.same_token_bias[:] = model.same_token_bias[:, :1]
    renamed = (tokens + 3) % 11
    torch.testing.assert_close(model(renamed), model(tokens))
    assert not torch.allclose(model(tokens % 5), model(tokens), atol=1e-3)


def test_relations_of_cells() -> None:
    """Class 0 shares no unit, 1 the row, 2 the column, 4 the box; 7 is the cell itself."""
    relation = Transformer(GRID).relation
    assert torch.equal(relation.diagonal(), torch.full((16,), 7))
    assert relation[0, 3] == 1
    assert relation[0, 12] == 2
    assert relation[0, 1] == 5
    assert relation[0, 4] == 6
    assert relation[0, 5] == 4


@pytest.mark.parametrize("structure", [GRID.structure, Grid(6, 6, 2, 3), SECTIONS.structure], ids=str)
def test_units_are_counted(structure: Grid | Sections) -> None:
    units = structure.units()
    assert units.shape == (3, structure.length)
    assert (
        structure.counts == tuple(len(unit.unique()) for unit in units) == tuple(int(unit.max()) + 1 for unit in units)
    )


def test_relations_of_sections() -> None:
    """Class 0 shares nothing, 1 the group, 2 the place in a group, 4 the section; 7 is the token itself."""
    relation = Transformer(SECTIONS).relation
    assert torch.equal(relation.diagonal(), torch.full((16,), 7))
    assert relation[0, 1] == 5  # the header
    assert relation[0, 2] == 0  # the header's first token and the first clue's
    assert relation[2, 3] == 5  # a clue's own tokens
    assert relation[2, 4] == 6  # the first tokens of two clues
    assert relation[2, 5] == 4
    assert relation[8, 11] == 5  # a row of the table
    assert relation[8, 12] == 6  # a column
    assert relation[0, 15] == 0


@torch.no_grad()
def test_every_loop_has_logits_and_the_last_are_the_answer() -> None:
    model, tokens = network(CONFIGS["loops"]), some_tokens()
    at = tokens > 4
    depths = model.training_logits(tokens, at=at)
    assert depths.shape == (3, int(at.sum()), 11)
    assert torch.equal(depths[-1], model(tokens, at=at))
    once = Transformer(dataclasses.replace(model.config, loops=1)).eval()
    once.load_state_dict(model.state_dict())
    torch.testing.assert_close(depths[0], once(tokens, at=at))


@torch.no_grad()
def test_the_shift_reads_the_position_before() -> None:
    shifted = network(CONFIGS["shifted"])
    plain = Transformer(SMALL).eval()
    plain.load_state_dict(shifted.state_dict())
    tokens = some_tokens()
    torch.testing.assert_close(shifted(tokens).view(3, 16, 11)[:, 1:], plain(tokens).view(3, 16, 11)[:, :-1])


@every_config
def test_a_fresh_network_is_undecided_and_can_learn(config: TransformerConfig) -> None:
    torch.manual_seed(0)
    model, tokens = Transformer(config), some_tokens()
    logits = model(tokens)
    if not config.tied_head:
        assert torch.count_nonzero(logits) == 0
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    first = last = float("inf")
    for step in range(30):
        loss = torch.nn.functional.cross_entropy(model(tokens), tokens.flatten())
        first, last = (loss.item(), first) if step == 0 else (first, loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert last < 0.9 * first
    assert all(weight.grad is not None for name, weight in model.named_parameters() if "unit" not in name)


@torch.no_grad()
def test_a_row_does_not_depend_on_how_many_rows_were_gathered() -> None:
    model, tokens = network(GRID), some_tokens(batch=8)
    at = torch.ones_like(tokens, dtype=torch.bool)
    whole = model(tokens, at=at).view(8, 16, 11)
    for count in range(1, 17):
        few = torch.zeros_like(at)
        few[:, :count] = True
        assert torch.equal(model(tokens, at=few).view(8, count, 11), whole[:, :count])


def test_sequences_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="at most 16"):
        network(CONFIGS["learned"])(some_tokens(length=17))
    with pytest.raises(UserError, match="exactly 16 tokens"):
        network(GRID)(some_tokens(length=9))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"heads": 5}, "width"),
        ({"layers": 0}, "layers must be a whole number"),
        ({"layers": True}, "layers must be a whole number"),
        ({"mask_token_id": 11}, "mask_token_id"),
        ({"kv_heads": 3}, "kv_heads"),
        ({"positions": "sinusoidal"}, "positions must be one of"),
        ({"activation": "relu"}, "activation must be one of"),
        ({"positions": "learned"}, "length"),
        ({"positions": "grid"}, "together"),
        ({"relation_bias": True}, "positions: grid or positions: sections"),
        ({"attention": "block-causal"}, "block_size"),
        ({"dropout": 1.0}, "dropout"),
        ({"grid": {"rows": 4, "columns": 4, "box_rows": 3, "box_columns": 2}, "positions": "grid"}, "divide"),
        ({"grid": {"rows": 4}, "positions": "grid"}, "exactly"),
        ({"positions": "sections"}, "together"),
        ({"sections": {"shapes": [[4, 4]]}}, "together"),
        ({"sections": {"shapes": []}, "positions": "sections"}, "pair"),
        ({"sections": {"shapes": [[4]]}, "positions": "sections"}, "pair"),
        ({"sections": {"shapes": [[4, 0]]}, "positions": "sections"}, "tokens of a group"),
        ({"sections": {"groups": 4}, "positions": "sections"}, "exactly"),
        ({"sections": {"shapes": [[4, 5]]}, "positions": "sections", "length": 16}, "20 tokens"),
        ({"widht": 3}, "did you mean 'width'"),
    ],
)
def test_settings_that_make_no_network_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TransformerConfig.from_dict(SMALL.to_dict() | change)


def test_missing_settings_are_named() -> None:
    with pytest.raises(UserError, match="vocab_size"):
        TransformerConfig.from_dict({"mask_token_id": 0})


@every_config
def test_settings_survive_plain_values(config: TransformerConfig) -> None:
    assert TransformerConfig.from_dict(config.to_dict()) == config


@given(layers=st.integers(1, 3), loops=st.integers(1, 3), length=st.integers(2, 40), gated=st.booleans())
def test_flops_count_the_matrix_products(layers: int, loops: int, length: int, gated: bool) -> None:
    """Against a count that knows nothing of the config: every linear layer and the two attention products."""
    config = dataclasses.replace(SMALL, layers=layers, loops=loops, mlp="gated" if gated else "plain")
    linear = sum(
        m.weight.numel() for b in Transformer(config).blocks for m in b.modules() if isinstance(m, torch.nn.Linear)
    )
    assert config.flops_per_token(length) == 2 * loops * (linear + layers * 2 * length * config.width)
