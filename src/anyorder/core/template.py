"""Templates: text with values and holes, made into a canvas, and a filled canvas read back as text for each hole.

    Q: {question}\\n{reasoning:128}\\nThe answer is {answer:8}

``{name}`` is a value, text that must be given; ``{name:length}`` is a hole of that many tokens. Braces are written
``{{`` and ``}}``, as in ``str.format``. A value is text and nothing else: a brace or the name of a special token in it
means nothing. Literals and values that touch are tokenised as one text, as the model saw them in training.

A value given for a hole pins it: the hole is then known, which turns decoding into sampling from the posterior. The
pinned text is followed by the end of text, and by padding up to the hole's length; a text that fills the hole exactly
has neither. Reading a hole cuts at the first end of text or padding.

A chat template puts a tokenizer's own markup around messages, each of which is a template. Markup is made of special
tokens; the messages are not, whatever they hold.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import torch

from anyorder.core.canvas import Canvas
from anyorder.core.errors import UserError

if TYPE_CHECKING:
    from jaxtyping import Int64
    from torch import Tensor

    from anyorder.core.tokenizers import Tokenizer

LONGEST_HOLE = 1_000_000
"""The most tokens of one hole."""


@dataclass(frozen=True)
class Value:
    """A place for text that must be given; ``where`` says where it stands in the template."""

    name: str
    where: str


@dataclass(frozen=True)
class Hole:
    """A place for ``length`` tokens that are to be filled; ``where`` says where it stands in the template."""

    name: str
    length: int
    where: str


Part = str | Value | Hole


@runtime_checkable
class ChatTokenizer(Protocol):
    """A tokenizer that knows how a conversation is marked up."""

    def chat(self, roles: Sequence[str], *, reply: bool) -> list[list[int | str]]:
        """The markup around the messages of these roles: one list before each message and one after the last.

        A list holds special tokens (int) and text between them. With ``reply``, what opens the assistant's next
        message stands last.
        """
        ...


@dataclass(frozen=True)
class Template:
    """A text with values and holes.

    Args:
        text: the template; see the module's docstring for its form.

    Raises:
        UserError: a brace without its partner, a bad name or length, or one name for two things; the message says at
            which column.
    """

    text: str
    parts: tuple[Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise UserError(f"template: must be text, not {type(self.text).__name__}")
        object.__setattr__(self, "parts", tuple(_parse(self.text)))
        _check_names(self.parts)

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        return _names(self.parts, Value)

    @property
    def holes(self) -> dict[str, int]:
        """Names of the holes, in order, and their lengths in tokens."""
        return {part.name: part.length for part in self.parts if isinstance(part, Hole)}

    def resized(self, **lengths: int) -> Template:
        """The same template with other lengths of some holes. Raises ``UserError`` for a hole that it has not."""
        missing = [name for name in lengths if name not in self.holes]
        if missing:
            raise UserError(
                f"template: it has no hole {missing[0]!r}; it has {', '.join(map(repr, self.holes)) or 'none'}"
            )
        written = []
        for part in self.parts:
            if isinstance(part, str):
                written.append(part.replace("{", "{{").replace("}", "}}"))
            elif isinstance(part, Hole):
                written.append(f"{{{part.name}:{lengths.get(part.name, part.length)}}}")
            else:
                written.append(f"{{{part.name}}}")
        return Template("".join(written))

    def canvas(self, tokenizer: Tokenizer, /, **values: str) -> Canvas:
        """A canvas of one row.

        Args:
            tokenizer: makes tokens of text. What it puts around every text (its ``frame``) is put around this one.
            values: text for every value, and for the holes to pin.

        Returns:
            A canvas with a named hole for every hole; a pinned one is known.

        Raises:
            UserError: a missing or unknown name, a value that is no text, or one longer than its hole.
        """
        before, after = getattr(tokenizer, "frame", ((), ()))
        return _canvas([*before, *_fill(self.parts, values), *after], values, tokenizer)

    def batch(
        self, tokenizer: Tokenizer, rows: Iterable[Mapping[str, str]], *, side: Literal["left", "right"] = "right"
    ) -> Canvas:
        """A canvas with a row for each mapping of names to texts, padded to the longest on ``side``."""
        made = [self.canvas(tokenizer, **row) for row in rows]
        return Canvas.stack(made, side=side, pad_token=tokenizer.pad_token_id)

    def render(self, /, **values: str) -> str:
        """The text with every value and every hole given: what the canvas reads when its holes hold these texts."""
        missing = [name for name in self.holes if name not in values]
        if missing:
            raise UserError(f"template: no text for the hole {missing[0]!r}")
        parts = _fill(self.parts, values)
        return "".join(values[part.name] if isinstance(part, Hole) else str(part) for part in parts)


@dataclass(frozen=True)
class ChatTemplate:
    """A conversation of templates, marked up as the tokenizer's chat template says.

    Where the last message is the assistant's, nothing closes it: its holes hold their own end.

    Args:
        messages: pairs of a role (``system``, ``user``, ``assistant``) and a template's text.

    Raises:
        UserError: no message, a role that is no text, or a mistake in a template (the message says in which).
    """

    messages: tuple[tuple[str, str], ...]
    templates: tuple[Template, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        messages = tuple(self.messages)
        if not messages:
            raise UserError("chat template: needs at least one message")
        made = []
        for number, message in enumerate(messages, start=1):
            if not isinstance(message, (tuple, list)) or len(message) != 2 or not isinstance(message[0], str):
                raise UserError(f"chat template: message {number} must be a pair of a role and a text")
            try:
                made.append(Template(message[1]))
            except UserError as error:
                raise UserError(f"chat template: message {number}: {error}") from None
        object.__setattr__(self, "messages", tuple((role, text) for role, text in messages))
        object.__setattr__(self, "templates", tuple(made))
        _check_names([part for template in made for part in template.parts])

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        return _names([part for template in self.templates for part in template.parts], Value)

    @property
    def holes(self) -> dict[str, int]:
        """Names of the holes, in order, and their lengths in tokens."""
        return {name: length for template in self.templates for name, length in template.holes.items()}

    def canvas(self, tokenizer: Tokenizer, /, **values: str) -> Canvas:
        """A canvas of one row; arguments and errors are those of `Template.canvas`.

        Raises:
            UserError: the tokenizer has no chat template, or refuses these roles.
        """
        if not isinstance(tokenizer, ChatTokenizer):
            raise UserError(f"chat template: {type(tokenizer).__name__} has no markup for conversations")
        roles = [role for role, _ in self.messages]
        reply = roles[-1] == "assistant" and len(roles) > 1
        markup = tokenizer.chat(roles[:-1] if reply else roles, reply=reply)
        _refuse_unknown(self.values, self.holes, values)
        laid = list[int | str | Hole](markup[0])
        for number, template in enumerate(self.templates):
            known = {name: values[name] for name in values if name in template.values or name in template.holes}
            laid.extend(_fill(template.parts, known))
            laid.extend(markup[number + 1] if number + 1 < len(markup) else ())
        return _canvas(laid, values, tokenizer)


def read_holes(
    tokenizer: Tokenizer, canvas: Canvas, tokens: Int64[Tensor, "batch length"] | None = None
) -> list[dict[str, str]]:
    """The text of every hole of every row, up to its end of text.

    Args:
        tokenizer: as for the canvas.
        canvas: says where the holes are.
        tokens: int64 (batch, length), the filled canvas (``result.tokens``); the canvas's own where not given.
            A position that was never decided holds the mask token, which has no text.
    """
    tokens = canvas.tokens if tokens is None else tokens
    if tokens.shape != canvas.tokens.shape:
        raise UserError(f"tokens have shape {tuple(tokens.shape)}, the canvas {tuple(canvas.tokens.shape)}")
    ends = _ends(tokenizer)
    rows: list[dict[str, str]] = [{} for _ in range(canvas.batch)]
    for name, hole in canvas.holes.items():
        for row, texts in enumerate(rows):
            texts[name] = tokenizer.decode(until_end(tokens[row][hole[row]].tolist(), ends))
    return rows


def read_text(tokenizer: Tokenizer, canvas: Canvas, tokens: Int64[Tensor, "batch length"] | None = None) -> list[str]:
    """The whole text of every row: what is outside of holes, and the text of each hole where it stands."""
    tokens = canvas.tokens if tokens is None else tokens
    ends = _ends(tokenizer)
    owner = torch.full_like(canvas.tokens, -1)
    for number, hole in enumerate(canvas.holes.values()):
        owner = owner.masked_fill(hole, number)
    real = torch.ones_like(canvas.unknown) if canvas.attention_mask is None else canvas.attention_mask
    texts = []
    for row in range(canvas.batch):
        kept: list[int] = []
        closed = set[int]()
        for token, hole in zip(tokens[row][real[row]].tolist(), owner[row][real[row]].tolist(), strict=True):
            if hole >= 0 and token in ends:
                closed.add(hole)
            if hole not in closed:
                kept.append(token)
        texts.append(tokenizer.decode(kept))
    return texts


def until_end(tokens: Sequence[int], ends: frozenset[int]) -> list[int]:
    """The tokens before the first end of text or padding."""
    for index, token in enumerate(tokens):
        if token in ends:
            return list(tokens[:index])
    return list(tokens)


def _ends(tokenizer: Tokenizer) -> frozenset[int]:
    """Tokens that end a hole's text; a tokenizer may name more than one (``end_token_ids``)."""
    named = getattr(tokenizer, "end_token_ids", ())
    return frozenset({tokenizer.end_token_id, tokenizer.pad_token_id, *named})


