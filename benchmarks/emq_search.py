"""The search itself: several seeds of it beside random search, hand-made proxies and a fit of square roots of bits.

    python -m benchmarks.emq_search                                  # 5 seeds of 200,000 proposals: 2-5 minutes each
    python -m benchmarks.emq_search --proposals 20000 --seeds 2      # quick

Each run's winner is the proxy of the highest fitness on the search rows; everything printed is held out: rows of the
search network, and another network, on batches of images that no search saw; hand-made proxies are given the same
batches. Intervals are 95 % bootstrap intervals over rows and batches; of a group of seeds, the mean
of the winners' correlations is shown with Student's t interval over the seeds, and how many of them beat the hand-made
proxy that is best on the search rows, and the one that is best on that very task, by the paired bootstrap. Written are
the hand-made proxies' rows once, and each run's winner's.
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
        rows = [{k: v for k, v in row.items() if k not in ("points", "words")} for row in reader.reports()]
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
    handmade = parted(results)
    print(report(handmade, results))
    result = {**environment(("numpy", "torch")), "settings": vars(given), "handmade": handmade, "results": results}
    print(f"written to {write(given.output, result)}")


def parted(results: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of what no run found, which are the same in each; the runs keep those of their winners."""
    runs = [run for group in results.values() for run in group]
    handmade = [row for row in runs[0]["rows"] if row.get("candidate") is None]
    for run in runs:
        run["rows"] = [row for row in run["rows"] if row.get("candidate") is not None]
    return handmade


def report(handmade: list[dict[str, Any]], results: dict[str, list[dict[str, Any]]]) -> str:
    """A table a task: hand-made proxies with their intervals, then the groups of winners."""
    parts = []
    for task in dict.fromkeys(row["task"] for row in handmade):
        lines = []
        for row in handmade:
            if row["task"] == task and row["metric"] == "Spearman":
                mean, low, high = row["interval"][:3]
                lines.append([row["name"], f"{mean:.3f} [{low:.3f}, {high:.3f}]", "", ""])
        for group, runs in results.items():
            winners = [
                row for run in runs for row in run["rows"]
                if row["task"] == task and row["metric"] == "Spearman"
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
            + table(
                ["", "Spearman", "above the best on search rows", f"above {_best(handmade, task)}, best here"], lines
            )
        )
    return "\n\n".join(parts)


def _best(rows: list[dict[str, Any]], task: str) -> str:
    return next((str(row["best"]) for row in rows if row["task"] == task and row.get("best")), "")


if __name__ == "__main__":
    main()
