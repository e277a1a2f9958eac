"""What is wrong with a configuration, in plain words: the key's path, where it was given, what was meant."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from evo.errors import ConfigError, EvoError

KeyPath = tuple[str, ...]

_PLAIN = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "dataclass_exact_type": "a mapping of keys to values",
    "none_required": "null",
    "string_pattern_mismatch": "a name (letters, digits, dot, dash, underscore; module:attr where a plug-in is meant)",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: at which key, in words, and what may have been meant."""

    path: KeyPath
    text: str
    hint: str = ""


def dotted(path: Sequence[Any]) -> str:
    """("budget", "wall") as "budget.wall"."""
    return ".".join(str(part) for part in path)


def fields_of(kind: Any) -> dict[str, Any]:
    """Field names and types of a model or dataclass, through Optional, Annotated and unions; empty for other types."""
    if typing.get_origin(kind) is typing.Annotated:
        return fields_of(typing.get_args(kind)[0])
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return {name: hint for part in typing.get_args(kind) for name, hint in fields_of(part).items()}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        try:
            hints = typing.get_type_hints(kind)
        except NameError:
            hints = {}
        return {item.name: hints.get(item.name, Any) for item in dataclasses.fields(kind) if item.init}
    return {}


def unknown_keys(kind: Any, given: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Paths of `given` that a model or dataclass type does not have, at any depth.

    Dataclasses nested in an Options class need not forbid unknown keys themselves for this.
    """
    fields = fields_of(kind)
    if not fields or not isinstance(given, Mapping):
        return []
    found: list[KeyPath] = []
    for key, value in given.items():
        if key in fields:
            found += unknown_keys(fields[key], value, (*path, str(key)))
        else:
            found.append((*path, str(key)))
    return found


def all_paths(kind: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Every key path of a model or dataclass type."""
    found: list[KeyPath] = []
    for name, hint in fields_of(kind).items():
        found += [(*path, name), *all_paths(hint, (*path, name))]
    return found


def meant(path: KeyPath, known: Iterable[KeyPath]) -> str:
    """What an unknown key may have meant: a hint, never empty if there are known keys."""
    known = list(known)
    siblings = [candidate[-1] for candidate in known if candidate[:-1] == path[:-1]]
    close = difflib.get_close_matches(path[-1], siblings, n=1, cutoff=0.6)
    elsewhere = [candidate for candidate in known if candidate[-1] == path[-1]]
    names = [dotted((*path[:-1], name)) for name in close] or [dotted(candidate) for candidate in elsewhere[:2]]
    if not names:
        close = difflib.get_close_matches(path[-1], sorted({candidate[-1] for candidate in known}), n=1, cutoff=0.75)
        names = [dotted(candidate) for candidate in known if candidate[-1] in close][:2]
    if names:
        return f"did you mean {' or '.join(names)}?"
    if siblings:
        return f"known keys {'of ' + dotted(path[:-1]) if path[:-1] else 'there'}: {', '.join(siblings)}"
    return f"{dotted(path[:-1]) or 'it'} takes no keys"


def show(value: Any) -> str:
    """A given value, short, so that "64" and 64 can be told apart."""
    if isinstance(value, str):
        text = f"the text {value!r}"
    elif value is None:
        text = "null"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, Mapping):
        text = f"a mapping with the keys {', '.join(map(str, value))}" if value else "an empty mapping"
    else:
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _real_path(location: Sequence[int | str], given: Any) -> tuple[KeyPath, Any]:
    """The part of pydantic's location that exists in the input (the rest names branches of unions), and the value."""
    path: list[str] = []
    for part in location:
        if not (part in given if isinstance(given, Mapping) else isinstance(given, list) and part in range(len(given))):
            break
        given = given[part]
        path.append(str(part))
    return tuple(path), given


def problems_of(error: ValidationError, given: Any, prefix: KeyPath = ()) -> list[Problem]:
    """Pydantic's errors as problems, one a key; the branches of a union are joined."""
    expected: dict[KeyPath, tuple[Any, list[str]]] = {}
    problems: list[Problem] = []
    for item in error.errors():
        path, value = _real_path(item["loc"], given)
        kind, context = item["type"], item.get("ctx", {})
        if kind in ("extra_forbidden", "unexpected_keyword_argument"):
            continue  # `unknown_keys` has said it, with what was meant
        if kind == "missing":
            problems.append(Problem((*prefix, *path, str(item["loc"][-1])), "is missing"))
        elif kind in ("value_error", "assertion_error"):
            cause = context.get("error")
            if isinstance(cause, EvoError):
                problems.append(Problem((*prefix, *path), cause.message, cause.hint))
            else:
                problems.append(Problem((*prefix, *path), str(cause or item["msg"])))
        else:
            if kind in _PLAIN:
                words = _PLAIN[kind]
            elif kind == "literal_error" or kind == "enum":
                words = "one of " + context["expected"] if " or " in context["expected"] else context["expected"]
            elif kind in _BOUNDS:
                name, relation = _BOUNDS[kind]
                words = f"{relation} {context[name]}"
            else:
                words = item["msg"][0].lower() + item["msg"][1:]
            known = expected.setdefault((*prefix, *path), (value, []))[1]
            if words not in known:
                known.append(words)
    problems += [
        Problem(path, f"must be {' or '.join(words)}; got {show(value)}") for path, (value, words) in expected.items()
    ]
    return problems


def config_error(problems: Sequence[Problem], origin: Mapping[KeyPath, str], source: str) -> ConfigError:
    """One error for all problems, each with the place its key was given."""

    def place(path: KeyPath) -> str:
        return next((origin[path[:n]] for n in range(len(path), 0, -1) if path[:n] in origin), source)

    def line(problem: Problem, hint: str = "") -> str:
        words = f"{problem.text}; {hint}" if hint else problem.text
        return f"{dotted(problem.path) or 'the configuration'}: {words} ({place(problem.path)})"

    if len(problems) == 1:
        return ConfigError(line(problems[0]), problems[0].hint)
    listed = "\n".join(f"  {line(problem, problem.hint)}" for problem in problems)
    return ConfigError(f"{len(problems)} problems in the configuration:\n{listed}")
