"""Tokens on disk: a folder of memory-mapped shards with an index.

    index.json             format, vocabulary, tokenizer, splits with their shards and SHA-256 over their tokens
    tokenizer.json         the trained tokenizer (not for bytes)
    train-00000.bin ...    little-endian uint16 (uint32 for vocabularies beyond 65,536), nothing else
    validation-00000.bin ...

Documents are laid end to end, each closed by the end-of-text token. Of this one stream every ``validation_every``-th
block of ``block`` tokens goes to the validation split, so both splits hold parts of every long document and the choice
depends on nothing but the stream. The folder appears under its name when it is complete, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import numpy as np

from anyorder.core.errors import UserError, reason
from anyorder.core.files import replacing_folder
from anyorder.core.tokenizers import Tokenizer

if TYPE_CHECKING:
    from jaxtyping import Int64

    from .sources import Document

FORMAT = 1
INDEX, TOKENIZER, BYTES = "index.json", "tokenizer.json", "bytes"
SPLITS = ("train", "validation")
Split = Literal["train", "validation"]
SHARD = 1 << 24
BLOCK = 1 << 14
VERIFIED = 1 << 28
"""A split of at most so many bytes is checked against its SHA-256 whenever it is opened."""


@dataclass(frozen=True)
class SplitIndex:
    """One split: how many tokens, the SHA-256 over them, and its files with the tokens of each."""

    tokens: int
    sha256: str
    shards: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class TokenIndex:
    """What ``index.json`` says of a folder of tokens.

    Attributes:
        tokenizer: its name: "bytes", or "bpe-SIZE-DIGEST".
        vocab_size, mask_token_id, end_token_id: of the tokenizer.
        documents: how many texts there were.
        characters: of all texts together.
        bytes: of all texts together, in UTF-8.
        origin: where the texts came from, in words.
        splits: "train" and, where there is one, "validation".
    """

    tokenizer: str
    vocab_size: int
    mask_token_id: int
    end_token_id: int
    documents: int
    characters: int
    bytes: int
    origin: str
    splits: dict[str, SplitIndex]

    @property
    def dtype(self) -> np.dtype:
        """Of a stored token."""
        return np.dtype("<u2" if self.vocab_size <= 1 << 16 else "<u4")

    @property
    def tokens(self) -> int:
        """Of all splits."""
        return sum(split.tokens for split in self.splits.values())


def read_index(folder: str | Path) -> TokenIndex:
    """The index of a folder of tokens. Raises ``UserError`` where there is none, or none that this version reads."""
    path = Path(folder) / INDEX
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder} is no folder of tokens: it has no {INDEX}; make one with anyorder data text"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or values.pop("anyorder_tokens", None) != FORMAT:
        raise UserError(f"{path} is no index of tokens of format {FORMAT}; make the folder with anyorder data text")
    try:
        splits = {
            name: SplitIndex(one["tokens"], one["sha256"], tuple((file, count) for file, count in one["shards"]))
            for name, one in values.pop("splits").items()
        }
        return TokenIndex(**values, splits=splits)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error!r}; make the folder again") from None


# ---------------------------------------------------------------- writing


def write_tokens(
    folder: str | Path,
    documents: Iterable[Document],
    tokenizer: Tokenizer,
    *,
    name: str = BYTES,
    definition: str | None = None,
    origin: str = "",
    validation_every: int | None = 20,
    block: int = BLOCK,
    shard: int = SHARD,
    progress: Callable[[int], None] | None = None,
) -> TokenIndex:
    """Tokenise documents into a folder, whole or not at all; an earlier folder of tokens there is replaced.

    Args:
        folder: made when missing.
        documents: the texts, read once; one after the other in memory, piece by piece.
        tokenizer: with its ``name`` and, for a trained one, its ``definition``, which is kept beside the tokens.
        origin: where the texts come from, in words.
        validation_every: each so-many-th block is for validation; None for no such split.
        block: tokens of a block; a multiple of the sequence length keeps windows of validation inside one block.
        shard: the most tokens of a file.
        progress: called with the number of tokens so far.

    Raises:
        UserError: no text, too little for a validation block, a folder that holds something else, a full disk.
    """
    if block < 1 or shard < 1 or (validation_every is not None and validation_every < 2):
        raise UserError("tokens: block and shard must be at least 1, validation_every at least 2 (or None)")
    with replacing_folder(folder, "write tokens to", ours=lambda there: (there / INDEX).is_file()) as new:
        stream = _Stream(new, tokenizer.vocab_size, validation_every, block, shard)
        try:
            counts = _tokenise(stream, documents, tokenizer, progress)
        finally:
            stream.close()
        splits = stream.splits()
        if not splits or splits["train"].tokens == 0:
            raise UserError("there is no text to tokenise")
        if validation_every is not None and "validation" not in splits:
            raise UserError(
                f"{splits['train'].tokens} tokens are too few to keep a block of {block} in {validation_every} for "
                "validation: choose smaller blocks, or no validation"
            )
        special = {name: getattr(tokenizer, name) for name in ("vocab_size", "mask_token_id", "end_token_id")}
        index = TokenIndex(tokenizer=name, **special, **counts, origin=origin, splits=splits)
        if definition is not None:
            _write(new / TOKENIZER, definition)
        _write(new / INDEX, json.dumps({"anyorder_tokens": FORMAT, **asdict(index)}, indent=1) + "\n")
    return index


def _tokenise(
    stream: _Stream, documents: Iterable[Document], tokenizer: Tokenizer, progress: Callable[[int], None] | None
) -> dict[str, int]:
    """Every document and an end of text behind it; documents without text are passed over."""
    counts = {"documents": 0, "characters": 0, "bytes": 0}
    for document in documents:
        empty = True
        for piece in document.pieces:
            try:
                tokens = tokenizer.encode(piece)
            except UserError as error:
                raise UserError(f"{document.name}: {error}") from None
            empty = empty and not piece
            counts["characters"] += len(piece)
            counts["bytes"] += len(piece.encode())
            stream.add(tokens)
            if progress is not None:
                progress(stream.count)
        if not empty:
            stream.add([tokenizer.end_token_id])
            counts["documents"] += 1
    return counts


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


class _Stream:
    """Deals the blocks of one stream of tokens out to the splits."""

    def __init__(self, folder: Path, vocab_size: int, every: int | None, block: int, shard: int) -> None:
        self.count = 0
        self._block, self._every, self._vocab_size = block, every, vocab_size
        dtype = np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")
        self._files = {name: _SplitFile(folder, name, dtype, shard) for name in SPLITS}

    def add(self, tokens: list[int]) -> None:
        values = np.asarray(tokens, dtype=np.int64)
        if len(values) and (values.min() < 0 or values.max() >= self._vocab_size):
            raise UserError(f"the tokenizer gave a token outside 0..{self._vocab_size - 1}")
        while len(values):
            number, inside = divmod(self.count, self._block)
            part = values[: self._block - inside]
            last = self._every is not None and number % self._every == self._every - 1
            self._files["validation" if last else "train"].write(part)
            self.count += len(part)
            values = values[len(part) :]

    def splits(self) -> dict[str, SplitIndex]:
        return {name: file.index() for name, file in self._files.items() if file.tokens}

    def close(self) -> None:
        for file in self._files.values():
            file.close()


class _SplitFile:
    """The shards of one split, one open at a time."""

    def __init__(self, folder: Path, name: str, dtype: np.dtype, limit: int) -> None:
        self.tokens = 0
        self._folder, self._name, self._dtype, self._limit = folder, name, dtype, limit
        self._shards: list[list[Any]] = []
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()

    def write(self, values: np.ndarray) -> None:
        while len(values):
            file = self._open()
            part = values[: self._limit - self._shards[-1][1]]
            data = part.astype(self._dtype).tobytes()
            file.write(data)
            self._digest.update(data)
            self._shards[-1][1] += len(part)
            self.tokens += len(part)
            values = values[len(part) :]

    def _open(self) -> IO[bytes]:
        """The file to write on, a new one where the last is full."""
        if self._file is not None and self._shards[-1][1] < self._limit:
            return self._file
        self.close()
        self._shards.append([f"{self._name}-{len(self._shards):05d}.bin", 0])
        self._file = file = (self._folder / self._shards[-1][0]).open("wb")
        return file

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                file.flush()
                os.fsync(file.fileno())

    def index(self) -> SplitIndex:
        return SplitIndex(self.tokens, self._digest.hexdigest(), tuple((file, count) for file, count in self._shards))


# ---------------------------------------------------------------- reading


class TokenSet:
    """One split of a folder of tokens, memory-mapped: any number of processes share the pages.

    Raises:
        UserError: no such folder or split, a shard that is missing, cut off, or (small splits) altered.
    """

    def __init__(self, folder: str | Path, split: Split = "train") -> None:
        self.folder, self.split = Path(folder), split
        self.index = read_index(folder)
        if split not in self.index.splits:
            held = ", ".join(self.index.splits)
            raise UserError(f"{folder} has no {split} split, only: {held}; make it again with a validation part")
        self._part = self.index.splits[split]
        self._shards = [self._open(file, count) for file, count in self._part.shards]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        if len(self) != self._part.tokens:
            raise UserError(f"{self.folder / INDEX} is damaged: the tokens of its shards do not add up")
        if len(self) * self.index.dtype.itemsize <= VERIFIED and self._sha256() != self._part.sha256:
            raise UserError(f"{folder} is damaged: the {split} tokens do not match their SHA-256; make them again")

    def __len__(self) -> int:
        return int(self._starts[-1])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the tokens, the split and the tokenizer, in hexadecimal."""
        text = f"tokens {self.split} {self.index.tokenizer} {self.index.vocab_size} {self._part.sha256}"
        return hashlib.sha256(text.encode()).hexdigest()

    def windows(self, starts: Int64[np.ndarray, " n"], length: int) -> Int64[np.ndarray, "n length"]:
        """The ``length`` tokens from each of ``starts`` on, (n, length) int64.

        Raises:
            UserError: a window does not lie inside the split.
        """
        starts = np.asarray(starts, dtype=np.int64)
        if length < 1 or (len(starts) and (starts.min() < 0 or starts.max() + length > len(self))):
            raise UserError(f"windows of {length} tokens must lie inside the {len(self)} tokens of {self.folder}")
        out = np.empty((len(starts), length), dtype=np.int64)
        first = np.searchsorted(self._starts, starts, side="right") - 1
        last = np.searchsorted(self._starts, starts + length - 1, side="right") - 1
        for number in np.unique(first[first == last]):
            rows = np.flatnonzero((first == number) & (last == number))
            at = (starts[rows] - self._starts[number])[:, None] + np.arange(length)
            out[rows] = self._shards[number][at]
        for row in np.flatnonzero(first != last):  # few: one window in a shard's length
            shards = range(first[row], last[row] + 1)
            low = [max(0, int(starts[row] - self._starts[number])) for number in shards]
            high = [int(starts[row] + length - self._starts[number]) for number in shards]
            parts = zip(shards, low, high, strict=True)
            out[row] = np.concatenate([self._shards[number][a:b] for number, a, b in parts])
        return out

    def _open(self, file: str, count: int) -> np.ndarray:
        path, dtype = self.folder / file, self.index.dtype
        try:
            size = path.stat().st_size
            if size != count * dtype.itemsize or Path(file).name != file:
                raise UserError(f"{path} is damaged: {size} bytes instead of {count * dtype.itemsize}; make it again")
            return np.memmap(path, dtype=dtype, mode="r", shape=(count,))
        except OSError as error:
            raise UserError(f"cannot read {path}: {reason(error)}") from None

    def _sha256(self) -> str:
        digest = hashlib.sha256()
        for shard in self._shards:
            digest.update(shard)  # pyright: ignore[reportArgumentType]
        return digest.hexdigest()
