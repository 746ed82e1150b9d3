"""Text: files and hub data sets, tokenizers, memory-mapped tokens, fixed orders, and training sequences from them."""

from .data import TextData
from .permutations import PERMUTATIONS, PermutationName, make_permutation
from .shards import TokenIndex, TokenSet, read_index, write_tokens
from .sources import Document, file_documents, find_files, read_pieces

__all__ = [
    "PERMUTATIONS",
    "Document",
    "PermutationName",
    "TextData",
    "TokenIndex",
    "TokenSet",
    "file_documents",
    "find_files",
    "make_permutation",
    "read_index",
    "read_pieces",
    "write_tokens",
]
