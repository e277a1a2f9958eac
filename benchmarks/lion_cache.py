"""What recognising equal functions gains on a real search: `lion`, 20,000 proposals, then cache on against cache off.

    python -m benchmarks.lion_cache                     # both parts
    python -m benchmarks.lion_cache --part audit --proposals 20000 --audit 0.05
    python -m benchmarks.lion_cache --part off --seconds 120 --seeds 5

Part "audit": one search in which a share of the hits is evaluated all the same. Prints hits by kind, seconds hashed
and saved, and the audited hits' disagreements against a bound: `FACTOR` times the farthest that the same candidate's
value moves when the examples of its batches are permuted (`REORDERINGS` times), which changes nothing but the order of
float32 additions. Part "off": the same search with identity on and off at equal wall time.
Writes benchmarks/results/lion_audit.json and lion_off.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sqlite3
import statistics
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.common import environment, own_process, table, write
from benchmarks.engine_runs import scratch
from benchmarks.lion_reordered import SPEC

REORDERINGS = 8
FACTOR = 4.0
"""Of how far eight reorderings move a value; a ninth moves it farther than four times that in less than one case in a
thousand, where moves are anything like normal."""
HITS = ("structural", "functional", "twin")
NO_REPORT = {"candidates": 0, "confirm": 0}
META = "SELECT value FROM meta WHERE key = ?"
OFF = {"structural": False, "functional": False}


class Audited(NamedTuple):
    """A hit that was evaluated: its candidate and rung, what its function had, what itself gave (first objective)."""

    id: int
    rung: str
    expected: float
    found: float

    @property
    def apart(self) -> float:
        """By how much the two differ; 0 for equal infinities."""
        if self.expected == self.found:
            return 0.0
        gap = abs(self.expected - self.found)
        return math.inf if math.isnan(gap) else gap


def search(folder: Path, name: str, given: argparse.Namespace, **sections: Any) -> Any:
    """Run a lion search and return its result."""
    from evo import Search

    executor = {"kind": "ray", "workers": given.workers} if given.workers else {"kind": "inline"}
    settings = {"options": json.loads(given.options), "executor": executor, "report": NO_REPORT, **sections}
    return Search("lion", runs_dir=str(folder), name=name, **settings).run()


def audit_run(given: argparse.Namespace) -> dict[str, Any]:
    """The search of part "audit", and its audited hits against their bounds."""
    with scratch() as folder:
        result = search(
            folder, "audited", given, seed=given.seed,
            budget={"proposals": given.proposals}, identity={"audit": given.audit},
        )  # fmt: skip
        database = Path(result.path) / "run.db"
        audits, genomes = read_audits(database)
        saved = saved_seconds(database)
    counts, seconds = result.status["counts"], result.status["seconds"]
    judged = judge(audits, genomes, given)
    return {
        "proposals": counts["proposals"],
        "counts": {kind: counts[kind] for kind in (*HITS, "invalid", "evaluations", "audits", "audit_disagreements")},
        "hit_share": sum(counts[kind] for kind in HITS) / counts["proposals"],
        "seconds": seconds,
        "saved_s": saved,
        "saved_over_hashed": saved / seconds["hashed"] if seconds["hashed"] else math.inf,
        "audits": judged,
    }


def saved_seconds(database: Path) -> float:
    """What the hits of a run would have cost: for each, the mean cost of a request at every rung that it reached."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        mean = dict(connection.execute("SELECT rung, AVG(seconds) FROM evaluations GROUP BY rung"))
        names = [rung[0] for rung in json.loads(connection.execute(META, ("rungs",)).fetchone()[0])]
        marks = ",".join("?" * len(HITS))
        query = f"SELECT rung, COUNT(*) FROM commits JOIN identities USING (id) WHERE source IN ({marks}) GROUP BY rung"
        reached = connection.execute(query, HITS).fetchall()
    return sum(n * sum(mean.get(name, 0.0) for name in names[: rung + 1]) for rung, n in reached)


