"""`robot` on TransNAS-Bench-101 micro: 100 queries, seven tasks; rank of the cell found, beside the paper's; ablation.

    python -m benchmarks.robot_tnb101 [FOLDER]       # of tnb101_micro_full.csv.gz; --ablation, --tasks, --seeds N

The objective is the table's validation accuracy, and so is what is reported: its rank among all 4,096 cells, 1 is
best. Metrics are ours, of the cells as networks on 64 images of Fashion-MNIST (`robot_tnb101_metrics.py`), the same for
all tasks: the public tables have RoBoT's six for some cells alone.

Ours is the configuration that was chosen on NAS-Bench-201's validation accuracies (`robot_nb201.py`), nothing changed:
six metrics, min-max, the warm start's seven vectors, the regression, one cell of each functional class. The row "ours,
and 8 vectors by BO" is what was run first. RoBoT, and "ours, each cell its own", query twins too, which have accuracies
of their own here.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import environment, write
from benchmarks.common import table as text_table
from benchmarks.robot_methods import (
    NAS,
    PROCESSES,
    SIX,
    Case,
    Method,
    Outcome,
    interval,
    methods,
    run_all,
    table_of,
)  # fmt: skip
from benchmarks.robot_nb201 import BO, EXPLORE, REFERENCE
from benchmarks.robot_tnb101_metrics import METRICS, OUT, forms
from search_spaces.robot.tables import Table, load

QUERIES = 100
SEEDS = range(10, 20)
TASKS = (
    "class_scene", "class_object", "jigsaw", "room_layout", "segmentsemantic", "normal", "autoencoder"
)  # fmt: skip
PAPER = {
    "RoBoT, paper": (2, 1, 17, 17, 4, 8, 66),
    "metrics best, paper": (2, 1, 22, 18, 3, 14, 36),
    "HNAS, paper": (96, 147, 67, 480, 4, 22, 1391),
    "REA, paper": (26, 23, 24, 28, 22, 22, 18),
    "RS, paper": (40, 34, 57, 42, 41, 43, 49),
}
"""Mean ranks of Table 3 of He et al. (2024), tasks in the order above."""
OBJECTIVE = "val_accuracy"


def tnb101(folder: str, task: str, metrics: str = str(OUT)) -> Table:
    """All 4,096 cells, their accuracies on a task, and our metrics; functional classes by canonical form."""
    table = load(folder, "tnb101_micro", dataset=task)
    with open(metrics, newline="") as file:
        found = {row["form"]: row for row in csv.DictReader(file)}
    names = forms(table.architectures)
    columns = {
        metric: np.array([float(found[name][metric] or "nan") for name in names], np.float64) for metric in METRICS
    }
    numbers = {name: number for number, name in enumerate(found)}
    return replace(table, metrics=columns, classes=np.array([numbers[name] for name in names], np.int64))


def case_of(folder: str, task: str) -> Case:
    return Case("benchmarks.robot_tnb101:tnb101", (folder, task), OBJECTIVE)


def ranks(folder: str, task: str, outcomes: Sequence[Outcome]) -> np.ndarray:
    """(seeds,) ranks of the cells found among all cells: one more than there are better ones."""
    case = case_of(folder, task)
    every = table_of(case.make, case.arguments).objectives[OBJECTIVE]
    return np.array([1 + int((every > outcome.value).sum()) for outcome in outcomes])


def contenders() -> dict[str, Method]:
    found = methods(QUERIES, METRICS, SIX, EXPLORE)
    twins = found["ours"].but("ours, each cell its own", {"identity": "architecture"})
    more = found["ours"].but(f"ours, and {BO} vectors by BO", explore=EXPLORE + BO)
    return {"ours": found["ours"], more.name: more, twins.name: twins, **found}


def rows_of(
    folder: str, tasks: Sequence[str], every: Mapping[str, Method], seeds: Sequence[int], processes: int = PROCESSES
) -> list[dict[str, Any]]:
    """A row a method: of each task the ranks of all seeds."""
    jobs = [(case_of(folder, task), method) for method in every.values() for task in tasks]
    found = run_all(jobs, QUERIES, seeds, processes)
    rows = []
    for number, name in enumerate(every):
        mine = found[number * len(tasks) :][: len(tasks)]
        by_task = {task: ranks(folder, task, run).tolist() for task, run in zip(tasks, mine, strict=True)}
        explored = float(np.mean([outcome.explored for run in mine for outcome in run]))
        rows.append({"method": name, "ranks": by_task, "t0": explored})
    return rows


def show(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> None:
    lines = []
    for row in rows:
        cells = [f"{np.mean(row['ranks'][task]):.0f}±{np.std(row['ranks'][task]):.0f}" for task in tasks]
        lines.append([row["method"], *cells, f"{row['t0']:.1f}"])
    places = [TASKS.index(task) for task in tasks]
    lines += [[name, *(str(values[place]) for place in places), ""] for name, values in PAPER.items()]
    print(text_table(["method", *tasks, "T0"], lines))


def better(rows: Sequence[Mapping[str, Any]]) -> str:
    """On how many tasks our mean rank is below the paper's, and on how many it is no worse."""
    ours = next(row for row in rows if row["method"] == "ours")["ranks"]
    pairs = [(float(np.mean(ours[task])), paper) for task, paper in zip(TASKS, PAPER["RoBoT, paper"], strict=True)]
    return (
        f"ours has a better mean rank than the paper's RoBoT on {sum(a < b for a, b in pairs)} of {len(pairs)} tasks,"
        f" a worse one on {sum(a > b for a, b in pairs)}"
    )