# ---------------------------------------------------------------- text to parts


def _parse(text: str) -> list[Part]:
    parts: list[Part] = []
    literal: list[str] = []
    index = 0
    while index < len(text):
        character = text[index]
        if character in "{}" and text[index + 1 : index + 2] == character:
            literal.append(character)
            index += 2
        elif character == "}":
            raise UserError(f"template: {_where(text, index)}: '}}' without '{{'; write '}}}}' for a brace in the text")
        elif character == "{":
            close = text.find("}", index + 1)
            inner = text.find("{", index + 1)
            if close < 0 or 0 <= inner < close:
                raise UserError(
                    f"template: {_where(text, index)}: '{{' is not closed; write '{{{{' for a brace in the text"
                )
            if literal:
                parts.append("".join(literal))
                literal = []
            parts.append(_field(text, index + 1, close))
            index = close + 1
        else:
            following = min((at for at in (text.find("{", index), text.find("}", index)) if at >= 0), default=len(text))
            literal.append(text[index:following])
            index = following
    return [*parts, "".join(literal)] if literal else parts


def _field(text: str, start: int, end: int) -> Value | Hole:
    """What stands between two braces."""
    name, colon, length = text[start:end].partition(":")
    where = _where(text, start)
    if not name:
        raise UserError(f"template: {where}: a name is missing; write '{{name}}' or '{{name:length}}'")
    if not name.isidentifier():
        bad = next((i for i in range(len(name)) if not f"_{name[: i + 1]}".isidentifier()), 0)
        raise UserError(
            f"template: {_where(text, start + bad)}: {_shown(name)} is no name; use letters, digits and underscores, "
            "a letter first"
        )
    if not colon:
        return Value(name, where)
    at = _where(text, start + len(name) + 1)
    if not (length.isascii() and length.isdigit()):
        shown = _shown(length) if length else "nothing"
        raise UserError(f"template: {at}: the length of a hole is a whole number of tokens, not {shown}")
    digits = length.lstrip("0") or "0"
    if len(digits) > len(str(LONGEST_HOLE)) or int(digits) > LONGEST_HOLE:
        raise UserError(f"template: {at}: a hole of {_shown(length)} tokens is too long; at most {LONGEST_HOLE:,}")
    return Hole(name, int(digits), where)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _where(text: str, index: int) -> str:
    """Where a character stands, counted from 1; the line is said where there are several."""
    line = text.count("\n", 0, index) + 1
    column = index - (text.rfind("\n", 0, index) + 1) + 1
    return f"line {line}, column {column}" if "\n" in text else f"column {column}"