def read_audits(database: Path) -> tuple[list[Audited], dict[int, Any]]:
    """Audited hits, and the genomes of their candidates as JSON values."""

    def first(blob: bytes | None) -> float:
        return struct.unpack_from("<d", blob)[0] if blob else math.nan

    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute("SELECT id, rung, expected, found FROM audits ORDER BY id").fetchall()
        texts = connection.execute("SELECT id, genome FROM proposals WHERE id IN (SELECT id FROM audits)").fetchall()
    audits = [Audited(i, rung, first(expected), first(found)) for i, rung, expected, found in rows]
    return audits, {i: json.loads(text) for i, text in texts}


def judge(audits: Sequence[Audited], genomes: Mapping[int, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Disagreements, and for those above zero the bound that reordered arithmetic sets."""
    apart = [a for a in audits if a.apart > 0]
    bounds = reordering_bounds(apart, genomes, given)
    beyond = [a for a in apart if not a.apart <= bounds[a.id]]
    relative = [a.apart / max(abs(a.expected), 1e-12) for a in apart if math.isfinite(a.apart)]
    return {
        "audited": len(audits),
        "equal_to_the_bit": len(audits) - len(apart),
        "largest": max((a.apart for a in apart), default=0.0),
        "largest_relative": max(relative, default=0.0),
        "median_bound": statistics.median(bounds.values()) if bounds else 0.0,
        "largest_bound": max(bounds.values(), default=0.0),
        "largest_share_of_bound": max((a.apart / bounds[a.id] for a in apart if bounds[a.id]), default=0.0),
        "beyond_the_bound": [{**a._asdict(), "apart": a.apart, "bound": bounds[a.id]} for a in beyond],
    }


def reordering_bounds(
    audits: Iterable[Audited], genomes: Mapping[int, Any], given: argparse.Namespace
) -> dict[int, float]:
    """Candidate id: FACTOR times the largest move of its value under REORDERINGS permutations of every batch."""
    from evo.seeds import replicate_seed
    from evo.space import Request

    audits = list(audits)
    values: dict[int, list[float]] = {a.id: [] for a in audits}
    for number in range(REORDERINGS + 1):
        space, evaluator = reordered(json.loads(given.options), number)
        seeds = {r.name: tuple(replicate_seed(r.name, k) for k in range(r.replicates)) for r in space.rungs}
        requests = [Request(a.id, space.decode(genomes[a.id]), a.rung, seeds[a.rung]) for a in audits]
        for rung in seeds:
            there = [r for r in requests if r.rung == rung]
            for block in (there[start : start + 32] for start in range(0, len(there), 32)):
                for request, answer in zip(block, evaluator.evaluate(block), strict=True):
                    found = [o.values[0] if o.values else math.nan for o in answer]
                    values[request.id].append(sum(found) / len(found))
    return {i: FACTOR * max(move(v, row[0]) for v in row[1:]) for i, row in values.items()}


def reordered(options: Mapping[str, Any], number: int) -> tuple[Any, Any]:
    """The space with these options and an evaluator of it whose tasks permute their batches in a given way."""
    from evo.registry import build_space
    from evo.space import Preparation

    plain = build_space("lion", options)
    with scratch() as folder:
        reference = plain.prepare(Preparation(folder, lambda f, items: [f(i) for i in items], lambda *_: None))

    def name(task: str | None) -> str | None:
        return None if task is None else SPEC.format(task=task, number=number)

    tasks, probe = tuple(map(name, plain.options.tasks)), name(plain.options.probe_task)
    space = type(plain)(dataclasses.replace(plain.options, tasks=tasks, probe_task=probe))
    named = {rung: {name(task): loss for task, loss in by_task.items()} for rung, by_task in reference.items()}
    return plain, space.evaluator(named)


def move(value: float, base: float) -> float:
    """How far a value is from the base; infinite where just one of them is a number."""
    if value == base or (math.isnan(value) and math.isnan(base)):
        return 0.0
    gap = abs(value - base)
    return math.inf if math.isnan(gap) else gap


def timed_run(given: argparse.Namespace, identity: str, seed: int) -> dict[str, Any]:
    """One search of part "off": best fitness after a wall time."""
    with scratch() as folder:
        sections = {"identity": OFF} if identity == "off" else {}
        budget = {"wall": given.seconds, "stall": None}
        result = search(folder, f"{identity}-{seed}", given, seed=seed, budget=budget, **sections)
    counts = result.status["counts"]
    best = result.best["values"][0] if result.best else math.nan
    hits = sum(counts[kind] for kind in HITS)
    return {"best": best, "proposals": counts["proposals"], "evaluations": counts["evaluations"], "hits": hits}


def print_audit(part: Mapping[str, Any]) -> None:
    counts, seconds, audits = part["counts"], part["seconds"], part["audits"]
    rows = [[kind, f"{counts[kind]:,}", f"{counts[kind] / part['proposals']:.3f}"] for kind in counts]
    print(table(["of proposals", "number", "share"], rows))
    print(
        f"\nhashed {seconds['hashed']:.1f} s, evaluated {seconds['evaluated']:.1f} s, saved {part['saved_s']:.1f} s: "
        f"{part['saved_over_hashed']:.1f} times what hashing cost\n"
        f"audited {audits['audited']} hits: {audits['equal_to_the_bit']} equal to the bit; largest disagreement "
        f"{audits['largest']:.3g} ({audits['largest_relative']:.3g} of the value), largest share of its bound "
        f"{audits['largest_share_of_bound']:.2f} (bounds: median {audits['median_bound']:.3g}, largest "
        f"{audits['largest_bound']:.3g}); beyond the bound: {len(audits['beyond_the_bound'])}"
    )


def print_off(runs: Mapping[str, Sequence[Mapping[str, Any]]], seconds: float) -> None:
    rows = []
    for identity, each in runs.items():
        best = [r["best"] for r in each]
        mean = {k: statistics.fmean(r[k] for r in each) for k in ("proposals", "evaluations", "hits")}
        rows.append(
            [f"cache {identity}", f"{min(best):.4f}", f"{statistics.median(best):.4f}", f"{max(best):.4f}"]
            + [f"{mean[k]:,.0f}" for k in mean]
        )
    header = [f"{seconds:.0f} s a run, {len(rows and next(iter(runs.values())))} seeds", "best", "median", "worst"]
    print("\n" + table([*header, "proposals", "evaluations", "hits"], rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["audit", "off", "both"], default="both")
    parser.add_argument("--proposals", type=int, default=20_000)
    parser.add_argument("--audit", type=float, default=0.05, help="share of the hits that is evaluated all the same")
    parser.add_argument("--seconds", type=float, default=120.0, help="wall time of a run of part off")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0, help="Ray workers; 0: inline")
    parser.add_argument("--options", default="{}", help="options of the space, JSON")
    parser.add_argument("--output", default="lion", help="how the names of the files under benchmarks/results begin")
    parser.add_argument("--only", choices=["audit", "on", "off"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(audit_run(given) if given.only == "audit" else timed_run(given, given.only, given.seed)))
        return
    shared = ["--workers", str(given.workers), "--options", given.options]
    about: dict[str, Any] = {**environment(("evo-search", "torch", "numpy", "ray")), "settings": vars(given)}
    if given.part in ("audit", "both"):
        given_audit = ["--proposals", str(given.proposals), "--audit", str(given.audit), "--seed", str(given.seed)]
        audited = checked(own_process("benchmarks.lion_cache", "--only", "audit", *given_audit, *shared))
        print_audit(audited)
        print(f"written to {write(f'{given.output}_audit', {**about, **audited})}")
    if given.part in ("off", "both"):
        runs: dict[str, list[dict[str, Any]]] = {"on": [], "off": []}
        for seed in range(given.seeds):
            for identity, each in runs.items():
                print(f"cache {identity}, seed {seed}", file=sys.stderr, flush=True)
                arguments = ["--only", identity, "--seed", str(seed), "--seconds", str(given.seconds), *shared]
                each.append(checked(own_process("benchmarks.lion_cache", *arguments)))
        print_off(runs, given.seconds)
        print(f"written to {write(f'{given.output}_off', {**about, 'runs': runs})}")


def checked(result: dict[str, Any]) -> dict[str, Any]:
    """A contender's result; leaves where it failed."""
    if "error" in result:
        sys.exit(f"a run failed: {result['error']}")
    return result


if __name__ == "__main__":
    main()
