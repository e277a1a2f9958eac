"""The search itself: several seeds of it beside random search, hand-made proxies and a fit of square roots of bits.

    python -m benchmarks.emq_search                                  # 5 seeds of 200,000 proposals: some minutes each
    python -m benchmarks.emq_search --proposals 20000 --seeds 2      # quick

Each run's winner is the proxy of the highest fitness on the search rows; everything printed is held out: rows of the
search network, and another network. Intervals are 95 % bootstrap intervals over rows; of a group of seeds, the mean
of the winners' correlations is shown with Student's t interval over the seeds, and how many of them beat the hand-made
proxy that is best on the search rows, and the one that is best on that very task, by the paired bootstrap.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.common import environment, table, write
from benchmarks.engine_runs import scratch
from evo import Search
from evo.report.intervals import student
from evo.run.reader import RunReader

GROUPS: dict[str, dict[str, Any]] = {
    "diversity": {"name": "diversity", "options": {"population": 50}},
    "random": {"name": "random", "options": {}},
}


def one_run(
    strategy: dict[str, Any], options: dict[str, Any], proposals: int, seed: int, folder: Path, kind: str
) -> dict[str, Any]:
    """The winner of a run, and its report's rows."""
    began = time.perf_counter()
    search = Search(
        "search_spaces.emq:EMQ", options=options, seed=seed, runs_dir=str(folder), strategy=strategy,
        budget={"proposals": proposals, "stall": None}, executor={"kind": kind},
        report={"candidates": 1, "seeds": 1, "confirm": 0},
    )  # fmt: skip
    path = search.run().path
    with RunReader(path) as reader:
        best = reader.leaders(1)[0]
        rows = [{k: v for k, v in row.items() if k != "points"} for row in reader.reports()]
        return {
            "seed": seed, "fitness": best["values"][0], "summary": best["summary"], "rows": rows,
            "counts": reader.counts(), "wall_s": time.perf_counter() - began,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--options", default="{}", help="options of the space, JSON")
    parser.add_argument("--executor", default="ray", choices=["ray", "inline"])
    parser.add_argument("--output", default="emq_search", help="name of the file under benchmarks/results")
    given = parser.parse_args()
    options = json.loads(given.options)
    results: dict[str, list[dict[str, Any]]] = {}
    with scratch() as folder:
        for group, strategy in GROUPS.items():
            for seed in range(given.seeds):
                found = one_run(strategy, options, given.proposals, seed, folder, given.executor)
                results.setdefault(group, []).append(found)
                print(
                    f"{group} {seed}: {found['fitness']:.4f} {found['summary']} ({found['wall_s']:.0f} s)", flush=True
                )
    print(report(results))
    path = write(given.output, {**environment(("numpy", "torch")), "settings": vars(given), "results": results})
    print(f"written to {path}")


def report(results: dict[str, list[dict[str, Any]]]) -> str:
    """A table a task: hand-made proxies with their intervals, then the groups of winners."""
    first = next(iter(results.values()))[0]["rows"]
    parts = []
    for task in dict.fromkeys(row["task"] for row in first):
        lines = []
        for row in first:
            if row["task"] == task and row["metric"] == "Spearman" and row.get("candidate") is None:
                mean, low, high = row["interval"][:3]
                lines.append([row["name"], f"{mean:.3f} [{low:.3f}, {high:.3f}]", "", ""])
        for group, runs in results.items():
            winners = [
                row for run in runs for row in run["rows"]
                if row["task"] == task and row["metric"] == "Spearman" and row.get("candidate") is not None
            ]  # fmt: skip
            if not winners:
                lines.append([group, "no winner gives a score here", "", ""])
                continue
            over = student([row["values"][0] for row in winners])
            beats = [
                sum(1 for row in winners if row.get(key) is None or row[key][1] > 0.0)
                for key in ("difference", "against_best")
            ]
            n = len(runs)
            lines.append(
                [
                    f"{group}, {n} seeds",
                    f"{over.mean:.3f} [{over.low:.3f}, {over.high:.3f}]",
                    f"{beats[0]} of {n}",
                    f"{beats[1]} of {n}",
                ]
            )
        parts.append(
            f"{task}\n"
            + table(["", "Spearman", "above the best on search rows", f"above {_best(first, task)}, best here"], lines)
        )
    return "\n\n".join(parts)


def _best(rows: list[dict[str, Any]], task: str) -> str:
    return next((str(row["best"]) for row in rows if row["task"] == task and row.get("best")), "")


if __name__ == "__main__":
    main()
