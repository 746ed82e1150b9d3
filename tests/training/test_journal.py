"""The log."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.training.journal import Journal, read_journal


def test_records_are_rewound_to_a_step(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    for step in (0, 5, 10):
        journal.write("train", step, loss=step / 2)
    journal.write("end", 10)
    journal.close()
    with journal.path.open("a") as file:
        file.write('{"kind": "train", "st')
    assert [record["step"] for record in read_journal(journal.path)] == [0, 5, 10, 10]
    journal.rewind(5)
    journal.write("train", 6, loss=1.0)
    journal.close()
    assert [(record["kind"], record["step"]) for record in read_journal(journal.path)] == [
        ("train", 0),
        ("train", 5),
        ("train", 6),
    ]


def test_a_finished_run_that_goes_on_ends_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "log.jsonl")
    journal.write("train", 10)
    journal.write("end", 10)
    journal.close()
    journal.rewind(10)
    assert [record["kind"] for record in read_journal(journal.path)] == ["train"]


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"kind": "train", "step": 1}\nnonsense\n{"kind": "train", "step": 2}\n')
    with pytest.raises(UserError, match=r"log.jsonl, line 2: not a JSON record"):
        list(read_journal(path))
    with pytest.raises(UserError, match="cannot read"):
        list(read_journal(tmp_path / "missing.jsonl"))
