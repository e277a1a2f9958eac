"""A run.db with realistic content, written table by table: a small regularized evolution of toy update rules.

The search is simulated (the loss of a rule is a fixed function of its statements); everything else is as the engine
writes it. `Rules` is its search space, light enough for read verbs.
"""

from __future__ import annotations

import json
import random
import sqlite3
import struct
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evo.run.schema import SCHEMA_VERSION, TABLES
from evo.space import BaseSpace, Figure, Objective, Observation, Rung, Variation

SPEC = "tests.evo.cli.fake_run:Rules"
POOL = (
    "m = interp(g, m, 0.9)", "v = interp(square(g), v, 0.999)", "g = clip(g, lr)", "update = sign(m)",
    "update = m / sqrt(v)", "g = g + 0.01 * w", "update = update * lr", "m = interp(g, m, 0.99)",
    "u = sqrt(v)", "u = cosine_sim(m, g)", "update = sin(m)", "g = arcsinh(g)", "update = interp(update, g, 0.1)",
)  # fmt: skip
START = ("m = interp(g, m, 0.9)", "update = update * lr", "g = g + 0.01 * w")
OPERATORS = ("insert", "delete", "modify constant", "modify argument", "replace operator")


class Rules(BaseSpace[list]):
    """Toy update rules: lists of statements (a test's space)."""

    @dataclass(frozen=True)
    class Options:
        """Options of the toy space."""

        tasks: tuple[str, ...] = ("digits_mlp",)
        width: int = 16

    name = "rules"
    objectives = (Objective("loss"),)
    rungs = (Rung("short", hurdle=0.2), Rung("long", replicates=2))
    defaults: Mapping[str, Any] = {"budget": {"evaluations": 3000}, "loop": {"block": 16}}

    def seeds(self) -> list[tuple[str, ...]]:
        return [START]

    def sample(self, rng: Any) -> tuple[str, ...]:
        return tuple(POOL[i] for i in rng.integers(0, len(POOL), 4))

    def mutate(self, genome: Any, rng: Any) -> Variation:
        return Variation(*mutate(tuple(genome), random.Random(int(rng.integers(2**62)))))

    def canonical(self, genome: Any) -> bytes:
        return "\n".join(sorted(genome)).encode()

    def evaluator(self, prepared: Any) -> Losses:
        return Losses()

    def decode(self, value: Any) -> tuple[str, ...]:
        return tuple(value)

    def report(self, genomes: Any, seeds: Any, prepared: Any) -> list[dict[str, Any]]:
        names = [("start", START, None), *((f"finalist {i + 1}", genome, i) for i, genome in enumerate(genomes))]
        return [
            {"name": name, "task": "toy", "metric": "loss", "genome_index": index,
             "values": [loss_of(tuple(genome)) + 0.001 * seed for seed in seeds]}
            for name, genome, index in names
        ]  # fmt: skip

    def describe(self, genome: list) -> str:
        return "def step(w, g, m, v, lr):\n" + "".join(f"    {line}\n" for line in genome) + "    return update, m, v"

    def summary(self, genome: list) -> str:
        return "; ".join(genome)

    def export(self, genome: list, path: Path, origin: Mapping[str, Any]) -> Path:
        source = (
            f'"""From run {origin.get("run")}, candidate {origin.get("candidate")}."""\n\nSTATEMENTS = {genome!r}\n'
        )
        path.write_text(source)
        return path

    def figures(self, run: Any) -> list[Figure]:
        lengths = Counter(len(run.genome(row.id)) for row in run.commits(limit=200))
        cells = "".join(f"<tr><td>{n}</td><td>{count}</td></tr>" for n, count in sorted(lengths.items()))
        return [
            Figure(
                "Length of rules",
                f"<table><tr><th>statements</th><th>candidates</th></tr>{cells}</table>",
                "The first 200.",
            )
        ]


class Losses:
    """The toy space's evaluator."""

    def evaluate(self, requests: Any) -> list[list[Observation]]:
        time.sleep(0.002 * len(requests))
        return [[Observation((loss_of(tuple(r.genome)) + 1e-9 * (s % 7),)) for s in r.seeds] for r in requests]


def loss_of(rule: tuple[str, ...]) -> float:
    """The toy fitness: good statements help once, length costs a little, some pairs diverge."""
    if "update = sin(m)" in rule and "g = arcsinh(g)" in rule:
        return float("nan")
    gains = {s: 0.02 + 0.11 * random.Random(s).random() for s in sorted(set(rule))}
    return 1.2 - sum(gains.values()) * (0.6 + 0.4 * random.Random("".join(rule)).random()) + 0.02 * len(rule)


