"""`robot` on NAS-Bench-201: 20 queries, 30 seeds; RoBoT as published, ours, and baselines, in one table; ablation.

    python -m benchmarks.robot_nb201 [FOLDER]        # of nb201_*.csv.gz; --ablation, --select, --seeds N

How ours was configured, on validation accuracies alone (`--select` prints the figures that decided):

- The objective. RoBoT searches one objective for all three data sets, CIFAR-10's validation accuracy after 12 epochs.
  Ours too searches one for all three: the validation accuracy whose order of the better cells agrees best with
  validation on the other data sets (Spearman, top 10 %, 5 % and 2 % of cells by the mean of all ranks). That is
  CIFAR-100's after 200 epochs. What the other choices come to stands in the table as well.
- Metrics, scaling, choice, number of explored vectors: by the mean shortfall of the value found from the table's best,
  in standard deviations of the objective's noise (from functional twins), over four objectives and two data sets'
  metrics, on seeds that are not those of the table; of the configurations within one standard error of the best, that
  which explores least.

The history of that last rule: the plain smallest mean, of three seeds, had chosen fifteen vectors, eight of them by
Bayesian optimisation. That row, "ours, and 8 vectors by BO", was run first, and fell short of the goal on
ImageNet16-120. With six seeds its lead in validation is 0.05±0.14, and on TransNAS-Bench-101, another space, it is
behind (`robot_tnb101.py --ablation`): so nothing but the warm start is explored, and ours draws nothing at random.

CIFAR-100's metrics are those of CIFAR-10: its own are known of 725 cells alone.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import environment, write
from benchmarks.common import table as text_table
from benchmarks.robot_methods import (
    NAS,
    PROCESSES,
    RAW,
    SIX,
    Case,
    Method,
    Outcome,
    interval,
    methods,
    nb201,
    once,
    run_all,
    table_of,
)  # fmt: skip

QUERIES = 20
SEEDS = range(10, 40)
EXPLORE = len(SIX) + 1
BO = 8
"""Vectors by the sampler in the rows and ablations that have them."""
HIT = 94.30
DATASETS = {"cifar10": "test_c10", "cifar100": "test_c100", "imagenet16": "test_in16"}
OWN = {"cifar10": "val_c10", "cifar100": "val_c100", "imagenet16": "val_in16"}
PUBLISHED = "val12_c10"
TRANSFER = "val_c100"
"""The objective of ours; see above."""
GOAL = {"cifar10": 94.36, "cifar100": 73.51, "imagenet16": 46.34}
OBJECTIVES = (PUBLISHED, "val_c10", "val_c100", "val_in16")
SINGLE = (*SIX, "naswot", "epe_nas", "zen", "l2_norm", "plain", "params", "flops")


def case_of(folder: str, dataset: str, objective: str) -> Case:
    return Case("benchmarks.robot_methods:nb201", (folder, dataset), objective)


def contenders() -> dict[str, Method]:
    found = methods(QUERIES, SINGLE, tuple(RAW if name == "synflow" else name for name in SIX), EXPLORE)
    more = found["ours"].but(f"ours, and {BO} vectors by BO", explore=EXPLORE + BO)
    return {"ours": found["ours"], more.name: more, **found}


def rows_of(
    folder: str, seeds: Sequence[int], names: Sequence[str] = (), processes: int = PROCESSES
) -> list[dict[str, Any]]:
    """A row a method and objective: all methods on the published objective and on ours; ours and RoBoT on the target's
    own validation accuracy too."""
    plans: list[tuple[Method, str]] = []
    every = contenders()
    for objective in (TRANSFER, PUBLISHED, "own"):
        own = ("ours", f"ours, and {BO} vectors by BO", "RoBoT as published")
        named = every.values() if objective != "own" else [every[name] for name in own]
        plans += [(method, objective) for method in named if not names or method.name in names]
    jobs = [
        (case_of(folder, dataset, OWN[dataset] if objective == "own" else objective), method)
        for method, objective in plans
        for dataset in DATASETS
    ]
    found = run_all(jobs, QUERIES, seeds, processes)
    rows = []
    for number, (method, objective) in enumerate(plans):
        outcomes = dict(zip(DATASETS, found[number * len(DATASETS) :][: len(DATASETS)], strict=True))
        rows.append({"method": method.name, "objective": objective, **summary(outcomes, objective)})
    return rows


def summary(outcomes: Mapping[str, Sequence[Outcome]], objective: str) -> dict[str, Any]:
    """Of each data set: mean, standard deviation and median of its test accuracy, the share of seeds whose cell has at
    least `HIT` on CIFAR-10; cost and T0 on the first one."""
    row: dict[str, Any] = {}
    for dataset, test in DATASETS.items():
        values = np.array([outcome.reported[test] for outcome in outcomes[dataset]])
        ten = np.array([outcome.reported["test_c10"] for outcome in outcomes[dataset]])
        row[dataset] = {
            "mean": float(values.mean()), "sd": float(values.std()), "median": float(np.median(values)),
            "hit": float((ten >= HIT - 1e-9).mean()), "goal": float((values >= GOAL[dataset] - 0.005).mean()),
            "objective": float(np.mean([outcome.value for outcome in outcomes[dataset]])),
        }  # fmt: skip
    first = outcomes["cifar10"]
    epochs = 1.0 if objective == PUBLISHED else 200.0 / 12.0
    row["cost_s"] = float(np.mean([outcome.seconds for outcome in first])) * epochs
    row["t0"] = float(np.mean([outcome.explored for outcome in first]))
    row["seeds"] = len(first)
    return row


def averaged(rows: Sequence[Mapping[str, Any]], objective: str) -> dict[str, Any]:
    """The row of RoBoT's "average of the six metrics' searches"."""
    members = [row for row in rows if row["objective"] == objective and row["method"] in {f"{m} alone" for m in SIX}]
    row: dict[str, Any] = {"method": "six metrics, mean of their searches", "objective": objective}
    for dataset in DATASETS:
        means = np.array([member[dataset]["mean"] for member in members])
        hits = float(np.mean([member[dataset]["hit"] for member in members]))
        row[dataset] = {
            "mean": float(means.mean()), "sd": float(means.std()), "median": float(np.median(means)), "hit": hits
        }  # fmt: skip
    return {
        **row, "cost_s": float(np.mean([member["cost_s"] for member in members])), "t0": float("nan"),
        "seeds": len(members),
    }  # fmt: skip


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    def cell(part: Mapping[str, float]) -> str:
        return f"{part['mean']:.2f}±{part['sd']:.2f} {part['median']:.2f} {part['hit']:4.0%}"

    print(text_table(
        ["method", "objective", *(f"{d}: mean±sd median hit" for d in DATASETS), "cost s", "T0"],
        [
            [row["method"], row["objective"], *(cell(row[d]) for d in DATASETS), f"{row['cost_s']:,.0f}",
             "" if row["t0"] != row["t0"] else f"{row['t0']:.1f}"]
            for row in rows
        ],
    ))  # fmt: skip


