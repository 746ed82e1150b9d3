"""Generated programs run apart, within limits, and pass only by coming to their end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from anyorder.evaluation.harness.programs import run_program
from anyorder.evaluation.harness.scoring import (
    boxed,
    completed,
    infilled,
    last_number,
    overlap,
    plain_answer,
    same_answer,
    same_number,
)


def test_a_program_that_ends_has_passed() -> None:
    assert run_program("import math\nassert math.sqrt(4) == 2\nprint('x' * 10)").passed


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("assert 1 == 2, 'no'", "AssertionError: no"),
        ("x = (", "SyntaxError"),
        ("raise SystemExit(0)", "exit code 0"),
        ("import os; os._exit(0)", "exit code 0"),
        ("import sys; sys.exit('bye')", "bye"),
        ("x = bytearray(4 << 30)", "MemoryError"),
        ("open('big', 'wb').write(b'x' * (8 << 20))", ""),
        ("input()", "EOFError"),
        ("import torch", "ModuleNotFoundError"),
        ("print('\\0finished', end='')\nimport sys; sys.stderr.write('\\0finished'); raise ValueError('late')", "late"),
    ],
)
def test_everything_else_has_not(source: str, reason: str) -> None:
    outcome = run_program(source, seconds=20)
    assert not outcome.passed
    assert reason in outcome.reason


def test_time_is_limited_for_what_it_starts_too() -> None:
    since = time.monotonic()
    assert run_program("while True: pass", seconds=1).reason == "timeout"
    child = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    assert run_program(child, seconds=1).reason == "timeout"
    assert time.monotonic() - since < 50


def test_it_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("A_SECRET", "x")
    monkeypatch.chdir(tmp_path)
    program = "import os\nassert 'A_SECRET' not in os.environ\nassert os.listdir('.') == ['program.py']\n"
    program += "open('y', 'w').close()"
    assert run_program(program).passed
    assert list(tmp_path.iterdir()) == []


def test_humaneval_problems() -> None:
    document = {
        "prompt": "def one():\n",
        "suffix": "    return x\n",
        "test": "def check(candidate):\n    assert candidate() == 1",
        "entry_point": "one",
    }
    assert completed(document, ["    return 1\n"]) == {"pass@1": 1.0}
    assert completed(document, ["    return 2\n"]) == {"pass@1": 0.0}
    assert infilled(document, ["    x = 1\n"]) == {"pass@1": 1.0}
    assert infilled(document, [""]) == {"pass@1": 0.0}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("it is 1,234.50.", "1234.5"),
        ("-3 or 4", "4"),
        ("none", ""),
        ("$12.00", "12"),
        ("= .5", "-.5"[1:]),
        ("100", "100"),
    ],
)
def test_numbers(text: str, number: str) -> None:
    assert last_number(text) == number


def test_answers() -> None:
    assert same_number({"answer": "a\n#### 1,200"}, ["so 1200."]) == {"exact_match": 1.0}
    assert same_number({"answer": "#### 7"}, [""]) == {"exact_match": 0.0}
    assert boxed(r"so \boxed{1} then \boxed{\frac{1}{2}}.") == r"\frac{1}{2}"
    assert boxed(r"\boxed{1") == boxed("1") == ""
    assert plain_answer(r"$\left( 3, \dfrac12 \right)$.") == r"(3,\frac{1}{2})"
    assert plain_answer(r"1,234\text{ miles}") == "1234miles"
    assert same_answer({"solution": r"\boxed{ 2 }"}, ["2"]) == {"exact_match": 1.0}
    assert same_answer({"solution": "none"}, [""]) == {"exact_match": 0.0}


def test_overlap_of_texts() -> None:
    same = overlap({"middle": "The cat sat."}, ["the cat sat"])
    assert same == {"rouge1": 1.0, "rouge2": 1.0, "rougeL": 1.0}
    part = overlap({"middle": "a b c d"}, ["b a c"])
    assert part["rouge1"] == pytest.approx(6 / 7)
    assert part["rouge2"] == 0.0
    assert part["rougeL"] == pytest.approx(4 / 7)
    assert overlap({"middle": "a"}, [""]) == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
