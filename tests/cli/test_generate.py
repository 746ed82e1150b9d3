"""``anyorder generate``: templates become text, and what is wrong is one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from rich.text import Text
from tests.models.families import checkpoints as tiny

import anyorder as ao
from anyorder.cli import screen
from anyorder.cli.app import main
from anyorder.cli.generate import picture


@pytest.fixture(scope="module")
def bytes_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of bytes that prefers letters."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = ao.TransformerConfig(
            259, 258, layers=1, heads=2, width=16, mlp_width=16, head_bias=True, attention_bias=True
        )
        model = ao.Transformer(config)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        assert model.head is not None
        model.head.bias[97:123] += 8
    return ao.save_pretrained(model, tmp_path_factory.mktemp("generate") / "bytes")


def generate(tmp_path: Path, model: Path, *argv: str) -> dict[str, Any]:
    path = tmp_path / "record.json"
    assert main(["generate", *argv, "--model", str(model), "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_values_holes_and_pins(tmp_path: Path, bytes_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template = "{{Q: {question}}}\n{reasoning:6} so {answer:3}."
    record = generate(tmp_path, bytes_model, template, "--value", "question=1+1 {?", "--value", "answer=2=")
    (row,) = record["rows"]
    assert row["holes"]["answer"] == "2="
    assert row["text"] == f"{{Q: 1+1 {{?}}\n{row['holes']['reasoning']} so 2=."
    assert row["nfe"] == 6
    assert row["holes"]["reasoning"].isalpha()
    assert record["summary"] == {"count": 1, "tokens": 6, "nfe_mean": 6}
    out = capsys.readouterr()
    assert out.out == row["text"] + "\n"
    assert "6 tokens in 6 evaluations under margin + one" in out.err


def test_a_file_draws_and_a_trace(tmp_path: Path, bytes_model: Path) -> None:
    (tmp_path / "template.txt").write_text("é {a:4}|{b:5}")
    (tmp_path / "b.txt").write_text("x")
    trace = tmp_path / "trace.jsonl"
    arguments = ["--file", str(tmp_path / "template.txt"), "--temperature", "1", "--count", "3", "--budget", "fixed:2"]
    record = generate(tmp_path, bytes_model, *arguments)
    assert len({row["text"] for row in record["rows"]}) == 3
    assert [row["nfe"] for row in record["rows"]] == [5, 5, 5]
    traced = generate(tmp_path, bytes_model, *arguments, "--trace", str(trace))
    assert traced["rows"] == record["rows"]
    assert [row.nfe for row in ao.read_trace(trace).rows] == [5, 5, 5]
    pinned = generate(tmp_path, bytes_model, *arguments, "--value", f"b=@{tmp_path / 'b.txt'}")
    assert {row["holes"]["b"] for row in pinned["rows"]} == {"x"}


def test_until_end_leaves_the_rest(tmp_path: Path, bytes_model: Path) -> None:
    """Each hole ends by itself."""
    model = ao.from_pretrained(bytes_model)
    with torch.no_grad():
        assert model.head is not None
        model.head.bias[256] += 1000
    ends = ao.save_pretrained(model, tmp_path / "ends")
    arguments = ["{a:4}-{b:3}", "--order", "left-to-right"]
    assert generate(tmp_path, ends, *arguments)["rows"][0]["nfe"] == 7
    (row,) = generate(tmp_path, ends, *arguments, "--until-end")["rows"]
    assert row == {"text": "-", "holes": {"a": "", "b": ""}, "nfe": 2, "finish_reason": "end_of_text"}


def test_nothing_to_fill(tmp_path: Path, bytes_model: Path) -> None:
    (row,) = generate(tmp_path, bytes_model, "just {a}", "--value", "a=text")["rows"]
    assert row == {"text": "just text", "holes": {}, "nfe": 0, "finish_reason": "complete"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a"], "template: column 1: '{' is not closed"),
        (["{a}"], "no text for the value 'a'"),
        (["{a:3}", "--value", "b=1"], "no value or hole 'b'"),
        (["{a:3}", "--value", "a"], "--value must be NAME=TEXT, not 'a'"),
        (["{a:3}", "--value", "a=1", "--value", "a=2"], "--value a is given twice"),
        (["{a:3}", "--value", "a=1234"], "has 4 tokens, but the hole"),
        (["{a:3}", "--value", "a=@/none"], "no such text file: /none"),
        (["{a:3}", "--file", "/none"], "not both"),
        (["--file", "/none"], "no such template file"),
        (["{a:3}", "--count", "0"], "--count must be at least 1"),
        (["{a:3}", "--dtype", "int8"], "--dtype 'int8' is unknown"),
        (["{a:3}", "--system", "x"], "give --reply as well"),
        (["{a:3}", "--reply", "{b:3}"], "ByteTokenizer has no markup"),
        (["{a:3}", "--mask-token", "x"], "mask_token is for published checkpoints"),
        (["{a:3}", "--strategy", "mad"], "did you mean 'med'"),
    ],
)
def test_mistakes(bytes_model: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(["generate", *arguments, "--model", str(bytes_model)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_the_model_must_be_of_text(model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "{a:3}", "--model", str(model_folder)]) == 2
    assert "is no model of text" in capsys.readouterr().err
    assert main(["generate", "{a:3}"]) == 2
    assert "--model is missing" in capsys.readouterr().err


def test_a_conversation_with_a_published_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = tiny.write_llada(tmp_path / "llada")
    record = generate(tmp_path, folder, "What is {q}?", "--value", "q=it", "--reply", "{r:4}", "--strategy", "llada")
    (row,) = record["rows"]
    assert row["text"].startswith("user\n\nWhat is it?assistant\n\n")
    assert row["nfe"] == 4
    blocks = generate(tmp_path, tiny.write_sdar(tmp_path / "sdar"), "the {h:9}")
    assert blocks["rows"][0]["nfe"] == 9


def test_the_picture_shows_what_is_open(bytes_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shaded boxes become letters, one a step, and the last picture is the text."""
    tokenizer = ao.ByteTokenizer()
    canvas = ao.Template("[b]a{x:3}é{y:1}").canvas(tokenizer)
    assert picture(tokenizer, canvas).plain == "[b]a░░░é░"
    shown = [picture(tokenizer, canvas, step).plain for step in ao.stream(ao.from_pretrained(bytes_model), canvas)]
    assert [text.count("░") for text in shown] == [3, 2, 1, 0]
    screen_of = io.StringIO()
    monkeypatch.setattr(screen, "messages", lambda: Console(file=screen_of, force_terminal=True, width=80))
    assert main(["generate", "[b]a{x:3}", "--model", str(bytes_model)]) == 0
    assert "\x1b[1;32m" in screen_of.getvalue()  # a letter just decided
    assert "3 tokens in" in Text.from_ansi(screen_of.getvalue()).plain
