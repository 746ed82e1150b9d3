"""From a run to what gets committed: a model folder, and a checkpoint in shards that a later run continues.

``python -m anyorder.training.release RUN_DIR [--model FOLDER] [--state FOLDER] [--step N]``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from anyorder.core.errors import UserError
from anyorder.models.checkpoints import save_pretrained
from anyorder.models.transformer import Transformer
from anyorder.training.build import make_model
from anyorder.training.card import write_card
from anyorder.training.settings import TrainSettings
from anyorder.training.shards import export_shards
from anyorder.training.state import Checkpoint, copy_into, list_checkpoints, load_checkpoint


def model_of(checkpoint: Checkpoint) -> Transformer:
    """The evaluated model of a checkpoint: the average of the weights where one is kept. On the CPU.

    Raises:
        UserError: the weights do not fit the checkpoint's settings.
    """
    settings = TrainSettings.from_dict(checkpoint.data["settings"])
    with torch.random.fork_rng(devices=[]):
        model = make_model(settings)
    group = "average" if "average" in checkpoint.tensors else "model"
    copy_into(dict(model.named_parameters()), checkpoint.tensors[group], group)
    return model.eval()


def checkpoint_of(path: Path, step: int | None = None) -> Path:
    """The newest checkpoint of a run directory, or that of ``step``. Raises ``UserError`` where there is none."""
    found = dict(list_checkpoints(path / "checkpoints"))
    if not found:
        raise UserError(f"{path} holds no checkpoints; name the directory of a run")
    if step is not None and step not in found:
        raise UserError(f"{path} has no checkpoint of step {step}; it has {', '.join(map(str, found))}")
    return found[max(found) if step is None else step]


def main(arguments: list[str] | None = None) -> int:
    """Write what the command line asks for, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m anyorder.training.release", description=__doc__)
    parser.add_argument("run_dir", type=Path, help="directory of a run")
    parser.add_argument("--model", type=Path, help="write the model of the checkpoint here, with its card")
    parser.add_argument("--state", type=Path, help="write the checkpoint here, in shards of at most 16 MiB")
    parser.add_argument("--step", type=int, help="the checkpoint of this step instead of the newest")
    options = parser.parse_args(arguments)
    try:
        path = checkpoint_of(options.run_dir, options.step)
        if options.model is not None:
            checkpoint = load_checkpoint(path)
            model = model_of(checkpoint)
            print(save_pretrained(model, options.model, write_card(options.run_dir, model, checkpoint.step)))
        if options.state is not None:
            files = export_shards(path, options.state)
            print(f"{options.state}: {len(files)} files, {sum(file.stat().st_size for file in files):,} bytes")
    except UserError as error:
        print(f"anyorder: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
