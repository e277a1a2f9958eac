"""Tables from CSV files.

The layout, all files plain (.csv) or gzipped (.csv.gz), with a header line:

- **Architectures**: one row an architecture. `idx`, its key (any text; optional where there is no file of metrics);
  `arch_str` (or `arch`, `net`), its encoding; and any number of columns that are known by their beginning: `val_*`
  (`val12_*`, ...) accuracies on validation data (objectives), `test_*` on test data (reported, never searched on),
  `cost*` seconds, `cls_*` ids of functional classes. Other columns are not read.
- **Metrics**: `idx` (or `arch`), the key of the row above; `dataset` (or `task`) where the file holds several; every
  other column is a training-free metric, except `time_*`, `val_*` and `imputed`. An empty cell is no value, and so is
  -1e8, as NAS-Bench-Suite-Zero writes it. Architectures without a row of metrics are left out.

Where there is no file of metrics, they stand in the file of architectures, every column that is none of the above; it
may then have `dataset` or `task` too.

In a folder, benchmark NAME is `NAME_archs.csv` with `NAME_metrics.csv` or, of several, `NAME_metrics_VARIANT.csv`; or
`NAME.csv` or `NAME_full.csv` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from search_spaces.robot.tables.columns import Columns, positions, read_columns
from search_spaces.robot.tables.errors import TableError
from search_spaces.robot.tables.names import kind_of, matching, metric_name
from search_spaces.robot.tables.table import Table


def from_csv(
    architectures: Path,
    metrics: Path | None = None,
    *,
    dataset: str | None = None,
    classes: str | None = None,
    name: str | None = None,
) -> Table:
    """The table of one data set.

    Args:
        architectures: the file of architectures.
        metrics: the file of metrics; None: they stand in the first one.
        dataset: data set or task of the metrics (and, without a file of metrics, of all columns); needed where the
            file holds several.
        classes: which `cls_*` column identifies functional classes, by its whole name; None: none does.
        name: of the table; None: the file's name and the data set.

    Raises:
        TableError: see there.
    """
    rows = read_columns(architectures)
    if metrics is None:
        rows = _of_dataset(rows, dataset)
        measured, at = rows, np.arange(len(rows))
        columns = [column for column in rows.text if kind_of(column) == "metric"]
    else:
        measured = _of_dataset(read_columns(metrics), dataset)
        key = "idx" if "idx" in measured else "arch"
        place = positions(measured.column(key), metrics)
        keys = rows.column(key) if key == "idx" else rows.column("arch", "arch_str", "net")
        keep = [row for row, text in enumerate(keys) if text in place]
        if not keep:
            raise TableError(f"{metrics} has no row of any architecture of {architectures}", f"compare their {key}")
        at = np.array([place[keys[row]] for row in keep])
        rows = Columns(rows.path, {header: [cells[row] for row in keep] for header, cells in rows.text.items()})
        columns = [column for column in measured.text if kind_of(column) == "metric"]
    encodings = tuple(rows.column("arch_str", "arch", "net"))
    found = {metric_name(column): measured.numbers(column)[at] for column in columns}
    by_kind = {
        kind: {column: rows.numbers(column) for column in rows.text if kind_of(column) == kind}
        for kind in ("objective", "reported", "cost")
    }
    plain = architectures.name.split(".")[0]
    return Table(
        name or (f"{plain} {dataset}" if dataset else plain),
        encodings,
        {metric: values for metric, values in found.items() if np.isfinite(values).any()},
        {column: values for column, values in by_kind["objective"].items() if np.isfinite(values).any()},
        by_kind["cost"],
        None if classes is None else _ids(rows.column(classes)),
        str(architectures if metrics is None else metrics),
        by_kind["reported"],
        tuple(rows.column("idx")) if "idx" in rows else (),
    )


def find(folder: Path, benchmark: str, variant: str | None = None) -> tuple[Path, Path | None]:
    """The files of a benchmark in a folder: of architectures, and of metrics (None: they stand in the first).

    Args:
        folder: the folder.
        benchmark: NAME of the layout above.
        variant: VARIANT of the metrics; None: the only one there is.

    Raises:
        TableError: nothing there, or several metrics and no variant.
    """
    if not folder.is_dir():
        raise TableError(f"there is no folder {folder}", "give the folder that holds the benchmark's CSV files")
    architectures = _one(folder, f"{benchmark}_archs")
    if architectures is None:
        alone = _one(folder, f"{benchmark}_full") or _one(folder, benchmark)
        if alone is None:
            names = sorted({path.name.split(".")[0].removesuffix("_archs") for path in _tables(folder)})
            raise TableError(
                f"{folder} holds no benchmark {benchmark!r}: neither {benchmark}_archs.csv nor {benchmark}.csv",
                f"its files: {', '.join(names) or 'none'}; the layout is described in {__name__}",
            )
        return alone, None
    if variant is not None:
        chosen = _one(folder, f"{benchmark}_metrics_{variant}")
    else:
        chosen = _one(folder, f"{benchmark}_metrics")
    if chosen is None:
        start = f"{benchmark}_metrics_"
        others = sorted(path.name.split(".")[0] for path in _tables(folder) if path.name.startswith(start))
        if variant is None and len(others) == 1:
            return architectures, _one(folder, others[0])
        variants = ", ".join(other.removeprefix(start) for other in others)
        raise TableError(
            f"{folder} holds no metrics {variant!r} of {benchmark!r}"
            if variant is not None
            else f"which metrics of {benchmark!r} in {folder}?",
            f"there are: {variants}" if others else f"add {benchmark}_metrics.csv",
        )
    return architectures, chosen


def _of_dataset(rows: Columns, dataset: str | None) -> Columns:
    column = next((column for column in ("dataset", "task") if column in rows), None)
    if column is None:
        if dataset is not None:
            raise TableError(f"{rows.path} holds one data set, and {dataset!r} was asked for", "leave `dataset` out")
        return rows
    present = rows.column(column)
    if dataset is None:
        if len(set(present)) == 1:
            return rows
        raise TableError(f"{rows.path} holds several: {', '.join(sorted(set(present)))}", f"say which {column}")
    return rows.where(column, matching(dataset, present, str(rows.path)))


def _ids(cells: Sequence[str]) -> np.ndarray:
    """Class ids as integers, in order of appearance."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(cell, len(seen)) for cell in cells], np.int64)


def _tables(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith((".csv", ".csv.gz")))


def _one(folder: Path, stem: str) -> Path | None:
    return next((path for ending in (".csv", ".csv.gz") if (path := folder / f"{stem}{ending}").is_file()), None)