def pack(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def mutate(rule: tuple[str, ...], rng: random.Random) -> tuple[tuple[str, ...], str]:
    operator = rng.choice(OPERATORS)
    lines = list(rule)
    where = rng.randrange(len(lines))
    if operator == "insert" or len(lines) < 3:
        lines.insert(where, rng.choice(POOL))
        operator = "insert"
    elif operator == "delete":
        del lines[where]
    elif operator == "modify constant":
        lines[where] = lines[where].replace("0.9)", f"0.{rng.randint(80, 99)})")
    else:
        lines[where] = rng.choice(POOL)
    return tuple(lines), operator


def write_run(path: Path, n: int = 2000, seed: int = 0, state: str = "finished", **status: Any) -> Path:
    """Write `<path>/run.db` with `n` candidates; returns the folder. `status` overrides keys of the status row."""
    path.mkdir(parents=True)
    rng = random.Random(seed)
    db = sqlite3.connect(path / "run.db")
    db.executescript("PRAGMA journal_mode=WAL;" + TABLES)
    config = {
        "space": SPEC, "options": {"tasks": ["digits_mlp"], "width": 16}, "name": path.name, "seed": seed,
        "runs_dir": str(path.parent),
        "strategy": {"name": "regularized", "options": {"population": 100, "tournament": 5}, "restart": None},
        "budget": {"evaluations": 3000, "proposals": None, "wall": None, "target": None, "stall": 20000},
        "loop": {"mode": "deterministic", "chunk": 64, "lag": 256, "block": 16, "span": 64, "snapshot_every": 4096},
        "identity": {"structural": True, "functional": True, "forget": 0, "audit": 0.01, "cache": None},
        "executor": {"kind": "ray", "workers": 2, "address": None, "timeout_s": 60.0, "memory_mb": 4096,
                     "threads": 1, "attempts": 2},
        "report": {"candidates": 5, "seeds": 5},
    }  # fmt: skip
    meta = {
        "schema": SCHEMA_VERSION, "config": config, "config_given": f"space: {SPEC}\nseed: {seed}\n", "space": SPEC,
        "versions": {"python": "3.11.2", "torch": "2.13.0", "numpy": "2.4.0", "ray": "2.60.0", "evo-search": "0.1.0"},
        "commit": "c4a5f65", "command": ["evo", "run", "rules.yaml", "--seed", str(seed)], "created": 1.79e9 + seed,
        "objectives": [["loss", "minimise", False]],
        "rungs": [["short", 1, 0.2], ["long", 2, None]], "namespace": {"task": "digits"},
    }  # fmt: skip
    db.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])
    functions: dict[Any, int] = {}
    structures: dict[Any, int] = {}
    rules: list[tuple[str, ...]] = []
    made: list[tuple[str, list[int]]] = []
    population: deque[tuple[float, int]] = deque(maxlen=100)
    counts: Counter[str] = Counter()
    seconds = {"hashed": 0.0, "evaluated": 0.0, "saved": 0.0, "strategy": 0.0, "store": 0.0}
    best: dict[int, tuple[float, int]] = {}
    curve: list[Any] = []
    timeline: list[Any] = []
    for i in range(n):
        if i == 0 or len(population) < 2:
            rule, operator, parents = START, "seed", []
        else:
            parent = min(rng.choices(population, k=5))[1]
            rule, operator = mutate(rules[parent], rng)
            parents = [parent]
        rules.append(rule)
        made.append((operator, parents))
        structure, behaviour = tuple(sorted(rule)), frozenset(rule)
        if structure in structures:
            source, function = "structural", functions[behaviour]
        elif behaviour in functions:
            source, function = ("twin" if rng.random() < 0.1 else "functional"), functions[behaviour]
        else:
            source, function = "evaluated", i
        structures.setdefault(structure, i)
        functions.setdefault(behaviour, i)
        loss = loss_of(rules[function])
        fails = random.Random(function).random() if function != min(functions.values()) else 1.0
        observed, message = "ok", ""
        if loss != loss:
            observed, message = "nan", "loss is NaN after 31 steps"
        elif fails < 0.01:
            observed, message = "failed", "OverflowError: math range error"
        elif fails < 0.012:
            observed, message = "timeout", "no answer within 60 s, twice and alone"
        stopped = observed == "ok" and loss > 1.1 and i > 50
        final = "stopped" if stopped else observed
        values = (loss,) if observed == "ok" else ()
        db.execute(
            "INSERT INTO proposals VALUES (?, 0, ?, ?, ?, 0, NULL)",
            (i, json.dumps(rule), json.dumps(parents, separators=(",", ":")), operator),
        )
        miss = source == "evaluated"
        key = str(i).encode().rjust(16, b"0")
        db.execute(
            "INSERT INTO identities VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                i,
                function,
                source,
                key if source != "structural" else None,
                key if miss else None,
                key if miss else None,
                int(miss),
            ),
        )
        cost = 0.05 + 0.04 * random.Random(-function).random()
        if miss:
            for rung, number in (("short", 1), ("long", 2))[: 1 if final != "ok" else 2]:
                for replicate in range(number):
                    noisy = loss + 0.005 * rng.gauss(0, 1) if rung == "long" else loss + 0.1
                    db.execute(
                        "INSERT INTO observations VALUES (?, ?, ?, 0, ?, ?, NULL, ?, ?, NULL)",
                        (
                            i,
                            rung,
                            7 + replicate,
                            observed,
                            pack(noisy) if values else b"",
                            json.dumps({"digits_mlp": noisy}),
                            message or None,
                        ),
                    )
                db.execute(
                    "INSERT INTO evaluations VALUES (?, ?, ?, 1, ?, ?)",
                    (i, rung, cost, f"worker {i % 2}", 1.79e9 + i * 0.05),
                )
            seconds["evaluated"] += cost
            counts["evaluations"] += 1
        else:
            counts[source] += 1
            seconds["saved"] += cost
        seconds["hashed"] += 0.0006
        counts["proposals"] += 1
        counts["told"] += 1
        counts["committed"] += 1
        if final != "ok":
            counts[final] += 1
        db.execute(
            "INSERT INTO commits VALUES (?, ?, ?, ?, NULL, NULL)",
            (i, final, -1 if not values else 0 if stopped else 1, pack(*values)),
        )
        if final == "ok":
            population.append((loss, i))
            if not best or loss < min(best.values())[0]:
                curve.append([counts["evaluations"], i + 1, seconds["evaluated"] / 2, [loss]])
            best.setdefault(function, (loss, i))
        if i % max(1, n // 100) == 0 or i == n - 1:
            timeline.append([seconds["evaluated"] / 2, dict(counts), dict(seconds)])
    db.executemany(
        "INSERT INTO chunks VALUES (?, ?, ?, ?, ?)",
        [(i, min(64, n - i), max(0, i - 256), 256, i + 64) for i in range(0, n, 64)],
    )
    leaders = [
        {
            "id": i, "function": function, "values": [loss], "status": "ok", "rung": 1, "operator": made[i][0],
            "parents": made[i][1], "summary": "; ".join(rules[i]),
        }
        for function, (loss, i) in sorted(best.items(), key=lambda item: item[1])[:50]
    ]  # fmt: skip
    for index, name in enumerate(["AdamW", "Lion", *(f"#{leader['id']}" for leader in leaders[:3])]):
        for task, base in (("digits_mlp", 0.21), ("digits_convnet", 0.12)):
            row = {
                "name": name, "task": task, "metric": "test loss",
                "candidate": None if index < 2 else leaders[index - 2]["id"],
                "values": [base * (1.1 - 0.05 * index) + 0.01 * rng.gauss(0, 1) for _ in range(5)],
            }  # fmt: skip
            db.execute("INSERT INTO reports VALUES (?)", (json.dumps(row),))
    for kind, payload in (("session", {"number": 1}), ("executor", {"incident": "worker died"})):
        db.execute("INSERT INTO events VALUES (?, ?, ?)", (1.79e9, kind, json.dumps(payload)))
    for i in range(5):
        db.execute("INSERT INTO audits VALUES (?, ?, 'long', 7, ?, ?, 1)", (i + 40, i, pack(0.5), pack(0.5)))
    row = {
        "state": state, "reason": "budget.evaluations", "pid": 2**22 + 7, "host": "nowhere",
        "heartbeat": 1.79e9 + seed + 100.0, "space": SPEC, "strategy": "regularized", "seed": seed,
        "name": path.name, "session": 1, "budget": config["budget"],
        "progress": min(1.0, counts["evaluations"] / 3000), "eta_s": None, "elapsed_s": seconds["evaluated"] / 2,
        "counts": dict(counts), "seconds": seconds, "rate": 412.3, "rate_evaluations": 61.2,
        "executor": {"kind": "ray", "workers": 2, "busy": 2, "in_flight": 64, "utilisation": 0.94,
                     "incidents": {"worker died": 1}},
        "leaders": leaders, "curve": curve, "timeline": timeline,
    }  # fmt: skip
    db.execute("INSERT INTO status VALUES (1, ?)", (json.dumps({**row, **status}),))
    db.commit()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return path
