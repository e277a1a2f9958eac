"""What a build says when it is done: spread, noise and ceiling, and how every metric ranks the cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

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


def together(benchmark: Benchmark) -> dict[int, Interval]:
    """Correlation of the mean rank over all metrics, by epochs."""
    rows = [np.where(np.isnan(values), -np.inf, values) for values in benchmark.metrics.values()]
    mean = np.mean([rankdata(row) for row in rows], axis=0)
    return {
        count: correlations({"": mean}, benchmark.accuracies[f"val{count}"].mean(0))[""] for count in benchmark.epochs
    }


def summarised(folder: Path) -> Judgement:
    """Figures of the benchmark in a folder."""
    benchmark = read(folder)
    schedules = schedule_figures(benchmark)
    metrics = metric_figures(benchmark)
    data: dict[str, Any] = {
        "folder": str(folder), "source": benchmark.origin["source"], "cells": len(benchmark.architectures),
        "schedules": schedules, "metrics": {},
    }  # fmt: skip
    lines = [f"{data['cells']} cells, {data['source']}  ({folder})", *_schedule_lines(schedules)]
    if metrics:
        mean = together(benchmark)
        lines += ["", *_metric_lines(metrics, mean)]
        data["metrics"] = {
            figure.name: {
                "spearman": {str(count): _plain(interval) for count, interval in figure.mean.items()},
                "one_batch": figure.single, "between_batches": _plain([figure.agreement])[0],
                "undefined": figure.undefined, "seconds": figure.seconds,
            }
            for figure in metrics
        }  # fmt: skip
        data["mean_rank"] = {str(count): _plain(interval) for count, interval in mean.items()}
        once = float(np.median(benchmark.metric_seconds["all"]))
        alone = sum(figure.seconds for figure in metrics)
        data["seconds"] = {"all at once": once, "one by one": alone}
        lines.append(f"all metrics of a cell at once {once:.3f} s, one by one {alone:.3f} s: {alone / once:.1f} times")
    return Judgement("\n".join(lines), data)


def _schedule_lines(schedules: dict[str, Any]) -> list[str]:
    lines = []
    for name, f in schedules.items():
        if not isinstance(f, dict):
            lines.append(f"Spearman of the short schedule with the long one {_text(f)}")
            continue
        spread = " ".join(f"{value:.2f}" for value in f["quantiles"])
        noise = "" if f["deviation"] is None else f"; one training's deviation {f['deviation']:.2f}"
        between = f"between seeds {_text(f['between_seeds'])}, " if f["seeds"] > 1 else ""
        lines += [
            f"{name}: {f['cells']} cells x {f['seeds']} seeds, {f['seconds']:.1f} s each",
            f"  validation {spread} % (least, 10 %, median, 90 %, most){noise}",
            f"  Spearman {between}validation to test {_text(f['validation_test'])}",
        ]
    return lines


def _metric_lines(metrics: list[MetricFigures], mean: dict[int, Interval]) -> list[str]:
    epochs = "".join(f"{f'Spearman, {count} epochs':>25}" for count in mean)
    lines = [f"{'metric':<16}{epochs}  one batch  between  undefined   seconds"]
    for figure in metrics:
        intervals = "".join(f"{_text(_plain(interval)):>25}" for interval in figure.mean.values())
        lines.append(
            f"{figure.name:<16}{intervals}  {figure.single:>9.3f}  {figure.agreement:>7.3f}"
            f"  {figure.undefined:>9}  {figure.seconds:>8.4f}"
        )
    lines.append(f"{'mean rank':<16}" + "".join(f"{_text(_plain(interval)):>25}" for interval in mean.values()))
    return lines


def _plain(interval: Iterable[float]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in interval]


def _text(values: list[float | None]) -> str:
    estimate, low, high = ("nan" if value is None else f"{value:.3f}" for value in values)
    return f"{estimate} [{low}, {high}]"
