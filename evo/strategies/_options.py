"""Options of strategies: from a mapping to a checked frozen dataclass, with errors that say what to do."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Mapping
from typing import Any

from evo.errors import ConfigError


def check_at_least(where: str, value: float, minimum: float) -> None:
    """Raises ConfigError unless `value >= minimum`; `where` names the option, as in "regularized.tournament"."""
    if not value >= minimum:  # written so that NaN fails too
        raise ConfigError(f"{where} is {value}; it must be at least {minimum}", f"set {where} to {minimum} or more")


def check_probability(where: str, value: float) -> None:
    """Raises ConfigError unless `value` lies in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{where} is {value}; it is a probability", f"set {where} to a number from 0 to 1")


def check_choice(where: str, value: object, choices: Collection[str]) -> None:
    """Raises ConfigError unless `value` is one of `choices`."""
    if value not in choices:
        listed = ", ".join(choices)
        raise ConfigError(f"{where} is {value!r}, which is none of: {listed}", did_you_mean(str(value), choices))


def did_you_mean(given: str, known: Collection[str]) -> str:
    """A hint that names the nearest of `known`, or all of them where none is near."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"use one of: {', '.join(known)}"


def options_from(options_class: type[Any], given: Mapping[str, Any] | Any | None, where: str) -> Any:
    """An instance of a strategy's options.

    Args:
        options_class: a frozen dataclass.
        given: None (the defaults), an instance (returned as it is), or a mapping of its fields.
        where: the strategy's name, for messages.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    if given is None:
        return options_class()
    if isinstance(given, options_class):
        return given
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"options of strategy {where!r} are a {type(given).__name__}, not a mapping or {options_class.__name__}",
            f"pass a mapping of its options or an instance of {options_class.__name__}",
        )
    known = [field.name for field in dataclasses.fields(options_class)]
    for key in given:
        if key not in known:
            raise ConfigError(f"strategy {where!r} has no option {key!r}", did_you_mean(str(key), known))

    import pydantic  # here, so that commands that only read a run need not load it

    try:
        return pydantic.TypeAdapter(options_class).validate_python(dict(given))
    except pydantic.ValidationError as invalid:
        first = invalid.errors()[0]
        original = first.get("ctx", {}).get("error")
        if isinstance(original, ConfigError):  # raised by the options' own __post_init__
            raise original from None
        path = ".".join([where, *(str(part) for part in first["loc"])])
        raise ConfigError(
            f"{path} is {first['input']!r}: {first['msg']}", "correct the value or leave it out"
        ) from None
