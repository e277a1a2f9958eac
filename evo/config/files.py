"""Reading YAML strictly: duplicate keys are errors, 1e-3 is a number, and every key knows its line."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evo.config.problems import KeyPath, dotted
from evo.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, but with the numbers that people write: 1e-3 is no text; dates stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:float", "tag:yaml.org,2002:timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?((\d[\d_]*\.[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|\d[\d_]*[eE][-+]?\d+|\.(inf|Inf|INF)|\.nan|\.NaN|\.NAN)$"
    ),
    list("-+0123456789."),
)


def parse_value(text: str) -> Any:
    """The value of a `--set key=value`, read as YAML.

    Raises:
        yaml.YAMLError: not YAML.
    """
    return yaml.load(text, Loader=_Loader)


def _places(node: yaml.Node | None, source: str, path: KeyPath = ()) -> dict[KeyPath, str]:
    places: dict[KeyPath, str] = {}
    if not isinstance(node, yaml.MappingNode):
        return places
    for key, value in node.value:
        here = (*path, str(key.value))
        if here in places:
            raise ConfigError(
                f"{dotted(here)} is given twice ({source}, line {key.start_mark.line + 1})", "keep one of the two"
            )
        places[here] = f"{source}, line {key.start_mark.line + 1}"
        places |= _places(value, source, here)
    return places


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[KeyPath, str]]:
    """A configuration file's mapping, and where each key stands ("run.yaml, line 3").

    Raises:
        ConfigError: no such file, not YAML, not a mapping, a key given twice.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        folder = path.parent
        names = [item.name for item in folder.glob("*.y*ml")] if folder.is_dir() else []
        close = difflib.get_close_matches(path.name, names, n=1)
        hint = (
            f"did you mean {folder / close[0]}?"
            if close
            else "give a YAML file, or a space's name (`evo spaces` lists them)"
        )
        raise ConfigError(f"there is no configuration file {path}", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read the configuration {path}: {reason}", "give a YAML file") from None
    try:
        node = yaml.compose(text, Loader=_Loader)
        places = _places(node, str(path))
        data = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(
            f"{path}{where}: not valid YAML: {getattr(error, 'problem', None) or error}", "check indentation and colons"
        ) from None
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path} holds no mapping of keys to values", "start with a line such as `space: lion`")
    return dict(data), places


def looks_like_file(source: str) -> bool:
    """Whether a string names a file rather than a space."""
    return source.endswith((".yaml", ".yml", ".json")) or os.sep in source or Path(source).is_file()
