"""Layers into one configuration: model defaults < the space's defaults < file < `--set`; then strict validation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from evo.config.files import looks_like_file, parse_value, read_yaml
from evo.config.models import Config
from evo.config.problems import KeyPath, Problem, all_paths, config_error, dotted, meant, problems_of, unknown_keys
from evo.config.units import parse_duration
from evo.errors import ConfigError, UsageError

DURATIONS = {("budget", "wall")}


def read_config(source: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], dict[KeyPath, str], str]:
    """The mapping of a source, where each key stands, and the source's name for messages.

    Args:
        source: a YAML file, the bare name of a space (or module:attr), or a mapping whose values may be models.
    """
    if isinstance(source, Mapping):
        return _plain(source), {}, "given in Python"
    if isinstance(source, Path) or looks_like_file(source):
        data, places = read_yaml(Path(source))
        return data, places, str(source)
    return {"space": source}, {}, f"space {source}"


def load_config(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Config:
    """A whole, validated configuration, with the options of space and strategy spelled out.

    Args:
        source: as in `read_config`.
        overrides: "key.path=value", the value read as YAML; "key.path=+5000" adds to what the layers below say.

    Raises:
        ConfigError: a key or value is wrong. UnknownSpaceError: no such space. UsageError: an override is no key=value.
    """
    data, places, name = read_config(source)
    places = dict(places)
    spec = data.get("space")
    for override in overrides:  # the space decides the defaults below, so it is wanted before the rest
        key, _, text = override.partition("=")
        if key.strip() == "space":
            spec = parse_value(text)
    if spec is None:
        raise ConfigError(
            f"space is missing ({name})", "add a line such as `space: lion`; `evo spaces` lists what is installed"
        )
    if not isinstance(spec, str):
        raise config_error([Problem(("space",), f"must be a space's name; got {spec!r}")], places, name)
    from evo.registry import load_space_class

    space_class = load_space_class(spec)
    defaults = _plain(_defaults_of(space_class, data, overrides))
    for path in all_paths(Config):
        if _get(defaults, path) is not None and path not in places and _get(data, path) is None:
            places[path] = f"defaults of space {spec}"
    merged = _merge(defaults, data)
    return _finish(_override(merged, overrides, places), places, name)


def _defaults_of(space_class: type[Any], data: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """The space's defaults, which may depend on its options; those are checked later."""
    options = data.get("options")
    given = dict(options) if isinstance(options, Mapping) else {}
    for override in overrides:
        key, _, text = override.partition("=")
        section, _, name = key.strip().partition(".")
        if section == "options" and name and "." not in name:
            try:
                given[name] = parse_value(text)
            except yaml.YAMLError:
                continue  # said below, where it is applied
    choose = getattr(space_class, "defaults_for", None)
    found: Mapping[str, Any] = choose(given) if choose is not None else getattr(space_class, "defaults", {})
    return found


def override_config(config: Config, overrides: Sequence[str]) -> Config:
    """A resolved configuration with `--set` overrides applied, validated again (a resumed run's)."""
    places: dict[KeyPath, str] = {}
    return _finish(_override(config.model_dump(mode="json"), overrides, places), places, "the run's configuration")


def to_yaml(config: Config) -> str:
    """The resolved configuration as YAML that `load_config` reads back to an equal one."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _plain(value: Any) -> Any:
    """Models and Mappings as dicts, tuples as lists; of models only what was set, so that defaults stay defaults."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _get(data: Any, path: KeyPath) -> Any:
    for key in path:
        if not isinstance(data, Mapping) or key not in data:
            return None
        data = data[key]
    return data


def _merge(base: Mapping[str, Any], over: Mapping[str, Any], path: KeyPath = ()) -> dict[str, Any]:
    """`over` on `base`, mapping by mapping. Another strategy's options are dropped: they are not its own."""
    base = dict(base)
    if path == ("strategy",) and "name" in over and over["name"] != base.get("name"):
        base.pop("options", None)
    for key, value in over.items():
        below = base.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            base[key] = _merge(below, value, (*path, key))
        else:
            base[key] = value
    return base


