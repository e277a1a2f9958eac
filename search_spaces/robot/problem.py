"""What a run searches: a pool, and where the accuracy of a queried architecture comes from.

With a table both are read from it. A live run makes the pool from real networks, and trains those that are queried; it
needs a `Problem` without accuracies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from evo.errors import ConfigError
from search_spaces.robot.options import TABLES_SHIPPED, RobotOptions
from search_spaces.robot.pool import Pool, pool_of
from search_spaces.robot.tables import Table, TableError, load

SHIPPED = Path(__file__).parent / "benchmark" / "data"
"""The folder of the table that ships."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A pool of n items and what is known of them.

    Attributes:
        name: for people.
        pool: what is ranked.
        objective: name of the accuracy that is searched for.
        accuracy: (n,) float64, larger is better; None: it has to be trained for.
        seconds: (n,) that this accuracy took, where the table says so.
        reported: by name, (n,) test accuracies, for the final report alone.
        keys: (n,) the table's own names of the rows, or empty.
        digest: of all this, for the shared cache.
    """

    name: str
    pool: Pool
    objective: str
    accuracy: np.ndarray | None
    seconds: np.ndarray | None
    reported: Mapping[str, np.ndarray]
    keys: tuple[str, ...]
    digest: str


@lru_cache(maxsize=8)
def problem_of(options: RobotOptions) -> Problem:
    """The problem of a table; made once a process.

    Raises:
        TableError: the table, its objective or a metric is not there.
    """
    return problem_from(table_of(options), options)[0]


def problem_from(table: Table, options: RobotOptions) -> tuple[Problem, np.ndarray]:
    """The problem of a table that is there, and (n,) the rows of the table that its items stand for; in a live run the
    table has no accuracies.

    Raises:
        TableError: the objective or a metric is not in the table.
    """
    objective = options.objective or next(iter(table.objectives), None)
    if objective is None and not options.live:
        raise TableError(f"table {table.name!r} has no validation accuracy", "add a column val_accuracy")
    log = "auto" if options.log == "auto" else () if options.log == "none" else _names(options.log)
    pool, rows = pool_of(table, options.metrics, options.scaling, log, options.identity)
    accuracy = None if objective is None else table.objective(objective)[rows]
    for name in options.reported:
        if name not in table.reported:
            raise TableError(f"table {table.name!r} has no test accuracy {name!r}", ", ".join(table.reported))
    reported = {name: table.reported[name][rows] for name in options.reported or table.reported}
    digest = xxhash.xxh3_128()
    names = "\n".join([*pool.architectures, *pool.metrics]).encode()
    for part in (pool.scaled, b"" if accuracy is None else accuracy, names):
        digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes())
    problem = Problem(
        table.name, pool, objective or "accuracy", accuracy, seconds_of(table, objective or "", rows), reported,
        tuple(table.keys[i] for i in rows) if table.keys else (), digest.hexdigest(),
    )  # fmt: skip
    return problem, rows


def table_of(options: RobotOptions) -> Table:
    """The table that the options name."""
    folder = SHIPPED if options.tables in (None, TABLES_SHIPPED) else Path(str(options.tables))
    benchmark = options.benchmark or _only(folder)
    return load(folder, benchmark, dataset=options.dataset, variant=options.variant)


def description_of(options: RobotOptions) -> Mapping[str, Any]:
    """What `evo bench build robot` wrote of the table that the options name: its networks' skeleton, the images' side
    and more; empty where it made no such table."""
    folder = SHIPPED if options.tables in (None, TABLES_SHIPPED) else Path(str(options.tables))
    path = folder / f"{options.benchmark or _only(folder)}.json"
    if not path.is_file():
        return {}
    found: Any = json.loads(path.read_text(encoding="utf-8"))
    return found if isinstance(found, dict) else {}


def seconds_of(table: Table, objective: str, rows: np.ndarray) -> np.ndarray | None:
    """(rows,) of the cost column of an objective's schedule: `cost12_s` for `val12_c10`, `cost_s` for `val_c10`."""
    schedule = objective.partition("_")[0].removeprefix("val")
    found = [name for name in table.costs if name.partition("_")[0].removeprefix("cost") == schedule]
    return table.costs[found[0]][rows] if len(found) == 1 else None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _only(folder: Path) -> str | None:
    """The benchmark of a folder that holds one."""
    if not folder.is_dir():
        return None
    names = sorted({path.name.split(".")[0] for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz"))})
    found = [name.removesuffix("_archs") for name in names if name.endswith("_archs")]
    if len(found) > 1:
        raise ConfigError(f"{folder} holds several benchmarks: {', '.join(found)}", "name one: options.benchmark")
    return found[0] if found else names[0] if len(names) == 1 else None
