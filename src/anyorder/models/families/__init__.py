"""Families of published checkpoints, each a `Family`: its settings, its weights by name, its tokens.

``loading.load`` opens a folder of any of them; ``tokenizers.load_tokenizer`` its tokenizer (extra ``hf``);
``causal.open_causal`` any causal model that transformers knows (extra ``hf``).
"""

from anyorder.models.families.decoders import DREAM, LLAMA, MISTRAL, QWEN2, QWEN3, SDAR
from anyorder.models.families.encoders import BERT, MODERN_BERT
from anyorder.models.families.family import Family, Piece
from anyorder.models.families.llada import LLADA
from anyorder.models.families.mixtures import LLADA2

FAMILIES = (LLADA, DREAM, SDAR, LLADA2, BERT, MODERN_BERT, QWEN2, QWEN3, LLAMA, MISTRAL)
"""Every family, those made for masked diffusion first."""

__all__ = ["FAMILIES", "Family", "Piece"]
