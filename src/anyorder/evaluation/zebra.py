"""Zebra puzzles decoded and marked, by the one decoding loop or by beam search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import PuzzleReport
from anyorder.evaluation.filling import LEFT_TO_RIGHT, fill_rows

if TYPE_CHECKING:
    import torch

    from anyorder.core.denoiser import Denoiser
    from anyorder.tasks.zebra import Layout, Puzzles


def solve_zebra(
    model: Denoiser,
    layout: Layout,
    puzzles: Puzzles,
    *,
    parts: Mapping[str, Any] = LEFT_TO_RIGHT,
    beams: int = 0,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> PuzzleReport:
    """Let a model fill the answers of puzzles, and mark them by the strict verifier.

    Args:
        model: a denoiser on ``device``.
        layout: how the model reads puzzles.
        puzzles: N of them.
        parts: arguments of `anyorder.decode`; from the left, the most probable, where none are given.
        beams: of a beam search, which takes no parts; 0 for none.
        seed: row i draws from it and i alone.
        batch_size: changes the memory used and nothing else.
        progress: called with (puzzles done, puzzles) after every batch.

    Returns:
        a report whose ``filled`` is (N, attributes, houses), -1 where nothing can be read.

    Raises:
        UserError: puzzles that do not fit the layout, or a model of another vocabulary.
    """
    if (model.vocab_size, model.mask_token_id) != (layout.vocab_size, layout.mask_token_id):
        raise UserError(
            f"a model of Zebra puzzles has {layout.vocab_size} tokens and the mask {layout.mask_token_id}, "
            f"but this one has {model.vocab_size} and {model.mask_token_id}"
        )
    made = fill_rows(
        model,
        layout.canvas(puzzles),
        parts=parts,
        beams=beams,
        seed=seed,
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    solved, filled = layout.verify(puzzles, made.tokens), layout.read(made.tokens)
    known, _ = layout.encode(puzzles)
    exact = (filled == layout.read(known)).all((1, 2)) & solved
    return PuzzleReport(filled, solved, exact, made.nfe)
