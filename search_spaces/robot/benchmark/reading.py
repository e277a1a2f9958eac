"""The files of a build read back: accuracies by seed, metrics by batch, for correlations and ceilings.

Searches read the same files as any other table, with `search_spaces.robot.tables.load`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.robot.benchmark.names import DATA, NAME
from search_spaces.robot.tables.columns import Columns, positions, read_columns


@dataclass(frozen=True, slots=True, eq=False)
class Benchmark:
    """All that a build found.

    Attributes:
        architectures: (n,) strings of cells.
        accuracies: by "val2", "test2", "val6", "test6" (part and epochs): (seeds, n) percent, NaN where not trained.
        seconds: by epochs: (n,) processor seconds a training.
        metrics: by name: (n,) means over batches, larger is better, NaN where undefined; empty: not measured.
        batches: by name: (batches, n).
        metric_seconds: by name, and "all": (n,) processor seconds on one batch.
        origin: how it was made.
    """

    architectures: tuple[str, ...]
    accuracies: Mapping[str, np.ndarray]
    seconds: Mapping[int, np.ndarray]
    metrics: Mapping[str, np.ndarray]
    batches: Mapping[str, np.ndarray]
    metric_seconds: Mapping[str, np.ndarray]
    origin: Mapping[str, Any]

    @property
    def epochs(self) -> tuple[int, ...]:
        """Of the schedules, shortest first."""
        return tuple(self.seconds)


def read(folder: Path = DATA) -> Benchmark:
    """The benchmark in a build's folder; that which ships by default.

    Raises:
        TableError: a file is missing or damaged.
        OSError: the description is missing.
    """
    origin = json.loads((folder / f"{NAME}.json").read_text())
    rows = read_columns(folder / f"{NAME}_archs.csv.gz")
    settings = origin["settings"]
    epochs = [settings["epochs"]] + ([settings["long_epochs"]] if settings["long_cells"] else [])
    accuracies = {
        f"{part}{count}": np.stack([rows.numbers(f"seed{seed}_{part}{count}") for seed in range(settings["seeds"])])
        for part in ("val", "test")
        for count in epochs
    }
    metrics: dict[str, np.ndarray] = {}
    batches: dict[str, np.ndarray] = {}
    seconds: dict[str, np.ndarray] = {}
    if settings["batches"]:
        path = folder / f"{NAME}_metrics.csv.gz"
        measured = read_columns(path)
        place = positions(measured.column("idx"), path)
        at = np.array([place[key] for key in rows.column("idx")])
        for column in measured.text:
            if column.startswith("time_"):
                seconds[column.removeprefix("time_")] = measured.numbers(column)[at]
            elif column != "idx":
                metrics[column] = measured.numbers(column)[at]
        batches = _by_batch(read_columns(folder / f"{NAME}_batches.csv.gz"), rows.column("idx"), list(metrics))
    return Benchmark(
        tuple(rows.column("arch_str")), accuracies, {count: rows.numbers(f"cost{count}_s") for count in epochs},
        metrics, batches, seconds, origin,
    )  # fmt: skip


def _by_batch(table: Columns, keys: list[str], names: list[str]) -> dict[str, np.ndarray]:
    numbers = table.numbers("batch").astype(np.int64)
    row = {key: place for place, key in enumerate(keys)}
    places = np.array([row[key] for key in table.column("idx")])
    found = {}
    for name in names:
        values = np.full((int(numbers.max()) + 1, len(keys)), np.nan)
        values[numbers, places] = table.numbers(name)
        found[name] = values
    return found
