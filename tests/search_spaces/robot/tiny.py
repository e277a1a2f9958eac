"""A tiny synthetic benchmark in the CSV layout: NAS-Bench-201 strings of two operations, written where a test asks."""

from __future__ import annotations

import csv
import gzip
from itertools import product
from pathlib import Path

import numpy as np

OPS = ("none", "skip_connect", "nor_conv_3x3")
METRICS = ("good", "noisy", "wrong")


def strings(count: int | None = None) -> list[str]:
    """Cells on three edges, written as NAS-Bench-201 writes them."""
    found = [f"|{a}~0|+|{b}~0|{c}~1|" for a, b, c in product(OPS, repeat=3)]
    return found[:count]


def columns(seed: int = 3) -> dict[str, list]:
    """27 cells: accuracies, three metrics of which the first one tells them, classes of three."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    cells = strings()
    quality = rng.random(len(cells))
    return {
        "idx": [str(1000 + i) for i in range(len(cells))],
        "arch_str": cells,
        "val_a": (90 * quality).round(4).tolist(),
        "val12_b": (80 * quality + rng.random(len(cells))).round(4).tolist(),
        "test_a": (91 * quality).round(4).tolist(),
        "cost12_s": (10 + rng.random(len(cells))).round(3).tolist(),
        "cls_three": [i // 3 for i in range(len(cells))],
        "good": (quality + 0.05 * rng.standard_normal(len(cells))).round(6).tolist(),
        "noisy": (quality + 0.8 * rng.standard_normal(len(cells))).round(6).tolist(),
        "wrong": (-quality * 1e6).round(3).tolist(),
    }


def write_csv(path: Path, table: dict[str, list]) -> Path:
    """Columns as CSV, gzipped where the name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return path


def folder_of(folder: Path, name: str = "tiny") -> Path:
    """Two files: architectures, and metrics of two data sets."""
    every = columns()
    architectures = {k: v for k, v in every.items() if k not in METRICS}
    write_csv(folder / f"{name}_archs.csv.gz", architectures)
    metrics = {"idx": every["idx"] * 2, "dataset": ["c10"] * 27 + ["other"] * 27}
    for metric in METRICS:
        metrics[metric] = [*every[metric], *every[metric][::-1]]
    metrics["time_good"] = [0.1] * 54
    write_csv(folder / f"{name}_metrics.csv", metrics)
    return folder