def _check_names(parts: Iterable[Part]) -> None:
    """A hole's name is its own; a value may stand in several places."""
    seen: dict[str, Value | Hole] = {}
    for part in parts:
        if isinstance(part, str):
            continue
        other = seen.setdefault(part.name, part)
        if other is not part and (isinstance(part, Hole) or isinstance(other, Hole)):
            kind = "hole" if isinstance(other, Hole) else "value"
            raise UserError(f"template: {part.where}: {part.name!r} is already the name of a {kind} ({other.where})")


def _names(parts: Iterable[Part], kind: type) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.name for part in parts if isinstance(part, kind) and not isinstance(part, str)))


# ---------------------------------------------------------------- parts to canvas


def _refuse_unknown(wanted: Sequence[str], holes: Mapping[str, int], values: Mapping[str, str]) -> None:
    known = [*wanted, *holes]
    for name, value in values.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(map(repr, known)) or 'none'}"
            raise UserError(f"template: it has no value or hole {name!r}{hint}")
        if not isinstance(value, str):
            raise UserError(f"template: {name} must be text, not {type(value).__name__}")


def _fill(parts: Sequence[Part], values: Mapping[str, str]) -> list[str | Hole]:
    """Literals, the text of values, and holes."""
    _refuse_unknown(_names(parts, Value), {part.name: 0 for part in parts if isinstance(part, Hole)}, values)
    filled: list[str | Hole] = []
    for part in parts:
        if isinstance(part, Value):
            if part.name not in values:
                raise UserError(f"template: {part.where}: no text for the value {part.name!r}")
            filled.append(values[part.name])
        else:
            filled.append(part)
    return filled


