"""The options of the space, as a user writes them under `options:` in a run's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from evo.errors import ConfigError

Scaling = Literal["minmax", "rank"]
Identity = Literal["class", "architecture"]
Weights = Literal["signed", "positive"]
Sample = Literal["architecture", "weights"]


@dataclass(frozen=True, slots=True)
class RobotOptions:
    """Which pool of architectures is ranked, by which metrics, and what a queried one is worth.

    Attributes:
        tables: a folder of CSV files or NASLib's JSON file (`tables/`); null: the table that ships.
        benchmark: in a folder, which one: "nb201", "tnb101_micro", or that of your own files; null: the only one.
        dataset: data set or task of the metrics, where the table holds several.
        variant: which file of metrics, where there are several; null: the usual one.
        objective: the validation accuracy that the search maximises; null: the table's first.
        reported: test accuracy that the final report shows; empty: all that the table has. The search never sees one.
        metrics: whose weights are searched; empty: all that the table has values of.
        scaling: of each metric over the pool: "minmax", or "rank".
        log: metrics on a logarithmic scale: "auto", those with a heavy tail; "none"; or names, comma-separated.
        identity: what is the same: "class", architectures that compute the same function, of which one stands for all;
            or "architecture", each its own.
        weights: "signed", in [-1, 1]; or "positive", in [0, 1].
        sample: what random search and evolution draw: "architecture", or "weights".
    """

    __pydantic_config__ = {"extra": "forbid"}

    tables: str | None = None
    benchmark: str | None = None
    dataset: str | None = None
    variant: str | None = None
    objective: str | None = None
    reported: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    scaling: Scaling = "minmax"
    log: str = "auto"
    identity: Identity = "class"
    weights: Weights = "signed"
    sample: Sample = "architecture"

    def __post_init__(self) -> None:
        for name in ("reported", "metrics"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"options.{name} is the text {value!r}", "write a list: [synflow, jacov]")
            object.__setattr__(self, name, tuple(value))
            if len(set(value)) != len(value):
                raise ConfigError(f"options.{name} names one twice: {', '.join(value)}")
        for name, allowed in (("scaling", Scaling), ("identity", Identity), ("weights", Weights), ("sample", Sample)):
            _one_of(name, getattr(self, name), get_args(allowed))


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"options.{name}: {value!r} is none of {', '.join(allowed)}")
