"""Training tasks, found by name or as `module:attr`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from evo.errors import ConfigError, EvoError

if TYPE_CHECKING:
    from search_spaces.lion.tasks.base import Task

TASKS: Mapping[str, str] = {
    "digits_mlp": "search_spaces.lion.tasks.digits:DigitsMLP",
    "digits_conv": "search_spaces.lion.tasks.digits:DigitsConv",
    "characters": "search_spaces.lion.tasks.characters:Characters",
    "fashion_mlp": "search_spaces.lion.tasks.fashion:FashionMLP",
    "fashion_conv": "search_spaces.lion.tasks.fashion:FashionConv",
    "transformer": "search_spaces.lion.tasks.transformer:Transformer",
    "fashion_mlp_10x": "search_spaces.lion.tasks.fashion:FashionMLP10x",
    "fashion_conv_10x": "search_spaces.lion.tasks.fashion:FashionConv10x",
    "transformer_10x": "search_spaces.lion.tasks.transformer:Transformer10x",
    "fashion_mlp_100x": "search_spaces.lion.tasks.fashion:FashionMLP100x",
    "fashion_conv_100x": "search_spaces.lion.tasks.fashion:FashionConv100x",
    "transformer_100x": "search_spaces.lion.tasks.transformer:Transformer100x",
}
"""The tasks that ship with the space: first those of the search, then selection's, 10 and 100 times larger."""


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
    except EvoError:
        raise
    except Exception as error:  # a module of the user's own may raise anything
        raise ConfigError(f"the task {name!r} cannot be loaded: {type(error).__name__}: {error}", _hint()) from error
    if task is None:
        raise ConfigError(f"no task is called {name!r}", _hint())
    wanted = [*Task.__annotations__, *(member for member in vars(Task) if not member.startswith("_"))]
    missing = sorted({member for member in wanted if not hasattr(task, member)})
    if missing:
        hint = f"{_hint()}; what a task is stands in search_spaces/lion/tasks/base.py"
        raise ConfigError(f"the task {name!r} lacks {', '.join(missing)}", hint)
    return task


def _hint() -> str:
    return f"name one of {', '.join(TASKS)}, or a class of your own as module:attr"
