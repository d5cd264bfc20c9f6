"""Changes to frozen configurations by dotted names, for command lines, sweep files and saved runs: every one checked."""

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from palaestra.sim.errors import PalaestraError, UnknownNameError

T = TypeVar("T")


def changed(config: T, changes: Mapping[str, Any]) -> T:
    """The configuration with these fields changed: `{"hyper.learning_rate": 3e-4}`.

    Unknown fields raise with the nearest name, values of another type or out of range with what was expected.
    """
    for name, value in changes.items():
        check(config, name, value)
    valid = names(config)
    try:
        return _replaced(config, {name: _as(value, valid[name]) for name, value in changes.items()})
    except ValueError as error:
        raise PalaestraError(str(error)) from error


def check(config: Any, name: str, value: Any) -> None:
    """Raise where the configuration has no such field, or one of another type."""
    valid = names(config)
    if name not in valid:
        raise UnknownNameError("setting", name, valid)
    if not _fits(value, valid[name]):
        raise PalaestraError(f"{name}: got {value!r}, expected {_words(valid[name])}")


def names(config: Any, prefix: str = "") -> dict[str, Any]:
    """The dotted names of all fields that hold no fields themselves, and their types."""
    found: dict[str, Any] = {}
    hints = typing.get_type_hints(type(config))
    for field in fields(config):
        value = getattr(config, field.name)
        found |= names(value, f"{prefix}{field.name}.") if is_dataclass(value) else {f"{prefix}{field.name}": hints[field.name]}
    return found


def parse(assignments: typing.Iterable[str]) -> dict[str, Any]:
    """Changes from words like `hyper.learning_rate=3e-4`, `hidden=[64,64]`, `drift=dpo`: values are JSON, or else strings."""
    found: dict[str, Any] = {}
    for word in assignments:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise PalaestraError(f"--set: got {word!r}, expected <setting>=<value>, for example hyper.learning_rate=3e-4")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return any(_fits(value, k) for k in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, list | tuple) and all(_fits(x, typing.get_args(kind)[0]) for x in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is kind


def _as(value: Any, kind: Any) -> Any:
    """JSON's and TOML's whole numbers and lists as what the field holds."""
    if typing.get_origin(kind) is tuple:
        return tuple(value)
    wants_float = kind is float or (float in typing.get_args(kind) and int not in typing.get_args(kind))
    return float(value) if wants_float and type(value) is int else value


def _words(kind: Any) -> str:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_words(k) for k in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return f"a list, each {_words(typing.get_args(kind)[0])}"
    return {float: "a number", int: "a whole number", bool: "true or false", str: "a word", type(None): "null"}.get(kind, str(kind))


def _replaced(config: T, changes: Mapping[str, Any]) -> T:
    """With the changes of each part made at once, so that only the whole is checked."""
    own = {name: value for name, value in changes.items() if "." not in name}
    parts = sorted({name.partition(".")[0] for name in changes if "." in name})
    for part in parts:
        inner = {name.removeprefix(f"{part}."): value for name, value in changes.items() if name.startswith(f"{part}.")}
        own[part] = _replaced(getattr(config, part), inner)
    return replace(config, **own)  # type: ignore[type-var]
