"""`load`: a table by path and benchmark name, whatever its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from evo.options import did_you_mean
from search_spaces.robot.tables.csv_layout import find, from_csv
from search_spaces.robot.tables.errors import TableError
from search_spaces.robot.tables.naslib import from_naslib
from search_spaces.robot.tables.table import Table


@dataclass(frozen=True, slots=True)
class Known:
    """What is known beforehand of a public benchmark's files.

    Attributes:
        variant: the metrics that are taken where none are named.
        classes: the column of functional classes.
    """

    variant: str | None = None
    classes: str | None = None


BENCHMARKS: Mapping[str, Known] = {
    "nb201": Known("15625_imputed", "cls_strict4930"),
    "tnb101_micro": Known(),
}
"""Benchmarks whose files need no further word; any other name is looked for in the folder all the same."""


def load(
    path: str | Path,
    benchmark: str | None = None,
    *,
    dataset: str | None = None,
    variant: str | None = None,
    classes: str | None = None,
) -> Table:
    """A table; read once a process.

    Args:
        path: a folder of CSV files (see `csv_layout.py`), or NASLib's JSON file (.json, .json.gz).
        benchmark: in a folder, which one (`nb201`, `tnb101_micro`, or that of your own files).
        dataset: data set or task (`cifar10`, `cifar100`, `imagenet16`, `class_scene`, ...), where there are several.
        variant: in a folder, which file of metrics, where there are several (`15625_imputed`, `9445`, ...).
        classes: the column of functional classes, by its name; None: that of `BENCHMARKS`, else none.

    Raises:
        TableError: it says what is missing, and what there is.
    """
    return _load(Path(path), benchmark, dataset, variant, classes)


@lru_cache(maxsize=16)
def _load(path: Path, benchmark: str | None, dataset: str | None, variant: str | None, classes: str | None) -> Table:
    if path.name.endswith((".json", ".json.gz")):
        if classes is not None or variant is not None:
            raise TableError(f"{path} has neither variants nor a column of classes", "leave variant and classes out")
        return from_naslib(path, dataset=dataset)
    if not path.exists():
        hint = did_you_mean(str(path), ("shipped",)) or "give 'shipped', a folder of CSV files, or NASLib's JSON file"
        raise TableError(f"there is no table {str(path)!r}: neither folder nor file", hint)
    if benchmark is None:
        raise TableError(f"which benchmark of {path}?", f"name it: {', '.join(BENCHMARKS)}, or one of your own")
    known = BENCHMARKS.get(benchmark, Known())
    architectures, metrics = find(path, benchmark, variant or known.variant)
    title = f"{benchmark} {dataset}" if dataset else benchmark
    return from_csv(architectures, metrics, dataset=dataset, classes=classes or known.classes, name=title)
