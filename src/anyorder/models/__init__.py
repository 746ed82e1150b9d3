"""Networks, exact oracles, and how they are stored.

``Transformer`` and ``TransformerConfig`` are the one network; ``from_pretrained``, ``save_pretrained`` and
``push_to_hub`` read and write models as safetensors.
"""

from anyorder.models.checkpoints import from_pretrained, push_to_hub, save_pretrained, shipped_models
from anyorder.models.transformer import Grid, Transformer, TransformerConfig

__all__ = [
    "Grid",
    "Transformer",
    "TransformerConfig",
    "from_pretrained",
    "push_to_hub",
    "save_pretrained",
    "shipped_models",
]
