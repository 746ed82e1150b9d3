"""``import anyorder`` is instant, and decoding needs torch and nothing heavier."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import anyorder as ao


def loaded(code: str, *modules: str) -> list[str]:
    """Which of the modules are loaded after the code, in a fresh process."""
    check = f"{code}\nimport sys\nprint([name for name in {modules!r} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    return ast.literal_eval(output)


def test_the_import_alone_loads_nothing() -> None:
    assert loaded("import anyorder", "torch", "numpy", "anyorder.core.canvas") == []


def test_decoding_needs_torch_only() -> None:
    heavy = (
        "transformers",
        "jaxtyping",
        "beartype",
        "matplotlib",
        "accelerate",
        "numba",
        "rich",
        "tyro",
        "safetensors",
    )
    code = "import anyorder as ao; ao.decode, ao.Canvas, ao.strategies, ao.KLASS, ao.Linear"
    assert loaded(code, "torch", *heavy) == ["torch"]


def test_every_public_name_is_there_and_listed() -> None:
    for name in ao.__all__:
        assert getattr(ao, name) is not None
    assert set(ao.__all__) <= set(dir(ao))
    with pytest.raises(AttributeError, match="no attribute 'margin'"):
        ao.margin  # type: ignore[attr-defined]  # noqa: B018


def test_the_lazy_list_and_the_type_checkers_list_agree() -> None:
    tree = ast.parse(Path(ao.__file__).read_text())
    static = {
        alias.name: node.module.removeprefix("anyorder.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("anyorder.")
        for alias in node.names
    }
    assert static == ao._MODULE_OF
    assert sorted(static) == sorted(ao.__all__)
