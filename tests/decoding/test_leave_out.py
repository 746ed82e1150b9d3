"""Laws at visible positions, with a group of them left out in turn."""

from __future__ import annotations

import torch
from tests.decoding.fakes import MASK, HashDenoiser, make_canvas, seeds

import anyorder as ao


def test_a_visible_position_is_asked_with_its_group_masked() -> None:
    inner, wrapper = HashDenoiser(), ao.LeaveOut(HashDenoiser(), groups=3)
    tokens = torch.tensor([[1, 2, MASK, 4, 5, 6, 0, MASK, 2, 1]])
    at = torch.ones_like(tokens, dtype=torch.bool)
    at[0, 5] = False
    logits = wrapper(tokens, at=at)
    slot = (at.flatten().cumsum(0) - 1).view(at.shape)
    plain = inner(tokens, at=at)
    for place in (2, 7):
        assert torch.equal(logits[slot[0, place]], plain[slot[0, place]])
    seen = [i for i in range(10) if bool(at[0, i]) and int(tokens[0, i]) != MASK]
    groups: dict[int, list[int]] = {}
    for i in seen:
        # The group is found from the answer: exactly one split of the visible positions explains all of them.
        for index in range(3):
            hidden = wrapper_group(tokens, seen, index)
            if i in hidden:
                masked = tokens.clone()
                masked[0, hidden] = MASK
                alone = torch.zeros_like(at)
                alone[0, i] = True
                assert torch.equal(logits[slot[0, i]], inner(masked, at=alone)[0])
                groups.setdefault(index, []).append(i)
    assert sorted(i for group in groups.values() for i in group) == seen
    assert len(groups) > 1
    assert wrapper.evaluations_per_call == 4


def wrapper_group(tokens: torch.Tensor, seen: list[int], index: int) -> list[int]:
    from anyorder.core.randomness import Purpose, uniform

    place = uniform(torch.zeros(1, dtype=torch.int64), Purpose.REMASK, torch.arange(tokens.shape[1])[None], 0)
    return [i for i in seen if int(place[0, i] * 3) == index]


def test_every_run_is_counted_and_rows_do_not_depend_on_their_batch() -> None:
    canvas = make_canvas(5, 10)
    counted = HashDenoiser()
    parts = {"budget": ao.Draft(0.2), "remask": ao.WINO(0.6), "sampler": ao.Temperature(1.0)}
    result = ao.decode(ao.LeaveOut(counted, 2), canvas, **parts, seed=seeds(5, 3))
    assert int(result.nfe.sum()) == counted.rows
    for row in range(5):
        alone = ao.decode(
            ao.LeaveOut(HashDenoiser(), 2), canvas.rows(slice(row, row + 1)), **parts, seed=seeds(5, 3)[row : row + 1]
        )
        assert torch.equal(alone.tokens[0], result.tokens[row])
        assert alone.nfe[0] == result.nfe[row]


def test_guidance_can_be_left_out_of() -> None:
    canvas, inner = make_canvas(4, 9), HashDenoiser()
    result = ao.decode(ao.LeaveOut(ao.ClassifierFree(inner, 1.0), 2), canvas, order=ao.Planned(), remask=ao.P2(4))
    assert (result.state[canvas.unknown] == ao.DECIDED).all()
    assert int(result.nfe.sum()) == inner.rows
