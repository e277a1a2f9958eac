"""The paper's search against its baselines at the same budget of evaluation: does evolution find more, and is it true?

    python -m benchmarks.lion_search                         # 8 contenders x 5 seeds
    python -m benchmarks.lion_search --budget 300000 --seeds 5 --processes 2 --only evolution,constants,random

The contenders are the configurations under search_spaces/lion/configs, some with an option changed (`CONTENDERS`). The
budget is training steps: what the evaluations of a run really trained, a network a step, so that neither cache hits
nor programs that diverge at once cost anything, and re-evaluations cost what they do. A run goes on until it has spent
the budget and is cut there, from its journal: the result does not depend on the machine's speed. The winner (the first
of the leaderboard) at a quarter, half and all of the budget is then trained anew under fresh seeds, which no search
uses, and judged on the test split, which no search reads: the mean over tasks of its test loss divided by that of the
AdamW seed program is its score. What the search believed it to be, on the validation split, is beside it.

Contenders are compared with one of them by the mean of the differences between runs of the same search seed, which
share the seed of the first programs and the judges' seeds, with Student's 95 % interval over the search seeds.
Writes benchmarks/results/lion_search.json.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import ROOT, environment, own_process, table, write
from benchmarks.engine_runs import scratch
from benchmarks.lion_winners import connected, judge, restarts, result_summary, winner
from search_spaces.lion.refine.paired import interval

CONFIGS = ROOT / "search_spaces" / "lion" / "configs"
NO_ROUNDS = "strategy.options.reevaluate_every=null"
CONTENDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "evolution": ("evolution", ()),
    "evolution with scores kept": ("evolution", (NO_ROUNDS,)),
    "restart from best": ("restart_best", ()),
    "restart from best with scores kept": ("restart_best", (NO_ROUNDS,)),
    "restart from seed": ("restart_seed", ()),
    "constants only": ("constants", ()),
    "random programs": ("random", ()),
    "random walk": ("evolution", (NO_ROUNDS, "strategy.options.tournament=1")),
}
"""Name: the configuration, and what is changed in it. "with scores kept": without re-evaluation, as in the paper.
"random walk": mutants of AdamW and of mutants, without selection."""
OPTIONS = {"tasks": ["digits_mlp", "fashion_mlp"], "steps": 60, "replicates": 2, "probe_steps": 30}
"""The cheapest tasks, so that 40 runs of some thousand functions end in a quarter of an hour on two quiet cores."""
SMALL = ("loop.lag=64", "loop.chunk=32", "loop.block=32", "loop.span=64")
POPULATION = "strategy.options.population=100"
"""A search of thousands of functions, not tens of thousands: with a lag of 256 misses and a population of 300, its
first thousand would all be children of AdamW."""
RESTART_SHARE = 0.15
"""Restarts come after this share of the distinct functions that the budget is expected to buy, without improvement."""
STEPS_A_FUNCTION = 150
"""Training steps a distinct function, roughly, under these options; for the share above alone."""
FRACTIONS = (0.25, 0.5, 1.0)


# ---------------------------------------------------------------------- one run


class Spending:
    """Training steps that a run's evaluations took, in order of the candidates.

    Args:
        database: run.db.
        steps: training steps by rung and task.
        check_every: a program that diverges is noticed at multiples of this.
    """

    def __init__(self, database: Path, steps: Mapping[str, Mapping[str, int]], check_every: int) -> None:
        self._database = database
        self._steps = steps
        self._check = check_every
        self._seen = 0
        self.by_candidate: dict[int, int] = {}
        self.total = 0

    def update(self) -> None:
        """Read what was evaluated since the last call."""
        if not self._database.is_file():
            return
        with connected(self._database) as db:
            rows = db.execute(
                "SELECT e.rowid, e.id, e.rung, i.function, p.kind FROM evaluations e JOIN identities i USING (id)"
                " JOIN proposals p USING (id) WHERE e.rowid > ? ORDER BY e.rowid",
                (self._seen,),
            ).fetchall()
            for rowid, id, rung, function, kind in rows:
                request = (id or -1) if kind == 1 else 0
                found = db.execute(
                    "SELECT extra FROM observations WHERE function=? AND rung=? AND request=?",
                    (function, rung, request),
                )
                spent = sum(self._observation(rung, json.loads(extra or "{}")) for (extra,) in found)
                self.by_candidate[id] = self.by_candidate.get(id, 0) + spent
                self.total += spent
                self._seen = rowid

    def _observation(self, rung: str, extra: Mapping[str, Any]) -> int:
        by_task = self._steps[rung]
        spent = sum(by_task[task] for task in extra.get("losses", {}))
        if "diverged_on" in extra:
            most = by_task[extra["diverged_on"]]
            spent += min(most, math.ceil((extra["diverged_at"] + 1) / self._check) * self._check)
        return spent

    def cut(self, budget: float) -> int:
        """The first candidate whose evaluation would exceed the budget."""
        total = 0
        for id in sorted(self.by_candidate):
            total += self.by_candidate[id]
            if total > budget:
                return id
        return max(self.by_candidate, default=-1) + 1


def one_run(given: argparse.Namespace) -> dict[str, Any]:
    """One search of one contender, its winners, and what they are worth under fresh seeds."""
    from evo.config import load_config
    from evo.search import Search
    from search_spaces.lion.evaluator import courses
    from search_spaces.lion.training import CHECK_EVERY

    file, changes = CONTENDERS[given.contender]
    options = json.loads(given.options)
    with scratch() as folder:
        overrides = [
            f"runs_dir={folder}", "name=run", f"seed={given.seed}", "executor.kind=inline", "report.candidates=0",
            "budget.evaluations=null", "budget.stall=200000", f"budget.proposals={given.most}", *SMALL, *changes,
            *((POPULATION,) if file != "random" else ()),
            *(f"options.{key}={json.dumps(value)}" for key, value in options.items()),
        ]  # fmt: skip
        if file.startswith("restart"):
            after = max(300, round(RESTART_SHARE * given.budget / STEPS_A_FUNCTION))
            overrides.append(f"strategy.restart.after={after}")
        search = Search.from_config(load_config(CONFIGS / f"{file}.yaml", overrides))
        space = search._space()
        steps = {
            rung: {task: course.steps for task, course in by_task.items()}
            for rung, by_task in courses(space.options).items()
        }
        database = folder / "run" / "run.db"
        spending = Spending(database, steps, CHECK_EVERY)

        def watch(status: Mapping[str, Any]) -> None:
            spending.update()
            if spending.total >= given.budget:
                search.stop()

        result = search.run(watch)
        spending.update()
        if spending.total < given.budget:
            sys.exit(f"{given.contender}: {spending.total} of {given.budget} steps after {given.most} proposals")
        winners = [winner(database, space, spending.cut(part * given.budget)) for part in FRACTIONS]
        judged = judge(space, database, [w.id for w in winners if w is not None], given.judges)
        return {
            "contender": given.contender,
            "seed": given.seed,
            "winners": [
                None if w is None else {**w._asdict(), "score": statistics.fmean(judged[w.id]), "scores": judged[w.id]}
                for w in winners
            ],
            "restarts": restarts(database) if file.startswith("restart") else 0,
            "seconds": result.status["seconds"],
            "what": result_summary(space, database, winners[-1]),
        }


# ---------------------------------------------------------------------- all runs


def difference(one: Mapping[int, float], other: Mapping[int, float]) -> tuple[float, float, float]:
    """Mean of the differences between runs of one search seed, with its 95 % interval (Student's t over the seeds).

    Args:
        one, other: scores by search seed; a seed that only one of them has is left out.

    Returns:
        mean, low, high; NaN, infinite or unbounded where a run has no winner or seeds are fewer than two.
    """
    both = sorted(one.keys() & other.keys())
    found = interval(np.array([one[seed] - other[seed] for seed in both]))
    return found["mean"], found["low"], found["high"]


def by_seed(runs: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """The final winners' scores by search seed."""
    return {run["seed"]: score for run, score in zip(runs, scores(runs, -1), strict=True)}


def scores(runs: Sequence[Mapping[str, Any]], part: int) -> list[float]:
    """The winners' scores at a part of the budget; a run without any winner counts as infinitely bad."""
    return [math.inf if run["winners"][part] is None else run["winners"][part]["score"] for run in runs]


def summary(runs: Mapping[str, Sequence[Mapping[str, Any]]], base: str) -> list[dict[str, Any]]:
    """A row a contender; lower scores are better, and a positive difference means worse than `base`."""
    rows = []
    for name, each in runs.items():
        last = [run["winners"][-1] for run in each if run["winners"][-1] is not None]
        row: dict[str, Any] = {
            "contender": name,
            "medians": [statistics.median(scores(each, part)) for part in range(len(FRACTIONS))],
            "best": min(scores(each, -1)),
            "worst": max(scores(each, -1)),
            "overrated": statistics.median(w["score"] - w["claimed"] for w in last) if last else math.nan,
            "proposals": statistics.median(w["proposals"] for w in last) if last else 0,
            "functions": statistics.median(w["functions"] for w in last) if last else 0,
            "restarts": statistics.median(run["restarts"] for run in each),
        }
        if name != base and base in runs:
            row["behind"] = difference(by_seed(each), by_seed(runs[base]))
        rows.append(row)
    return rows


def print_summary(rows: Sequence[Mapping[str, Any]], base: str) -> None:
    lines = []
    for row in rows:
        behind = row.get("behind")
        lines.append([
            row["contender"], *(f"{value:.4f}" for value in (*row["medians"], row["best"], row["worst"])),
            "" if behind is None else "{:+.4f} [{:+.4f}, {:+.4f}]".format(*behind),
            f"{row['overrated']:+.4f}", f"{row['functions']:,.0f}", f"{row['restarts']:g}",
        ])  # fmt: skip
    header = [
        "median score at",
        *(f"{part:g} of it" for part in FRACTIONS),
        "best",
        "worst",
        f"behind {base}, paired by seed [95 %]",
    ]
    print(table([*header, "overrated", "functions", "restarts"], lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=int, default=600_000, help="training steps a run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--judges", type=int, default=16, help="fresh seeds that judge a winner")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default=",".join(CONTENDERS), help="names of contenders")
    parser.add_argument("--base", default="evolution", help="the contender that others are compared with")
    parser.add_argument("--options", default=json.dumps(OPTIONS), help="options of the space, JSON")
    parser.add_argument("--most", type=int, default=2_000_000, help="proposals at which a run gives up")
    parser.add_argument("--output", default="lion_search")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.contender:
        print(json.dumps(one_run(given)))
        return
    names = [name.strip() for name in given.only.split(",")]
    if unknown := [name for name in names if name not in CONTENDERS]:
        parser.error(f"no contender named {', '.join(unknown)}; there are {'; '.join(CONTENDERS)}")
    passed = [f"--{key}={getattr(given, key)}" for key in ("budget", "judges", "options", "most")]
    jobs = [(name, seed) for seed in range(given.first_seed, given.first_seed + given.seeds) for name in names]

    def run(job: tuple[str, int]) -> dict[str, Any]:
        result = own_process("benchmarks.lion_search", f"--contender={job[0]}", f"--seed={job[1]}", *passed)
        print(f"{job[0]}, seed {job[1]}: {result.get('error') or last_score(result)}", file=sys.stderr, flush=True)
        return result

    with ThreadPoolExecutor(given.processes) as pool:
        done = list(pool.map(run, jobs))
    if failed := [result["error"] for result in done if "error" in result]:
        sys.exit(f"{len(failed)} runs failed, the first with: {failed[0]}")
    runs = {name: [result for result in done if result["contender"] == name] for name in names}
    rows = summary(runs, given.base)
    print_summary(rows, given.base)
    about = {**environment(("evo-search", "numpy", "torch")), "settings": vars(given), "fractions": FRACTIONS}
    print(f"written to {write(given.output, {**about, 'summary': rows, 'runs': runs})}")


def last_score(result: Mapping[str, Any]) -> str:
    found = result["winners"][-1]
    return "no winner" if found is None else f"{found['score']:.4f} (claimed {found['claimed']:.4f})"


if __name__ == "__main__":
    main()
