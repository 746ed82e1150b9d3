"""What the child processes of these tests run. Importable by name, because the processes are started afresh."""

from __future__ import annotations

import gc
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from anyorder.training import TrainSettings, state, train
from anyorder.training.__main__ import main


def run(values: dict[str, Any], run_dir: str, environment: dict[str, str] | None = None) -> None:
    """Train to the end on one thread; no wrapped module may outlive the group of processes that it holds."""
    os.environ.update(environment or {})
    destroy = torch.distributed.destroy_process_group

    def checked(*arguments: Any) -> None:
        assert not any(isinstance(one, DistributedDataParallel) for one in gc.get_objects())
        destroy(*arguments)

    torch.distributed.destroy_process_group = checked
    train(TrainSettings.from_dict(values), run_dir, threads=1)


def run_and_hang(values: dict[str, Any], run_dir: str, before_step: int, marker: str) -> None:
    """Train, but stop for ever between writing the checkpoint of ``before_step`` and renaming it."""
    finish = state._finish

    def hang(temporary: Path, final: Path) -> None:
        if final.name == state.checkpoint_name(before_step):
            Path(marker).touch()
            while True:
                time.sleep(60)
        finish(temporary, final)

    state._finish = hang
    torch.set_num_threads(1)
    run(values, run_dir)


def limited(arguments: list[str], size: int | None, errors: str) -> None:
    """Run the command with standard error in a file, and no file larger than ``size`` bytes."""
    sys.stderr = open(errors, "w")  # noqa: SIM115
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    code = main([*arguments, "--threads", "1"])
    sys.stderr.close()
    os._exit(code)
