"""What a tokenizer is, and the one that needs no files: UTF-8 bytes.

A tokenizer turns text into tokens and back, and states the three tokens that a masked diffusion model of text needs:
the mask, the end of text, and the padding. Text is only ever text: ``encode`` never gives one of these three, whatever
the text holds. No base class is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from anyorder.core.errors import UserError

_BYTES = 256


@runtime_checkable
class Tokenizer(Protocol):
    """Text to tokens and back.

    Attributes:
        vocab_size: number of tokens, the special ones included.
        mask_token_id: stands where a token is not decided.
        end_token_id: ends a text; what follows it in a hole is padding.
        pad_token_id: fills what is left. A model may use one token for this and for the end of text.
    """

    @property
    def vocab_size(self) -> int: ...

    @property
    def mask_token_id(self) -> int: ...

    @property
    def end_token_id(self) -> int: ...

    @property
    def pad_token_id(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, with nothing put before or after it. Markup of special tokens in it stays text."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens. Mask, end of text and padding have none and are dropped."""
        ...


@dataclass(frozen=True)
class ByteTokenizer:
    """Tokens 0 to 255 are the bytes of the text in UTF-8; then the end of text, the padding and the mask.

    Bytes that are no UTF-8 (a character cut in two, or a model's invention) decode to U+FFFD, one for each maximal
    broken part; text that UTF-8 cannot hold (lone surrogates) is refused.
    """

    @property
    def vocab_size(self) -> int:
        """256 bytes and three special tokens."""
        return _BYTES + 3

    @property
    def end_token_id(self) -> int:
        """End of text."""
        return _BYTES

    @property
    def pad_token_id(self) -> int:
        """Padding."""
        return _BYTES + 1

    @property
    def mask_token_id(self) -> int:
        """The mask."""
        return _BYTES + 2

    def encode(self, text: str) -> list[int]:
        """The bytes of a text. Raises ``UserError`` where it holds half a surrogate pair."""
        try:
            return list(text.encode())
        except UnicodeEncodeError as error:
            raise UserError(
                f"text: character {error.start} is half a surrogate pair, which UTF-8 cannot hold"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some bytes, without special tokens. Raises ``UserError`` for what is no token."""
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise UserError(f"tokens: {token} is not one of the {self.vocab_size} of the byte tokenizer")
        return bytes(token for token in ids if token < _BYTES).decode(errors="replace")
