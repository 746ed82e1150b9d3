"""Making the parts of a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anyorder.training import state, train
from anyorder.training.build import make_model

ALLOWED = "torch numpy numba llvmlite accelerate safetensors huggingface_hub rich matplotlib yaml"


def test_starting_weights_are_a_function_of_the_seed(tiny: Any) -> None:
    before = torch.get_rng_state()
    one, same, other = make_model(tiny()), make_model(tiny()), make_model(tiny(seed=4))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one.embedding.weight, same.embedding.weight)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)


def test_without_a_compiler_training_runs_with_one_warning(tiny: Any, tmp_path: Path, monkeypatch: Any) -> None:
    train(tiny(steps=2), tmp_path / "plain", threads=1)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.warns(UserWarning, match="found no C\\+\\+ compiler") as caught:
        train(tiny(steps=2, compile=True), tmp_path / "compiled", threads=1)
    assert sum("compiler" in str(one.message) for one in caught) == 1
    first, second = (
        state.load_checkpoint(tmp_path / name / "checkpoints" / "step-00000002") for name in ("plain", "compiled")
    )
    for name, value in first.tensors["model"].items():
        assert torch.equal(value, second.tensors["model"][name])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_compiled_training_resumes_to_the_same_bits(tiny: Any, tmp_path: Path) -> None:
    train(tiny(steps=4, compile=True), tmp_path / "whole", threads=1)
    train(tiny(steps=4, compile=True), tmp_path / "legs", threads=1, minutes=1e-6)
    train(tiny(steps=4, compile=True), tmp_path / "legs", threads=1)
    train(tiny(steps=4), tmp_path / "plain", threads=1)
    whole, legs, plain = (
        state.load_checkpoint(tmp_path / name / "checkpoints" / "step-00000004") for name in ("whole", "legs", "plain")
    )
    for name, value in whole.tensors["model"].items():
        assert torch.equal(value, legs.tensors["model"][name])
        torch.testing.assert_close(value, plain.tensors["model"][name], rtol=1e-2, atol=1e-3)


def test_training_imports_on_a_bare_machine() -> None:
    # Only what the package promises to need: everything else that is installed here is out of reach.
    program = f"""
import importlib.metadata, sys
allowed = set("{ALLOWED} anyorder".split())
tops = importlib.metadata.packages_distributions()
seen, todo = set(), [tops[name][0] for name in allowed - {{"anyorder"}} if name in tops]
while todo:
    name = todo.pop()
    if name not in seen:
        seen.add(name)
        for requirement in importlib.metadata.requires(name) or ():
            if "extra ==" not in requirement:
                base = __import__("re").match(r"[A-Za-z0-9._-]+", requirement)[0]
                try:
                    importlib.metadata.distribution(base)
                except importlib.metadata.PackageNotFoundError:
                    continue
                todo.append(base)
import re
canonical = lambda name: re.sub("[-_.]+", "-", name).lower()
reachable = {{canonical(name) for name in seen}}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = tops.get(top)
        if owners and top not in allowed and not any(canonical(owner) in reachable for owner in owners):
            raise ModuleNotFoundError(f"{{name}} is not there on a bare machine", name=name)
sys.meta_path.insert(0, Refuse())
import anyorder.training.__main__, anyorder.training.loop, anyorder.training.release
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
