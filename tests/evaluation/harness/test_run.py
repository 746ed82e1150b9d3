"""Whole evaluations through the harness, offline, with a tiny checkpoint in a published format."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.models.families import checkpoints as tiny

import anyorder as ao
from anyorder.cli.app import main
from anyorder.evaluation.harness.data import documents, read_documents, split_line

pytest.importorskip("lm_eval")
pytest.importorskip("transformers")

OWN = "gsm8k math mmlu humaneval humaneval_infill_single humaneval_infill_multi humaneval_infill_split rocstories"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_llada(tmp_path_factory.mktemp("eval") / "llada")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def evaluate(model: Path, folder: Path, tasks: str, *argv: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    record, samples = folder / "record.json", folder / "samples.jsonl"
    command = ["eval", "--model", str(model), "--tasks", tasks, "--json", str(record), "--samples", str(samples)]
    assert main([*command, *argv]) == 0
    return json.loads(record.read_text()), lines(samples)


@pytest.fixture
def documents_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a few documents of every task."""
    folder = tmp_path / "data" / "language"
    folder.mkdir(parents=True)
    problem = {
        "task_id": "H/0",
        "prompt": "def one():\n",
        "canonical_solution": "    x = 1\n",
        "suffix": "    return 1\n",
        "test": "def check(candidate):\n    assert candidate() == 1",
        "entry_point": "one",
    }
    content: dict[str, list[dict[str, Any]]] = {
        "gsm8k_train": [{"question": f"{i}+1?", "answer": f"so\n#### {i + 1}"} for i in range(5)],
        "gsm8k_test": [{"question": f"{i}+2?", "answer": f"so\n#### {i + 2}"} for i in range(3)],
        "math_test": [{"problem": "1+1?", "solution": "\\boxed{2}", "answer": "2"}],
        "rocstories": [{"text": "A b. C d. E f g. H i. J k."}, {"text": "Too short."}],
        "HumanEval": [problem],
        "HumanEval-SingleLineInfilling": [problem, {**problem, "task_id": "H/1"}],
        "HumanEval-MultiLineInfilling": [problem],
    }
    for name, rows in content.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    monkeypatch.setenv("ANYORDER_DATA", str(folder.parent))
    return folder


@pytest.mark.usefixtures("documents_here")
def test_every_task_with_local_documents(checkpoint: Path, tmp_path: Path) -> None:
    names = [f"anyorder_{name}" for name in OWN.split() if name != "mmlu"]
    argv = ["--budget", "fixed:64", "--confirm-run-unsafe-code", "--shots", "0"]
    record, samples = evaluate(checkpoint, tmp_path, ",".join(names), *argv)
    assert {row["task"] for row in record["rows"]} == set(names)
    assert len(samples) == 3 + 1 + 1 + 2 + 1 + 2 + 1
    assert record["summary"]["anyorder_gsm8k"]["exact_match"] in (0.0, pytest.approx(1 / 3))
    # The suffix returns 1, so any line that is no syntax error passes: the hole was put before it.
    assert all(row["value"] is not None for row in record["rows"])
    assert record["summary"]["nfe_mean"] >= 1


@pytest.mark.usefixtures("documents_here")
def test_programs_need_the_switch(checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    command = ["eval", "--model", str(checkpoint), "--tasks", "anyorder_humaneval", "--budget", "fixed:64"]
    assert main(command) == 2
    assert "allow it with --confirm-run-unsafe-code" in capsys.readouterr().err
    monkeypatch.setenv("HF_ALLOW_CODE_EVAL", "1")
    assert main(command) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tasks", "anyorder_gsm9k"], "no task 'anyorder_gsm9k'; ours are anyorder_gsm8k"),
        (["--tasks", ","], "--tasks is missing"),
        (["--tasks", "anyorder_gsm8k", "--rounds", "1"], "--rounds must be at least 2"),
        (["--tasks", "anyorder_math"], "no data: math_test in ANYORDER_DATA/language"),
    ],
)
def test_mistakes(
    checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any, argv: list[str], message: str
) -> None:
    monkeypatch.delenv("ANYORDER_DATA", raising=False)
    assert main(["eval", "--model", str(checkpoint), *argv]) == 2
    assert message in capsys.readouterr().err


def test_local_files_are_read_and_checked(documents_here: Path) -> None:
    found = documents({"test": "gsm8k_test"}, "nobody/nothing")
    assert found["test"][0]["answer"].endswith("#### 2")
    (documents_here / "bad.jsonl").write_text("[1]\n")
    with pytest.raises(ao.UserError, match="line 1: a document is a JSON object"):
        read_documents(documents_here / "bad.jsonl")
    (documents_here / "bad.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(ao.UserError, match="cannot be read"):
        read_documents(documents_here / "bad.jsonl.gz")


def test_split_lines_are_cut_inside_and_always_alike() -> None:
    document = {"task_id": "a/1", "prompt": "def f():\n", "canonical_solution": "    return 12\n", "suffix": ""}
    cut = split_line(document)
    assert cut == split_line(document)
    assert cut["prompt"] + cut["canonical_solution"] == "def f():\n    return 12\n"
    assert len("def f():\n    ") < len(cut["prompt"]) < len("def f():\n    return 12\n")


@pytest.mark.data
@pytest.mark.slow
def test_batches_of_1_and_16_give_the_same_outputs(checkpoint: Path, tmp_path: Path) -> None:
    """GSM8K, HumanEval and HumanEval-Infilling, 64 documents each."""
    names = "anyorder_gsm8k,anyorder_humaneval,anyorder_humaneval_infill_single,anyorder_humaneval_infill_random"
    argv = ["--limit", "64", "--shots", "0", "--budget", "fixed:16", "--confirm-run-unsafe-code", "--batch-size"]
    _, alone = evaluate(checkpoint, tmp_path, names, *argv, "1")
    _, together = evaluate(checkpoint, tmp_path, names, *argv, "16")
    assert len(alone) == 4 * 64
    assert alone == together


@pytest.mark.data
def test_real_documents(checkpoint: Path, tmp_path: Path) -> None:
    argv = ["--limit", "3", "--shots", "0", "--budget", "fixed:128", "--confirm-run-unsafe-code", "--batch-size", "3"]
    record, samples = evaluate(checkpoint, tmp_path, "anyorder_gsm8k,anyorder_humaneval_infill_single", *argv)
    assert len(samples) == 6
    assert record["summary"]["truncated_share"] == 0
