"""Arguments and options that several verbs share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def runs_dir_option(function: F) -> F:
    """--runs-dir."""
    return click.option(
        "--runs-dir",
        type=click.Path(file_okay=False),
        default=None,
        help="Where runs are looked for [$EVO_RUNS_DIR, or runs].",
    )(function)


def json_option(function: F) -> F:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON (infinities and NaN as text).")(function)


def set_option(function: F) -> F:
    """--set, repeatable."""
    return click.option(
        "--set",
        "overrides",
        metavar="KEY=VALUE",
        multiple=True,
        help="Set a key of the configuration; KEY=+N adds to it.",
    )(function)


def echo_notes(space: Any) -> None:
    """What a space has to say of its options, on stderr; spaces that derive from nothing of ours may have no word."""
    for note in getattr(space, "notes", tuple)():
        click.echo(click.style("note: ", fg="yellow") + note, err=True)


def plain_json(value: Any) -> Any:
    """A value that strict JSON can hold: tuples as lists, bytes as hex, "inf", "-inf" and "nan" as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return str(value)


def echo_json(value: Any) -> None:
    """Print strict JSON on stdout."""
    click.echo(json.dumps(plain_json(value), indent=2, allow_nan=False))
