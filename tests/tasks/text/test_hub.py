"""Data sets in the hub's format, from a local folder; no test needs the network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anyorder.core.errors import UserError
from anyorder.tasks.text.hub import hub_documents

pytest.importorskip("datasets")


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    for split, count in {"train": 5, "test": 2}.items():
        lines = [json.dumps({"text": f"{split} {k}\n", "id": k}) for k in range(count)]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))


def test_records_are_documents(data_set: Path) -> None:
    found = list(hub_documents(str(data_set)))
    assert ["".join(one.pieces) for one in found] == [f"train {k}\n" for k in range(5)]
    assert found[1].name == f"{data_set}, record 2"
    assert len(list(hub_documents(str(data_set), split="test"))) == 2
    assert len(list(hub_documents(str(data_set), limit=3))) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "body"}, "record 1: no column 'body'; it has"),
        ({"column": "id"}, "record 1: column 'id' holds no text but 0"),
        ({"split": "absent"}, "cannot read the data set"),
    ],
)
def test_what_is_not_there_is_refused(data_set: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(hub_documents(str(data_set), **options))


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the data set"):
        list(hub_documents(str(tmp_path / "nowhere")))
