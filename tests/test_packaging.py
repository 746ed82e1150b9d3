"""The wheel holds everything: built here, unpacked elsewhere, imported from outside the tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXTRAS = ("hf", "eval", "dev")
SOURCE = ROOT / "src" / "anyorder"

IMPORT_ALL = """
import importlib, pkgutil, sys
import anyorder
names = [module.name for module in pkgutil.walk_packages(anyorder.__path__, "anyorder.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
    assert sys.modules.get(name, anyorder).__file__.startswith(sys.argv[1]), name
print(len(names))
"""


def tracked() -> set[str]:
    """The files of the package that belong to it: all but what tools leave behind."""
    files = {path.relative_to(SOURCE.parent).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    return {name for name in files if "__pycache__" not in name and not name.endswith((".pyc", ".nbi", ".nbc"))}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # A copy of the sources, so that setuptools leaves no build folder in the tree and finds none there either.
    copy = folder / "tree"
    for name in ["pyproject.toml", "README.md", "LICENSE", *(f"src/{file}" for file in tracked())]:
        target = copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copy)]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_every_file_of_the_package(unpacked: Path) -> None:
    held = {path.relative_to(unpacked).as_posix() for path in (unpacked / "anyorder").rglob("*") if path.is_file()}
    assert held == tracked()
    assert {"anyorder/py.typed", "anyorder/training/configs/sudoku-9x9.yaml", "anyorder/viewer/page.html"} <= held
    shipped = "anyorder/models/assets/sudoku-9x9"
    assert {f"{shipped}/{name}" for name in ("config.json", "model.safetensors", "README.md")} <= held
    assert list(unpacked.glob("*.dist-info/licenses/LICENSE"))


def test_every_module_imports_from_the_wheel_outside_the_tree(unpacked: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONPATH"] = str(unpacked)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(unpacked)], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == sum(1 for name in tracked() if name.endswith(".py")) - 1  # the root is no submodule


def test_runtime_dependencies_hold_no_test_tools(unpacked: Path) -> None:
    (metadata,) = unpacked.glob("*.dist-info/METADATA")
    required = re.findall(r"^Requires-Dist: ([\w-]+)[^;\n]*$", metadata.read_text(encoding="utf-8"), re.MULTILINE)
    assert "torch" in required
    assert not {"pytest", "hypothesis", "ruff", "pyright", "beartype", "scipy", "transformers"} & set(required)


def test_every_installed_version_is_pinned() -> None:
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"
    )
    assert pins["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *(one for extra in EXTRAS for one in project["optional-dependencies"][extra])]
    names = {re.split(r"[>=<\[]", requirement)[0].replace("-", "_").lower() for requirement in declared}
    names -= {"anyorder"}  # its own extras, whose libraries are pinned as well
    assert names - {name.replace("-", "_").lower() for name in pins} == set()


def test_the_readme_has_a_line_for_every_file_of_the_package() -> None:
    done = subprocess.run([sys.executable, "scripts/readme_tree.py"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
