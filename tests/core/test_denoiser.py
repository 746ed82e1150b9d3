"""The denoiser protocol: what passes for a denoiser, and what its answers must be."""

from __future__ import annotations

import pytest
import torch
from tests.decoding.fakes import HashDenoiser, make_canvas

from anyorder.core.denoiser import Denoiser, StatelessSession, check_logits, open_session
from anyorder.core.errors import UserError


def test_a_function_object_is_a_denoiser() -> None:
    def uniform(tokens, *, attention_mask=None, at):
        return torch.zeros(int(at.sum()), 5)

    uniform.vocab_size, uniform.mask_token_id = 5, 0  # type: ignore[attr-defined]
    assert isinstance(uniform, Denoiser)
    canvas = make_canvas()
    session = open_session(uniform, canvas)
    assert session(canvas.tokens, at=canvas.unknown).shape == (int(canvas.unknown.sum()), 5)


def test_a_stateless_session_passes_everything_on() -> None:
    canvas, denoiser = make_canvas(), HashDenoiser()
    session = open_session(denoiser, canvas)
    assert session == StatelessSession(denoiser)
    mask = torch.ones_like(canvas.unknown)
    session.keep(torch.tensor([0]))
    logits = session(canvas.tokens, attention_mask=mask, at=canvas.unknown)
    assert torch.equal(logits, denoiser(canvas.tokens, attention_mask=mask, at=canvas.unknown))


def test_a_denoisers_own_session_is_used() -> None:
    class Opens(HashDenoiser):
        def open(self, canvas):
            return ("session", canvas)

    canvas = make_canvas()
    assert open_session(Opens(), canvas) == ("session", canvas)


@pytest.mark.parametrize(
    ("vocab_size", "mask_token_id", "says"),
    [
        (None, 0, "vocab_size must be an int, not None"),
        (5.0, 0, "vocab_size"),
        (True, 0, "vocab_size"),
        (5, None, "mask_token_id"),
        (5, 5, "mask_token_id 5 must lie in"),
        (5, -1, "mask_token_id -1"),
        (1, 0, "at least 2"),
    ],
)
def test_what_is_no_denoiser_is_refused(vocab_size, mask_token_id, says: str) -> None:
    denoiser = HashDenoiser()
    denoiser.vocab_size, denoiser.mask_token_id = vocab_size, mask_token_id
    with pytest.raises(UserError, match=says):
        open_session(denoiser, make_canvas())


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(UserError, match="str cannot be called"):
        open_session("sudoku-9x9", make_canvas())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        (None, "NoneType"),
        (torch.zeros(3, 5, dtype=torch.long), "floating"),
        (torch.zeros(3), r"\(3,\)"),
        (torch.zeros(1, 3, 5), r"\(1, 3, 5\)"),
        (torch.zeros(2, 5), "3 positions were asked for"),
        (torch.zeros(3, 4), "5 tokens"),
    ],
)
def test_wrong_logits_are_refused(logits, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_logits(logits, 3, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_right_logits_pass(dtype: torch.dtype) -> None:
    check_logits(torch.zeros(3, 5, dtype=dtype), 3, 5)
    check_logits(torch.zeros(0, 8, dtype=dtype), 0, 5)