def _canvas(laid: Sequence[int | str | Hole], values: Mapping[str, str], tokenizer: Tokenizer) -> Canvas:
    """One row of tokens (int), text and holes."""
    tokens: list[int] = []
    spans: dict[str, tuple[int, int]] = {}
    pinned = set[str]()
    text: list[str] = []

    def flush() -> None:
        if text:
            tokens.extend(tokenizer.encode("".join(text)))
            text.clear()

    for part in laid:
        if isinstance(part, str):
            text.append(part)
            continue
        flush()
        if isinstance(part, int):
            tokens.append(part)
            continue
        start = len(tokens)
        if part.name in values:
            tokens.extend(_pinned(part, values[part.name], tokenizer))
            pinned.add(part.name)
        else:
            tokens.extend([tokenizer.mask_token_id] * part.length)
        spans[part.name] = (start, start + part.length)
    flush()
    holes = {}
    unknown = torch.zeros(1, len(tokens), dtype=torch.bool)
    for name, (start, end) in spans.items():
        holes[name] = torch.zeros_like(unknown)
        holes[name][:, start:end] = True
        if name not in pinned:
            unknown |= holes[name]
    return Canvas(torch.tensor([tokens], dtype=torch.int64).view(1, -1), unknown, holes=holes)


def _pinned(hole: Hole, text: str, tokenizer: Tokenizer) -> list[int]:
    """A hole's tokens when its text is known."""
    tokens = tokenizer.encode(text)
    left = hole.length - len(tokens)
    if left < 0:
        raise UserError(
            f"template: the text for {hole.name!r} has {len(tokens)} tokens, but the hole ({hole.where}) has room for "
            f"{hole.length}"
        )
    return tokens if not left else [*tokens, tokenizer.end_token_id, *[tokenizer.pad_token_id] * (left - 1)]
