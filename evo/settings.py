"""Settings of a verb that a space defines (`evo refine --set`), told to people: names, defaults, meanings.

A space says what it takes with a frozen dataclass, and the class's docstring says what each field means, in a section
"Attributes:". Nothing here imports more than the standard library.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from evo.errors import ConfigError
from evo.options import did_you_mean


class Setting(NamedTuple):
    """One key.

    Attributes:
        name: as `--set` takes it.
        type: as it is annotated.
        default: its value where it is not set; `dataclasses.MISSING` where it must be.
        meaning: what the docstring says; empty where it says nothing.
    """

    name: str
    type: str
    default: Any
    meaning: str


def settings_of(cls: type[Any]) -> list[Setting]:
    """The fields of a dataclass as settings, in order."""
    meanings = _meanings(cls)
    return [
        Setting(field.name, str(field.type), _default(field), meanings.get(field.name, ""))
        for field in dataclasses.fields(cls)
        if field.init
    ]


def unknown_setting(given: Iterable[str], cls: type[Any], listing: str) -> None:
    """Raise ConfigError for the first key that is no field of `cls`, with all that there are.

    Args:
        given: keys.
        listing: the command that lists them with defaults and meanings.
    """
    known = [setting.name for setting in settings_of(cls)]
    for key in given:
        if key not in known:
            guess = did_you_mean(str(key), known)
            hint = f"{guess} " if guess else ""
            raise ConfigError(
                f"no setting is called {key!r}", f"{hint}there are {', '.join(known)}; `{listing}` says more"
            )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _meanings(cls: type[Any]) -> dict[str, str]:
    """Field -> text, from the "Attributes:" section of a Google docstring; "a, b: text" counts for both."""
    text = inspect.cleandoc(cls.__doc__ or "")
    _, _, section = text.partition("\nAttributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        head = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if head:
            names = head[1].split(", ")
            found.update(dict.fromkeys(names, head[2]))
        elif line.strip():
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found
