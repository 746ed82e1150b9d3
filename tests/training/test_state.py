"""Checkpoints on the disk: whole or not at all, and refused when damaged."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyorder.core.errors import UserError
from anyorder.training import export_shards, import_shards, state
from anyorder.training.shards import is_export
from anyorder.training.state import Checkpoint, copy_into, list_checkpoints, load_checkpoint, prune, save_checkpoint


def sample(step: int = 3, size: int = 100) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weights = {"a.weight": torch.randn(size, 7, generator=generator), "b": torch.randn(size, generator=generator)}
    moments = {
        "a.weight/mean": torch.randn(size, 7, generator=generator),
        "count": torch.tensor(5),
        "empty": torch.empty(0, 3),
    }
    return Checkpoint({"model": weights, "optimizer": moments}, {"step": step, "pending": {"losses": [0.1, 1e-300]}})


def assert_equal(one: Checkpoint, other: Checkpoint) -> None:
    assert one.tensors.keys() == other.tensors.keys()
    for group, tensors in one.tensors.items():
        assert tensors.keys() == other.tensors[group].keys()
        for name, value in tensors.items():
            assert value.dtype == other.tensors[group][name].dtype
            assert torch.equal(value, other.tensors[group][name]), name
    assert all(other.data[name] == value for name, value in one.data.items())


def test_round_trip(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "checkpoints", sample())
    assert path.name == "step-00000003"
    assert_equal(sample(), load_checkpoint(path))
    assert not list(path.parent.glob(".*"))


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, sample())
    changed = Checkpoint(sample(5).tensors, {"step": 3})
    assert_equal(changed, load_checkpoint(save_checkpoint(tmp_path, changed)))
    assert [step for step, _ in list_checkpoints(tmp_path)] == [3]


def test_prune_keeps_the_newest_and_the_pinned(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 5):
        save_checkpoint(tmp_path, sample(step))
    prune(tmp_path, keep=2, pinned={1, 9})
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1, 4, 5]
    prune(tmp_path, keep=1)
    assert [step for step, _ in list_checkpoints(tmp_path)] == [5]


def test_leftovers_are_no_checkpoints_and_get_removed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, sample(1))
    (tmp_path / ".step-00000002.tmp").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "step-00000009").write_text("a file")
    assert [step for step, _ in list_checkpoints(tmp_path)] == [1]
    state.clean_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"step-00000001", "notes", "step-00000009"}


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: cut_short(path / "model.safetensors"), "damaged: .* bytes instead of"),
        (lambda path: flip_a_bit(path / "optimizer.safetensors"), "SHA-256 differs"),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda path: cut_short(path / "state.json"), "state.json"),
        (lambda path: (path / "state.json").write_bytes(b"\xff"), "state.json"),
        (lambda path: (path / "state.json").write_text("[]"), "another format"),
        (lambda path: (path / "state.json").write_text('{"format_version": 7}'), "another format than version 1"),
        (lambda path: (path / "state.json").write_text('{"format_version": 1}'), "lacks the step"),
        (lambda path: (path / "state.json").unlink(), "it has no state.json"),
    ],
)
def test_damage_is_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    path = save_checkpoint(tmp_path, sample())
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


@settings(max_examples=30)
@given(st.binary(max_size=40), st.integers(0, 3000))
def test_any_overwriting_is_noticed(tmp_path_factory: pytest.TempPathFactory, content: bytes, place: int) -> None:
    path = save_checkpoint(tmp_path_factory.mktemp("c"), sample(size=20))
    file = path / "model.safetensors"
    before = file.read_bytes()
    after = before[:place] + content + before[place + len(content) :]
    file.write_bytes(after)
    if after == before:
        assert_equal(sample(size=20), load_checkpoint(path))
    else:
        with pytest.raises(UserError, match="damaged"):
            load_checkpoint(path)


class Bomb:
    """Unpickling it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.target), "w")


def test_pickles_are_refused_unread(tmp_path: Path) -> None:
    path, target = tmp_path / "step-00000001", tmp_path / "exploded"
    path.mkdir()
    (path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(target)))
    with pytest.raises(UserError, match=r"pytorch_model\.bin, a pickle, which may run code"):
        load_checkpoint(path)
    facts = {"bytes": 3, "sha256": "0"}
    data = {"format_version": 1, "step": 1, "files": {"pytorch_model.bin": facts}}
    (path / "state.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="only safetensors files are read"):
        load_checkpoint(path)
    renamed = (path / "pytorch_model.bin").rename(path / "model.safetensors")
    data["files"] = {renamed.name: {"bytes": renamed.stat().st_size, "sha256": state.digest(renamed)}}
    (path / "state.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="damaged"):
        load_checkpoint(path)
    assert not target.exists()


def test_files_outside_the_checkpoint_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, sample())
    data = json.loads((path / "state.json").read_text())
    data["files"] = {"../elsewhere.safetensors": {"bytes": 0, "sha256": ""}}
    (path / "state.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="only safetensors files are read"):
        load_checkpoint(path)


def test_what_does_not_fit_is_named() -> None:
    target = {"a": torch.zeros(2), "b": torch.zeros(3)}
    with pytest.raises(UserError, match="its model lacks 'b'"):
        copy_into(target, {"a": torch.ones(2)}, "model")
    with pytest.raises(UserError, match="its model has an unknown 'c'"):
        copy_into(target, {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1)}, "model")
    with pytest.raises(UserError, match=r"model 'b' has shape \(4,\) instead of \(3,\)"):
        copy_into(target, {"a": torch.ones(2), "b": torch.ones(4)}, "model")
    copy_into(target, {"a": torch.ones(2), "b": torch.full((3,), 2.0)}, "model")
    assert target["b"].tolist() == [2.0, 2.0, 2.0]


# ---------------------------------------------------------------- shards


def test_shards_round_trip_within_their_limit(tmp_path: Path) -> None:
    limit = 2**19
    checkpoint = sample(size=40_000)
    path = save_checkpoint(tmp_path, checkpoint)
    files = export_shards(path, tmp_path / "export", limit=limit)
    shards = [file for file in files if file.suffix == ".safetensors"]
    assert len(shards) > 5
    assert all(file.stat().st_size <= limit for file in files)
    assert is_export(tmp_path / "export")
    assert not is_export(path)
    assert_equal(checkpoint, import_shards(tmp_path / "export"))
    export_shards(save_checkpoint(tmp_path, sample(4)), tmp_path / "export")
    assert_equal(sample(4), import_shards(tmp_path / "export"))
    assert len(list((tmp_path / "export").iterdir())) == 2


def test_damaged_or_foreign_exports_are_refused(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, sample())
    export = tmp_path / "export"
    export_shards(path, export)
    with pytest.raises(UserError, match=r"its state\.json lists no tensors"):
        import_shards(path)
    flip_a_bit(export / "shard-00000.safetensors")
    with pytest.raises(UserError, match="SHA-256 differs"):
        import_shards(export)
    data = json.loads((export / "state.json").read_text())
    data["files"] = {}
    (export / "state.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="is not whole"):
        import_shards(export)
    with pytest.raises(UserError, match="it holds other files"):
        export_shards(path, path)
    with pytest.raises(UserError, match="at least 524288 bytes"):
        export_shards(path, export, limit=1000)
    with pytest.raises(UserError, match="no such checkpoint"):
        export_shards(tmp_path / "nowhere", export)
