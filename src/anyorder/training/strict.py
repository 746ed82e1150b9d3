"""Mappings to frozen dataclasses, strictly: a name or a type that does not fit is refused with one line.

``build(Settings, {"steps": 10})`` fills a dataclass from a mapping (a parsed YAML file, say), nested dataclasses from
nested mappings. An unknown name is refused with the nearest known one, a wrong type with the place where it stands.
YAML reads ``1e-3`` as a string; a string that is a number is accepted where a float is wanted.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from anyorder.core.errors import UserError, reason

T = TypeVar("T")


def require(condition: bool, message: str) -> None:
    """Raise ``UserError`` with ``message`` unless ``condition`` holds: the check of a settings dataclass."""
    if not condition:
        raise UserError(message)


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """An instance of the dataclass ``cls`` with the fields given by ``values``.

    Args:
        cls: a dataclass; its fields' annotations say what is accepted.
        values: field name to value; a missing name takes the field's default.
        where: the place of ``values`` in its file, for messages ("" at the top, "optimizer" below).

    Raises:
        UserError: an unknown or missing name, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"{where or 'the configuration'} must be a mapping of names to values, not {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # pyright: ignore[reportArgumentType]
    refuse_unknown(values, fields, where)
    hints = typing.get_type_hints(cls)
    arguments = {}
    for name, field in fields.items():
        place = f"{where}.{name}" if where else name
        if name in values:
            arguments[name] = _convert(hints[name], values[name], place)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise UserError(f"{place} is missing")
    return cls(**arguments)


def refuse_unknown(values: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], where: str = "") -> None:
    """Raise ``UserError`` for the first name of ``values`` that is not among ``known``, with the nearest known one."""
    names = sorted(known)
    for name in values:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "known names: " + ", ".join(names)
            raise UserError(f"unknown setting {str(name)!r} in {where or 'the configuration'}: {hint}")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping of a YAML file; duplicate keys and anything but plain data are refused.

    Raises:
        UserError: the file cannot be read, is not YAML, or is not a mapping.
    """
    path = Path(path)
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except FileNotFoundError:
        raise UserError(f"no such configuration file: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {reason(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold a mapping of names to values")
    return values


def plain(value: Any) -> Any:
    """A dataclass (or anything within one) as JSON data: dicts, lists, strings, numbers."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


class _StrictLoader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool)):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the annotated type ``hint``, or ``UserError``."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        members = typing.get_args(hint)
        if value is None and type(None) in members:
            return None
        concrete = [member for member in members if member is not type(None)]
        if len(concrete) == 1:
            return _convert(concrete[0], value, where)
        for member in concrete:
            try:
                return _convert(member, value, where)
            except UserError:
                continue
        raise UserError(f"{where} cannot be {value!r}")
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if value in choices and type(value) in {type(choice) for choice in choices}:
            return value
        near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], n=1)
        hint_text = f"did you mean {near[0]!r}?" if near else "choose from " + ", ".join(map(str, choices))
        raise UserError(f"{where} cannot be {value!r}: {hint_text}")
    if dataclasses.is_dataclass(hint):
        return value if isinstance(value, typing.cast(type, hint)) else build(typing.cast(type, hint), value, where)
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise UserError(f"{where} must be a list, not {value!r}")
        members = typing.get_args(hint)
        kinds = [members[0]] * len(value) if members[-1] is Ellipsis else list(members)
        if len(kinds) != len(value):
            raise UserError(f"{where} must have {len(kinds)} items, not {len(value)}")
        pairs = enumerate(zip(kinds, value, strict=True))
        return tuple(_convert(kind, item, f"{where}[{index}]") for index, (kind, item) in pairs)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a mapping, not {value!r}")
        return dict(value)
    if hint is float:
        try:
            if isinstance(value, bool):
                raise ValueError
            return float(value)
        except (TypeError, ValueError):
            raise UserError(f"{where} must be a number, not {value!r}") from None
    if hint is bool or hint is int or hint is str:
        if type(value) is not hint:
            names = {bool: "true or false", int: "a whole number", str: "text"}
            raise UserError(f"{where} must be {names[hint]}, not {value!r}")
        return value
    if isinstance(hint, type) and isinstance(value, hint):
        return value
    raise UserError(f"{where} cannot be {value!r}")