# Ablation.


REFERENCE = f"reference: ours, and {BO} vectors by BO"


def variants() -> dict[str, Method]:
    """Ours and 8 vectors by Bayesian optimisation, with one thing changed."""
    ours = contenders()["ours"].but(REFERENCE, explore=EXPLORE + BO)
    return {
        method.name: method
        for method in (
            ours,
            ours.but("random weights for BO", sampler="random"),
            *(ours.but(f"sampler {name}", sampler=name) for name in ("gp", "tpe", "cmaes", "qmc")),
            ours.but("no vectors but the warm start: ours", explore=EXPLORE),
            ours.but("explore 20", explore=QUERIES),
            ours.but("no greedy phase, 40 vectors", {"limit": 2 * QUERIES}, explore=None),
            ours.but("no warm start", warm_start="none", uniform_first=1),
            ours.but("choice: observed", choice="observed"),
            ours.but("rank scaling", {"scaling": "rank"}),
            ours.but("raw synflow, no log", {"metrics": tuple(RAW if m == "synflow" else m for m in SIX), "log": ()}),
            ours.but("all 13 metrics", {"metrics": SINGLE}, explore=len(SINGLE) + 4),
            ours.but("identity: architecture", {"identity": "architecture"}),
        )
    }


def ablation(folder: str, seeds: Sequence[int], processes: int = PROCESSES) -> list[dict[str, Any]]:
    """What each change of the reference does to the mean test accuracy of the targets, paired by seed, over all four
    objectives."""
    every = variants()
    cases = [(dataset, objective) for dataset in ("cifar10", "imagenet16") for objective in OBJECTIVES]
    jobs = [(case_of(folder, *case), method) for method in every.values() for case in cases]
    found = run_all(jobs, QUERIES, seeds, processes)
    tests, values = {}, {}
    for number, name in enumerate(every):
        mine = found[number * len(cases) :][: len(cases)]
        tests[name] = np.array(
            [[o.reported[DATASETS[d]] for o in run] for (d, _), run in zip(cases, mine, strict=True)]
        )
        values[name] = np.array([shortfalls(folder, *case, run) for case, run in zip(cases, mine, strict=True)])
    rows = []
    for name in every:
        change = (tests[name] - tests[REFERENCE]).mean(axis=0)
        worse = (values[name] - values[REFERENCE]).mean(axis=0)
        rows.append(
            {"variant": name, "test": float(tests[name].mean()), "change": float(change.mean()),
             "interval": interval(change), "shortfall": float(values[name].mean()),
             "shortfall_change": float(worse.mean()), "shortfall_interval": interval(worse)}
        )  # fmt: skip
    return rows


