"""Whatever is wrong with the input: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyorder.cli.app import main
from anyorder.core.errors import UserError
from anyorder.experiments.puzzles import read

EXECUTABLE = Path(sys.executable).with_name("anyorder")
GOOD = "1234341221434321"


def refused(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> str:
    """The line that the command line refuses ``argv`` with."""
    code = main([str(argument) for argument in argv])
    shown = capsys.readouterr()
    lines = [line for line in shown.err.splitlines() if line.startswith("anyorder: error: ")]
    assert code == 2, shown
    assert len(lines) == 1, shown.err
    assert "Traceback" not in shown.err
    return lines[0].removeprefix("anyorder: error: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no puzzle"),
        (b"hello\n", ""),
        (b"\xff\xfe\x00puzzle", ""),
        (b"12343412\n", ""),
        (b"1100000000000000\n", "contradictory"),
        (b"puzzle,solution\n1234341221434321\n", ""),
        (b"puzzle,solution\n1000000000000000,1234341221434322\n", ""),
        (b"question\n1000000000000000\n", ""),
        (b"9000000000000000\n", ""),
    ],
    ids=[
        "empty",
        "words",
        "binary",
        "truncated",
        "contradictory",
        "missing column",
        "wrong solution",
        "header",
        "digit",
    ],
)
def test_bad_puzzle_files(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    out = tmp_path / "out.csv"
    assert message in refused(capsys, "solve", path, "--model", model_folder, "--out", out)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bad.csv"]


def test_a_puzzle_without_any_solution_is_contradictory(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.txt"
    path.write_text("1000000000000000\n1230000400000000\n")  # the fourth cell has no candidate
    assert "line 2: contradictory puzzle" in refused(capsys, "solve", path, "--model", model_folder)


def test_missing_files_and_folders_in_their_place(
    tmp_path: Path, model_folder: Path, puzzle_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "none.csv" in refused(capsys, "solve", tmp_path / "none.csv", "--model", model_folder)
    assert "folder" in refused(capsys, "solve", tmp_path, "--model", model_folder)
    assert "folder" in refused(capsys, "solve", puzzle_file, "--model", model_folder, "--out", tmp_path)
    assert "no such trace file" in refused(capsys, "view", tmp_path / "none.jsonl")
    assert "none.yaml" in refused(capsys, "train", tmp_path / "none.yaml")
    assert "file" in refused(capsys, "demo", "--model", model_folder, "--out", puzzle_file)


def test_a_model_for_other_puzzles(tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "nine.txt"
    path.write_text("0" * 80 + "1\n")
    assert "2x2" in refused(capsys, "solve", path, "--model", model_folder)


def test_damaged_models(
    tmp_path: Path, model_folder: Path, puzzle_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def damage(name: str, content: bytes) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in model_folder.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "model.safetensors").write_bytes(content)
        return folder

    weights = (model_folder / "model.safetensors").read_bytes()
    for name, content in {"cut": weights[: len(weights) // 2], "empty": b"", "noise": b"\x00" * 100}.items():
        assert "damaged" in refused(capsys, "solve", puzzle_file, "--model", damage(name, content))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    torch.save({}, pickled / "model.pt")
    assert "pickle" in refused(capsys, "solve", puzzle_file, "--model", pickled)
    assert "pickle" in refused(capsys, "solve", puzzle_file, "--model", pickled / "model.pt")
    assert "no model 'sudoku-9x8'" in refused(capsys, "solve", puzzle_file, "--model", "sudoku-9x8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--order", "margins"], "did you mean 'margin'?"),
        (["--order", "margin:1"], "margin takes 0 values"),
        (["--budget", "fixed"], "fixed takes 1 values"),
        (["--budget", "fixed:x"], "must be numbers"),
        (["--budget", "fixed:0"], "fixed:0"),
        (["--budget", "entropy-below:-1"], "entropy-below:-1"),
        (["--budget", "entropy-below:nan"], "entropy-below:nan"),
        (["--strategy", "mad"], "unknown strategy 'mad'; did you mean 'med'?"),
        (["--device", "gpu9"], "--device gpu9 cannot be used"),
    ],
)
def test_bad_parts(
    puzzle_file: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in refused(capsys, "solve", puzzle_file, "--model", model_folder, *options)


def test_a_full_disk(puzzle_file: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--out", "--json", "--trace"):
        line = refused(capsys, "solve", puzzle_file, "--model", model_folder, option, "/dev/full")
        assert line == "cannot write /dev/full: no space left on device"


@pytest.mark.parametrize("text", ["", "{}", '{"anyorder_trace": 1}', "x", '{"anyorder_trace": 2, "rows": 1}'])
def test_bad_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    assert "t.jsonl" in refused(capsys, "view", tmp_path / "t.jsonl", "-o", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_a_trace_is_not_overwritten_by_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"anyorder_trace": 1}))
    refused(capsys, "view", path, "-o", path)
    assert path.read_text() == json.dumps({"anyorder_trace": 1})


def test_unknown_experiments_and_missing_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANYORDER_DATA", raising=False)
    assert "did you mean 'sudoku-6x6'?" in refused(capsys, "experiment", "sudoku-6x7", "--out", tmp_path)
    assert "--data" in refused(capsys, "experiment", "sudoku-bands", "--out", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bad_training_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, message in {
        "name: x\nstepz: 3\n": "steps",
        "- 1\n": "",
        "name: [\n": "",
        "name: x\nsteps: 0\n": "steps",
    }.items():
        (tmp_path / "c.yaml").write_text(text)
        assert message in refused(capsys, "train", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")


puzzle_text = st.one_of(
    st.text(max_size=200),
    st.text(alphabet='0123456789.,\n\r"puzlesoin _-|+', max_size=400),
    st.lists(st.sampled_from([GOOD, "." * 16, "0" * 81, "puzzle,solution", "", "#"]), max_size=4).map("\n".join),
)


@given(puzzle_text)
def test_no_puzzle_file_breaks_the_reader(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_text(text, encoding="utf-8")
    try:
        puzzles = read(path)
    except UserError as refusal:
        assert "\n" not in str(refusal)  # noqa: PT017 - either outcome is right, a traceback is not
    else:
        assert len(puzzles) == len(puzzles.puzzles) > 0


@settings(max_examples=20)
@given(st.dictionaries(st.text(max_size=12), st.recursive(st.none() | st.integers() | st.text(max_size=6), st.lists)))
def test_no_configuration_breaks_the_command(tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "fuzz.yaml").write_text(json.dumps(content), encoding="utf-8")
    assert main(["train", str(folder / "fuzz.yaml"), "--run-dir", str(folder / "fuzz-run"), "--quiet"]) == 2


# ---------------------------------------------------------------- the real executable


def test_the_executable_refuses_with_one_line_and_2() -> None:
    done = subprocess.run([EXECUTABLE, "solve", "--modle", "x"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "anyorder: error: unknown option --modle; did you mean --model? (anyorder solve --help)\n"


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from anyorder.cli import main; main(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for heavy in ("'torch'", "'numpy'", "'numba'", "'matplotlib'", "'accelerate'"):
        assert heavy not in done.stderr


def test_a_reader_that_goes_away_is_no_error() -> None:
    with subprocess.Popen([EXECUTABLE, "strategies"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "terminate"])
def test_an_interruption_leaves_one_line_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    earlier = tmp_path / "record.json"
    earlier.write_bytes(b"earlier")
    work = ["bench", "statistics", "--repeats", "1000000", "--vocabulary", "500", "--threads", "1"]
    command = [EXECUTABLE, *work, "--json", earlier]
    environment = os.environ | {"COLUMNS": "200"}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=_hear_interrupts
    ) as process:
        assert process.stderr is not None
        _wait_until_busy(process)
        process.send_signal(number)
        lines = process.stderr.read().splitlines()
        assert process.wait() == 2
    assert [line for line in lines if line.startswith("anyorder: error: ")] == [lines[-1]]
    assert "Traceback" not in "".join(lines)
    assert earlier.read_bytes() == b"earlier"
    assert os.listdir(tmp_path) == ["record.json"]


def _hear_interrupts() -> None:
    """A test run that a shell put in the background ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _wait_until_busy(process: subprocess.Popen[str]) -> None:
    """Until the process has used the processor for longer than its imports take."""
    ticks = os.sysconf("SC_CLK_TCK")
    while process.poll() is None:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / ticks > 2:
            return
        time.sleep(0.1)
    raise AssertionError("the command ended before it could be interrupted")
