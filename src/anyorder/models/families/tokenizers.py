"""The tokenizer of a model: bytes for ours, a fast tokenizer of transformers for a published checkpoint (extra ``hf``).

Text stays text: where a text holds the spelling of a special token, it is tokenised as the characters that it is made
of. Markup of conversations comes from the checkpoint's chat template alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyorder.core.errors import UserError
from anyorder.core.tokenizers import ByteTokenizer, Tokenizer
from anyorder.models.checkpoints import CONFIG, is_published, read_config, resolve
from anyorder.models.families.family import extra, read_json
from anyorder.models.families.loading import family_of
from anyorder.models.families.special import special_tokens

if TYPE_CHECKING:
    from anyorder.models.transformer import Transformer

_OPEN, _CLOSE = "\ue000", "\ue001"  # of a placeholder, from the private use area


def load_tokenizer(name: str | Path, *, model: Transformer | None = None, revision: str | None = None) -> Tokenizer:
    """The tokenizer that belongs to a model.

    Args:
        name: as for `anyorder.from_pretrained`.
        model: the model, where it is open already: its mask token is taken (it may have been named or made anew).
        revision: of a hub repository.

    Raises:
        UserError: no such model, one whose sequences are no text, damaged files, or transformers is not installed.
    """
    folder = resolve(str(name), revision)
    if not is_published(folder):
        config, task = read_config(folder)
        if (folder / "tokenizer.json").is_file() and task is not None and task.get("name") == "language":
            ends = task.get("end_token_ids") or [task["end_token_id"]]
            return _fast(folder, "", config.mask_token_id, ends, task["pad_token_id"])
        tokenizer = ByteTokenizer()
        if (config.vocab_size, config.mask_token_id) != (tokenizer.vocab_size, tokenizer.mask_token_id):
            raise UserError(f"{name} is no model of text: its {config.vocab_size} tokens are not those of bytes")
        return tokenizer
    values = read_json(folder / CONFIG)
    family = family_of(values, folder / CONFIG)
    special = special_tokens(folder, values, family)
    mask = special.mask if model is None else model.mask_token_id
    if mask is None:
        raise UserError(f"{folder}: no file says which token is the mask; open the model first and pass it")
    return _fast(folder, family.tokenizer, mask, special.ends, special.pad)


def _fast(folder: Path, kind: str, mask: int, ends: Sequence[int], pad: int) -> FastTokenizer:
    transformers = extra("transformers", "a published checkpoint's tokenizer")
    name = "PreTrainedTokenizerFast" if (folder / "tokenizer.json").is_file() or not kind else kind
    try:
        made = getattr(transformers, name).from_pretrained(folder)
    except Exception as error:  # whatever transformers and its Rust part raise on damaged files
        raise UserError(f"{folder}: its tokenizer cannot be read: {' '.join(str(error).split())}") from None
    return FastTokenizer(made, mask_token_id=mask, end_token_ids=tuple(ends), pad_token_id=pad)


class FastTokenizer:
    """A fast tokenizer of transformers as a `Tokenizer`.

    Args:
        tokenizer: made by transformers.
        mask_token_id, pad_token_id: as for `Tokenizer`.
        end_token_ids: every token that ends a text, at least one; the first is ``end_token_id``. The token that closes
            an assistant's message in the chat template is one of them by itself.
    """

    def __init__(self, tokenizer: Any, *, mask_token_id: int, end_token_ids: Sequence[int], pad_token_id: int) -> None:
        self._tokenizer = tokenizer
        self.mask_token_id, self.pad_token_id = mask_token_id, pad_token_id
        self.end_token_id = end_token_ids[0]
        added = tokenizer.added_tokens_decoder
        named = {index: str(token) for index, token in added.items()}
        named |= {tokenizer.convert_tokens_to_ids(word): word for word in tokenizer.all_special_tokens}
        self._special = {word: index for index, word in named.items() if word}
        self._silent = {mask_token_id, pad_token_id, *end_token_ids}
        self._silent |= {index for index, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        pattern = "|".join(map(re.escape, sorted(self._special, key=len, reverse=True)))
        self._markup = re.compile(f"({pattern})") if pattern else None
        self.vocab_size = max(len(tokenizer), mask_token_id + 1, pad_token_id + 1)
        closing = self._closing()
        self.end_token_ids = tuple(dict.fromkeys([*end_token_ids, *([] if closing is None else [closing])]))
        self.frame = self._frame()

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, none of them special."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"text: character {error.start} is half a surrogate pair, which UTF-8 has not") from None
        ids = self._ids(text)
        if self._markup is None or not any(token in self._silent or token in self._special.values() for token in ids):
            return ids
        ids = []
        for piece in self._markup.split(text):
            # In two halves no spelling of a special token is left.
            halves = (piece[:1], piece[1:]) if piece in self._special else (piece,)
            for half in halves:
                ids.extend(token for token in self._ids(half) if token not in self._silent)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens, without special ones."""
        kept = [token for token in ids if token not in self._silent]
        for token in kept:
            if not 0 <= token < self.vocab_size:
                raise UserError(f"tokens: {token} is not one of the {self.vocab_size} of the tokenizer")
        return self._tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def chat(self, roles: Sequence[str], *, reply: bool) -> list[list[int | str]]:
        """The markup around messages, as `anyorder.core.template.ChatTokenizer` has it."""
        if not self._tokenizer.chat_template:
            raise UserError("chat template: this checkpoint's tokenizer has none")
        holders = [f"{_OPEN}{number}{_CLOSE}" for number in range(len(roles))]
        messages = [{"role": role, "content": holder} for role, holder in zip(roles, holders, strict=True)]
        rendered = self._render(messages, reply)
        if not isinstance(rendered, str):
            raise UserError("chat template: this checkpoint's template gives no text")
        pieces = re.split(f"{_OPEN}(\\d+){_CLOSE}", rendered)
        if pieces[1::2] != [str(number) for number in range(len(roles))]:
            raise UserError(
                f"chat template: this checkpoint's template does not show the roles {', '.join(roles)} once"
            )
        return [self._tokens(piece) for piece in pieces[::2]]

    def _render(self, messages: list[dict[str, str]], reply: bool) -> Any:
        errors = extra("jinja2", "a chat template")
        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply)
        except (errors.TemplateError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"chat template: this checkpoint's refuses it: {' '.join(str(error).split())}") from None

    def _tokens(self, text: str) -> list[int | str]:
        """Special tokens of a piece of markup, and the text between them."""
        if self._markup is None:
            return [text] if text else []
        return [self._special.get(piece, piece) for piece in self._markup.split(text) if piece]

    def _ids(self, text: str) -> list[int]:
        made = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)
        return list(made["input_ids"])

    def _frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What the tokenizer puts before and after every text."""
        bare = self._ids("a")
        framed = list(self._tokenizer("a", verbose=False)["input_ids"])
        for start in range(len(framed) - len(bare) + 1):
            if framed[start : start + len(bare)] == bare:
                return tuple(framed[:start]), tuple(framed[start + len(bare) :])
        return (), ()

    def _closing(self) -> int | None:
        """The special token that closes an assistant's message."""
        if not self._tokenizer.chat_template:
            return None
        try:
            after = self.chat(["user", "assistant"], reply=False)[-1]
        except UserError:  # a template for other conversations closes nothing that we could know of
            return None
        return next((token for token in after if isinstance(token, int)), None)
