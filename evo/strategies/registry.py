"""Strategies by name: what a configuration's `strategy: name` means."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from evo.errors import ConfigError
from evo.space import SearchSpace
from evo.strategies._options import did_you_mean, options_from
from evo.strategies.base import Strategy

STRATEGIES: Mapping[str, str] = {
    "random": "evo.strategies.random:RandomSearch",
    "regularized": "evo.strategies.regularized:RegularizedEvolution",
    "truncation": "evo.strategies.truncation:TruncationGA",
    "nsga2": "evo.strategies.nsga2:NSGA2",
    "topk": "evo.strategies.topk:TopK",
    "diversity": "evo.strategies.diversity:DiversityPrompting",
    "bayesian": "evo.strategies.bayesian:BayesianOptimisation",
    "restart": "evo.strategies.restart:Restart",
}
"""Name to "module:attr"; loaded when asked for, so that naming them imports nothing."""


def strategy_class(name: str) -> type[Any]:
    """The class behind a name or a "module:attr".

    Raises:
        ConfigError: no strategy of this name; a module that does not import; an attribute that is no strategy class.
    """
    target = STRATEGIES.get(name, name)
    module_name, colon, attribute = target.partition(":")
    if not colon:
        hint = f'{did_you_mean(name, STRATEGIES)} (or write "module:attr" for one of your own)'
        raise ConfigError(f"there is no strategy {name!r}", hint)
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"strategy {name!r} cannot be loaded: {error}",
            "check that the module can be imported from where the run starts and that it has this attribute",
        ) from error
    if not (isinstance(found, type) and hasattr(found, "Options")):
        raise ConfigError(
            f"strategy {name!r} is a {type(found).__name__}, not a strategy class with Options",
            "derive a class from evo.strategies.BaseStrategy and name that",
        )
    return found


def strategy_options(name: str, options: Mapping[str, Any] | Any | None = None) -> Any:
    """Checked options of a strategy: an instance of its `Options`.

    Args:
        name: see `strategy_class`.
        options: None for the defaults, a mapping of fields, or an instance.

    Raises:
        ConfigError: an unknown name or key, a value of the wrong type or out of range.
    """
    return options_from(strategy_class(name).Options, options, name)


def build_strategy(name: str, space: SearchSpace[Any], options: Mapping[str, Any] | Any | None = None) -> Strategy[Any]:
    """A fresh strategy for a space.

    Args:
        name: a name of `STRATEGIES`, or "module:attr" of a class made like `BaseStrategy`.
        space: the space it searches.
        options: as for `strategy_options`.

    Raises:
        ConfigError: as `strategy_options`; or the space lacks what the options ask for (seeds, a crossover).
    """
    checked = strategy_options(name, options)
    strategy: Strategy[Any] = strategy_class(name)(space, checked)
    return strategy
