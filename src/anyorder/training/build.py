"""The parts of a run, made from its settings."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard

from anyorder.core.errors import UserError
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import STRUCTURES, TransformerConfig
from anyorder.training.kinds import find_kind
from anyorder.training.seeds import derived_seed
from anyorder.training.settings import TrainSettings
from anyorder.training.step import MaskedLoss


def model_config(settings: TrainSettings) -> TransformerConfig:
    """The network's settings; what the task decides is filled in, and refused where the file contradicts it."""
    shape = find_kind(settings.task.name).shape(settings.task)
    given = dict(settings.model)
    for structure in STRUCTURES.keys() - {given.get("positions")}:
        shape.pop(structure, None)
    for name, value in shape.items():
        if name in given and given[name] not in (value, None):
            raise UserError(f"model.{name} is {given[name]!r}, but the task needs {value!r}: leave it out")
    try:
        config = TransformerConfig.from_dict({**given, **shape})
    except UserError as error:
        raise UserError(f"model: {error}") from None
    if settings.objective.form == "autoregressive" and not (config.attention == "causal" and config.logits_shift):
        raise UserError("objective.form: autoregressive needs model.attention: causal and model.logits_shift: true")
    return config


def make_model(settings: TrainSettings) -> Transformer:
    """The network with its starting weights, a function of the settings and the seed alone; on the CPU."""
    config = model_config(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(settings.seed, "weights"))
        model = Transformer(config)
    model.task = find_kind(settings.task.name).facts(settings.task)
    return model


def make_accelerator(settings: TrainSettings, run_dir: Path, *, cpu: bool = False) -> Accelerator:
    """Device, processes and precision. The launcher's environment says how many processes there are.

    Raises:
        UserError: a tracker that is not installed, sharding over one process, or an ``Accelerator`` of another
            precision that the program made before.
    """
    try:
        accelerator = Accelerator(
            # Told so, several processes on a machine without an accelerator find each other through gloo.
            cpu=cpu or not torch.accelerator.is_available(),
            mixed_precision="bf16" if settings.precision == "bfloat16" else "no",
            log_with=list(settings.trackers) or None,  # pyright: ignore[reportArgumentType]
            project_dir=run_dir if settings.trackers else None,
        )
        # Accelerate passes over a tracker that is not installed.
        absent = [name for name in settings.trackers if name not in {str(kind) for kind in accelerator.log_with}]
        if absent:
            raise UserError(f"the tracker {absent[0]!r} is not installed; pip install {absent[0]}")
        if settings.trackers:
            accelerator.init_trackers(settings.name, config=_flat(settings.to_dict()))
    except UserError:
        raise
    except (ValueError, ImportError) as error:
        raise UserError(f"accelerate: {' '.join(str(error).split())}") from error
    if settings.distributed == "fsdp" and accelerator.num_processes == 1:
        raise UserError("distributed: fsdp needs several processes; start them with torchrun or accelerate launch")
    return accelerator


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``outer.inner`` names, for trackers that take only text and numbers."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return flat


def wrap(model: Transformer, settings: TrainSettings, accelerator: Accelerator) -> nn.Module:
    """The loss of ``model`` as a module on the device, wrapped for the processes, the precision and compilation.

    The parameters stay those of ``model``; under FSDP they become shards in place, one group a block.
    """
    module = MaskedLoss(model, all_depths=settings.objective.depths == "all")
    if settings.compile:
        if accelerator.device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            warnings.warn("compile: found no C++ compiler (c++, g++, clang++); training runs uncompiled", stacklevel=2)
        else:
            # Block by block: their shapes stay the same while the number of masked positions differs between steps.
            for block in model.blocks:
                block.compile(dynamic=False)
    if settings.distributed != "fsdp":
        return accelerator.prepare_model(module)
    # Torch's own sharding, because Accelerate's wants an optimiser at hand and refuses CPUs. The shards and their sums
    # stay in float32 and autocast picks the precision of the products, as without sharding.
    module.to(accelerator.device)
    for block in model.blocks:
        fully_shard(block)
    fully_shard(module)
    return module


@contextmanager
def gradients_kept_local(module: nn.Module, accelerator: Accelerator) -> Iterator[None]:
    """Within the block, ``backward`` adds up gradients without exchanging them between the processes."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(False)
        try:
            yield
        finally:
            module.set_requires_gradient_sync(True)
    else:
        with accelerator.no_sync(module):
            yield
