"""The parts of the one transformer: attention, MLPs, residual blocks, rotary phases, norms."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyorder.models.transformer_config import Experts, TransformerConfig

_GATHER_MULTIPLE = 16


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
            query, key = rotate(query, *phases), rotate(key, *phases)
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
        self.activation = make_activation(config.activation)
        self.gate = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.activation(self.gate(hidden)) * self.up(hidden))


class PlainMLP(nn.Module):
    """``down(activation(up(h)))``."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.activation = make_activation(config.activation)
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.activation(self.up(hidden)))


class MixtureMLP(nn.Module):
    """A mixture of experts; see `Experts`. Tokens are routed in float32, whatever the weights are in."""

    def __init__(self, config: TransformerConfig, experts: Experts) -> None:
        super().__init__()
        self.experts = experts
        self.activation = make_activation(config.activation)
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
        self.attention_norm = make_norm(config) if index or config.first_norm else nn.Identity()
        self.attention = Attention(config)
        self.mlp_norm = make_norm(config)
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
        self.activation = make_activation(config.activation)
        self.norm = make_norm(config)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(hidden)))


def rotate(vector: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """``vector`` (..., width) turned by the rotary angles; the first columns alone where there are fewer angles."""
    if cosine.shape[-1] < vector.shape[-1]:
        turned, still = vector.tensor_split((cosine.shape[-1],), dim=-1)
        return torch.cat((rotate(turned, cosine, sine), still), dim=-1)
    first, second = vector.chunk(2, dim=-1)
    return vector * cosine + torch.cat((-second, first), dim=-1) * sine


def make_activation(name: str) -> Callable[[Tensor], Tensor]:
    """The activation that a config names."""
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


def make_norm(config: TransformerConfig) -> nn.Module:
    """A norm over the width, of the kind that the config names."""
    if config.norm == "rms":
        return nn.RMSNorm(config.width, config.norm_epsilon)
    return nn.LayerNorm(config.width, config.norm_epsilon, bias=config.norm_bias)


def padded_rows(rows: Tensor) -> Tensor:
    """``rows`` (n, width) with zero rows behind, up to a multiple of a fixed small number."""
    return F.pad(rows, (0, 0, 0, -len(rows) % _GATHER_MULTIPLE))


def token_positions(tokens: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Positions count the real tokens only, so padding on the left shifts nothing."""
    if attention_mask is None:
        return torch.arange(tokens.shape[1], device=tokens.device).expand(tokens.shape)
    return (attention_mask.long().cumsum(1) - 1).clamp(min=0)
