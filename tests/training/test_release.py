"""What gets committed of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from anyorder.models.checkpoints import from_pretrained
from anyorder.training import import_shards, train
from anyorder.training.release import main
from anyorder.training.settings import ObjectiveSettings
from anyorder.training.state import list_checkpoints, load_checkpoint


def test_model_and_state_of_a_run(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    run_dir = tmp_path / "run"
    train(tiny(), run_dir, threads=1)
    assert main([str(run_dir), "--model", str(tmp_path / "model"), "--state", str(tmp_path / "state")]) == 0
    first, second = from_pretrained(tmp_path / "model"), from_pretrained(run_dir / "model")
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "model" / "README.md").read_text() == (run_dir / "model" / "README.md").read_text()
    newest = load_checkpoint(list_checkpoints(run_dir / "checkpoints")[-1][1])
    assert import_shards(tmp_path / "state").data["settings"] == newest.data["settings"]
    both = ["--state", str(tmp_path / "state"), "--model", str(tmp_path / "model")]
    assert main([str(run_dir), "--step", "7", *both]) == 0
    assert import_shards(tmp_path / "state").step == 7
    assert "Steps: 7 of 12" in (tmp_path / "model" / "README.md").read_text()
    capsys.readouterr()
    assert main([str(run_dir), "--step", "8", "--state", str(tmp_path / "state")]) == 2
    assert "has no checkpoint of step 8; it has 7, 12" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 2
    assert "holds no checkpoints" in capsys.readouterr().err


def test_without_an_average_the_weights_are_released(tiny: Any, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train(tiny(ema=None), run_dir, threads=1)
    newest = load_checkpoint(list_checkpoints(run_dir / "checkpoints")[-1][1])
    assert set(newest.tensors) == {"model", "optimizer"}
    for name, value in from_pretrained(run_dir / "model").named_parameters():
        assert torch.equal(value, newest.tensors["model"][name])


def test_the_card_says_what_changed_on_the_way(tiny: Any, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    train(tiny(), run_dir, threads=1)
    longer = tiny(steps=14, objective=ObjectiveSettings(a=2.0))
    other = tmp_path / "other"
    train(longer, other, start_from=run_dir / "checkpoints" / "step-00000007", allow_changes=True, threads=1)
    card = (other / "model" / "README.md").read_text()
    assert '- At step 7 `objective` changed from `{"a": 1.0}` to `{"a": 2.0}`.' in card
    assert "- At step 7 `steps` changed from `12` to `14`." in card
    assert "changed" not in (run_dir / "model" / "README.md").read_text()
