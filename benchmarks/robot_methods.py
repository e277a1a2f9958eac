"""What the benchmarks of `robot` compare, and how: methods by name, run over seeds on two processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robot_trials import Trial, search
from search_spaces.robot.options import RobotOptions
from search_spaces.robot.pool import pool_of
from search_spaces.robot.problem import Problem, seconds_of
from search_spaces.robot.space import Robot
from search_spaces.robot.tables import Table, load

NAS = Path(__file__).resolve().parents[2] / "shared" / "data" / "nas"
"""Where the public tables lie in this workplace."""
SIX = ("grad_norm", "snip", "grasp", "fisher", "synflow", "jacov")
"""RoBoT's base metrics."""
RAW = "synflow_raw"
"""Synflow without the logarithm that the table's has, as RoBoT used it on NAS-Bench-201."""
PROCESSES = 2


@dataclass(frozen=True, slots=True)
class Method:
    """One way to spend the queries.

    Attributes:
        name: for people.
        strategy: of `evo.strategies`.
        options: its options.
        metrics: of the pool; empty: all.
        scaling, log, identity: see `pool_of`.
        fixed: True where seeds change nothing, so that one run tells all.
        limit: proposals after which a search is over in any case; None: none.
    """

    name: str
    strategy: str = "bayesian"
    options: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = SIX
    scaling: str = "minmax"
    log: Any = ()
    identity: str = "class"
    fixed: bool = False
    limit: int | None = None

    def but(self, name: str, space: Mapping[str, Any] | None = None, **options: Any) -> Method:
        """The same with some options of the strategy (and fields of its own) changed."""
        return replace(self, name=name, options={**self.options, **options}, **(space or {}))


def methods(queries: int, metrics: Sequence[str], published: Sequence[str], explore: int) -> dict[str, Method]:
    """The contenders, ours first.

    Args:
        queries: of a search.
        metrics: those whose single searches are listed.
        published: RoBoT's, in the form that it took them in.
        explore: vectors that ours proposes before it exploits.
    """
    ours = Method("ours", options={"preset": "robust", "explore": explore}, log="auto", metrics=tuple(published))
    ours = replace(ours, metrics=tuple("synflow" if name == RAW else name for name in published))
    robot = Method(
        "RoBoT as published", options={"preset": "published", "explore": queries}, metrics=tuple(published),
        identity="architecture",
    )  # fmt: skip
    found = [
        ours,
        robot,
        replace(robot, name="RoBoT, ln synflow", metrics=ours.metrics) if RAW in published else robot,
        robot.but("random weights instead of BO", sampler="random"),
        Method("random search", "random", {}, identity="architecture"),
        Method(
            "aging evolution", "regularized",
            {"population": max(5, queries // 3), "tournament": 5, "initial": "sample"}, identity="architecture",
        ),
        replace(robot, name="average of metrics", metrics=ours.metrics, options=_once("sum"), fixed=True),
        *(replace(robot, name=f"{name} alone", metrics=(name,), options=_once("units"), fixed=True)
          for name in metrics),
    ]  # fmt: skip
    return {method.name: method for method in found}


def _once(warm: str) -> dict[str, Any]:
    return {"preset": "published", "warm_start": warm, "explore": 1}


def with_raw_synflow(table: Table) -> Table:
    """The table with synflow's logarithm undone beside it."""
    return replace(table, metrics={**table.metrics, RAW: np.exp(table.metrics["synflow"])})


@dataclass(frozen=True, slots=True)
class Case:
    """A table and an objective: how to make them again in another process.

    Attributes:
        make: "module:function" of the table, called with `arguments`.
        arguments: of it, hashable.
        objective: name.
        reported: names of what is read off the found architecture.
    """

    make: str
    arguments: tuple[Any, ...]
    objective: str
    reported: tuple[str, ...] = ()


@cache
def table_of(make: str, arguments: tuple[Any, ...]) -> Table:
    """The table of a case."""
    import importlib

    module, _, name = make.partition(":")
    made: Table = getattr(importlib.import_module(module), name)(*arguments)
    return made


@cache
def problem_of(case: Case, metrics: tuple[str, ...], scaling: str, log: Any, identity: str) -> Problem:
    """The pool of a method, and the case's accuracies of it."""
    table = table_of(case.make, case.arguments)
    pool, rows = pool_of(table, metrics, scaling, log, identity)  # type: ignore[arg-type]
    return Problem(
        table.name, pool, case.objective, table.objective(case.objective)[rows],
        seconds_of(table, "val12_c10", rows), {name: column[rows] for name, column in table.reported.items()},
        tuple(table.keys[i] for i in rows) if table.keys else (), "",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one search came to.

    Attributes:
        value: objective of the architecture found.
        reported: its test accuracies, by name.
        explored: distinct architectures that exploration queried.
        seconds: of the 12-epoch schedule, all queries together; NaN where the table has none.
        architecture: its encoding.
        key: its name in the table.
    """

    value: float
    reported: Mapping[str, float]
    explored: int
    seconds: float
    architecture: str
    key: str


def once(case: Case, method: Method, queries: int, seed: int) -> Outcome:
    """One search."""
    problem = problem_of(case, method.metrics, method.scaling, method.log, method.identity)
    space = Robot(RobotOptions(), problem)
    trial: Trial = search(space, method.strategy, method.options, queries, seed, method.limit)
    best = trial.best
    seconds = float("nan") if problem.seconds is None else float(problem.seconds[trial.rows].sum())
    return Outcome(
        float(trial.values.max()), {name: float(column[best]) for name, column in problem.reported.items()},
        trial.explored, seconds, problem.pool.architectures[best], problem.keys[best] if problem.keys else "",
    )  # fmt: skip


def _job(job: tuple[Case, Method, int, tuple[int, ...]]) -> list[Outcome]:
    case, method, queries, seeds = job
    return [once(case, method, queries, seed) for seed in seeds]


def run_all(
    jobs: Sequence[tuple[Case, Method]], queries: int, seeds: Iterable[int], processes: int = PROCESSES
) -> list[list[Outcome]]:
    """Outcomes of each job over the seeds, in order."""
    chosen = tuple(seeds)
    work = [(case, method, queries, chosen[:1] if method.fixed else chosen) for case, method in jobs]
    if processes == 1:
        return [_job(one) for one in work]
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_job, work))


def interval(values: np.ndarray, resamples: int = 4000) -> tuple[float, float]:
    """95 % percentile bootstrap of the mean of (n,) values."""
    rng = np.random.Generator(np.random.Philox(key=[7, len(values)]))
    means = values[rng.integers(len(values), size=(resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def nb201(folder: str, dataset: str, variant: str = "15625_imputed") -> Table:
    """NAS-Bench-201 with one data set's metrics; CIFAR-100 has CIFAR-10's, for its own are known of 725 cells alone."""
    measured = "cifar10" if dataset == "cifar100" else dataset
    return with_raw_synflow(load(folder, "nb201", dataset=measured, variant=variant))
