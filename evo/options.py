"""Plain options (JSON) to the frozen dataclasses of a space, with the typed errors that name the path."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from evo.errors import ConfigError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest of `known`, or the empty string."""
    close = difflib.get_close_matches(name, [k for k in known if not k.startswith("__")], n=1)
    return f"did you mean {close[0]!r}?" if close else ""


def from_json(annotation: Any, value: Any, where: str = "value") -> Any:
    """`value`, made of JSON types, as an instance of `annotation`.

    Handles dataclasses, tuples, lists, mappings, literals, unions and the scalars; an int passes for a float.

    Args:
        annotation: a type annotation, evaluated.
        value: JSON data; instances of the wanted dataclass pass through.
        where: the path for messages.

    Raises:
        ConfigError: it does not fit.
    """
    if annotation is Any:
        return value
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
        hint = did_you_mean(value, [a for a in arguments if isinstance(a, str)]) if isinstance(value, str) else ""
        choices = ", ".join(map(repr, arguments))
        raise ConfigError(f"{where} is {value!r}, not one of {choices}", hint)
    if origin in (Union, types.UnionType):
        return _from_union(arguments, value, where)
    if origin is typing.Annotated:
        return from_json(arguments[0], value, where)
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return _from_object(annotation, value, where)
    container = origin or annotation
    if container is tuple:
        return _from_sequence(arguments, value, where)
    if isinstance(container, type) and container not in (str, bytes) and issubclass(container, (list, Sequence)):
        items = _items(value, where)
        inner = arguments[0] if arguments else Any
        return [from_json(inner, item, f"{where}[{i}]") for i, item in enumerate(items)]
    if isinstance(container, type) and issubclass(container, (dict, Mapping)):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} is {value!r}, not a mapping")
        inner = arguments[1] if len(arguments) == 2 else Any
        return {key: from_json(inner, item, f"{where}.{key}") for key, item in value.items()}
    return _from_scalar(annotation, value, where)


def _from_scalar(annotation: Any, value: Any, where: str) -> Any:
    if annotation is None or annotation is types.NoneType:
        if value is None:
            return None
    elif annotation is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    elif annotation is int and isinstance(value, bool):
        pass  # True is an int to Python, not to a person who writes a configuration.
    elif isinstance(annotation, type) and isinstance(value, annotation):
        return value
    wanted = "null" if annotation in (None, types.NoneType) else getattr(annotation, "__name__", str(annotation))
    raise ConfigError(f"{where} is {value!r}, not {wanted}")


def _from_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in members:
        return None
    failures = []
    for member in members:
        if member is types.NoneType:
            continue
        try:
            return from_json(member, value, where)
        except ConfigError as error:
            failures.append(error)
    if len(failures) == 1:
        raise failures[0]
    raise ConfigError(f"{where} fits none of its types: {'; '.join(error.message for error in failures)}")


def _items(value: Any, where: str) -> Sequence[Any]:
    if isinstance(value, (list, tuple)):
        return value
    raise ConfigError(f"{where} is {value!r}, not a list")


def _from_sequence(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    items = _items(value, where)
    if not arguments:
        return tuple(items)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(from_json(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(items))
    if len(items) != len(arguments):
        raise ConfigError(f"{where} has {len(items)} items, not {len(arguments)}")
    pairs = zip(arguments, items, strict=True)
    return tuple(from_json(inner, item, f"{where}[{i}]") for i, (inner, item) in enumerate(pairs))


def _from_object(cls: type[Any], value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where} is {value!r}, not a mapping")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in value:
        if key not in fields:
            hint = did_you_mean(str(key), fields) or f"known: {', '.join(fields) or 'none'}"
            raise ConfigError(f"unknown key {where}.{key}", hint)
    hints = typing.get_type_hints(cls)
    arguments = {key: from_json(hints[key], item, f"{where}.{key}") for key, item in value.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in arguments:
            raise ConfigError(f"{where}.{name} is missing")
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{where}: {error}") from error