def show_ablation(rows: Sequence[Mapping[str, Any]]) -> None:
    def changed(mean: float, bounds: Sequence[float]) -> str:
        return f"{mean:+.2f} ({bounds[0]:+.2f} to {bounds[1]:+.2f})"

    header = ["variant", "mean test", "change (95 %)", "shortfall, sd", "change (95 %)"]
    lines = [
        [
            row["variant"],
            f"{row['test']:.2f}",
            changed(row["change"], row["interval"]),
            f"{row['shortfall']:.2f}",
            changed(row["shortfall_change"], row["shortfall_interval"]),
        ]
        for row in rows
    ]
    print(text_table(header, lines))


# Selection, on validation accuracies.


def noise_of(folder: str, objective: str) -> float:
    """Standard deviation of an objective among functional twins of the better tenth of cells.

    Of each class of three cells or more, one drawn cell says whether the class is among the better, two others are
    compared."""
    table = nb201(folder, "cifar10")
    assert table.classes is not None
    values, spread = table.objectives[objective], []
    rng = np.random.Generator(np.random.Philox(key=[1, 1]))
    least = np.quantile(values, 0.9)
    members: dict[int, list[int]] = {}
    for row, number in enumerate(table.classes.tolist()):
        members.setdefault(number, []).append(row)
    for twins in members.values():
        if len(twins) >= 3:
            judge, one, other = rng.permutation(twins)[:3]
            if values[judge] > least:
                spread.append((values[one] - values[other]) ** 2 / 2)
    return float(np.sqrt(np.mean(spread)))


def shortfalls(folder: str, dataset: str, objective: str, outcomes: Sequence[Outcome]) -> list[float]:
    """How far the values found lie below the table's best, in standard deviations of the noise."""
    case = case_of(folder, dataset, objective)
    best = float(np.nanmax(table_of(case.make, case.arguments).objectives[objective]))
    return [(best - outcome.value) / NOISE[objective] for outcome in outcomes]


NOISE = {"val12_c10": 0.29, "val_c10": 0.31, "val_c100": 0.73, "val_in16": 0.85}
"""What `noise_of` gives, so that it need not be worked out again."""


