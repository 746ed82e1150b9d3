"""Training: one loop, exact resume. ``python -m anyorder.training CONFIG.yaml``.

``train(settings, run_dir)`` runs or continues a training; ``load_settings(path)`` reads its YAML file;
``export_shards`` and ``import_shards`` turn a checkpoint into files small enough for git, and back.
"""

from anyorder.training.interrupts import Interrupted
from anyorder.training.loop import TrainResult, train
from anyorder.training.settings import TrainSettings, load_settings
from anyorder.training.shards import export_shards, import_shards

__all__ = ["Interrupted", "TrainResult", "TrainSettings", "export_shards", "import_shards", "load_settings", "train"]