def variants() -> dict[str, Method]:
    """Ours and 8 vectors by Bayesian optimisation, with one thing changed."""
    ours = contenders()["ours"].but(REFERENCE, explore=EXPLORE + BO)
    changed = (
        ours,
        ours.but("random weights for BO", sampler="random"),
        ours.but("no vectors but the warm start: ours", explore=EXPLORE),
        ours.but("explore 50", explore=50),
        ours.but("no greedy phase, 100 random vectors", {"limit": QUERIES}, explore=None, sampler="random"),
        ours.but("no warm start", warm_start="none", uniform_first=1),
        ours.but("choice: observed", choice="observed"),
        ours.but("rank scaling", {"scaling": "rank"}),
        ours.but("no logarithm", {"log": ()}),
        ours.but("all 16 metrics", {"metrics": METRICS}, explore=len(METRICS) + 9),
        ours.but("identity: architecture", {"identity": "architecture"}),
    )
    return {method.name: method for method in changed}


def show_ablation(rows: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> None:
    """Ranks, and the mean change of log2 rank beside the reference, paired by task and seed."""
    base = np.log2([rows[0]["ranks"][task] for task in tasks])
    lines = []
    for row in rows:
        change = (np.log2([row["ranks"][task] for task in tasks]) - base).mean(axis=0)
        low, high = interval(change)
        cells = [f"{np.mean(row['ranks'][task]):.0f}" for task in tasks]
        lines.append([row["method"], *cells, f"{change.mean():+.2f} ({low:+.2f} to {high:+.2f})"])
    print(text_table(["variant", *tasks, "log2 of rank (95 %)"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=NAS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--ablation", action="store_true", help="what each part contributes")
    parser.add_argument("--methods", nargs="+", help="these alone, by name")
    parser.add_argument("--output", default="robot_tnb101")
    given = parser.parse_args()
    if not (given.folder / "tnb101_micro_full.csv.gz").is_file():
        print(f"skipped: no tnb101_micro_full.csv.gz in {given.folder}; give the folder that holds it")
        sys.exit(0)
    folder, seeds = str(given.folder), tuple(SEEDS[: given.seeds])
    every = variants() if given.ablation else contenders()
    chosen = {name: method for name, method in every.items() if not given.methods or name in given.methods}
    if not chosen:
        parser.error(f"no method is called {given.methods}; there are: {', '.join(every)}")
    rows = rows_of(folder, given.tasks, chosen, seeds)
    if given.ablation:
        show_ablation(rows, given.tasks)
    else:
        show(rows, given.tasks)
        if tuple(given.tasks) == TASKS and "ours" in chosen:
            print(better(rows))
    name = f"{given.output}_ablation" if given.ablation else given.output
    write(name, {"environment": environment(("optuna", "scipy")), "rows": rows})


if __name__ == "__main__":
    main()