def _override(data: dict[str, Any], overrides: Sequence[str], places: dict[KeyPath, str]) -> dict[str, Any]:
    for override in overrides:
        key, equals, text = override.partition("=")
        path = tuple(part.strip() for part in key.split("."))
        if not equals or not all(path):
            raise UsageError(f"--set {override}: expected key=value", "for example --set budget.evaluations=5000")
        place = f"--set {override}"
        if text.lstrip().startswith("+"):
            value = _added(data, path, text.strip(), place)
        else:
            try:
                value = parse_value(text)
            except yaml.YAMLError:
                raise UsageError(f"{place}: the value is not valid YAML", "quote it: --set 'key=[1, 2]'") from None
        for depth in range(1, len(path)):
            inner = _get(data, path[:depth])
            if inner is not None and not isinstance(inner, Mapping):
                raise ConfigError(
                    f"{dotted(path[:depth])} holds a value, no keys ({place})", f"--set {dotted(path[:depth])}=..."
                )
        nested: Any = value
        for part in reversed(path):
            nested = {part: nested}
        data = _merge(data, nested)
        for depth in range(1, len(path) + 1):
            places[path[:depth]] = place
    return data


def _added(data: dict[str, Any], path: KeyPath, text: str, place: str) -> Any:
    present = _get(data, path)
    if present is None:
        present = _get(Config.model_construct(space="").model_dump(mode="json"), path)
    if path in DURATIONS:
        try:
            present = None if present is None else parse_duration(present)
            amount: Any = parse_duration(text[1:])
        except ValueError as error:
            raise ConfigError(f"{dotted(path)}: {error} ({place})") from None
    else:
        amount = parse_value(text[1:])
    if isinstance(present, bool) or not isinstance(present, int | float):
        what = "has no value" if present is None else f"is {present!r}, no number"
        raise ConfigError(
            f"{dotted(path)} {what}: nothing to add to ({place})", f"--set {dotted(path)}={text[1:]} sets it"
        )
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise ConfigError(f"{dotted(path)}: {text[1:]!r} is no number to add ({place})")
    return present + amount


def _json_text(data: Any, places: Mapping[KeyPath, str], source: str) -> str:
    """JSON, since only JSON may be strict and yet take lists for tuples; says which value is not JSON."""

    def walk(value: Any, path: KeyPath) -> list[Problem]:
        if isinstance(value, Mapping):
            return [problem for key, item in value.items() for problem in walk(item, (*path, str(key)))]
        if isinstance(value, list):
            return [problem for index, item in enumerate(value) for problem in walk(item, (*path, str(index)))]
        if value is None or isinstance(value, bool | int | float | str):
            return []
        return [
            Problem(
                path, f"must be text, a number, true, false, null, a list or a mapping; got a {type(value).__name__}"
            )
        ]

    problems = walk(data, ())
    if problems:
        raise config_error(problems, places, source)
    return json.dumps(data)


def _options(kind: type, given: Any, prefix: KeyPath, text: str) -> tuple[dict[str, Any], list[Problem]]:
    """Options validated by their dataclass and spelled out as JSON, and what is wrong with them."""
    known = all_paths(kind, prefix)
    problems = [Problem(path, "unknown key", meant(path, known)) for path in unknown_keys(kind, given, prefix)]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        options = adapter.validate_json(text, strict=True)
    except ValidationError as error:
        return {}, problems + problems_of(error, given, prefix)
    return dict(adapter.dump_python(options, mode="json")), problems


def _finish(data: dict[str, Any], places: Mapping[KeyPath, str], source: str) -> Config:
    """Validate everything, and say everything that is wrong at once."""
    from evo.registry import load_space_class
    from evo.strategies import strategy_class

    known = all_paths(Config)
    problems = [Problem(path, "unknown key", meant(path, known)) for path in unknown_keys(Config, data)]
    text = _json_text(data, places, source)
    config: Config | None = None
    try:
        config = Config.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems += problems_of(error, data)

    kinds: dict[KeyPath, type] = {("options",): load_space_class(data["space"]).Options}
    name = _get(data, ("strategy", "name")) or Config.model_fields["strategy"].default.name
    if isinstance(name, str):
        try:
            kinds["strategy", "options"] = strategy_class(name).Options
        except ConfigError as error:
            problems.append(Problem(("strategy", "name"), error.message, error.hint))
    checked: dict[KeyPath, dict[str, Any]] = {}
    for path, kind in kinds.items():
        given = _get(data, path) or {}
        if isinstance(given, Mapping):
            checked[path], wrong = _options(kind, given, path, json.dumps(given))
            problems += wrong
    if problems or config is None:
        raise config_error(problems, places, source)
    strategy = config.strategy.model_copy(update={"options": checked["strategy", "options"]})
    return config.model_copy(update={"options": checked["options",], "strategy": strategy})
