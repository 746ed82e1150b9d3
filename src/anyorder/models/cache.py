"""A key-value cache for causal and block-causal transformers: one decode's session.

Where no position reads what stands right of it (of its block), the keys and values of a prefix stay what they are as
long as the prefix does. The session keeps, for every row by itself,

* the keys and values of each layer (and loop) and the last hidden state, for the first ``valid`` columns;
* the tokens and the padding that they were made from.

At a call the prefix that is still what it was remains valid (a changed token, a moved padding or a spliced position
cuts it; in a block-causal network it is cut before the block), the columns from there to the last one that
somebody asks for are computed, all rows together, and the logits are read from the kept hidden states. So the answer
equals the network's own for any order of decoding, up to the rounding of another grouping of the same sums; decoding
from the left costs one new column a step.

Padding may stand on either side: columns are those of the canvas, positions count real tokens only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from anyorder.models.transformer_layers import Block, padded_rows

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from anyorder.core.canvas import Canvas
    from anyorder.models.transformer import Transformer


class CachedSession:
    """A causal or block-causal `Transformer` for one decode. Called like the network, on the rows still held.

    With gradients or in training mode the network itself answers: what is kept is written in place.

    Attributes:
        reads_left: logits rest on what stands left alone, so whoever needs the leftmost only should ask for no more.
    """

    reads_left = True

    def __init__(self, network: Transformer, canvas: Canvas) -> None:
        network.check_length(canvas.length)
        self._network = network
        self._tokens = canvas.tokens
        self._attended = torch.ones_like(canvas.unknown) if canvas.attention_mask is None else canvas.attention_mask
        self._places()
        self._valid = torch.zeros(canvas.batch, dtype=torch.int64, device=canvas.device)
        self._keys: Tensor | None = None  # (loops x layers, rows, length, key width), as the values
        self._values: Tensor | None = None
        self._hidden: Tensor | None = None  # (rows, length, width)

    def __call__(
        self,
        tokens: Int[Tensor, "rows length"],
        *,
        attention_mask: Bool[Tensor, "rows length"] | None = None,
        at: Bool[Tensor, "rows length"],
    ) -> Float[Tensor, "n vocab"]:
        """Logits in float32 at the positions of ``at``, row-major."""
        if torch.is_grad_enabled() or self._network.training or not bool(at.any()):
            return self._network(tokens, attention_mask=attention_mask, at=at)
        self._forget(tokens, torch.ones_like(at) if attention_mask is None else attention_mask)
        self._extend(self._needed(at))
        row, column = at.nonzero(as_tuple=True)
        assert self._hidden is not None
        return self._network.read_out(self._hidden[row, self._read[row, column]])

    def keep(self, rows: Int[Tensor, " kept"]) -> None:
        """Keep these rows of the rows now held, in this order."""
        self._tokens, self._attended, self._valid = self._tokens[rows], self._attended[rows], self._valid[rows]
        self._positions, self._blocks, self._read = self._positions[rows], self._blocks[rows], self._read[rows]
        if self._keys is not None and self._values is not None and self._hidden is not None:
            self._keys, self._values = self._keys[:, rows], self._values[:, rows]
            self._hidden = self._hidden[rows]

    def splice(self, source: Int[Tensor, "rows length"]) -> None:
        """Positions were inserted or removed; ``source`` is the old position of each, -1 at new ones."""
        column = torch.arange(source.shape[1], device=source.device)
        moved = torch.where(source == column, source.shape[1], column).amin(1)
        old = source.clamp(min=0)
        # No token is -1: from the first moved column on, the next call finds everything changed.
        self._tokens = self._tokens.gather(1, old).masked_fill(column >= moved[:, None], -1)
        self._attended = self._attended.gather(1, old)
        self._places()
        self._valid = torch.minimum(self._valid, moved)
        if self._keys is not None and self._values is not None and self._hidden is not None:
            row = torch.arange(len(old), device=old.device)[:, None]
            self._keys, self._values = self._keys[:, row, old], self._values[:, row, old]
            self._hidden = self._hidden[row, old]

    def _places(self) -> None:
        """From the padding: the position and the block of every column, and the column whose state gives its logits.

        Blocks rise along a row. Padding, which nobody reads, stands before the first block or after the last.
        """
        config, attended = self._network.config, self._attended
        column = torch.arange(attended.shape[1], device=attended.device).expand(attended.shape)
        position = attended.long().cumsum(1) - 1
        if config.attention == "causal":
            self._blocks = column
        else:
            behind = ~attended.flip(1).long().cumsum(1).flip(1).bool()
            self._blocks = position.div(config.block_size, rounding_mode="floor") + behind
        self._positions = position.clamp(min=0)
        first = (attended & (position == 0)) | (column == 0)
        self._read = torch.where(first, column, column - 1) if config.logits_shift else column

    def _forget(self, tokens: Int[Tensor, "rows length"], attended: Bool[Tensor, "rows length"]) -> None:
        """Cut the valid prefix of each row before the block of the first column that is not what it was."""
        length = tokens.shape[1]
        same = (tokens == self._tokens) & (attended == self._attended)
        if not torch.equal(attended, self._attended):
            self._attended = attended
            self._places()
        self._tokens = tokens
        changed = torch.where(same, length, torch.arange(length, device=tokens.device)).amin(1)
        block = self._blocks.gather(1, changed.clamp(max=length - 1)[:, None])
        start = torch.where(changed < length, (self._blocks < block).sum(1), length)
        self._valid = torch.minimum(self._valid, start)

    def _needed(self, at: Bool[Tensor, "rows length"]) -> Int[Tensor, " rows"]:
        """How many columns of each row the logits at ``at`` rest on: a block's columns read each other."""
        last = torch.where(at, self._read, -1).amax(1)
        block = self._blocks.gather(1, last.clamp(min=0)[:, None])
        return torch.where(last < 0, 0, (self._blocks <= block).sum(1))

    def _extend(self, needed: Int[Tensor, " rows"]) -> None:
        """Compute the columns from the end of each row's valid prefix up to ``needed``."""
        count = (needed - self._valid).clamp(min=0)
        width = int(count.max()) if len(count) else 0
        if width == 0:
            return
        network, length, rows = self._network, self._tokens.shape[1], len(count)
        slot = torch.arange(width, device=count.device)
        # Rows that need fewer columns than the widest compute some in vain, and write none of them down.
        active = (slot < count[:, None]).flatten()
        column = (self._valid[:, None] + slot).clamp(max=length - 1)
        place = (column + length * torch.arange(rows, device=count.device)[:, None]).flatten()[active]
        positions = self._positions.gather(1, column)
        embedded = network.embed(self._tokens.gather(1, column), positions, column)
        phases = network.phases(positions, embedded.dtype)
        mask = self._mask(column, embedded)
        # As in the head: full groups of rows, so that a row's products do not depend on how many rows there are.
        embedded = padded_rows(embedded.flatten(0, 1))
        hidden, entry = embedded, 0
        for loop in range(network.config.loops):
            if loop:
                hidden = hidden + embedded
            for block in network.blocks:
                assert isinstance(block, Block)
                attention = block.attention
                query, key, value = attention.project(block.attention_norm(hidden), (rows, width), phases)
                if self._keys is None or self._values is None:
                    shape = (network.config.loops * len(network.blocks), rows, length, attention.kv_width)
                    self._keys, self._values = key.new_zeros(shape), value.new_zeros(shape)
                keys = _written(self._keys[entry], key, place, active, attention.kv_heads)
                values = _written(self._values[entry], value, place, active, attention.kv_heads)
                mixed = attention.mix(query, keys, values, mask)
                hidden = hidden + attention.out(padded_rows(mixed.flatten(0, 1)))
                hidden = hidden + block.mlp(block.mlp_norm(hidden))
                entry += 1
        if self._hidden is None:
            self._hidden = hidden.new_zeros(rows, length, hidden.shape[-1])
        assert self._hidden is not None
        self._hidden.view(rows * length, -1)[place] = hidden[: rows * width][active]
        self._valid = torch.maximum(self._valid, needed)

    def _mask(self, column: Int[Tensor, "rows width"], like: Tensor) -> Tensor:
        """Who attends to whom, (rows, 1 or heads, width, length): boolean, or additive with biases."""
        network, key = self._network, torch.arange(self._tokens.shape[1], device=column.device)
        allowed = self._blocks.gather(1, column)[:, :, None] >= self._blocks[:, None, :]
        allowed = (allowed & (self._attended[:, None, :] | (column[:, :, None] == key)))[:, None]
        bias = network.attention_bias(self._tokens, column, like)
        return allowed if bias is None else bias.masked_fill(~allowed, -torch.inf)


def _written(kept: Tensor, new: Tensor, place: Tensor, active: Tensor, heads: int) -> Tensor:
    """Write new keys or values (rows, heads, width, head width) to their places; all of them, heads before columns."""
    rows, length, width = kept.shape
    kept.view(rows * length, width)[place] = new.transpose(1, 2).reshape(-1, width)[active]
    return kept.view(rows, length, heads, -1).transpose(1, 2)
