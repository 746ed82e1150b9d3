"""One transformer for every model of the library.

A stack of blocks, each ``h <- h + attention(norm(h))`` then ``h <- h + mlp(norm(h))``, closed by a norm and a linear
head. What differs between families is data in :class:`TransformerConfig`:

* who attends to whom: ``bidirectional``, ``causal``, or ``block-causal`` (bidirectional inside a block, causal
  between blocks);
* where a token is: ``rotary`` phases, ``learned`` vectors, or ``grid`` (the sum of a row, a column and a box vector
  and, with ``relation_bias``, a learned attention bias per head for each way in which two cells share units);
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

import dataclasses
import difflib
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyorder.core.denoiser import StatelessSession
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jaxtyping import Bool, Float, Int

    from anyorder.core.canvas import Canvas
    from anyorder.core.denoiser import Session

_CHOICES = {
    "attention": ("bidirectional", "causal", "block-causal"),
    "positions": ("rotary", "learned", "grid", "none"),
    "norm": ("rms", "layer"),
    "norm_place": ("before", "after"),
    "mlp": ("gated", "plain"),
    "activation": ("gelu", "gelu-tanh", "silu", "relu-squared"),
}
_GATHER_MULTIPLE = 16


@dataclass(frozen=True)
class Grid:
    """A board of ``rows`` x ``columns`` cells cut into boxes of ``box_rows`` x ``box_columns``."""

    rows: int
    columns: int
    box_rows: int
    box_columns: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _positive(field.name, getattr(self, field.name))
        if self.rows % self.box_rows or self.columns % self.box_columns:
            raise UserError(
                f"grid of {self.rows} x {self.columns} cells cannot be cut into boxes of "
                f"{self.box_rows} x {self.box_columns}: the box sides must divide the grid sides"
            )

    def units(self) -> Int[Tensor, "3 cells"]:
        """The row, column and box of every cell."""
        cell = torch.arange(self.rows * self.columns)
        row, column = cell // self.columns, cell % self.columns
        box = row // self.box_rows * (self.columns // self.box_columns) + column // self.box_columns
        return torch.stack((row, column, box))


@dataclass(frozen=True)
class Experts:
    """A mixture of experts in place of the MLP, in all blocks after the first ``dense_blocks``.

    Each token goes to ``active`` of ``count`` gated MLPs of ``width``, those with the highest sigmoid score plus a
    bias of the expert, out of the best ``open_groups`` of ``groups`` equal groups (a group counts by its two best
    experts). Their outputs are summed by their scores, which are first divided by their sum and multiplied by
    ``scale``. ``shared_width`` is that of an MLP that sees every token (0 = none). As in LLaDA2 and DeepSeek-V3.
    """

    count: int
    active: int
    width: int
    shared_width: int = 0
    groups: int = 1
    open_groups: int = 1
    scale: float = 1.0
    dense_blocks: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "active", "width", "groups", "open_groups"):
            _positive(name, getattr(self, name))
        if self.count % self.groups or self.open_groups > self.groups:
            raise UserError(f"experts: {self.count} do not make {self.groups} equal groups, {self.open_groups} open")
        if self.active > self.count // self.groups * self.open_groups or (
            self.groups > 1 and self.count < 2 * self.groups
        ):
            raise UserError(f"experts: {self.active} cannot be active among those of {self.open_groups} groups")
        if self.shared_width < 0 or self.dense_blocks < 0:
            raise UserError("experts: shared_width and dense_blocks must be at least 0")


@dataclass(frozen=True)
class TransformerConfig:
    """The shape of a :class:`Transformer`; refuses values and names that make no network.

    ``length`` is the longest sequence (0 = no limit, rotary or no positions only), ``mlp_width`` the hidden width of
    the MLP, ``kv_heads`` 0 means as many as ``heads``, ``head_width`` 0 means ``width / heads``. ``dropout`` acts on
    the two branches of a block, in training only.

    ``vocab_rows`` is the number of rows of the embedding and the head where some are padding (0 = ``vocab_size``);
    their logits are given and never chosen. With ``local_reach`` a token sees that many tokens on either side, with
    rotary phases of base ``local_rotary_base``, except in every ``global_every``-th layer, the first among them.
    ``first_norm`` false leaves the norm before the first attention out. ``head_layer`` is a linear layer, the
    activation and a norm before the head. ``rotary_width`` is how much of a head is rotated (0 = all of it).
    """

    vocab_size: int
    mask_token_id: int
    layers: int
    heads: int
    width: int
    mlp_width: int
    length: int = 0
    kv_heads: int = 0
    head_width: int = 0
    attention: str = "bidirectional"
    block_size: int = 0
    positions: str = "rotary"
    rotary_base: float = 10_000.0
    rotary_width: int = 0
    local_reach: int = 0
    global_every: int = 1
    local_rotary_base: float = 10_000.0
    grid: Grid | None = None
    relation_bias: bool = False
    norm: str = "rms"
    norm_epsilon: float = 1e-6
    norm_place: str = "before"
    norm_bias: bool = True
    first_norm: bool = True
    embedding_norm: bool = False
    mlp: str = "plain"
    activation: str = "gelu"
    experts: Experts | None = None
    qk_norm: bool = False
    attention_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    tied_head: bool = False
    head_bias: bool = False
    head_layer: bool = False
    head_layer_bias: bool = False
    vocab_rows: int = 0
    loops: int = 1
    logits_shift: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "layers", "heads", "width", "mlp_width", "loops", "global_every"):
            _positive(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} must be one of {', '.join(choices)}; got {getattr(self, name)!r}")
        if not 0 <= self.mask_token_id < self.vocab_size:
            raise UserError(f"mask_token_id must lie in [0, vocab_size = {self.vocab_size}); got {self.mask_token_id}")
        if self.kv_heads < 0 or self.heads % (self.kv_heads or self.heads):
            raise UserError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if not self.head_width and self.width % self.heads:
            raise UserError(f"width ({self.width}) must be a multiple of heads ({self.heads}), or give head_width")
        if self.positions == "rotary" and (self.head_width or self.width // self.heads) % 2:
            raise UserError("rotary positions need an even head width; change width, heads or head_width")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout must lie in [0, 1); got {self.dropout}")
        if self.length < 0 or (self.positions == "learned" and not self.length):
            raise UserError("learned positions need length, the longest sequence, to be at least 1")
        if (self.positions == "grid") != (self.grid is not None):
            raise UserError("positions: grid and the grid's sides belong together; give both or neither")
        if self.relation_bias and self.grid is None:
            raise UserError("relation_bias needs a grid; set positions: grid")
        if self.grid is not None and self.length != self.grid.rows * self.grid.columns:
            raise UserError(f"length ({self.length}) must equal the grid's {self.grid.rows * self.grid.columns} cells")
        if (self.attention == "block-causal") != (self.block_size > 0):
            raise UserError("attention: block-causal and block_size belong together; give both or neither")
        if self.vocab_rows and self.vocab_rows < self.vocab_size:
            raise UserError(f"vocab_rows ({self.vocab_rows}) must be at least vocab_size ({self.vocab_size}), or 0")
        if self.attention != "bidirectional" and (self.local_reach or self.norm_place == "after"):
            raise UserError(f"attention: {self.attention} goes with norm_place: before and without local_reach")
        if self.rotary_width % 2 or not 0 <= self.rotary_width <= (self.head_width or self.width // self.heads):
            raise UserError(f"rotary_width must be even and at most the head's width; got {self.rotary_width}")
        if self.local_reach < 0:
            raise UserError(f"local_reach must be at least 0; got {self.local_reach}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TransformerConfig:
        """Read a config from plain values; an unknown name is refused with the nearest known one."""
        known = {field.name for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise UserError(f"unknown transformer setting {name!r}{hint}")
        arguments = dict(values)
        if isinstance(arguments.get("grid"), dict):
            try:
                arguments["grid"] = Grid(**arguments["grid"])
            except TypeError:
                raise UserError("grid needs exactly rows, columns, box_rows and box_columns") from None
        if isinstance(arguments.get("experts"), dict):
            try:
                arguments["experts"] = Experts(**arguments["experts"])
            except TypeError:
                known = ", ".join(field.name for field in dataclasses.fields(Experts))
                raise UserError(f"experts needs count, active and width, and knows {known}") from None
        try:
            return cls(**arguments)
        except TypeError as error:
            reason = str(error).replace("TransformerConfig.__init__() ", "")
            raise UserError(f"transformer settings: {reason}") from None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as :meth:`from_dict` reads them."""
        return dataclasses.asdict(self)

    def flops_per_token(self, length: int) -> float:
        """Multiply-adds times two for one token's forward pass through the blocks, attending over ``length`` tokens."""
        head_width = self.head_width or self.width // self.heads
        kv_heads = self.kv_heads or self.heads
        projections = self.width * head_width * (2 * self.heads + 2 * kv_heads)
        mlp = self.layers * self.width * self.mlp_width * (3 if self.mlp == "gated" else 2)
        if self.experts is not None:
            mixed = max(self.layers - self.experts.dense_blocks, 0)
            each = self.experts.active * self.experts.width + self.experts.shared_width
            mlp = mlp * (self.layers - mixed) // self.layers + mixed * self.width * (3 * each + self.experts.count)
        scores = 2 * length * self.heads * head_width
        return 2.0 * self.loops * (self.layers * (projections + scores) + mlp)


