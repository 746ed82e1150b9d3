"""The run as a whole: what it writes, how it stops, how it goes on, what it refuses."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from training_children import limited

from anyorder.core.errors import UserError
from anyorder.models.checkpoints import from_pretrained
from anyorder.tasks.sudoku import Puzzles
from anyorder.training import Interrupted, export_shards, state, train
from anyorder.training.__main__ import main
from anyorder.training.journal import read_journal
from anyorder.training.loop import Trainer


def digests(run_dir: Path) -> dict[str, str]:
    checkpoint = state.list_checkpoints(run_dir / "checkpoints")[-1][1]
    return {file.name: state.digest(file) for file in checkpoint.glob("*.safetensors")}


def kinds(run_dir: Path) -> list[str]:
    return [record["kind"] for record in read_journal(run_dir / "log.jsonl")]


def test_a_run_from_start_to_card(tiny: Any, tmp_path: Path, data_file: Path) -> None:
    evaluation = {"puzzles": 8, "grades": [], "paths": {"grids": str(data_file)}, "every_steps": 8}
    before = torch.get_rng_state()
    result = train(tiny(evaluation=evaluation), tmp_path, threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (result.step, result.finished, result.model_folder) == (12, True, tmp_path / "model")
    assert [(row["puzzles"], row["strategy"], row["count"]) for row in result.evaluations] == [
        ("grids", "margin", 8),
        ("grids", "random", 8),
    ]
    records = list(read_journal(tmp_path / "log.jsonl"))
    assert records[0]["kind"] == "start"
    assert records[0]["weights"] == sum(p.numel() for p in result.model.parameters())  # pyright: ignore
    assert [r["step"] for r in records if r["kind"] == "evaluation"] == [8, 8, 12, 12]
    losses = [record["loss"] for record in records if record["kind"] == "train"]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    loaded = from_pretrained(tmp_path / "model")
    assert loaded.task == {"name": "sudoku", "box_rows": 2, "box_columns": 2}
    checkpoint = state.load_checkpoint(state.list_checkpoints(tmp_path / "checkpoints")[-1][1])
    for name, value in loaded.named_parameters():
        assert torch.equal(value, checkpoint.tensors["average"][name])
    card = (tmp_path / "model" / "README.md").read_text()
    for fact in (
        "of 16 examples each: 192 examples seen",
        "| grids | margin |",
        "seed: 3",
        records[0]["data_fingerprint"],
    ):
        assert fact in card
    assert yaml.safe_load(card.split("```yaml")[1].split("```")[0])["batch_size"] == 16


def test_checkpoints_come_and_go_as_set(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(checkpoint={"every_minutes": None, "every_steps": 2, "keep": 2, "keep_steps": [3]})
    train(settings, tmp_path, threads=1)
    # 7 is where the decay begins: 12 steps less 40 % of them.
    assert [step for step, _ in state.list_checkpoints(tmp_path / "checkpoints")] == [3, 7, 10, 12]


def test_stopped_by_the_clock_and_resumed(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(log_every_steps=5)
    train(settings, tmp_path / "whole", threads=1)
    for leg in range(20):
        result = train(settings, tmp_path / "legs", minutes=1e-6, threads=1)
        assert result.step == leg + 1
        if result.finished:
            break
        assert result.model is None
    assert result.step == 12
    assert digests(tmp_path / "legs") == digests(tmp_path / "whole")
    # Means over five steps, four of whose sums were carried by checkpoints.
    names = ("step", "loss", "gradient_norm", "rate", "examples")
    legs, whole = (
        [[record[name] for name in names] for record in read_journal(path / "log.jsonl") if record["kind"] == "train"]
        for path in (tmp_path / "legs", tmp_path / "whole")
    )
    assert legs == whole
    assert train(settings, tmp_path / "legs", threads=1).finished
    assert kinds(tmp_path / "legs").count("end") == 1


def test_a_longer_run_continues_from_an_export_of_the_decays_start(tiny: Any, tmp_path: Path) -> None:
    train(tiny(), tmp_path / "short", threads=1)
    export_shards(tmp_path / "short" / "checkpoints" / "step-00000007", tmp_path / "export")
    train(tiny(steps=16), tmp_path / "longer", start_from=tmp_path / "export", threads=1)
    train(tiny(steps=16), tmp_path / "whole", threads=1)
    assert digests(tmp_path / "longer") == digests(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(tiny: Any, tmp_path: Path, monkeypatch: Any, number: signal.Signals) -> None:
    train(tiny(), tmp_path / "whole", threads=1)
    step = Trainer.train_step
    before = signal.getsignal(number)

    def interrupted(self: Trainer) -> None:
        step(self)
        if self.step == 5:
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupted)
        with pytest.raises(Interrupted, match=f"interrupted by {number.name} at step 6 of 12; the checkpoint is in"):
            train(tiny(), tmp_path / "legs", threads=1)
    assert signal.getsignal(number) == before
    assert state.list_checkpoints(tmp_path / "legs" / "checkpoints")[-1][0] == 6
    train(tiny(), tmp_path / "legs", threads=1)
    assert digests(tmp_path / "legs") == digests(tmp_path / "whole")


def test_changed_settings_are_named(tiny: Any, tmp_path: Path, data_file: Path) -> None:
    puzzles, moved = Puzzles.load(data_file), tmp_path / "moved.npz"
    train(tiny(), tmp_path, minutes=1e-6, threads=1)
    model = {**tiny().model, "width": 8}
    with pytest.raises(UserError, match="was trained with another model"):
        train(tiny(model=model), tmp_path, allow_changes=True)
    with pytest.raises(UserError, match=r"optimizer.adamw.rate was 0.003 and is 0.1 \(--allow-changes accepts this\)"):
        train(tiny(optimizer={"adamw": {"rate": 0.1}, "muon": {}}), tmp_path)
    with pytest.raises(UserError, match=r"data\.augment was True and is False"):
        train(tiny(data={"path": str(data_file), "augment": False}), tmp_path)
    puzzles.save(moved)
    # The same data elsewhere are the same data; other data are not, wherever they lie.
    assert train(tiny(data={"path": str(moved)}), tmp_path, minutes=1e-6, threads=1).step == 2
    puzzles.rows(slice(100)).save(moved)
    with pytest.raises(UserError, match="their fingerprints differ"):
        train(tiny(data={"path": str(moved)}), tmp_path)
    changes = {"optimizer": {"adamw": {"rate": 0.1}, "muon": {}}, "data": {"path": str(moved)}}
    result = train(tiny(**changes), tmp_path, allow_changes=True, threads=1)
    assert result.finished
    assert "rate: 0.1\n" in (tmp_path / "model" / "README.md").read_text()
    resumed = [record for record in read_journal(tmp_path / "log.jsonl") if record["kind"] == "resume"]
    assert [set(record["changes"]) for record in resumed] == [set(), {"data_fingerprint", "optimizer"}]


def test_a_damaged_checkpoint_stops_the_resume(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    train(tiny(), tmp_path, minutes=1e-6, threads=1)
    path = state.list_checkpoints(tmp_path / "checkpoints")[-1][1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged"):
        train(tiny(), tmp_path, threads=1)
    assert main([write_config(tiny, tmp_path), "--run-dir", str(tmp_path), "--quiet"]) == 2
    output = capsys.readouterr().err
    assert output.startswith("anyorder: error: the checkpoint file")
    assert output.count("\n") == 1


def test_one_training_at_a_time(tiny: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def second(self: Trainer) -> None:
        with pytest.raises(UserError, match="another training is running"):
            train(tiny(), tmp_path)
        raise UserError("seen")

    monkeypatch.setattr(Trainer, "train_step", second)
    with pytest.raises(UserError, match="seen"):
        train(tiny(), tmp_path, threads=1)


def test_a_loss_that_is_not_finite_ends_the_run(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(optimizer={"adamw": {"rate": 1e30}, "clip": None}, schedule={"warmup_steps": 0})
    with pytest.raises(UserError, match="not finite; lower the rates"):
        train(settings, tmp_path, threads=1)
    for _, path in state.list_checkpoints(tmp_path / "checkpoints"):
        assert all(torch.isfinite(value).all() for value in state.load_checkpoint(path).tensors["model"].values())


@pytest.mark.filterwarnings("ignore:.*no supported trackers")
def test_bfloat16_and_what_is_refused(tiny: Any, tmp_path: Path) -> None:
    result = train(tiny(steps=3, precision="bfloat16"), tmp_path / "low", threads=1)
    assert next(result.model.parameters()).dtype == torch.float32  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(UserError, match=r"accelerate: .*nosuchtracker"):
        train(tiny(trackers=["nosuchtracker"]), tmp_path / "tracked")
    with pytest.raises(UserError, match="the tracker 'aim' is not installed; pip install aim"):
        train(tiny(trackers=["aim"]), tmp_path / "tracked")
    with pytest.raises(UserError, match="minutes must be above 0"):
        train(tiny(), tmp_path / "never", minutes=0)
    with pytest.raises(UserError, match="no such data file"):
        train(tiny(data={"path": "nowhere.npz"}), tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds 4x4 puzzles, not 6x6"):
        train(tiny(task={"box_rows": 2, "box_columns": 3}), tmp_path / "other")
    evaluation = {"puzzles": 2, "grades": [], "paths": {"x": tiny().data.path}, "strategies": ["margins"]}
    with pytest.raises(UserError, match="unknown 'margins'"):
        train(tiny(evaluation=evaluation), tmp_path / "strategies")


def test_a_file_where_the_directory_should_be(tiny: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot use .* as the run's directory"):
        train(tiny(), tmp_path / "file")


# ---------------------------------------------------------------- the command


def write_config(tiny: Any, folder: Path, **changes: Any) -> str:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tiny(**changes).to_dict()))
    return str(path)


def test_command_line(tiny: Any, tmp_path: Path, capsys: Any) -> None:
    config = write_config(tiny, tmp_path)
    run_dir = str(tmp_path / "run")
    assert main([config, "--run-dir", run_dir, "--steps", "3", "--threads", "1", "--quiet"]) == 0
    assert "finished tiny after 3 steps" in capsys.readouterr().out
    assert main([config, "--run-dir", run_dir, "--minutes", "1e-6", "--threads", "1"]) == 0
    output = capsys.readouterr()
    assert "stopped tiny at step 4 of 12" in output.out
    assert main([str(tmp_path / "missing.yaml")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("anyorder: error: no such configuration file")
    assert output.err.count("\n") == 1


def test_a_full_disk_while_saving(tiny: Any, processes: Any, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    config = write_config(tiny, tmp_path)
    train(tiny(), run_dir, minutes=1e-6, threads=1)
    kept = digests(run_dir)
    sizes = {f.name: f.stat().st_size for f in state.list_checkpoints(run_dir / "checkpoints")[-1][1].iterdir()}
    # The limit lets the log grow and the smaller files through, and cuts the largest one short.
    child = processes.Process(
        target=limited,
        args=([config, "--run-dir", str(run_dir), "--quiet"], max(sizes.values()) - 1000, str(tmp_path / "err")),
    )
    child.start()
    child.join()
    assert child.exitcode == 2
    text = (tmp_path / "err").read_text()
    assert text.count("\n") == 1
    assert text.startswith("anyorder: error: cannot save the checkpoint")
    assert "file too large; earlier checkpoints are intact" in text
    assert digests(run_dir) == kept
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step-00000001"]
    train(tiny(), run_dir, threads=1)
    train(tiny(), tmp_path / "whole", threads=1)
    assert digests(run_dir) == digests(tmp_path / "whole")


def test_ctrl_c_on_the_command(tiny: Any, processes: Any, tmp_path: Path) -> None:
    config = write_config(tiny, tmp_path, steps=100_000)
    run_dir = tmp_path / "run"
    arguments = ([config, "--run-dir", str(run_dir), "--quiet"], None, str(tmp_path / "err"))
    child = processes.Process(target=limited, args=arguments)
    child.start()
    limit = time.monotonic() + 60
    while not state.list_checkpoints(run_dir / "checkpoints") and time.monotonic() < limit:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGINT)
    child.join()
    assert child.exitcode == 2
    text = (tmp_path / "err").read_text()
    assert text.count("\n") == 1
    assert "interrupted by SIGINT at step" in text
    step = int(text.split("at step ")[1].split()[0])
    assert state.list_checkpoints(run_dir / "checkpoints")[-1][0] == step
