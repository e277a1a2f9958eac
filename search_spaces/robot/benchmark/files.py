"""The benchmark as files, in the CSV layout of `search_spaces.robot.tables`, gzipped.

NAME_archs.csv.gz: one row a cell. NAME_metrics.csv.gz: its metrics, means over batches, and their seconds.
NAME_batches.csv.gz: the metrics batch by batch. NAME_curves.csv.gz: every training, epoch by epoch. NAME.json: how all
this was made.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from proxies.network import METRICS
from search_spaces.building.files import replace
from search_spaces.robot.architectures.canonical import DEFINITIONS, canonical_form
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.architectures.networks import REDUCED, network
from search_spaces.robot.benchmark.measuring import Measured, Measurement
from search_spaces.robot.benchmark.names import NAME
from search_spaces.robot.benchmark.settings import Settings
from search_spaces.robot.benchmark.training import Trained
from search_spaces.robot.benchmark.trainings import Training


def write(
    folder: Path,
    cells: Sequence[str],
    settings: Settings,
    trainings: Mapping[Training, Trained],
    measurements: Mapping[Measurement, Measured],
    origin: Mapping[str, Any],
) -> None:
    """Write the files; the same results give the same bytes.

    Args:
        folder: where.
        cells: strings, in the order of the rows.
        settings: of the build.
        trainings, measurements: results.
        origin: how they were made, for NAME.json.
    """
    keys = {cell: CODE.to_number(CODE.from_string(cell)) for cell in cells}
    _table(folder, "archs", (_architecture(cell, keys[cell], settings, trainings) for cell in cells))
    if measurements:
        _table(folder, "metrics", (_metrics(cell, keys[cell], settings.batches, measurements) for cell in cells))
        _table(folder, "batches", (
            {"idx": keys[m.cell], "batch": m.batch, **{name: result.values[name] for name in METRICS}}
            for m, result in measurements.items()
        ))  # fmt: skip
    _table(folder, "curves", (
        {"idx": keys[t.cell], "epochs": t.epochs, "seed": t.seed, "epoch": number, "loss": epoch.loss,
         "train": 100 * epoch.train, "val": 100 * epoch.validation}
        for t, result in trainings.items() for number, epoch in enumerate(result.curve, 1)
    ))  # fmt: skip
    replace(folder / f"{NAME}.json", (json.dumps(origin, indent=1) + "\n").encode())


def _architecture(cell: str, key: int, settings: Settings, trainings: Mapping[Training, Trained]) -> dict[str, Any]:
    """A row: accuracies in percent, means over seeds and each; seconds a training."""
    value = CODE.from_string(cell)
    operations = CODE.operations(value)
    row: dict[str, Any] = {"idx": key, "arch_str": cell, "naslib": str(CODE.to_naslib(value))}
    for epochs in (settings.epochs, settings.long_epochs):
        found = [trainings.get(Training(cell, seed, epochs)) for seed in range(settings.seeds)]
        for part, of in (("val", lambda t: t.validation), ("test", lambda t: t.test)):
            values = [math.nan if t is None else 100 * of(t) for t in found]
            row[f"{part}{epochs}_fashion"] = float(np.mean(values))
            row |= {f"seed{seed}_{part}{epochs}": v for seed, v in enumerate(values)}
        row[f"cost{epochs}_s"] = float(np.mean([math.nan if t is None else t.seconds for t in found]))
    row |= {f"cls_{definition}": canonical_form(operations, definition) for definition in DEFINITIONS[2:]}
    row["parameters"] = sum(p.numel() for p in network(operations, REDUCED).parameters())
    return row


def _metrics(cell: str, key: int, batches: int, measurements: Mapping[Measurement, Measured]) -> dict[str, Any]:
    found = [measurements[Measurement(cell, batch)] for batch in range(batches)]
    means = {name: float(np.mean([one.values[name] for one in found])) for name in METRICS}
    return {"idx": key, **means, **{f"time_{name}": seconds for name, seconds in found[0].seconds.items()}}


def _table(folder: Path, kind: str, rows: Iterable[Mapping[str, Any]]) -> None:
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in row.items()})
    # no time in the header: the same rows give the same bytes
    replace(folder / f"{NAME}_{kind}.csv.gz", gzip.compress(text.getvalue().encode(), 9, mtime=0))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.8g}"
    return str(value)