class Attention(nn.Module):
    """Grouped-query attention with fused projections; bias terms and masks arrive as one additive or boolean mask."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads = config.heads, config.kv_heads or config.heads
        self.head_width = config.head_width or config.width // config.heads
        self.query_width, self.kv_width = self.heads * self.head_width, self.kv_heads * self.head_width
        self.qkv = nn.Linear(config.width, self.query_width + 2 * self.kv_width, bias=config.attention_bias)
        self.out = nn.Linear(self.query_width, config.width, bias=config.output_bias)
        self.query_norm = nn.RMSNorm(self.head_width, config.norm_epsilon) if config.qk_norm else None
        self.key_norm = nn.RMSNorm(self.head_width, config.norm_epsilon) if config.qk_norm else None

    def forward(self, hidden: Tensor, mask: Tensor | None, phases: tuple[Tensor, Tensor] | None) -> Tensor:
        query, key, value = self.project(hidden, (hidden.shape[0], hidden.shape[1]), phases)
        return self.out(self.mix(query, key, value, mask))

    def project(
        self, hidden: Tensor, shape: tuple[int, int], phases: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values (batch, heads, length, head width) from the first batch x length rows of hidden."""
        batch, length = shape
        projected = self.qkv(hidden).flatten(0, -2)[: batch * length]
        query, key, value = (
            part.view(batch, length, -1, self.head_width).transpose(1, 2)
            for part in projected.split((self.query_width, self.kv_width, self.kv_width), dim=-1)
        )
        if self.query_norm is not None and self.key_norm is not None:
            query, key = self.query_norm(query), self.key_norm(key)
        if phases is not None:
            query, key = _rotate(query, *phases), _rotate(key, *phases)
        return query, key, value

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """What the queries gather, (batch, length, heads x head width)."""
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, enable_gqa=self.kv_heads != self.heads
        )
        return mixed.transpose(1, 2).reshape(query.shape[0], query.shape[2], self.query_width)


