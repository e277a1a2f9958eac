"""The options of the space, as a user writes them under `options:` in a run's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, get_args

from evo.errors import ConfigError

Scaling = Literal["minmax", "rank"]
Identity = Literal["class", "architecture"]
Weights = Literal["signed", "positive"]
Sample = Literal["architecture", "weights"]


TABLES_SHIPPED = "shipped"
OF_TABLES = ("benchmark", "dataset", "variant", "objective", "reported")
"""Options that say something of a table."""
OF_NETWORKS = (
    "architectures", "architecture_options", "pool", "draw", "images", "side", "train", "validation", "test",
    "schedule", "metric_batch", "metric_seed",
)  # fmt: skip
"""Options that say something of a live run's networks."""


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """How a queried network is trained: SGD with Nesterov momentum, the rate falling to 0 over a half cosine.

    Attributes:
        epochs: passes over the training images.
        batch: images a step.
        rate: learning rate at the first step.
        momentum: of Nesterov's kind.
        decay: weight decay.
        shift: largest shift of an image in pixels, each way.
        mirror: whether every other image, at random, is mirrored.
        watched: validation images that the curve is taken on; its last point is of all.
    """

    __pydantic_config__ = {"extra": "forbid"}

    epochs: int = 4
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    shift: int = 0
    mirror: bool = True
    watched: int = 1000

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "watched"):
            _at_least(f"schedule.{name}", getattr(self, name), 1)
        _at_least("schedule.shift", self.shift, 0)
        if not (self.rate > 0.0 and 0.0 < self.momentum < 1.0 and self.decay >= 0.0):
            raise ConfigError(
                f"options.schedule: rate {self.rate}, momentum {self.momentum}, decay {self.decay}",
                "a rate above 0, a momentum between 0 and 1, a decay of at least 0",
            )


@dataclass(frozen=True, slots=True)
class RobotOptions:
    """Which pool of architectures is ranked, by which metrics, and what a queried one is worth.

    Without a table the run is live: a pool of real networks is scored, and queried ones are trained.

    Attributes:
        tables: where accuracies come from: "shipped", a folder of CSV files, or NASLib's JSON file (`tables/`); null:
            from training, in a live run.
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
        architectures: live: "nb201-small", "nb201", "tnb101-micro", or module:attr of your own class with `sample`,
            `encode` and `build`.
        architecture_options: live: keyword arguments of that class.
        pool: live: how many functionally distinct architectures are scored.
        draw: live: seed of their drawing.
        images: live: Fashion-MNIST as it is "shipped" (10,000 images), "installed" (Debian's package, all 70,000) or in
            a folder; or module:attr of your own data (`live/data.py`).
        side: live: pixels of a side that Fashion-MNIST is averaged to: 28, 14, 7 or 4.
        train, validation, test: live: how many images of each part; null: all.
        schedule: live: how a queried network is trained.
        metric_batch: live: training images that metrics are computed on.
        metric_seed: live: seed of that batch, of the weights it goes through, and of what metrics draw.
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
    architectures: str = "nb201-small"
    architecture_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    pool: int = 200
    draw: int = 0
    images: str = "shipped"
    side: int = 14
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    metric_batch: int = 64
    metric_seed: int = 0

    @property
    def live(self) -> bool:
        """Whether networks are trained: there is no table."""
        return self.tables is None

    def __post_init__(self) -> None:
        if isinstance(self.schedule, Mapping):
            object.__setattr__(self, "schedule", ScheduleOptions(**self.schedule))
        for name in ("reported", "metrics"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"options.{name} is the text {value!r}", "write a list: [synflow, jacov]")
            object.__setattr__(self, name, tuple(value))
            if len(set(value)) != len(value):
                raise ConfigError(f"options.{name} names one twice: {', '.join(value)}")
        for name, allowed in (("scaling", Scaling), ("identity", Identity), ("weights", Weights), ("sample", Sample)):
            _one_of(name, getattr(self, name), get_args(allowed))
        for name, low in (("pool", 2), ("draw", 0), ("side", 1), ("metric_batch", 4), ("metric_seed", 0)):
            _at_least(name, getattr(self, name), low)
        for name in ("train", "validation", "test"):
            if getattr(self, name) is not None:
                _at_least(name, getattr(self, name), 1)
        given = [name for name in (OF_TABLES if self.live else OF_NETWORKS) if getattr(self, name) != _DEFAULTS[name]]
        if given and self.live:
            raise ConfigError(
                f"options.{given[0]} is of a table, and this run has none: it would train networks",
                "give options.tables: shipped, a folder or a file; or leave it out",
            )
        if given:
            raise ConfigError(
                f"options.{given[0]} is of a live run, and this one reads the table {self.tables}",
                "leave one of the two out",
            )


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"options.{name}: {value!r} is none of {', '.join(allowed)}")


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ConfigError(f"options.{name} is {value}", f"give {low} or more")


_DEFAULTS: Mapping[str, Any] = {
    f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(RobotOptions)
}
