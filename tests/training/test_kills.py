"""Training killed with SIGKILL anywhere, and resumed, ends with the bits of a run that was left alone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_children import run, run_and_hang

from anyorder.training import state
from anyorder.training.journal import read_journal

STEPS = 40


def settings_of(tiny: Any, steps: int = STEPS) -> dict[str, Any]:
    return tiny(steps=steps, checkpoint={"every_minutes": None, "every_steps": 3}).to_dict()


def final_files(run_dir: Path, steps: int = STEPS) -> dict[str, str]:
    """The digest of every file of tensors in the last checkpoint and the finished model."""
    checkpoint = state.list_checkpoints(run_dir / "checkpoints")[-1][1]
    assert checkpoint.name == state.checkpoint_name(steps)
    files = [*checkpoint.glob("*.safetensors"), run_dir / "model" / "model.safetensors"]
    assert len(files) == 4
    return {file.name + file.parent.name: state.digest(file) for file in files}


def logged_step(run_dir: Path) -> int:
    log = run_dir / "log.jsonl"
    if not log.exists():
        return 0
    return max((record["step"] for record in read_journal(log)), default=0)


def wait_until(done: Any, process: Any, seconds: float = 60.0) -> None:
    """Poll until ``done()`` or until the process has ended."""
    limit = time.monotonic() + seconds
    while not done() and process.is_alive():
        assert time.monotonic() < limit, "the training made no progress"
        time.sleep(0.001)


@pytest.fixture(scope="module")
def reference(processes: Any, tmp_path_factory: Any, data_file: Path) -> Any:
    """The digests of an uninterrupted run, made once for each settings."""
    made: dict[str, dict[str, str]] = {}

    def digests(values: dict[str, Any]) -> dict[str, str]:
        key = repr(values)
        if key not in made:
            run_dir = tmp_path_factory.mktemp("reference")
            child = processes.Process(target=run, args=(values, str(run_dir)))
            child.start()
            child.join()
            assert child.exitcode == 0
            made[key] = final_files(run_dir, values["steps"])
        return made[key]

    return digests


def test_killed_at_a_random_step(tiny: Any, processes: Any, reference: Any, tmp_path: Path) -> None:
    values = settings_of(tiny)
    at = random.Random(11).randrange(5, STEPS - 15)
    # On a busy machine the run may be over before the kill comes; then it is tried once more.
    for _ in range(5):
        shutil.rmtree(tmp_path)
        child = processes.Process(target=run, args=(values, str(tmp_path)))
        child.start()
        wait_until(lambda: logged_step(tmp_path) >= at, child)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        if child.exitcode != 0:
            break
    assert child.exitcode == -signal.SIGKILL
    saved = state.list_checkpoints(tmp_path / "checkpoints")[-1][0]
    assert 0 < saved < STEPS
    again = processes.Process(target=run, args=(values, str(tmp_path)))
    again.start()
    again.join()
    assert again.exitcode == 0
    assert final_files(tmp_path) == reference(values)
    steps = [record["step"] for record in read_journal(tmp_path / "log.jsonl") if record["kind"] == "train"]
    assert steps == list(range(1, STEPS + 1))


def test_killed_between_writing_and_renaming(tiny: Any, processes: Any, reference: Any, tmp_path: Path) -> None:
    values = settings_of(tiny)
    run_dir, marker = tmp_path / "run", tmp_path / "marker"
    child = processes.Process(target=run_and_hang, args=(values, str(run_dir), 18, str(marker)))
    child.start()
    wait_until(marker.exists, child)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    leftover = run_dir / "checkpoints" / f".{state.checkpoint_name(18)}.tmp"
    assert (leftover / "state.json").is_file(), "the kill was meant to come after the writing"
    assert [step for step, _ in state.list_checkpoints(run_dir / "checkpoints")] == [15]
    again = processes.Process(target=run, args=(values, str(run_dir)))
    again.start()
    again.join()
    assert again.exitcode == 0
    assert not leftover.exists()
    assert final_files(run_dir) == reference(values)


@pytest.mark.slow
def test_ten_kills_of_the_command(tiny: Any, processes: Any, reference: Any, tmp_path: Path) -> None:
    values = settings_of(tiny, steps=150)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    run_dir = tmp_path / "run"
    command = [sys.executable, "-m", "anyorder.training", str(config), "--run-dir", str(run_dir), "--threads", "1"]
    chance = random.Random(5)
    kills = 0
    while kills < 10:
        child = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)
        # The next kill comes some steps on, or, since not every leg reaches its checkpoint, after some time.
        goal = logged_step(run_dir) + chance.randrange(1, 5)
        limit = time.monotonic() + 60
        before = state.list_checkpoints(run_dir / "checkpoints")
        while logged_step(run_dir) < goal and child.poll() is None and time.monotonic() < limit:
            time.sleep(0.0005)
        if kills % 3 == 2:
            # Let some legs live until they have saved, so that the run gets on.
            while state.list_checkpoints(run_dir / "checkpoints") == before and child.poll() is None:
                time.sleep(0.0005)
        assert child.poll() is None, "the run ended before ten kills"
        child.kill()
        assert child.wait() == -signal.SIGKILL
        kills += 1
    assert subprocess.run([*command, "--quiet"], stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert final_files(run_dir, 150) == reference(values)
