"""Which keys a resumed run may change freely, and which define its search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evo.config.models import Config

FREE = ("budget", "executor", "report", "loop.snapshot_every")
"""Keys (and all below) that change cost, speed or the end of a run, never what it proposes; all others define it."""


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {
            key: leaf
            for name, item in value.items()
            for key, leaf in _leaves(item, f"{path}.{name}" if path else name).items()
        }
    return {path: value}


def changed_keys(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ, with the old and the new value (None where a key is not there)."""
    before, after = _leaves(old.model_dump(mode="json")), _leaves(new.model_dump(mode="json"))
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def defining_changes(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """The changed keys that define the search: a resume takes them only by force."""
    return {
        key: values
        for key, values in changed_keys(old, new).items()
        if not any(key == free or key.startswith(free + ".") for free in FREE)
    }