class GatedMLP(nn.Module):
    """``down(activation(gate(h)) * up(h))``; with ``silu`` this is SwiGLU (Shazeer 2020)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = _activation(config.activation)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(hidden)) * self.up(hidden))


class PlainMLP(nn.Module):
    """``down(activation(up(h)))``."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = _activation(config.activation)
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.activation(self.up(hidden)))


class MixtureMLP(nn.Module):
    """A mixture of experts; see :class:`Experts`. Tokens are routed in float32, whatever the weights are in."""

    def __init__(self, config: TransformerConfig, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.activation = _activation(config.activation)
        self.router = nn.Parameter(torch.empty(experts.count, config.width))
        self.router_bias = nn.Parameter(torch.zeros(experts.count), requires_grad=False)
        self.gate = nn.Parameter(torch.empty(experts.count, experts.width, config.width))
        self.up = nn.Parameter(torch.empty(experts.count, experts.width, config.width))
        self.down = nn.Parameter(torch.empty(experts.count, config.width, experts.width))
        shared = (
            dataclasses.replace(config, mlp_width=experts.shared_width, experts=None) if experts.shared_width else None
        )
        self.shared = None if shared is None else GatedMLP(shared)

    def reset_parameters(self) -> None:
        """Draw the starting weights; the output matrices start at zero."""
        for weight in (self.router, self.gate, self.up):
            nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
        nn.init.zeros_(self.down)
        nn.init.zeros_(self.router_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        rows = hidden.reshape(-1, hidden.shape[-1])
        chosen, share = self._route(rows)
        mixed = torch.zeros_like(rows)
        for expert in chosen.unique().tolist():
            row, place = (chosen == expert).nonzero(as_tuple=True)
            part = rows[row]
            part = self.activation(F.linear(part, self.gate[expert])) * F.linear(part, self.up[expert])
            weighted = F.linear(part, self.down[expert]) * share[row, place, None].to(rows.dtype)
            mixed = mixed.index_add(0, row, weighted)
        mixed = mixed.view_as(hidden)
        return mixed if self.shared is None else mixed + self.shared(hidden)

    def _route(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The experts of every row and their shares, both (n, active)."""
        experts = self.experts
        score = F.linear(rows.float(), self.router.float()).sigmoid()
        ranked = score + self.router_bias.float()
        if experts.groups > 1:
            grouped = ranked.view(len(rows), experts.groups, -1)
            best = grouped.topk(2, dim=-1).values.sum(-1).topk(experts.open_groups, dim=-1).indices
            shut = torch.ones_like(grouped[:, :, 0], dtype=torch.bool).scatter(1, best, False)
            ranked = grouped.masked_fill(shut[:, :, None], -math.inf).flatten(1)
        chosen = ranked.topk(experts.active, dim=-1).indices
        share = score.gather(1, chosen)
        if experts.active > 1:
            share = share / (share.sum(-1, keepdim=True) + 1e-20)
        return chosen, share * experts.scale


class Block(nn.Module):
    """One residual block, the ``index``-th; its norms stand before its branches or after them."""

    def __init__(self, config: TransformerConfig, index: int = 0) -> None:
        super().__init__()
        self.after = config.norm_place == "after"
        self.local = config.local_reach > 0 and index % config.global_every > 0
        self.attention_norm = _norm(config) if index or config.first_norm else nn.Identity()
        self.attention = Attention(config)
        self.mlp_norm = _norm(config)
        if config.experts is not None and index >= config.experts.dense_blocks:
            self.mlp: nn.Module = MixtureMLP(config, config.experts)
        else:
            self.mlp = GatedMLP(config) if config.mlp == "gated" else PlainMLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None, phases: tuple[Tensor, Tensor] | None) -> Tensor:
        if self.after:
            hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden, mask, phases)))
            return self.mlp_norm(hidden + self.dropout(self.mlp(hidden)))
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), mask, phases))
        return hidden + self.dropout(self.mlp(self.mlp_norm(hidden)))


class HeadLayer(nn.Module):
    """``norm(activation(dense(h)))``, between the last block and the head."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width, bias=config.head_layer_bias)
        self.activation = _activation(config.activation)
        self.norm = _norm(config)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(hidden)))


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
        self.embedding_norm = _norm(config) if config.embedding_norm else None
        self.position_embedding = nn.Embedding(config.length, config.width) if config.positions == "learned" else None
        self.unit_embedding: nn.ParameterList | None = None
        self.relation_bias: nn.Parameter | None = None
        if config.grid is not None:
            units = config.grid.units()
            self.register_buffer("units", units, persistent=False)
            sizes = (int(unit.max()) + 1 for unit in units)
            self.unit_embedding = nn.ParameterList(nn.Parameter(torch.empty(size, config.width)) for size in sizes)
            if config.relation_bias:
                relation = (units[:, :, None] == units[:, None, :]).long() * torch.tensor([1, 2, 4])[:, None, None]
                self.register_buffer("relation", relation.sum(0), persistent=False)
                self.relation_bias = nn.Parameter(torch.empty(config.heads, 8))
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.layers))
        self.norm = _norm(config) if config.norm_place == "before" else nn.Identity()
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
        from anyorder.models.cache import CachedSession  # which is made for this network, and imports it

        return CachedSession(self, canvas)

    def _hidden(self, tokens: Tensor, attention_mask: Tensor | None) -> list[Tensor]:
        length = tokens.shape[1]
        self.check_length(length)
        positions = token_positions(tokens, attention_mask)
        embedded = self.embed(tokens, positions, None)
        mask = self._mask(length, attention_mask, embedded)
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
        if self.config.grid is not None and length != self.config.length:
            raise UserError(f"sequence of {length} tokens, but this model's grid has {self.config.length} cells")

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

    def _mask(self, length: int, attention_mask: Tensor | None, like: Tensor) -> Tensor | None:
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
        if self.relation_bias is None:
            return allowed
        bias = self.relation_bias.to(like.dtype)[:, self.relation][None]
        return bias if allowed is None else bias.masked_fill(~allowed, -math.inf)

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


