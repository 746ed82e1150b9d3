"""Processes and micro-batches change how a step is computed, and nothing of what comes out beyond rounding."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from training_children import run

from anyorder.core.errors import UserError
from anyorder.training import state, train
from anyorder.training.journal import read_journal

ADAMW = {"optimizer": {"adamw": {"rate": 3e-3, "weight_decay": 0.1}, "muon": None}}


def logged(run_dir: Path, name: str) -> list[float]:
    return [record[name] for record in read_journal(run_dir / "log.jsonl") if record["kind"] == "train"]


def final_weights(run_dir: Path) -> dict[str, torch.Tensor]:
    checkpoint = state.load_checkpoint(state.list_checkpoints(run_dir / "checkpoints")[-1][1])
    return {
        f"{group}/{name}": value for group, tensors in checkpoint.tensors.items() for name, value in tensors.items()
    }


def assert_same_run(one: Path, other: Path) -> None:
    # Adam's update hardly sees the scale of a gradient; its norm does.
    assert logged(one, "loss") == pytest.approx(logged(other, "loss"), rel=2e-6)
    assert logged(one, "gradient_norm") == pytest.approx(logged(other, "gradient_norm"), rel=1e-5)
    first, second = final_weights(one), final_weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        # Adam divides by the root of tiny second moments, which magnifies rounding where a gradient is nearly zero.
        torch.testing.assert_close(
            second[name], value, rtol=2e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def run_together(processes: Any, values: dict[str, Any], run_dir: Path, count: int = 2) -> list[int | None]:
    """Run ``count`` processes in the environment that torchrun gives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {name: str(value) for name, value in names.items()} | {"MASTER_ADDR": "127.0.0.1"}
        children.append(processes.Process(target=run, args=(values, str(run_dir), environment)))
    for child in children:
        child.start()
    for child in children:
        child.join()
    return [child.exitcode for child in children]


def test_accumulation_changes_nothing(tiny: Any, tmp_path: Path) -> None:
    # One effective batch, cut into 1, 4 and 8 micro-batches: the loss must not grow with the cuts (it does where the
    # global weight is left out). Rows differ in their number of masks, so a mean of micro-batch means would differ
    # too; the dropout is keyed by row, so it may be on.
    model = {"layers": 1, "heads": 2, "width": 16, "mlp_width": 32, "positions": "grid", "dropout": 0.1}
    for weight in ("row", "token"):
        settings = {"model": model, "steps": 6, "objective": {"weight": weight}, **ADAMW}
        for count in (1, 4, 8):
            train(tiny(accumulation=count, **settings), tmp_path / f"{weight}{count}", threads=1)
        for count in (4, 8):
            assert_same_run(tmp_path / f"{weight}1", tmp_path / f"{weight}{count}")
    assert logged(tmp_path / "row1", "loss") != pytest.approx(logged(tmp_path / "token1", "loss"), rel=1e-4)


def test_two_ddp_processes_give_the_single_process_run(tiny: Any, processes: Any, tmp_path: Path) -> None:
    settings = tiny(steps=6, **ADAMW)
    assert run_together(processes, tiny(steps=6, accumulation=2, **ADAMW).to_dict(), tmp_path / "two") == [0, 0]
    train(settings, tmp_path / "one", threads=1)
    assert_same_run(tmp_path / "one", tmp_path / "two")
    start = next(iter(read_journal(tmp_path / "two" / "log.jsonl")))
    assert start["processes"] == 2


def test_two_fsdp_processes_give_the_single_process_run(tiny: Any, processes: Any, tmp_path: Path) -> None:
    # With Muon, whose matrices are gathered for their orthogonalisation, and with a resume of the sharded state.
    values = tiny(steps=6, distributed="fsdp", accumulation=2).to_dict()
    half = {**values, "steps": 4, "schedule": {"shape": "constant", "warmup_steps": 3}}
    whole = {**half, "steps": 6}
    assert run_together(processes, half, tmp_path / "two") == [0, 0]
    assert run_together(processes, whole, tmp_path / "two") == [0, 0]
    train(tiny(steps=6, schedule=whole["schedule"]), tmp_path / "one", threads=1)
    for name in ("loss", "gradient_norm"):
        assert logged(tmp_path / "one", name) == pytest.approx(logged(tmp_path / "two", name), rel=1e-4)
    first, second = final_weights(tmp_path / "one"), final_weights(tmp_path / "two")
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, rtol=1e-2, atol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_batch_that_cannot_be_shared_out_is_refused(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="batch_size 16 is not a multiple of accumulation 3"):
        tiny(accumulation=3)
    with pytest.raises(UserError, match="fsdp needs several processes"):
        train(tiny(distributed="fsdp"), tmp_path)


@pytest.mark.slow
def test_torchrun_command(tiny: Any, tmp_path: Path) -> None:
    settings = tiny(steps=6, **ADAMW)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(settings.to_dict()))
    arguments = ["-m", "anyorder.training", str(config), "--quiet", "--threads", "1", "--run-dir"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, *arguments, str(tmp_path / "two")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("finished tiny") == 1
    train(settings, tmp_path / "one", threads=1)
    assert_same_run(tmp_path / "one", tmp_path / "two")
