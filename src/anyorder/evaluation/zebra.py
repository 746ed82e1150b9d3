"""Zebra puzzles decoded and marked, by the one decoding loop or by beam search; and read cell by cell in the solver's
order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from anyorder.core.errors import UserError
from anyorder.evaluation.accuracy import PuzzleReport
from anyorder.evaluation.batching import batches
from anyorder.evaluation.filling import LEFT_TO_RIGHT, fill_rows
from anyorder.tasks.zebra import solver_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


@torch.no_grad()
def right_in_solver_order(
    model: Denoiser,
    layout: Layout,
    puzzles: Puzzles,
    *,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> NDArray[np.bool_]:
    """(N, attributes, houses): where a model's most probable token is right once the solver's earlier cells are known.

    Of triples all three tokens of a cell must be right, each after the true ones before it. False for a cell that the
    solver does not fill.

    Raises:
        UserError: puzzles that do not fit the layout.
    """
    order = solver_order(puzzles)
    triples = layout.answer == "triples"
    sequences, answers = layout.encode(puzzles, order if triples else None)
    tokens, unknown = torch.from_numpy(sequences), torch.from_numpy(answers)
    ranks = torch.zeros_like(tokens) if triples else torch.from_numpy(layout.ranks(order))
    hits = torch.zeros_like(unknown)
    for rows in batches(len(puzzles), batch_size):
        for turn in range(1 if triples else int(order.max()) + 1):
            at = unknown[rows] & (ranks[rows] == turn)
            # A model of triples reads the true ones in one pass and sees none that come later.
            hidden = unknown[rows] & (ranks[rows] >= turn) & (not triples)
            state = tokens[rows].masked_fill(hidden, layout.mask_token_id)
            best = model(state.to(device), at=at.to(device)).argmax(1).cpu()
            hits[rows] |= at.masked_scatter(at, best == tokens[rows][at])
    said = hits[:, layout.answer_start :].numpy()
    if triples:
        by_turn = said.reshape(len(puzzles), -1, 3).all(2)
        cells = np.take_along_axis(by_turn, np.maximum(order, 0).reshape(len(puzzles), -1).astype(np.int64), axis=1)
    else:
        grid = said.reshape(len(puzzles), layout.attributes, layout.houses)
        cells = grid[:, : order.shape[1], : order.shape[2]].reshape(len(puzzles), -1)
    return cells.reshape(order.shape) & (order >= 0)