def padded_rows(rows: Tensor) -> Tensor:
    """``rows`` (n, width) with zero rows behind, up to a multiple of a fixed small number."""
    return F.pad(rows, (0, 0, 0, -len(rows) % _GATHER_MULTIPLE))


def token_positions(tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Positions count the real tokens only, so padding on the left shifts nothing."""
    if attention_mask is None:
        return torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
    return (attention_mask.long().cumsum(1) - 1).clamp(min=0)


def _rotate(vector: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    if cosine.shape[-1] < vector.shape[-1]:
        turned, still = vector.tensor_split((cosine.shape[-1],), dim=-1)
        return torch.cat((_rotate(turned, cosine, sine), still), dim=-1)
    first, second = vector.chunk(2, dim=-1)
    return vector * cosine + torch.cat((-second, first), dim=-1) * sine


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    match name:
        case "gelu":
            return F.gelu
        case "gelu-tanh":
            return partial(F.gelu, approximate="tanh")
        case "silu":
            return F.silu
        case _:
            return _relu_squared


def _relu_squared(hidden: Tensor) -> Tensor:
    """So et al. 2021, "Primer": as good as GELU, at a fraction of its cost on a CPU."""
    return F.relu(hidden).square()


def _norm(config: TransformerConfig) -> nn.Module:
    if config.norm == "rms":
        return nn.RMSNorm(config.width, config.norm_epsilon)
    return nn.LayerNorm(config.width, config.norm_epsilon, bias=config.norm_bias)


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UserError(f"{name} must be a whole number of at least 1; got {value!r}")
