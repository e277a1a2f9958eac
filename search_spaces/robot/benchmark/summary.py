"""What a build says when it is done: spread, noise and ceiling, and how every metric ranks the cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evo.space import Judgement
from search_spaces.robot.benchmark.correlation import Interval, ceiling, correlations, of_the_mean
from search_spaces.robot.benchmark.reading import Benchmark, read

SHARES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class MetricFigures:
    """How one metric ranks the cells.

    Attributes:
        name: of the metric.
        mean: correlation of its mean over batches with the mean accuracy, by epochs.
        single: of one batch's value, averaged over batches, on the first schedule.
        agreement: mean Spearman correlation between batches; NaN with one batch.
        undefined: cells on which it has no value.
        seconds: median on one batch, alone.
    """

    name: str
    mean: dict[int, Interval]
    single: float
    agreement: float
    undefined: int
    seconds: float


def metric_figures(benchmark: Benchmark) -> list[MetricFigures]:
    """Figures of every metric, best on the first schedule first."""
    found = {
        count: correlations(benchmark.metrics, benchmark.accuracies[f"val{count}"].mean(0))
        for count in benchmark.epochs
    }
    first = benchmark.epochs[0]
    accuracy = benchmark.accuracies[f"val{first}"].mean(0)
    figures = []
    for name, values in benchmark.batches.items():
        by_batch = correlations({str(batch): row for batch, row in enumerate(values)}, accuracy)
        figures.append(
            MetricFigures(
                name,
                {count: found[count][name] for count in benchmark.epochs},
                float(np.mean([interval.estimate for interval in by_batch.values()])),
                ceiling(np.where(np.isnan(values), -1e300, values)).estimate,
                int(np.isnan(benchmark.metrics[name]).sum()),
                float(np.median(benchmark.metric_seconds[name])),
            )
        )
    return sorted(figures, key=lambda figure: -figure.mean[first].estimate)


def schedule_figures(benchmark: Benchmark) -> dict[str, Any]:
    """Spread, noise and ceilings of each schedule, and how the short one ranks the long one's cells; JSON."""
    found: dict[str, Any] = {}
    for count in benchmark.epochs:
        values = benchmark.accuracies[f"val{count}"]
        means = values.mean(0)
        cells = np.isfinite(means)
        limit = ceiling(values)
        found[f"{count} epochs"] = {
            "cells": int(cells.sum()),
            "seeds": len(values),
            "quantiles": np.quantile(means[cells], SHARES).tolist(),
            # pooled over cells: the standard deviation of one training's accuracy
            "deviation": float(np.sqrt(values[:, cells].var(0, ddof=1).mean())) if len(values) > 1 else None,
            "between_seeds": _plain(limit),
            "ceiling_of_the_mean": _plain([of_the_mean(limit.estimate, len(values))])[0],
            "validation_test": _plain(correlations({"": means}, benchmark.accuracies[f"test{count}"].mean(0))[""]),
            "seconds": float(np.nanmean(benchmark.seconds[count])),
        }
    if len(benchmark.epochs) == 2:
        short, long = (benchmark.accuracies[f"val{count}"].mean(0) for count in benchmark.epochs)
        found["short to long"] = _plain(correlations({"": short}, long)[""])
    return found


def summarised(folder: Path) -> Judgement:
    """Figures of the benchmark in a folder."""
    benchmark = read(folder)
    schedules = schedule_figures(benchmark)
    metrics = metric_figures(benchmark)
    lines = [f"{len(benchmark.architectures)} cells, {benchmark.origin['source']}  ({folder})"]
    for name, f in schedules.items():
        if not isinstance(f, dict):
            lines.append(f"  Spearman of the short schedule with the long one: {_text(f)}")
            continue
        spread = " ".join(f"{value:.2f}" for value in f["quantiles"])
        noise = "" if f["deviation"] is None else f"   one seed's deviation {f['deviation']:.2f}"
        lines.append(
            f"  {name:<9} {f['cells']:>4} cells x {f['seeds']} seeds, {f['seconds']:.1f} s each   validation {spread} "
            f"% (least, 10 %, median, 90 %, most){noise}"
        )
        lines.append(f"            Spearman between seeds {_text(f['between_seeds'])}, validation to test "
                     f"{_text(f['validation_test'])}")  # fmt: skip
    if metrics:
        lines.append(f"  {'metric':<16} " + " ".join(f"{f'{count} epochs':>23}" for count in benchmark.epochs)
                     + "  one batch  between  undefined  seconds")  # fmt: skip
    for figure in metrics:
        by_schedule = " ".join(f"{_text(_plain(interval)):>23}" for interval in figure.mean.values())
        lines.append(
            f"  {figure.name:<16} {by_schedule}  {figure.single:>9.3f}  {figure.agreement:>7.3f}"
            f"  {figure.undefined:>9}  {figure.seconds:>7.4f}"
        )
    data = {
        "folder": str(folder), "source": benchmark.origin["source"], "schedules": schedules,
        "metrics": {
            figure.name: {
                "spearman": {str(count): _plain(interval) for count, interval in figure.mean.items()},
                "one_batch": figure.single, "between_batches": _plain([figure.agreement])[0],
                "undefined": figure.undefined, "seconds": figure.seconds,
            }
            for figure in metrics
        },
    }  # fmt: skip
    return Judgement("\n".join(lines), data)


def _plain(interval: Iterable[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in interval]


def _text(values: list[float | None]) -> str:
    estimate, low, high = ("  nan" if value is None else f"{value:.3f}" for value in values)
    return f"{estimate} [{low}, {high}]"
