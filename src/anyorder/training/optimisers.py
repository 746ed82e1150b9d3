"""Muon for the matrices inside the network, AdamW for everything else, as one optimiser with every setting explicit.

Muon (K. Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"): with gradient G of an r x c
matrix W, momentum mu, rate eta, decay lambda,

    M <- mu M + (1 - mu) G
    U  = (1 - mu) G + mu M   (Nesterov)   or   M
    W <- (1 - eta lambda) W - eta s(r, c) orthogonalised(U)

``orthogonalised`` is the quintic Newton-Schulz iteration X <- a X + (b A + c A^2) X with A = X X^T, which moves all
singular values near 1; its result does not depend on U's scale, so the factor 1 - mu in M is a convention. s is either
sqrt(max(1, r / c)) ("spectral": the update's spectral norm relative to the layer's shape) or 0.2 sqrt(max(r, c))
("rms": the size of an AdamW update; Liu et al. 2025, "Muon is scalable for LLM training").

AdamW (Loshchilov and Hutter 2019), with t counted from 1:

    m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
    w <- (1 - eta lambda) w - eta (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)

Matrices of one shape are orthogonalised together. Where parameters are sharded (DTensor), element-wise work is done on
the local shard and a matrix is gathered for its orthogonalisation.
"""

# The _foreach functions, which torch.optim is built from, are not in torch's public list.
# pyright: reportPrivateImportUsage=false
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from anyorder.training.settings import MuonSettings, OptimizerSettings

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalised(matrices: Tensor, iterations: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """The Newton-Schulz approximation of U V^T, where U S V^T is the singular value decomposition of each matrix.

    Args:
        matrices: (..., rows, columns).
        iterations: of the quintic polynomial; five bring the singular values into about [0.7, 1.2].
        dtype: of the products.

    Returns:
        A tensor of the input's shape and dtype.
    """
    a, b, c = NEWTON_SCHULZ
    rows, columns = matrices.shape[-2:]
    x = matrices.reshape(-1, rows, columns).to(dtype)
    if rows > columns:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    if rows > columns:
        x = x.mT
    return x.to(matrices.dtype).reshape(matrices.shape)


def newton_schulz_dtype(settings: MuonSettings, device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU unless told otherwise; CPUs without bfloat16 units are slower and coarser in it."""
    if settings.precision == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32


class MuonAdamW(torch.optim.Optimizer):
    """One optimiser for the whole network; see the module's docstring for both updates.

    Groups carry ``names`` beside ``params``, so that the state can be written under the weights' names. ``base_rate``
    is the setting, ``lr`` the scheduled rate of the coming step (:meth:`set_multiplier`).
    """

    def __init__(self, groups: Iterable[dict[str, Any]]) -> None:
        super().__init__(groups, {})
        self.updates = 0

    def set_multiplier(self, factor: float) -> None:
        """Scale every group's rate for the coming step."""
        for group in self.param_groups:
            group["lr"] = group["base_rate"] * factor

    @torch.no_grad()
    def clip(self, limit: float | None) -> Tensor:
        """The norm of the whole gradient; that of the weights under AdamW is first brought down to ``limit``.

        Returns a scalar on the device: the norm of all gradients before clipping.
        """
        by_kind: dict[str, list[Tensor]] = {"adamw": [], "muon": []}
        sharded = False
        for group in self.param_groups:
            gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            sharded |= any(isinstance(gradient, DTensor) for gradient in gradients)
            by_kind[group["kind"]] += [_local(gradient) for gradient in gradients]
        device = self.param_groups[0]["params"][0].device
        squares = torch.zeros(2, device=device)
        for index, gradients in enumerate(by_kind.values()):
            if gradients:
                squares[index] = torch.stack(torch._foreach_norm(gradients)).square().sum()
        if sharded:
            torch.distributed.all_reduce(squares)
        if limit is not None and by_kind["adamw"]:
            factor = (limit / (squares[0].sqrt() + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(by_kind["adamw"], factor)
        return squares.sum().sqrt()

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One update of every parameter that has a gradient. ``closure`` must be None."""
        if closure is not None:
            raise TypeError("MuonAdamW takes no closure")
        self.updates += 1
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            for parameter in parameters:
                if not self.state[parameter]:
                    keys = ("momentum",) if group["kind"] == "muon" else ("mean", "square")
                    self.state[parameter].update({key: torch.zeros_like(parameter) for key in keys})
            (self._muon if group["kind"] == "muon" else self._adamw)(group, parameters)

    def named_state(self) -> dict[str, Tensor]:
        """The moving averages as ``{weight name}/{momentum | mean | square}``; zeros where no update came yet."""
        tensors = {}
        for group in self.param_groups:
            keys = ("momentum",) if group["kind"] == "muon" else ("mean", "square")
            for name, parameter in zip(group["names"], group["params"], strict=True):
                for key in keys:
                    if key not in self.state[parameter]:
                        self.state[parameter][key] = torch.zeros_like(parameter)
                    tensors[f"{name}/{key}"] = self.state[parameter][key]
        return tensors

    def _adamw(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        beta1, beta2, rate = group["beta1"], group["beta2"], group["lr"]
        weights = [_local(parameter) for parameter in parameters]
        gradients = [_local(parameter.grad) for parameter in parameters]  # pyright: ignore[reportArgumentType]
        means = [_local(self.state[parameter]["mean"]) for parameter in parameters]
        squares = [_local(self.state[parameter]["square"]) for parameter in parameters]
        if group["weight_decay"]:
            torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_div_(scales, math.sqrt(1 - beta2**self.updates))
        torch._foreach_add_(scales, group["epsilon"])
        torch._foreach_addcdiv_(weights, means, scales, -rate / (1 - beta1**self.updates))

    def _muon(self, group: dict[str, Any], parameters: list[nn.Parameter]) -> None:
        settings: MuonSettings = group["settings"]
        momenta = [_local(self.state[parameter]["momentum"]) for parameter in parameters]
        gradients = [_local(parameter.grad) for parameter in parameters]  # pyright: ignore[reportArgumentType]
        torch._foreach_lerp_(momenta, gradients, 1 - settings.momentum)
        updates = torch._foreach_lerp(gradients, momenta, settings.momentum) if settings.nesterov else momenta
        # Fused projections are several matrices stacked by rows; each is orthogonalised for itself.
        pieces: dict[tuple[int, int], list[tuple[int, int, Tensor]]] = {}
        for index, (parameter, update, rows) in enumerate(zip(parameters, updates, group["rows"], strict=True)):
            whole = _like(update, parameter).full_tensor() if isinstance(parameter, DTensor) else update
            start = 0
            for count in rows:
                piece = whole[start : start + count]
                pieces.setdefault((count, piece.shape[1]), []).append((index, start, piece))
                start += count
        dtype = newton_schulz_dtype(settings, parameters[0].device)
        finished = [torch.empty(p.shape, dtype=p.dtype, device=p.device) for p in parameters]
        for (rows, columns), members in pieces.items():
            directions = orthogonalised(torch.stack([piece for *_, piece in members]), settings.iterations, dtype)
            directions.mul_(_scale(settings, rows, columns))
            for (index, start, _), direction in zip(members, directions, strict=True):
                finished[index][start : start + rows] = direction
        rate = group["lr"]
        for parameter, direction in zip(parameters, finished, strict=True):
            if settings.weight_decay:
                _local(parameter).mul_(1 - rate * settings.weight_decay)
            if isinstance(parameter, DTensor):
                direction = distribute_tensor(direction, parameter.device_mesh, parameter.placements).to_local()
            _local(parameter).add_(direction, alpha=-rate)


def make_optimiser(model: nn.Module, settings: OptimizerSettings) -> MuonAdamW:
    """The optimiser of all trainable weights of ``model``.

    With Muon, the weights of linear layers below ``blocks`` (fused query-key-value projections as three matrices) go to
    it; embeddings, the head, norms, biases and every other table go to AdamW.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    muon: dict[str, tuple[int, ...]] = {}
    if settings.muon is not None:
        modules = dict(model.named_modules())
        for name, module in modules.items():
            if isinstance(module, nn.Linear) and ".blocks." in f".{name}" and f"{name}.weight" in named:
                parent = modules[name.rpartition(".")[0]]
                widths = (getattr(parent, "query_width", None), getattr(parent, "kv_width", None))
                if settings.muon.split and name.endswith("qkv") and widths[0] is not None and widths[1] is not None:
                    muon[f"{name}.weight"] = (widths[0], widths[1], widths[1])
                else:
                    muon[f"{name}.weight"] = (module.out_features,)
    adamw = settings.adamw
    groups: list[dict[str, Any]] = []
    common = {"beta1": adamw.beta1, "beta2": adamw.beta2, "epsilon": adamw.epsilon}
    for decays in (True, False):
        names = [
            name
            for name, parameter in named.items()
            if name not in muon and (adamw.decay_all or (parameter.ndim >= 2 and "embedding" not in name)) == decays
        ]
        if names:
            decay = adamw.weight_decay if decays else 0.0
            group = {"kind": "adamw", "base_rate": adamw.rate, "lr": adamw.rate, "weight_decay": decay, **common}
            groups.append({"params": [named[name] for name in names], "names": names, **group})
    if settings.muon is not None and muon:
        names = [name for name in named if name in muon]
        group = {"kind": "muon", "base_rate": settings.muon.rate, "lr": settings.muon.rate, "settings": settings.muon}
        rows = [muon[name] for name in names]
        groups.append({"params": [named[name] for name in names], "names": names, "rows": rows, **group})
    return MuonAdamW(groups)


def _scale(settings: MuonSettings, rows: int, columns: int) -> float:
    if settings.scale == "rms":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def _local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds; shares its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _like(local: Tensor, reference: DTensor) -> DTensor:
    """A local shard as a DTensor laid out as ``reference``."""
    return DTensor.from_local(
        local, reference.device_mesh, reference.placements, shape=reference.shape, stride=reference.stride()
    )