def agreement(folder: str) -> list[list[Any]]:
    """For each objective: mean Spearman correlation with validation on other data sets, of the better cells; noise."""
    from scipy.stats import rankdata, spearmanr

    table = nb201(folder, "cifar10")
    ranks = {name: rankdata(table.objectives[name]) for name in OBJECTIVES}
    mean = np.mean(list(ranks.values()), axis=0)
    rows = []
    for name in OBJECTIVES:
        data = name.rpartition("_")[2]
        others: dict[str, list[str]] = {}
        for other in OBJECTIVES:
            if other.rpartition("_")[2] != data:
                others.setdefault(other.rpartition("_")[2], []).append(other)
        row: list[Any] = [name]
        for share in (0.10, 0.05, 0.02):
            top = mean > np.quantile(mean, 1 - share)
            found = [
                np.mean([spearmanr(ranks[name][top], ranks[other][top])[0] for other in group])
                for group in others.values()
            ]
            row.append(f"{np.mean(found):.2f}")
        rows.append([*row, f"{noise_of(folder, name):.2f}"])
    return rows


def selection(folder: str) -> list[list[Any]]:
    """Mean shortfall of configurations, best first, with the paired difference to the best and its standard error over
    objectives and data sets; the chosen one is marked."""
    found: list[tuple[tuple[Any, ...], np.ndarray]] = []
    base = contenders()["ours"]
    for metrics in (SIX, SINGLE):
        for scaling, choice in product(("minmax", "rank"), ("regression", "observed")):
            for more in (0, 3, BO):
                explore = len(metrics) + 1 + more
                method = base.but("", {"metrics": metrics, "scaling": scaling}, choice=choice, explore=explore)
                problems = []
                for case in product(("cifar10", "imagenet16"), OBJECTIVES):
                    runs = [once(case_of(folder, *case), method, QUERIES, seed) for seed in range(100, 106)]
                    problems.append(np.mean(shortfalls(folder, *case, runs)))
                found.append(((len(metrics), scaling, choice, more), np.array(problems)))
    found.sort(key=lambda pair: float(pair[1].mean()))
    best, rows = found[0][1], []
    for configuration, problems in found:
        behind = problems - best
        error = float(behind.std(ddof=1)) / np.sqrt(len(behind))
        rows.append([*configuration, float(problems.mean()), float(behind.mean()), error])
    near = [row for row in rows if row[5] <= row[6]]
    chosen = min(near, key=lambda row: (row[3], row[4]))
    return [
        [*row[:4], f"{row[4]:.2f}", f"{row[5]:.2f}±{row[6]:.2f}", "chosen" if row is chosen else ""] for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=NAS)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--ablation", action="store_true", help="what each part contributes")
    parser.add_argument("--methods", nargs="+", help="these alone, by name")
    parser.add_argument("--select", action="store_true", help="how ours was configured")
    parser.add_argument("--output", default="robot_nb201")
    given = parser.parse_args()
    if not (given.folder / "nb201_archs.csv.gz").is_file():
        print(f"skipped: no nb201_archs.csv.gz in {given.folder}; give the folder that holds it")
        sys.exit(0)
    folder, seeds = str(given.folder), tuple(SEEDS[: given.seeds])
    if given.select:
        print(text_table(["objective", "top 10 %", "5 %", "2 %", "noise"], agreement(folder)))
        print(text_table(["metrics", "scaling", "choice", "by BO", "shortfall", "behind", ""], selection(folder)))
        return
    if given.ablation:
        rows = ablation(folder, seeds)
        show_ablation(rows)
        write(f"{given.output}_ablation", {"environment": environment(("optuna", "scipy")), "rows": rows})
        return
    timed: dict[str, dict[str, float]] = {}
    for name in ("ours", "RoBoT as published"):
        began = time.perf_counter(), time.process_time()
        run_all([(case_of(folder, "cifar10", TRANSFER), contenders()[name])], QUERIES, seeds, 1)
        timed[name] = {"wall": time.perf_counter() - began[0], "processor": time.process_time() - began[1]}
    rows = rows_of(folder, seeds, given.methods or ())
    if not given.methods:
        rows += [averaged(rows, objective) for objective in (TRANSFER, PUBLISHED)]
    show(rows)
    for name, seconds in timed.items():
        print(
            f"{name}: {len(seeds)} seeds x {QUERIES} queries in one process, with the loading:"
            f" {seconds['wall']:.1f} s, {seconds['processor']:.1f} s of processor time"
        )
    write(given.output, {"environment": environment(("optuna", "scipy")), "seconds": timed, "rows": rows})


if __name__ == "__main__":
    main()
