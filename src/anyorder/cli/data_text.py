"""``anyorder data text``: texts as a folder of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from anyorder.cli import screen
from anyorder.cli.options import IntOption, PathOption, TextOption, at_least
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from anyorder.core.tokenizers import Tokenizer
    from anyorder.tasks.text import Document


@dataclass(frozen=True)
class TextData:
    """Tokenise texts: `anyorder data text novels/ more.txt.gz --out tokens`.

    Files are plain text in UTF-8, packed by gzip or not; a folder gives its .txt and .gz files. With --hub a data set
    of the Hugging Face hub is streamed instead (or a local folder in the same format). The folder that is written is
    what the training kind "text" reads.
    """

    out: Path
    """folder to write"""
    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """text files and folders"""
    hub: TextOption = None
    """a data set of the hub (owner/name), or a folder of data files, instead of text files"""
    config: TextOption = None
    """configuration of the data set"""
    split: str = "train"
    """part of the data set"""
    column: str = "text"
    """field of the data set that holds the text"""
    limit: IntOption = None
    """read only so many records of the data set"""
    tokenizer: Literal["bytes", "bpe"] = "bytes"
    """bytes, or a byte-pair encoding trained on these texts"""
    vocab_size: int = 4096
    """tokens of the byte-pair encoding, the three special ones included"""
    trained: PathOption = None
    """a folder of tokens whose tokenizer is taken, instead of training one"""
    validation_every: int = 20
    """one block in so many is kept for validation; 0 for none"""
    block: int = 16_384
    """tokens of a block"""
    shard: int = 16_777_216
    """most tokens of a file"""

    def __post_init__(self) -> None:
        at_least("--vocab-size", self.vocab_size, 259)
        at_least("--limit", self.limit, 1)
        at_least("--block", self.block, 1)
        at_least("--shard", self.shard, 1)
        if self.validation_every < 0 or self.validation_every == 1:
            raise UserError(f"--validation-every must be 0 (none) or at least 2, not {self.validation_every}")
        if bool(self.files) == (self.hub is not None):
            raise UserError("name text files, or a data set with --hub: one of the two")
        if self.hub is None and (self.config, self.split, self.column, self.limit) != (None, "train", "text", None):
            raise UserError("--config, --split, --column and --limit belong to --hub")
        if self.trained is not None and self.tokenizer == "bpe":
            raise UserError("--tokenizer bpe trains a tokenizer and --trained takes one: give one of the two")

    def run(self) -> None:
        """Read, tokenise, write."""
        from anyorder.tasks.text import write_tokens

        definition: str | None = None
        with screen.bars() as progress:
            task = progress.add_task("tokens", total=None, remark="")
            tokenizer, name, definition = self._tokenizer(
                lambda: progress.update(task, remark="training the tokenizer")
            )
            index = write_tokens(
                self.out,
                self._documents(),
                tokenizer,
                name=name,
                definition=definition,
                origin=self.hub or ", ".join(str(path.name) for path in self.files),
                validation_every=self.validation_every or None,
                block=self.block,
                shard=self.shard,
                progress=lambda done: progress.update(task, completed=done, remark=""),
            )
        splits = ", ".join(f"{part.tokens:,} {split} tokens" for split, part in index.splits.items())
        screen.output().print(
            f"{index.documents:,} texts of {index.bytes:,} bytes, {splits}, {index.tokenizer} "
            f"(vocab_size {index.vocab_size}): {self.out}"
        )

    def _documents(self) -> Iterator[Document]:
        from anyorder.tasks.text import file_documents
        from anyorder.tasks.text.hub import hub_documents

        if self.hub is None:
            return file_documents(self.files)
        return hub_documents(self.hub, config=self.config, split=self.split, column=self.column, limit=self.limit)

    def _tokenizer(self, starts: Callable[[], None]) -> tuple[Tokenizer, str, str | None]:
        """The tokenizer with its name and, for a trained one, its definition."""
        from anyorder.core.tokenizers import ByteTokenizer
        from anyorder.tasks.text.bpe import BpeTokenizer, open_tokenizer, train_bpe
        from anyorder.tasks.text.shards import BYTES

        if self.trained is not None:
            tokenizer = open_tokenizer(self.trained)
        elif self.tokenizer == "bpe":
            starts()
            pieces = (piece for document in self._documents() for piece in document.pieces)
            tokenizer = train_bpe(pieces, self.vocab_size)
        else:
            tokenizer = ByteTokenizer()
        if isinstance(tokenizer, BpeTokenizer):
            return tokenizer, tokenizer.name, tokenizer.definition
        return tokenizer, BYTES, None
