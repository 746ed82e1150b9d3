"""Networks, exact oracles, and how they are stored.

``Transformer`` and ``TransformerConfig`` are the one network; ``EnumeratedJoint`` and ``MarkovChain`` know their
distribution exactly; ``from_pretrained``, ``save_pretrained`` and ``push_to_hub`` read and write models as safetensors.
"""

from anyorder.models.checkpoints import from_pretrained, push_to_hub, save_pretrained, shipped_models
from anyorder.models.oracle import EnumeratedJoint, MarkovChain
from anyorder.models.transformer import Transformer
from anyorder.models.transformer_config import Grid, TransformerConfig

__all__ = [
    "EnumeratedJoint",
    "Grid",
    "MarkovChain",
    "Transformer",
    "TransformerConfig",
    "from_pretrained",
    "push_to_hub",
    "save_pretrained",
    "shipped_models",
]
