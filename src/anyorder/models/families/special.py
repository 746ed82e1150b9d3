"""Which tokens are the mask, the end of text and the padding, read from a checkpoint's own files.

``config.json`` and ``generation_config.json`` may state ids; the tokenizer's files state spellings and the id of every
token. A spelling that all files leave out is the family's; its id is always looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyorder.core.errors import UserError
from anyorder.models.families.family import Family, read_json

_NAMES = {"mask": ("mask_token",), "end": ("eos_token", "sep_token"), "pad": ("pad_token",)}


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of a checkpoint's special tokens.

    Attributes:
        mask: the mask token; None where the files name none.
        end: ends a text; the first of ``ends``.
        pad: padding.
        ends: every token that the files call an end of text.
        count: number of tokens of the tokenizer; None without its files.
    """

    mask: int | None
    end: int
    pad: int
    ends: tuple[int, ...]
    count: int | None


def special_tokens(folder: Path, settings: Mapping[str, Any], family: Family) -> SpecialTokens:
    """Read the ids. Raises ``UserError`` for a damaged file, or where no file says what ends a text."""
    words = Vocabulary(folder)
    stated = [settings, words.read("generation_config.json")]

    def find(kind: str) -> tuple[int, ...]:
        for values in stated:
            for name in _NAMES[kind]:
                found = values.get(f"{name}_id")
                found = found if isinstance(found, list) else [] if found is None else [found]
                if found:
                    return tuple(_id(folder, f"{name}_id", value) for value in found)
        spellings = [spelt for name in _NAMES[kind] if (spelt := words.spelling(name)) is not None]
        for spelt in [*spellings, *([family.tokens[kind]] if kind in family.tokens else [])]:
            if spelt in words.ids:
                return (words.ids[spelt],)
        return ()

    mask, ends, pads = find("mask"), find("end"), find("pad")
    if not ends and not pads:
        raise UserError(f"{folder}: no file says which token ends a text (eos_token_id in config.json)")
    ends = ends or pads
    return SpecialTokens(mask[0] if mask else None, ends[0], (pads or ends)[0], ends, words.count)


class Vocabulary:
    """What the tokenizer's files say of single tokens, without the tokenizer.

    Attributes:
        ids: the id of every token by its spelling.
        count: one more than the largest id; None where there are no files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._named = [self.read("tokenizer_config.json"), self.read("special_tokens_map.json")]
        self.ids = self._ids()
        self.count = max(self.ids.values()) + 1 if self.ids else None

    def read(self, name: str) -> dict[str, Any]:
        """A JSON file of the folder; nothing where it is not there."""
        path = self._folder / name
        return read_json(path) if path.is_file() else {}

    def spelling(self, name: str) -> str | None:
        """How a special token is written, as in ``mask_token``."""
        for values in self._named:
            found = values.get(name)
            found = found.get("content") if isinstance(found, dict) else found
            if isinstance(found, str) and found:
                return found
        return None

    def _ids(self) -> dict[str, int]:
        ids: dict[str, int] = {}
        whole = self.read("tokenizer.json")
        model = whole.get("model")
        listed = model.get("vocab") if isinstance(model, dict) else None
        if isinstance(listed, list):
            listed = {entry[0]: index for index, entry in enumerate(listed) if isinstance(entry, list) and entry}
        tables: list[object] = [listed, self.read("vocab.json"), self.read("added_tokens.json")]
        lines = self._folder / "vocab.txt"
        if lines.is_file():
            try:
                words = lines.read_text(encoding="utf-8").split("\n")
            except (OSError, UnicodeDecodeError):
                raise UserError(f"{lines} cannot be read as UTF-8 text") from None
            tables.append({word: index for index, word in enumerate(words[:-1] if words[-1] == "" else words)})
        added = whole.get("added_tokens")
        for entry in added if isinstance(added, list) else []:
            if isinstance(entry, dict):
                tables.append({entry.get("content"): entry.get("id")})
        decoder = self._named[0].get("added_tokens_decoder")
        for number, entry in decoder.items() if isinstance(decoder, dict) else ():
            if isinstance(entry, dict) and number.isascii() and number.isdigit() and len(number) < 10:
                tables.append({entry.get("content"): int(number)})
        for table in tables:
            for word, index in table.items() if isinstance(table, dict) else ():
                if not isinstance(word, str) or isinstance(index, bool) or not isinstance(index, int) or index < 0:
                    raise UserError(f"{self._folder}: the tokenizer gives {word!r} the id {index!r}")
                ids[word] = index
        return ids


def _id(folder: Path, name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UserError(f"{folder}: {name} must be a token's number, not {value!r}")
    return value
