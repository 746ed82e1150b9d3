"""Templates: what is written comes out, what is wrong is named with its column, and text is never markup."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import anyorder as ao
from anyorder.core.template import LONGEST_HOLE, Hole, read_holes, read_text

BYTES = ao.ByteTokenizer()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", "{", "}", "{{", "}}", "{x}", "{x:8}", "[MASK]", "<|mdm_mask|>", "🙂", "👩‍👩‍👧", "\n", "é", "|endoftext|"]
)


class Words:
    """A tokenizer of words in angle brackets and single characters, with frame, markup and two ends."""

    vocab_size, mask_token_id, end_token_id, pad_token_id = 1_200_000, 1, 2, 3
    end_token_ids = (2, 4)
    frame = ((5,), (6,))

    def encode(self, text: str) -> list[int]:
        return [100 + ord(character) for character in text]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(chr(token - 100) for token in ids if token >= 100)

    def chat(self, roles: Sequence[str], *, reply: bool) -> list[list[int | str]]:
        between: list[list[int | str]] = [[7, f"{role}:"] for role in roles] + [[]]
        for later in between[1:]:
            later.insert(0, 4)
        if reply:
            between[-1] += [7, "assistant:"]
        return between


def escape(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


PARTS = st.lists(
    st.tuples(st.just("literal"), TEXT)
    | st.tuples(st.just("value"), TEXT)
    | st.tuples(st.just("hole"), TEXT, st.sampled_from([0, 1, 2, 7])),
    max_size=8,
)


@given(PARTS)
def test_round_trip_of_any_template_is_exact(drawn: list[Any]) -> None:
    """Every hole pinned: the canvas reads as the template renders, and each hole as its text."""
    text, plain, values, lengths = "", "", {}, {}
    for number, (kind, content, *room) in enumerate(drawn):
        name = f"n{number}"
        if kind == "literal":
            text += escape(content)
        elif kind == "value":
            text += f"{{{name}}}"
            values[name] = content
        else:
            lengths[name] = len(BYTES.encode(content)) + room[0]
            text += f"{{{name}:{lengths[name]}}}"
            values[name] = content
        plain += content
    template = ao.Template(text)
    assert template.holes == lengths
    assert template.render(**values) == plain
    canvas = template.canvas(BYTES, **values)
    assert not canvas.unknown.any()
    assert read_text(BYTES, canvas) == [plain]
    assert read_holes(BYTES, canvas) == [{name: values[name] for name in lengths}]
    free = template.canvas(BYTES, **{name: value for name, value in values.items() if name not in lengths})
    assert int(free.unknown.sum()) == sum(lengths.values())
    assert free.length == canvas.length
    filled = torch.where(free.unknown, canvas.tokens, free.tokens)
    assert read_text(BYTES, free, filled) == [plain]


@given(TEXT)
def test_literals_escape_as_in_str_format(text: str) -> None:
    assert ao.Template(escape(text)).render() == escape(text).format() == text


@given(TEXT)
def test_a_value_is_text_whatever_it_holds(value: str) -> None:
    canvas = ao.Template("<{value}>{hole:3}").canvas(BYTES, value=value)
    assert canvas.tokens[0, :-3].tolist() == BYTES.encode(f"<{value}>")
    assert canvas.unknown.tolist() == [[False] * (canvas.length - 3) + [True] * 3]


def test_touching_texts_are_tokenised_as_one() -> None:
    asked = []

    class Listens(Words):
        def encode(self, text: str) -> list[int]:
            asked.append(text)
            return super().encode(text)

    ao.Template("a{b}c{h:1}d{b}").canvas(Listens(), b="B")
    assert asked == ["aBc", "dB"]


def test_a_pinned_hole_ends_and_is_padded() -> None:
    template = ao.Template("{a:4}{b:2}{c:0}{d:1}")
    canvas = template.canvas(BYTES, a="x", b="yz", c="")
    assert canvas.tokens.tolist() == [[120, 256, 257, 257, 121, 122, 258]]
    assert canvas.unknown.tolist() == [[False] * 6 + [True]]
    assert list(canvas.holes) == ["a", "b", "c", "d"]
    assert not canvas.holes["c"].any()
    assert read_holes(BYTES, canvas) == [{"a": "x", "b": "yz", "c": "", "d": ""}]
    with pytest.raises(ao.UserError, match=r"the text for 'b' has 3 tokens, but the hole \(column 7\) has room for 2"):
        template.canvas(BYTES, b="xyz")


def test_reading_stops_at_any_end() -> None:
    words = Words()
    canvas = ao.Template("q{h:5}").canvas(words)
    for end in (2, 3, 4):
        filled = torch.where(canvas.unknown, torch.tensor([0, 0, 165, 166, end, 167, 168, 0]), canvas.tokens)
        assert read_holes(words, canvas, filled) == [{"h": "AB"}]
        assert read_text(words, canvas, filled) == ["qAB"]


def test_the_frame_of_a_tokenizer_goes_around() -> None:
    canvas = ao.Template("a{h:1}").canvas(Words())
    assert canvas.tokens.tolist() == [[5, 197, 1, 6]]


def test_batches_are_padded_to_the_longest() -> None:
    template = ao.Template("{q}={a:2}")
    canvas = template.batch(BYTES, [{"q": "1"}, {"q": "123"}], side="left")
    assert canvas.attention_mask is not None
    assert canvas.attention_mask.tolist() == [[False] * 2 + [True] * 4, [True] * 6]
    assert canvas.tokens[0, 0] == BYTES.pad_token_id
    assert read_text(BYTES, canvas) == ["1=", "123="]
    assert template.values == ("q",)


def test_chat_templates_put_markup_around_and_leave_the_reply_open() -> None:
    words = Words()
    chat = ao.ChatTemplate((("user", "{q} 7"), ("assistant", "so {r:2} is {a:1}")))
    canvas = chat.canvas(words, q="<|eot|>")
    assert words.decode(canvas.tokens[0].tolist()) == "user:<|eot|> 7assistant:so  is "
    assert [token for token in canvas.tokens[0].tolist() if token < 100] == [7, 4, 7, 1, 1, 1]
    assert chat.holes == {"r": 2, "a": 1}
    assert chat.values == ("q",)
    pinned = chat.canvas(words, q="", a="x")
    assert int(pinned.unknown.sum()) == 2
    closed = ao.ChatTemplate((("user", "{q:3}"),)).canvas(words)
    assert closed.tokens[0, -1] == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a{", "column 2: '{' is not closed"),
        ("a}b", "column 2: '}' without '{'"),
        ("{a{b}}", "column 1: '{' is not closed"),
        ("x{}", "column 3: a name is missing"),
        ("x{:3}", "column 3: a name is missing"),
        ("{a b}", "column 3: 'a b' is no name"),
        ("{ a}", "column 2: ' a' is no name"),
        ("{1a}", "column 2: '1a' is no name"),
        ("{a!r}", "column 3: 'a!r' is no name"),
        ("{a:}", "column 4: the length of a hole is a whole number of tokens, not nothing"),
        ("{a:-1}", "not '-1'"),
        ("{a:1.5}", "not '1.5'"),
        ("{a:٣}", "not '٣'"),
        ("{a:²}", "not '²'"),
        (f"{{a:{LONGEST_HOLE + 1}}}", "too long; at most 1,000,000"),
        ("{a:" + "9" * 10_000 + "}", "too long"),
        ("ab\n\ncd{a:x}", "line 3, column 6"),
        ("{a}{a:3}", "column 5: 'a' is already the name of a value \\(column 2\\)"),
        ("{a:3}{a}", "column 7: 'a' is already the name of a hole"),
        ("{a:3}{a:3}", "column 7: 'a' is already the name of a hole"),
    ],
)
def test_mistakes_are_named_with_their_column(text: str, message: str) -> None:
    with pytest.raises(ao.UserError, match=message) as caught:
        ao.Template(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "column 2: no text for the value 'question'"),
        ({"question": "", "questoin": ""}, "no value or hole 'questoin'; did you mean 'question'?"),
        ({"question": 3}, "question must be text, not int"),
        ({"question": "", "x": ""}, "no value or hole 'x'; it has 'question', 'answer'"),
        ({"question": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_wrong_values_are_named(values: Any, message: str) -> None:
    with pytest.raises(ao.UserError, match=message):
        ao.Template("{question}{answer:3}").canvas(BYTES, **values)
    if "x" not in values and "half" not in message:
        with pytest.raises(ao.UserError):
            ao.ChatTemplate((("user", "{question}{answer:3}"),)).canvas(Words(), **values)


def test_render_wants_every_hole() -> None:
    with pytest.raises(ao.UserError, match="no text for the hole 'b'"):
        ao.Template("{b:1}").render()


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((), "at least one message"),
        (("user",), "message 1 must be a pair"),
        ((("user", "a"), (1, "b")), "message 2 must be a pair"),
        ((("user", "a"), ("assistant", "{a")), "message 2: template: column 1"),
        ((("user", "{a}"), ("assistant", "{a:1}")), "'a' is already the name of a value"),
    ],
)
def test_chat_mistakes_are_named(messages: Any, message: str) -> None:
    with pytest.raises(ao.UserError, match=message):
        ao.ChatTemplate(messages)


def test_bytes_have_no_chat_markup() -> None:
    with pytest.raises(ao.UserError, match="ByteTokenizer has no markup for conversations"):
        ao.ChatTemplate((("user", "a"),)).canvas(BYTES)


def test_not_a_text() -> None:
    with pytest.raises(ao.UserError, match="must be text, not int"):
        ao.Template(3)  # type: ignore[arg-type]


def test_tens_of_thousands_of_broken_templates_are_refused_in_one_line() -> None:
    """Random strings of the characters that matter: parsed as ``str.format`` escapes, or refused, never a crash."""
    drawn = random.Random(0)
    messages, parsed = [], []
    for _ in range(40_000):
        text = "".join(drawn.choices("{}{}:ab1 \n!.[]🙂9_", k=drawn.randrange(1, 24)))
        try:
            parsed.append(ao.Template(text))
        except ao.UserError as error:
            messages.append(str(error))
    assert all("column" in message and "\n" not in message for message in messages)
    assert min(len(messages), len(parsed)) > 5_000
    for template in parsed:
        assert [written(part) for part in ao.Template("".join(map(written, template.parts))).parts] == [
            written(part) for part in template.parts
        ]


def written(part: Any) -> str:
    """A part as a template has it."""
    if isinstance(part, str):
        return escape(part)
    return f"{{{part.name}:{part.length}}}" if isinstance(part, Hole) else f"{{{part.name}}}"


def test_reading_another_shape_is_refused() -> None:
    canvas = ao.Template("{h:2}").canvas(BYTES)
    with pytest.raises(ao.UserError, match=r"tokens have shape \(1, 3\), the canvas \(1, 2\)"):
        read_holes(BYTES, canvas, torch.zeros(1, 3, dtype=torch.int64))


def test_an_empty_template_is_an_empty_canvas() -> None:
    assert ao.Template("").canvas(BYTES).tokens.shape == (1, 0)
