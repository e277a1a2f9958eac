"""What a table of a benchmark is: architectures, their training-free metrics, and what training them gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from search_spaces.robot.tables.errors import TableError


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A benchmark's table for one data set, n architectures.

    Attributes:
        name: of the benchmark and data set, for people.
        architectures: (n,) encodings, all different.
        metrics: by name, (n,) float64 training-free metrics; NaN where one is missing or was not finite.
        objectives: by name, (n,) float64 accuracies on validation data, larger is better, of any unit (percent mostly):
            what a search may look at.
        costs: by name, (n,) float64 seconds that an objective took.
        classes: (n,) int64 ids of functional classes, equal for architectures that compute the same function; or None.
        origin: where it was read from.
        reported: by name, (n,) float64 accuracies on test data: what is reported, and no search may look at.
        keys: (n,) names of the rows in the files, where these have any (an index of the benchmark); else empty.
    """

    name: str
    architectures: tuple[str, ...]
    metrics: Mapping[str, np.ndarray]
    objectives: Mapping[str, np.ndarray]
    costs: Mapping[str, np.ndarray]
    classes: np.ndarray | None
    origin: str
    reported: Mapping[str, np.ndarray] = field(default_factory=dict)
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.architectures)
        if not n:
            raise TableError(f"table {self.name!r} has no row", f"look at {self.origin}")
        if len(set(self.architectures)) != n:
            twice = next(a for i, a in enumerate(self.architectures) if a in self.architectures[:i])
            raise TableError(f"table {self.name!r} holds {twice} twice", "keep one row an architecture and data set")
        columns = [*self.metrics.items(), *self.objectives.items(), *self.costs.items(), *self.reported.items()]
        for name, column in [*columns, *([] if self.classes is None else [("classes", self.classes)])]:
            if np.shape(column) != (n,):
                raise TableError(f"column {name!r} of table {self.name!r} has shape {np.shape(column)}, not ({n},)")

    def __len__(self) -> int:
        return len(self.architectures)

    def objective(self, name: str) -> np.ndarray:
        """(n,) of an objective; TableError for one that it has not, which never is a test accuracy by mistake."""
        if name in self.reported:
            raise TableError(
                f"{name!r} of table {self.name!r} is test accuracy, which no search may look at",
                f"take one of: {', '.join(self.objectives)}",
            )
        return self._column("objective", self.objectives, name)

    def metric(self, name: str) -> np.ndarray:
        """(n,) of a metric; TableError for one that it has not."""
        return self._column("metric", self.metrics, name)

    def _column(self, what: str, columns: Mapping[str, np.ndarray], name: str) -> np.ndarray:
        if name not in columns:
            raise TableError(
                f"table {self.name!r} has no {what} {name!r}", f"take one of: {', '.join(columns) or 'none there'}"
            )
        return columns[name]

    def take(self, rows: np.ndarray) -> Table:
        """The table of these rows alone, (k,) indices or (n,) bool, in their order."""
        at = np.arange(len(self))[rows]

        def taken(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {name: column[at] for name, column in columns.items()}

        return replace(
            self,
            architectures=tuple(self.architectures[i] for i in at),
            metrics=taken(self.metrics),
            objectives=taken(self.objectives),
            costs=taken(self.costs),
            classes=None if self.classes is None else self.classes[at],
            reported=taken(self.reported),
            keys=tuple(self.keys[i] for i in at) if self.keys else (),
        )
