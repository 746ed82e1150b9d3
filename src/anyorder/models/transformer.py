"""One transformer for every model of the library.

A stack of blocks, each ``h <- h + attention(norm(h))`` then ``h <- h + mlp(norm(h))``, closed by a norm and a linear
head. What differs between families is data in `TransformerConfig`:

* who attends to whom: ``bidirectional``, ``causal``, or ``block-causal`` (bidirectional inside a block, causal
  between blocks);
* where a token is: ``rotary`` phases, ``learned`` vectors, ``grid`` (the sum of a row, a column and a box vector) or
  ``sections`` (of a group, a place in the group and a section vector); with ``relation_bias`` the latter two have a
  learned attention bias per head for each way in which two tokens share these units;
* what a token is: with ``same_token_bias`` a learned attention bias per head and token between places that hold the
  same token, so that a fact that is told in one place is soon looked up from another where it is named again;
* grouped-query attention, RMS or layer norm, gated or plain MLP and its activation, a tied or a free head;
* encoders of the BERT kind: norms after each branch (``h <- norm(h + attention(h))``, and none at the end), a norm of
  the embedding, a small layer before the head; of the ModernBERT kind: layers that look at a neighbourhood only;
* ``loops``: the whole stack is applied that many times with the same weights, the embedded input added again before
  each pass (as in recurrent-depth networks: Dehghani et al. 2019, "Universal Transformers"; Yang et al. 2023,
  "Learning to Solve Constraint Satisfaction Problems with Recurrent Transformer");
* ``logits_shift``: position i's logits are read from the hidden state at i - 1, as models adapted from
  autoregressive ones do (Dream).

The network is a denoiser: logits are computed at the positions asked for and nowhere else.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyorder.core.denoiser import StatelessSession
from anyorder.core.errors import UserError
from anyorder.models.cache import CachedSession
from anyorder.models.transformer_layers import (
    Block,
    GatedMLP,
    HeadLayer,
    MixtureMLP,
    PlainMLP,
    make_norm,
    padded_rows,
    token_positions,
)

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Session
    from anyorder.models.transformer_config import TransformerConfig


class Transformer(nn.Module):
    """A denoiser of sequences (batch, length); see the module's docstring for what the config chooses.

    Residual branches end in zero-initialised matrices, so an untrained network is the identity followed by the head.
    """

    units: Tensor
    relation: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.vocab_size, self.mask_token_id = config.vocab_size, config.mask_token_id
        self.task: dict[str, Any] | None = None
        rows = config.vocab_rows or config.vocab_size
        self.embedding = nn.Embedding(rows, config.width)
        self.embedding_norm = make_norm(config) if config.embedding_norm else None
        self.position_embedding = nn.Embedding(config.length, config.width) if config.positions == "learned" else None
        self.unit_embedding: nn.ParameterList | None = None
        self.relation_bias: nn.Parameter | None = None
        if config.structure is not None:
            units = config.structure.units()
            self.register_buffer("units", units, persistent=False)
            tables = (nn.Parameter(torch.empty(count, config.width)) for count in config.structure.counts)
            self.unit_embedding = nn.ParameterList(tables)
            if config.relation_bias:
                relation = (units[:, :, None] == units[:, None, :]).long() * torch.tensor([1, 2, 4])[:, None, None]
                self.register_buffer("relation", relation.sum(0), persistent=False)
                self.relation_bias = nn.Parameter(torch.empty(config.heads, 8))
        self.same_token_bias = nn.Parameter(torch.empty(config.heads, rows)) if config.same_token_bias else None
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.layers))
        self.norm = make_norm(config) if config.norm_place == "before" else nn.Identity()
        self.head_layer = HeadLayer(config) if config.head_layer else None
        self.head = None if config.tied_head else nn.Linear(config.width, rows, bias=config.head_bias)
        self.head_bias = nn.Parameter(torch.zeros(rows)) if config.tied_head and config.head_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the starting weights from torch's generator; the branches' output matrices start at zero."""
        nn.init.normal_(self.embedding.weight, std=0.02 if self.config.tied_head else 1.0)
        if self.position_embedding is not None:
            nn.init.normal_(self.position_embedding.weight, std=0.02)
        for table in self.unit_embedding or ():
            nn.init.normal_(table, std=0.5)
        if self.relation_bias is not None:
            # Heads that start out alike would take long to share the units out among themselves.
            nn.init.normal_(self.relation_bias, std=1.0)
        if self.same_token_bias is not None:
            # Every other head starts out on the same token elsewhere; masks say nothing by being equal.
            nn.init.zeros_(self.same_token_bias)
            with torch.no_grad():
                self.same_token_bias[1::2] = 4.0
                self.same_token_bias[:, self.mask_token_id] = 0.0
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.attention.out.weight)
            if isinstance(block.mlp, MixtureMLP):
                block.mlp.reset_parameters()
                if block.mlp.shared is not None:
                    nn.init.zeros_(block.mlp.shared.down.weight)
            elif isinstance(block.mlp, (GatedMLP, PlainMLP)):
                nn.init.zeros_(block.mlp.down.weight)
        if self.head is not None:
            nn.init.zeros_(self.head.weight)

    def forward(
        self,
        tokens: Int[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "n vocab_size"]:
        """Logits in float32 for the positions of ``at`` (all when None), row-major.

        ``attention_mask`` is False on padding, which no token attends to. Raises :class:`UserError` for a sequence
        longer than the network was made for.
        """
        for hidden in self._hidden(tokens, attention_mask):
            final = hidden
        return self._logits(final, attention_mask, at)

    def training_logits(
        self,
        tokens: Int[Tensor, "batch length"],
        *,
        attention_mask: Bool[Tensor, "batch length"] | None = None,
        at: Bool[Tensor, "batch length"] | None = None,
    ) -> Float[Tensor, "loops n vocab_size"]:
        """The logits after every loop, for a loss at each depth."""
        return torch.stack(
            [self._logits(hidden, attention_mask, at) for hidden in self._hidden(tokens, attention_mask)]
        )

    def open(self, canvas: Canvas) -> Session:
        """A session for one decode: with a key-value cache where nothing is read from the right (``models.cache``)."""
        if self.config.attention == "bidirectional":
            return StatelessSession(self)
        return CachedSession(self, canvas)

    def _hidden(self, tokens: Tensor, attention_mask: Tensor | None) -> list[Tensor]:
        length = tokens.shape[1]
        self.check_length(length)
        positions = token_positions(tokens, attention_mask)
        embedded = self.embed(tokens, positions, None)
        mask = self._mask(tokens, attention_mask, embedded)
        views = {False: (mask, self.phases(positions, embedded.dtype))}
        if self.config.local_reach:
            phases = self.phases(positions, embedded.dtype, self.config.local_rotary_base)
            views[True] = (self._near(length, mask, embedded), phases)
        states, hidden = [], embedded
        for loop in range(self.config.loops):
            if loop:
                hidden = hidden + embedded
            for block in self.blocks:
                assert isinstance(block, Block)
                hidden = block(hidden, *views[block.local])
            states.append(hidden)
        return states

    def check_length(self, length: int) -> None:
        """Raise :class:`UserError` for a sequence that the network was not made for."""
        if self.config.length and length > self.config.length:
            raise UserError(f"sequence of {length} tokens, but this model takes at most {self.config.length}")
        if self.config.structure is not None and length != self.config.length:
            whole = f"{self.config.length} tokens ({self.config.positions})"
            raise UserError(f"sequence of {length} tokens, but this model takes exactly {whole}")

    def embed(self, tokens: Tensor, positions: Tensor, columns: Tensor | None) -> Tensor:
        """What the first block reads for ``tokens`` (batch, n) at ``positions`` and ``columns``, both (batch, n).

        Positions count a row's real tokens, columns the canvas's; None stands for all columns in their order.
        """
        embedded = self.embedding(tokens)
        if self.position_embedding is not None:
            embedded = embedded + self.position_embedding(positions)
        if self.unit_embedding is not None:
            units = self.units if columns is None else self.units[:, columns]
            embedded = embedded + sum(table[unit] for table, unit in zip(self.unit_embedding, units, strict=True))
        return embedded if self.embedding_norm is None else self.embedding_norm(embedded)

    def _logits(self, hidden: Tensor, attention_mask: Tensor | None, at: Tensor | None) -> Tensor:
        if self.config.logits_shift:
            shifted = torch.cat((hidden[:, :1], hidden[:, :-1]), dim=1)
            if attention_mask is not None:
                # The first real token reads itself, as without the padding that stands left of it.
                first = attention_mask & (attention_mask.long().cumsum(1) == 1)
                shifted = torch.where(first[:, :, None], hidden, shifted)
            hidden = shifted
        return self.read_out(hidden.flatten(0, 1) if at is None else hidden[at])

    def read_out(self, rows: Tensor) -> Tensor:
        """Float32 logits (n, vocabulary) of n rows of the last hidden state."""
        count = len(rows)
        # A matrix product may round a row differently when the number of rows changes its tiling.
        rows = padded_rows(rows) if not self.training else rows
        rows = self.norm(rows)
        rows = rows if self.head_layer is None else self.head_layer(rows)
        logits = F.linear(rows, self.embedding.weight, self.head_bias) if self.head is None else self.head(rows)
        return logits[:count].float()

    def attention_bias(self, tokens: Tensor, columns: Tensor | None, like: Tensor) -> Tensor | None:
        """What relations and equal tokens add to attention, (batch or 1, heads, n, length); None where nothing does.

        ``tokens`` (batch, length) are the canvas's, ``columns`` (batch, n) those that attend, None for all.
        """
        bias: Tensor | None = None
        if self.relation_bias is not None:
            relation = self.relation[None] if columns is None else self.relation[columns]
            bias = self.relation_bias.to(like.dtype)[:, relation].transpose(0, 1)
        if self.same_token_bias is not None:
            attending = tokens if columns is None else tokens.gather(1, columns)
            same = (attending[:, :, None] == tokens[:, None, :])[:, None]
            found = same * self.same_token_bias.to(like.dtype)[:, attending].transpose(0, 1)[..., None]
            bias = found if bias is None else bias + found
        return bias

    def _mask(self, tokens: Tensor, attention_mask: Tensor | None, like: Tensor) -> Tensor | None:
        length = tokens.shape[1]
        allowed: Tensor | None = None
        if self.config.attention != "bidirectional":
            place = torch.arange(length, device=like.device)[None]
            if self.config.block_size and attention_mask is not None:
                place = token_positions(attention_mask, attention_mask)  # padding on the left moves no block
            block = place // (self.config.block_size or 1)
            allowed = (block[:, :, None] >= block[:, None, :])[:, None]
        if attention_mask is not None:
            # A padded query attends to itself alone, so that no row of the softmax is empty.
            seen = attention_mask[:, None, None, :] | torch.eye(length, dtype=torch.bool, device=like.device)
            allowed = seen if allowed is None else allowed & seen
        bias = self.attention_bias(tokens, None, like)
        if bias is None or allowed is None:
            return allowed if bias is None else bias
        return bias.masked_fill(~allowed, -math.inf)

    def _near(self, length: int, mask: Tensor | None, like: Tensor) -> Tensor:
        """The mask of a local layer: ``mask``, and no further than the reach."""
        place = torch.arange(length, device=like.device)
        near = ((place[:, None] - place[None, :]).abs() <= self.config.local_reach)[None, None]
        if mask is None:
            return near
        return mask & near if mask.dtype == torch.bool else mask.masked_fill(~near, -math.inf)

    def phases(self, positions: Tensor, dtype: torch.dtype, base: float | None = None) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines of the rotary angles at ``positions`` (batch, n); None where positions are not rotary."""
        if self.config.positions != "rotary":
            return None
        width = self.config.rotary_width or self.config.head_width or self.config.width // self.config.heads
        frequency = (self.config.rotary_base if base is None else base) ** (
            -torch.arange(0, width, 2, dtype=torch.float32, device=positions.device) / width
        )
        angle = positions[:, None, :, None].float() * frequency
        angle = torch.cat((angle, angle), dim=-1)
        return angle.cos().to(dtype), angle.sin().to(dtype)
