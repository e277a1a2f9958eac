"""Training tasks, found by name or as `module:attr`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evo.errors import ConfigError

if TYPE_CHECKING:
    from search_spaces.lion.tasks.base import Task

TASKS: Mapping[str, str] = {
    "digits_mlp": "search_spaces.lion.tasks.digits:DigitsMLP",
    "digits_conv": "search_spaces.lion.tasks.digits:DigitsConv",
    "characters": "search_spaces.lion.tasks.characters:Characters",
}
"""The tasks that ship with the space."""


def load(name: str) -> Task:
    """The task of a name in `TASKS`, or of a spec `module:attr` (a class that takes no arguments).

    Raises:
        ConfigError: there is no such task, or it lacks members of `Task`.
    """
    from search_spaces.lion.tasks.base import Task

    spec = TASKS.get(name, name)
    module, _, attr = spec.partition(":")
    try:
        task = getattr(importlib.import_module(module), attr)() if attr else None
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigError(f"the task {name!r} cannot be loaded: {error}", _hint()) from error
    if not isinstance(task, Task):
        what = "it lacks members of search_spaces.lion.tasks.base.Task" if task else "no task has this name"
        raise ConfigError(f"the task {name!r} cannot be used: {what}", _hint())
    return task


def _hint() -> str:
    return f"name one of {', '.join(TASKS)}, or a class of your own as module:attr"
