"""Byte-pair encodings trained on the text at hand (extra ``hf``: the library ``tokenizers``), and a set's tokenizer.

The base alphabet is the 256 bytes, so every text can be encoded and comes back unchanged. The three special tokens lie
behind the learned ones and are unknown to the encoder: end of text n, padding n + 1, mask n + 2, for n learned tokens.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (1508.07909); the bytes as base
alphabet: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.core.files import write_text
from anyorder.core.tokenizers import ByteTokenizer, Tokenizer

from .shards import BYTES, TOKENIZER, read_index

SPECIAL = 3
SMALLEST = 256 + SPECIAL


class BpeTokenizer:
    """A trained byte-pair encoding. ``definition`` is the content of its ``tokenizer.json``.

    Raises:
        UserError: ``tokenizers`` is not installed, or the definition cannot be read.
    """

    def __init__(self, definition: str) -> None:
        self.definition = definition
        try:
            self._encoder = _library().Tokenizer.from_str(definition)
        except UserError:
            raise
        except Exception as error:  # the library raises a bare Exception
            raise UserError(f"the tokenizer cannot be read: {' '.join(str(error).split())}") from error
        self.learned = self._encoder.get_vocab_size()

    @property
    def name(self) -> str:
        """``bpe-SIZE-DIGEST``, which tells tokenizers apart."""
        return f"bpe-{self.vocab_size}-{hashlib.sha256(self.definition.encode()).hexdigest()[:8]}"

    @property
    def vocab_size(self) -> int:
        """Learned tokens and the three special ones."""
        return self.learned + SPECIAL

    @property
    def end_token_id(self) -> int:
        """End of text."""
        return self.learned

    @property
    def pad_token_id(self) -> int:
        """Padding."""
        return self.learned + 1

    @property
    def mask_token_id(self) -> int:
        """The mask."""
        return self.learned + 2

    def encode(self, text: str) -> list[int]:
        """The tokens of a text. Raises ``UserError`` where it holds half a surrogate pair."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"text: character {error.start} is half a surrogate pair, which UTF-8 cannot hold"
            ) from None
        return self._encoder.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens, without special ones. Raises ``UserError`` for what is no token."""
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise UserError(f"tokens: {token} is not one of the {self.vocab_size} of this tokenizer")
        return self._encoder.decode([token for token in ids if token < self.learned], skip_special_tokens=False)

    def save(self, path: str | Path) -> None:
        """Write the definition."""
        write_text(path, self.definition)

    @classmethod
    def load(cls, path: str | Path) -> BpeTokenizer:
        """Read a definition that `save` wrote. Raises ``UserError`` where it cannot be read."""
        try:
            return cls(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read the tokenizer {path}: {error}") from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def train_bpe(pieces: Iterable[str], vocab_size: int) -> BpeTokenizer:
    """Learn a byte-pair encoding of at most ``vocab_size`` tokens, the three special ones included, from some text.

    Words, numbers and signs are split before (GPT-2's rule), so no token holds parts of two words.

    Raises:
        UserError: fewer than 259 tokens are asked for, or ``tokenizers`` is not installed.
    """
    if vocab_size < SMALLEST:
        raise UserError(f"a byte-pair encoding needs at least {SMALLEST} tokens, not {vocab_size}")
    library = _library()
    encoder = library.Tokenizer(library.models.BPE())
    encoder.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    encoder.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size - SPECIAL,
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    encoder.train_from_iterator(pieces, trainer)
    return BpeTokenizer(encoder.to_str())


def open_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a folder of tokens. Raises ``UserError`` where it is missing, or did not make these tokens."""
    index = read_index(folder)
    if index.tokenizer == BYTES:
        return ByteTokenizer()
    tokenizer = BpeTokenizer.load(Path(folder) / TOKENIZER)
    if tokenizer.name != index.tokenizer:
        raise UserError(f"{folder}: the tokens were made by {index.tokenizer}, but its tokenizer is {tokenizer.name}")
    return tokenizer


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError:
        raise UserError(
            "byte-pair encodings need the library tokenizers: pip install 'anyorder[hf]', or use bytes"
        ) from None
    return tokenizers
