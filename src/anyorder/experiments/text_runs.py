"""What the experiments on text share: the tokens, and trainings that stop and go on.

The text is novels (``text/*.txt.gz`` in the data folder), kept as tokens in the folder of what long runs keep. At the
smallest scale it is made up, so that nothing has to be at hand.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.core.errors import UserError
from anyorder.experiments.experiment import Settings, Unfinished
from anyorder.tasks.text.bpe import BpeTokenizer, open_tokenizer, train_bpe
from anyorder.tasks.text.shards import BYTES, INDEX, TokenIndex, read_index, write_tokens
from anyorder.tasks.text.sources import Document, file_documents, find_files, read_pieces
from anyorder.training import TrainSettings, train

if TYPE_CHECKING:
    from anyorder.core.tokenizers import Tokenizer
    from anyorder.models.transformer import Transformer

_ARTICLES = ("the", "a", "one", "this")
_ADJECTIVES = ("old", "young", "wise", "small")
_NOUNS = ("count", "prince", "lady", "horse", "house", "road", "letter", "garden")
_VERBS = ("sees", "meets", "finds", "leaves", "loves", "follows", "hears", "remembers")
_JOINTS = ("near", "under", "behind", "and", "but", "while", "because")


@dataclass(frozen=True)
class Corpus:
    """A folder of tokens, its index and its tokenizer."""

    folder: Path
    index: TokenIndex
    tokenizer: Tokenizer

    @property
    def facts(self) -> dict[str, Any]:
        """The data as a record states them."""
        train_tokens = self.index.splits["train"]
        return {
            "name": self.index.origin,
            "count": self.index.tokens,
            "fingerprint": train_tokens.sha256,
            "tokenizer": self.index.tokenizer,
            "bytes_per_token": round(self.index.bytes / max(1, self.index.tokens), 4),
        }


def open_corpus(settings: Settings, *, vocab_size: int | None, block: int) -> Corpus:
    """The tokens of an experiment, made where they are not there yet; ``vocab_size`` None means bytes.

    Raises:
        UserError: there is no text, or a byte-pair encoding is wanted where the library for it is missing.
    """
    kind = BYTES if vocab_size is None else f"bpe{vocab_size}"
    smoke = settings.scale == "smoke"
    folder = settings.work / f"text-{'smoke' if smoke else 'novels'}-{kind}-{block}"
    if not (folder / INDEX).is_file():
        if smoke:
            files, origin = [], "made-up sentences"
        else:
            files = _novels(settings)
            origin = "novels: " + ", ".join(file.name.partition(".")[0] for file in files)
        tokenizer = None if vocab_size is None else train_bpe(_pieces(files), vocab_size)
        write_tokens(
            folder,
            file_documents(files) if files else iter([Document("made up", _sentences(6000))]),
            open_bytes() if tokenizer is None else tokenizer,
            name=BYTES if tokenizer is None else tokenizer.name,
            definition=tokenizer.definition if isinstance(tokenizer, BpeTokenizer) else None,
            origin=origin,
            block=block,
        )
    return Corpus(folder, read_index(folder), open_tokenizer(folder))


def open_bytes() -> Tokenizer:
    """The tokenizer that needs no training."""
    from anyorder.core.tokenizers import ByteTokenizer

    return ByteTokenizer()


class Clock:
    """Counts the minutes that a leg of a long experiment may take."""

    def __init__(self, minutes: float | None) -> None:
        self._end = None if minutes is None else time.monotonic() + 60 * minutes

    @property
    def minutes(self) -> float | None:
        """What is left, never nothing at all; None without a limit."""
        return None if self._end is None else max((self._end - time.monotonic()) / 60, 1e-6)


def text_settings(
    name: str,
    corpus: Corpus,
    *,
    length: int,
    model: Mapping[str, Any],
    steps: int,
    batch_size: int,
    order: str | None = None,
    draw: int = 0,
    seed: int = 0,
    **others: Any,
) -> TrainSettings:
    """Settings of one training on the corpus; ``order`` None is masked diffusion."""
    return TrainSettings.from_dict(
        {
            "name": name,
            "seed": seed,
            "task": {
                "name": "text",
                "length": length,
                "tokenizer": corpus.index.tokenizer,
                "vocab_size": corpus.index.vocab_size,
                "order": order,
                "draw": draw,
            },
            "model": dict(model),
            "data": {"path": str(corpus.folder)},
            "objective": {"form": "masked" if order is None else "autoregressive"},
            "steps": steps,
            "batch_size": batch_size,
            **others,
        }
    )


def trained(training: TrainSettings, folder: Path, clock: Clock) -> tuple[Transformer, dict[str, Any]]:
    """The network of a training, continued where it stopped, and its last evaluation.

    Raises:
        Unfinished: the time is up.
    """
    result = train(training, folder, minutes=clock.minutes, show_progress=True)
    if result.model is None:
        raise Unfinished(
            f"stopped {training.name} at step {result.step} of {training.steps}; the same command continues"
        )
    figures = [one for one in result.evaluations if one.get("set") == "validation"]
    if not figures:
        raise UserError(f"{folder} has no evaluation at its end; delete the folder to train again")
    return result.model, figures[-1]


def _novels(settings: Settings) -> list[Path]:
    path = settings.data_path("novels in plain text")
    novels = sorted((path / "text").glob("*.txt.gz")) if (path / "text").is_dir() else find_files([path])
    if not novels:
        raise UserError(f"{path / 'text'} holds no file that ends in .txt.gz")
    return novels


def _pieces(files: list[Path]) -> Iterator[str]:
    if not files:
        yield from _sentences(6000)
    for file in files:
        yield from read_pieces(file)


def _sentences(count: int) -> list[str]:
    """Sentences of a small vocabulary with some grammar to learn, the same at every call."""
    rng = random.Random(20_240_501)

    def phrase() -> str:
        return f"{rng.choice(_ARTICLES)} {rng.choice(_ADJECTIVES)} {rng.choice(_NOUNS)}"

    return [
        f"{phrase()} {rng.choice(_VERBS)} {phrase()} {rng.choice(_JOINTS)} {phrase()} {rng.choice(_VERBS)}.\n"
        for _ in range(count)
    ]
