"""The matrix products of a training step, counted exactly.

A product of (m, k) and (k, n) costs 2 m k n floating-point operations. For every product y = x W of the forward pass
the backward pass has two of the same cost, dx = dy W^T and dW = x^T dy; so has attention, for the scores Q K^T and for
the mixture P V. What is recomputed (in a fused attention kernel) is not counted, nor is anything that is no product:
norms, activations, the softmax, element-wise updates. Newton-Schulz, with r <= c after transposition, costs
2 (2 r^2 c + r^3) an iteration.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anyorder.models.transformer_config import TransformerConfig
from anyorder.training.optimisers import MuonAdamW


@dataclass(frozen=True)
class Product:
    """``count`` times a batch of ``batch`` products (m, k) x (k, n), of the part ``name`` of the step.

    ``weight``: the second factor is a weight matrix, stored (n, k); else both factors are activations.
    """

    name: str
    m: int
    k: int
    n: int
    batch: int = 1
    count: int = 1
    weight: bool = True

    @property
    def flops(self) -> int:
        """Floating-point operations of all of them."""
        return 2 * self.m * self.k * self.n * self.batch * self.count

    @property
    def backward(self) -> tuple[Product, Product]:
        """The two products of the backward pass: for the first and for the second factor."""
        first = Product(self.name, self.m, self.n, self.k, self.batch, self.count, self.weight)
        second = Product(self.name, self.k, self.m, self.n, self.batch, self.count, False)
        return first, second


def forward_products(
    config: TransformerConfig, rows: int, length: int, masked: int, *, all_depths: bool = True
) -> list[Product]:
    """The products of one forward pass.

    Args:
        config: of the network.
        rows: sequences.
        length: tokens of each.
        masked: positions, of all rows together, at which logits are computed.
        all_depths: the head runs after every loop, not only after the last.
    """
    head_width = config.head_width or config.width // config.heads
    queries, keys = config.heads * head_width, (config.kv_heads or config.heads) * head_width
    tokens, times = rows * length, config.layers * config.loops
    up = 2 if config.mlp == "gated" else 1
    return [
        Product("attention projections", tokens, config.width, queries + 2 * keys, count=times),
        Product("attention", length, head_width, length, batch=rows * config.heads, count=times, weight=False),
        Product("attention", length, length, head_width, batch=rows * config.heads, count=times, weight=False),
        Product("attention projections", tokens, queries, config.width, count=times),
        Product("mlp", tokens, config.width, config.mlp_width, count=up * times),
        Product("mlp", tokens, config.mlp_width, config.width, count=times),
        Product("head", masked, config.width, config.vocab_size, count=config.loops if all_depths else 1),
    ]


def backward_products(products: Iterable[Product]) -> list[Product]:
    """The products of the backward pass of ``products``."""
    return [gradient for product in products for gradient in product.backward]


def optimiser_flops(optimiser: MuonAdamW) -> int:
    """Operations of the Newton-Schulz products of one update."""
    total = 0
    for group in optimiser.param_groups:
        if group["kind"] == "muon":
            for parameter, pieces in zip(group["params"], group["rows"], strict=True):
                for piece in pieces:
                    r, c = sorted((piece, parameter.shape[1]))
                    total += group["settings"].iterations * 2 * (2 * r * r * c + r**3)
    return total


def flops(products: Iterable[Product]) -> int:
    """Operations of all of them."""
    return sum(product.flops for product in products)
