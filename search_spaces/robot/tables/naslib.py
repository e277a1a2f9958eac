"""Tables from NASLib's zero-cost JSON files (NAS-Bench-Suite-Zero).

    {data set: {architecture: {metric: {"score": number, "time": seconds}, ..., "val_accuracy": number}}}

An architecture is the text of its tuple of operations, "(2, 2, 0, 4, 2, 0)" on NAS-Bench-201, edges in the order
(0→1, 0→2, 0→3, 1→2, 1→3, 2→3). Accuracies are whatever NASLib took for validation (`val_accuracy`); there is no test
accuracy. A metric that is no number is NaN; so is -1e8.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np

from search_spaces.robot.tables.columns import NOT_FINITE
from search_spaces.robot.tables.errors import TableError
from search_spaces.robot.tables.names import matching, metric_name
from search_spaces.robot.tables.table import Table


def from_naslib(path: Path, *, dataset: str | None = None, name: str | None = None) -> Table:
    """The table of one data set of a NASLib file (.json or .json.gz).

    Args:
        path: the file.
        dataset: data set or task; needed where the file holds several.
        name: of the table; None: the file's name and the data set.

    Raises:
        TableError: no such file, no such data set, or not NASLib's layout.
    """
    content = _read(path)
    if dataset is None:
        if len(content) != 1:
            raise TableError(f"{path} holds several: {', '.join(sorted(content))}", "say which data set")
        dataset = next(iter(content))
    rows = content[matching(dataset, content, str(path))]
    if not isinstance(rows, dict) or not rows or not all(isinstance(row, dict) for row in rows.values()):
        raise TableError(f"{path}, {dataset}: not a mapping of architectures to their metrics", _LAYOUT)
    architectures = tuple(rows)
    names = list(dict.fromkeys(key for row in rows.values() for key, cell in row.items() if isinstance(cell, dict)))
    metrics = {}
    for key in names:
        values = np.array([_score(row.get(key), path, key) for row in rows.values()], np.float64)
        values[(values == NOT_FINITE) | ~np.isfinite(values)] = np.nan
        if np.isfinite(values).any():
            metrics[metric_name(key)] = values
    if not all(isinstance(row.get("val_accuracy"), int | float) for row in rows.values()):
        raise TableError(f"{path}, {dataset}: an architecture has no val_accuracy", _LAYOUT)
    accuracy = np.array([row["val_accuracy"] for row in rows.values()], np.float64)
    title = name or f"{path.name.split('.')[0]} {dataset}"
    return Table(title, architectures, metrics, {"val_accuracy": accuracy}, {}, None, str(path))


_LAYOUT = f"the layout is described in {__name__}"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise TableError(f"there is no file {path}", "give the path of NASLib's zc_<benchmark>.json")
    try:
        data = path.read_bytes()
        content = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (OSError, EOFError, ValueError) as error:
        raise TableError(f"{path} cannot be read as JSON: {error}", "is it whole, and JSON?") from error
    if not isinstance(content, dict) or not content:
        raise TableError(f"{path} is no mapping of data sets", _LAYOUT)
    return content


def _score(cell: Any, path: Path, key: str) -> float:
    if cell is None:
        return float("nan")
    score = cell.get("score") if isinstance(cell, dict) else cell
    if score is None:
        return float("nan")
    if not isinstance(score, int | float):
        raise TableError(f"{path}: {key} has the score {score!r}, which is no number", _LAYOUT)
    return float(score)
