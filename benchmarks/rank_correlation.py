"""Rank correlation of many score rows with one target, in C, beside scipy: `python -m benchmarks.rank_correlation`.

Contenders: a loop of `scipy.stats.spearmanr` or `kendalltau` over the rows, as the code of proxy searches has it; for
Spearman also what a careful user of scipy writes (`rankdata(axis=1)`, one matrix product); and `kernels.ranks` in C and
in numpy. One thread, processor time, contenders in turn, medians of the repeats. Two kinds of rows: all values
distinct, and rounded to few values. What is timed is compared: the largest difference from scipy is in the result.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read once, when numpy loads

import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

import kernels  # noqa: E402
from benchmarks.common import environment, table, write  # noqa: E402
from kernels import ranks  # noqa: E402


def scipy_loop(function: Callable[..., Any], scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The statistic of each row, by a call each."""
    return np.array([function(row, target)[0] for row in scores])


def scipy_top(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Spearman within the upper 20, 50 and 100 % by score, by a call each."""
    found = np.empty((len(scores), 3))
    for number, row in enumerate(scores):
        best = np.argsort(-row, kind="stable")
        for place, share in enumerate((0.2, 0.5, 1.0)):
            kept = best[: int(share * len(row))]
            found[number, place] = stats.spearmanr(row[kept], target[kept])[0]
    return found


def scipy_bootstrap(scores: np.ndarray, target: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Spearman of each row over each resample, by a call each."""
    return np.array([[stats.spearmanr(row[drawn], target[drawn])[0] for drawn in indices] for row in scores])


def scipy_ranked(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Spearman by `rankdata` over all rows at once, and one product."""
    left = stats.rankdata(scores, axis=1) - (scores.shape[1] + 1) / 2
    right = stats.rankdata(target) - (len(target) + 1) / 2
    found: np.ndarray = left @ right / np.sqrt((left**2).sum(axis=1) * (right**2).sum())
    return found


def rows_of(kind: str, n: int, m: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores (n, m) that follow the target (m,) more or less, as proxies do."""
    target = rng.standard_normal(m)
    scores = rng.standard_normal((n, m)) + rng.uniform(-1, 2, (n, 1)) * target
    return (np.round(4 * scores), np.round(4 * target)) if kind == "ties" else (scores, target)


def measured(kind: str, given: argparse.Namespace, rng: np.random.Generator) -> list[dict[str, Any]]:
    """One line a function and contender: microseconds of processor time a row."""
    scores, target = rows_of(kind, given.rows, given.columns, rng)
    few, resamples = scores[: given.scipy_rows], rng.integers(given.columns, size=(1000, given.columns))
    some = scores[:20]
    work: dict[str, dict[str, tuple[Callable[[], np.ndarray], int]]] = {
        "spearman": {
            "scipy loop": (lambda: scipy_loop(stats.spearmanr, few, target), len(few)),
            "scipy rankdata": (lambda: scipy_ranked(few, target), len(few)),
            "numpy": (lambda: ranks.spearman(few, target, "numpy"), len(few)),
            "c": (lambda: ranks.spearman(scores, target, "c"), len(scores)),
        },
        "kendall": {
            "scipy loop": (lambda: scipy_loop(stats.kendalltau, few, target), len(few)),
            "numpy": (lambda: ranks.kendall(few, target, "numpy"), len(few)),
            "c": (lambda: ranks.kendall(scores, target, "c"), len(scores)),
        },
        "spearman_top": {
            "scipy loop": (lambda: scipy_top(few[:200], target), len(few[:200])),
            "c": (lambda: ranks.spearman_top(scores, target, backend="c"), len(scores)),
        },
        "spearman_bootstrap": {
            "scipy loop": (lambda: scipy_bootstrap(some[:1], target, resamples[:200]), 200),
            "c": (lambda: ranks.spearman_bootstrap(some, target, resamples, "c"), len(some) * len(resamples)),
        },
    }
    lines = []
    for function, contenders in work.items():
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        results = {}
        for repeat in range(given.repeats + 1):  # the first one warms up and is compared
            for name, (run, count) in contenders.items():
                start = time.process_time()
                results[name] = run()
                if repeat:
                    seconds[name].append((time.process_time() - start) / count)
        expected = results["scipy loop"]
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        lines += [
            {
                "rows": kind, "function": function, "contender": name, "microseconds": 1e6 * medians[name],
                "times_scipy_loop": medians["scipy loop"] / medians[name],
                "difference": float(np.abs(found[tuple(map(slice, expected.shape))] - expected).max()),
            }
            for name, found in results.items()
        ]  # fmt: skip
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit code is 1 where a result differs from scipy's by more than 1e-12."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--columns", type=int, default=400)
    parser.add_argument("--scipy-rows", type=int, default=1000, help="of them, for the slow contenders")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="rank_correlation", help="name of the file in benchmarks/results")
    given = parser.parse_args(arguments)
    warnings.simplefilter("ignore", stats.ConstantInputWarning)
    rng = np.random.default_rng(given.seed)
    lines = [line for kind in ("distinct", "ties") for line in measured(kind, given, rng)]
    header = ("function", "rows", "contender", "us a row", "times the scipy loop", "largest difference")
    cells = [
        (line["function"], line["rows"], line["contender"], f"{line['microseconds']:.2f}",
         f"{line['times_scipy_loop']:.1f}", f"{line['difference']:.1e}")
        for line in lines
    ]  # fmt: skip
    print(table(header, cells))
    print("spearman_bootstrap: a row and resample")
    settings = {"compiler": kernels.backends()["c"]["why"], "settings": vars(given)}
    print("written:", write(given.output, {**environment(("numpy", "scipy")), **settings, "lines": lines}))
    return int(any(line["difference"] > 1e-12 for line in lines))


if __name__ == "__main__":
    raise SystemExit(main())
