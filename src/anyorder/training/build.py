"""The parts of a run, made from its settings."""

from __future__ import annotations

import shutil
import warnings

import torch
from accelerate import Accelerator
from torch import nn

from anyorder.core.errors import UserError
from anyorder.models.transformer import Transformer, TransformerConfig
from anyorder.training.data import task_facts, task_shape
from anyorder.training.seeds import derived_seed
from anyorder.training.settings import TrainSettings
from anyorder.training.step import MaskedLoss


def model_config(settings: TrainSettings) -> TransformerConfig:
    """The network's settings; what the task decides is filled in, and refused where the file contradicts it."""
    shape = task_shape(settings.task)
    given = dict(settings.model)
    if given.get("positions") != "grid":
        shape.pop("grid")
    for name, value in shape.items():
        if name in given and given[name] not in (value, None):
            raise UserError(f"model.{name} is {given[name]!r}, but the task needs {value!r}: leave it out")
    try:
        return TransformerConfig.from_dict({**given, **shape})
    except UserError as error:
        raise UserError(f"model: {error}") from None


def make_model(settings: TrainSettings) -> Transformer:
    """The network with its starting weights, a function of the settings and the seed alone; on the CPU."""
    config = model_config(settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(settings.seed, "weights"))
        model = Transformer(config)
    model.task = task_facts(settings.task)
    return model


def make_accelerator(settings: TrainSettings) -> Accelerator:
    """Device, processes and precision. The launcher's environment says how many processes there are."""
    plugin = None
    if settings.distributed == "fsdp":
        if not torch.distributed.is_available():
            raise UserError("distributed: fsdp needs a torch with torch.distributed")
        from accelerate.utils import FullyShardedDataParallelPlugin

        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap", transformer_cls_names_to_wrap=["Block"]
        )
    precision = "bf16" if settings.precision == "bfloat16" else "no"
    try:
        accelerator = Accelerator(
            mixed_precision=precision,
            fsdp_plugin=plugin,
            log_with=list(settings.trackers) or None,  # pyright: ignore[reportArgumentType]
            project_dir=settings.name if settings.trackers else None,
        )
    except ValueError as error:
        raise UserError(f"accelerate: {' '.join(str(error).split())}") from error
    if settings.distributed == "fsdp" and accelerator.num_processes == 1:
        raise UserError("distributed: fsdp needs several processes; start them with torchrun or accelerate launch")
    return accelerator


def wrap(model: Transformer, settings: TrainSettings, accelerator: Accelerator) -> nn.Module:
    """The loss of ``model`` as a module on the device, wrapped for the processes, the precision and compilation.

    The parameters stay those of ``model`` (under FSDP they become shards in place).
    """
    module = MaskedLoss(model, all_depths=settings.objective.depths == "all")
    if settings.compile:
        if accelerator.device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
            warnings.warn("compile: no C++ compiler was found (c++, g++, clang++); training runs uncompiled", stacklevel=2)
        else:
            # The number of masked positions differs from step to step.
            module.compile(dynamic=True)
    if settings.distributed == "fsdp":
        model.to(accelerator.device)
        # Accelerate shards a model only together with an optimiser; ours is made after, from the shards.
        carrier = torch.optim.SGD(module.parameters(), lr=0.0)
        wrapped, _ = accelerator.prepare(module, carrier)
        return wrapped
    return accelerator.prepare_model(module)
