"""Shapes are what the annotations say: every public function and part is run under jaxtyping and beartype."""

from __future__ import annotations

import importlib
import inspect
import typing
from typing import Any

import jaxtyping
import pytest
import torch
from beartype import beartype
from tests.decoding.fakes import HashDenoiser, make_canvas
from tests.decoding.members import BUDGETS, ORDERS, REMASKS, SAMPLERS, STOPS, WINDOWS

import anyorder as ao

MODULES = [
    "core.canvas",
    "core.randomness",
    "planning.board",
    "planning.budgets",
    "planning.lookahead",
    "planning.orders",
    "planning.reconsider",
    "planning.remasking",
    "planning.remdm",
    "planning.samplers",
    "planning.statistics",
    "planning.stopping",
    "planning.windows",
    "decoding.leave_out",
    "decoding.result",
    "decoding.rows",
]


def check_annotations(monkeypatch: pytest.MonkeyPatch) -> int:
    """Wrap every annotated function and method of the modules; returns how many."""
    wrapped = 0
    for name in MODULES:
        module = importlib.import_module(f"anyorder.{name}")
        # The library imports its annotations for type checkers only.
        for known in ("Bool", "Float", "Float32", "Float64", "Int8", "Int64"):
            monkeypatch.setattr(module, known, getattr(jaxtyping, known), raising=False)
        names: dict[str, Any] = {"Tensor": torch.Tensor, "Any": Any}
        for known in ("canvas.Canvas", "denoiser.Denoiser", "denoiser.Session", "splicing.Edit", "splicing.Spliced"):
            place, attribute = known.split(".")
            names[attribute] = getattr(importlib.import_module(f"anyorder.core.{place}"), attribute)
        for place in ("planning.board", "planning.windows", "planning.statistics", "decoding.result", "decoding.rows"):
            names |= vars(importlib.import_module(f"anyorder.{place}"))
        for attribute, value in names.items():
            if not attribute.startswith("_") and not hasattr(module, attribute):
                monkeypatch.setattr(module, attribute, value, raising=False)
        for attribute, value in list(vars(module).items()):
            if getattr(value, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(value):
                monkeypatch.setattr(module, attribute, checked(value, module))
                wrapped += 1
            elif inspect.isclass(value) and not getattr(value, "_is_protocol", False):
                for method, function in list(vars(value).items()):
                    if inspect.isfunction(function) and (method == "__call__" or not method.startswith("_")):
                        monkeypatch.setattr(value, method, checked(function, module))
                        wrapped += 1
    return wrapped


def checked(function: Any, module: Any) -> Any:
    hints = typing.get_type_hints(function, vars(module))
    copy = type(function)(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__annotations__ = {name: typing.Any if "Law" in str(hint) else hint for name, hint in hints.items()}
    copy.__qualname__, copy.__module__ = function.__qualname__, function.__module__
    return jaxtyping.jaxtyped(typechecker=beartype)(copy)


def test_every_part_keeps_to_its_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_annotations(monkeypatch) > 60
    canvas = make_canvas(3, 8)
    defaults: dict[str, Any] = {"sampler": ao.Temperature(0.8), "budget": ao.Fixed(3)}
    for part, members in {
        "order": ORDERS,
        "budget": BUDGETS,
        "sampler": SAMPLERS,
        "window": WINDOWS,
        "remask": REMASKS,
        "stop": STOPS,
    }.items():
        for make in members.values():
            chosen = {**defaults, part: make()}
            if chosen.get("remask") is not None:
                del chosen["budget"]
            ao.decode(HashDenoiser(), canvas, **chosen)
    ao.Canvas.stack([canvas, make_canvas(2, 3)], side="left").positions.sum()


def test_a_wrong_shape_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail."""
    check_annotations(monkeypatch)
    from anyorder.planning.statistics import Cut, statistics

    with pytest.raises(jaxtyping.TypeCheckError):
        statistics(torch.zeros(2, 3, 4), Cut(4, 0))
