"""Over Ray: does the head's memory stay flat over very many small batches, and what do no-op genomes cost there?

    python -m benchmarks.ray_memory [--batches 100000] [--workers 2]

Prints two tables. Rates: genomes a second that do nothing, inline and over Ray, by block size (wall time: quiet machine
only). Memory: resident megabytes of the head (`gcs_server`), of the driver and of its raylet, as calls of one
small block each go by; every call is one actor call, the worst case.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from evo.executors import Block, EvaluatorRecipe, Executor, Limits, make_executor
from evo.space import Request

SPEC = "evo.testing.misbehaving:MisbehavingSpace"


def blocks(count: int, size: int, first: int = 0) -> Iterator[Block]:
    """Blocks of well-behaved genomes."""
    seeds = (7,)
    for number in range(first, first + count):
        ids = range(number * size, (number + 1) * size)
        yield Block(number, tuple(Request(i, {"x": 0.5, "act": "ok"}, "search", seeds) for i in ids))


def throughput(executor: Executor, size: int, n_blocks: int, window: int) -> tuple[float, float]:
    """Genomes a second (wall), and microseconds of this process a genome (CPU), with `window` blocks in flight."""
    todo = list(blocks(n_blocks, size))
    gc.collect()
    wall, cpu, done, sent = time.perf_counter(), time.process_time(), 0, 0
    while done < n_blocks:
        batch = todo[sent : min(n_blocks, done + window)]
        if batch:
            executor.submit(batch)
            sent += len(batch)
        done += len(executor.poll(1.0))
    genomes = n_blocks * size
    return genomes / (time.perf_counter() - wall), (time.process_time() - cpu) / genomes * 1e6


def resident_mb(name: str) -> float:
    """Resident megabytes of this process ("self"), or of its child of that name (a local Ray's head, its raylet)."""
    if name == "self":
        return _rss(Path("/proc/self"))
    processes = (p for p in Path("/proc").iterdir() if p.name.isdigit())
    found = [p for p in processes if _command(p) == name and _parent(p) == os.getpid()]
    return sum(map(_rss, found))


def _parent(process: Path) -> int:
    return int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])


def _command(process: Path) -> str:
    try:
        return Path(process.joinpath("cmdline").read_bytes().split(b"\0")[0].decode()).name
    except OSError:
        return ""


def _rss(process: Path) -> float:
    return int(process.joinpath("statm").read_text().split()[1]) * 4096 / 1e6


def memory(executor: Executor, batches: int, rows: int = 10) -> list[dict[str, float]]:
    """One row each tenth of the way: batches so far, megabytes of head, raylet and driver."""
    table = []
    step = max(1, batches // rows)
    sent = done = 0
    next_row = 0
    while True:
        if done >= next_row:
            table.append(
                {
                    "batches": done,
                    "head_mb": round(resident_mb("gcs_server"), 1),
                    "raylet_mb": round(resident_mb("raylet"), 1),
                    "driver_mb": round(resident_mb("self"), 1),
                }
            )
            print("  ".join(f"{k} {v:>9}" for k, v in table[-1].items()), flush=True)
            next_row += step
        if done >= batches:
            return table
        count = min(batches - sent, 1 - (sent - done))  # more would travel together
        if count > 0:
            executor.submit(list(blocks(count, 4, sent)))
            sent += count
        done += len(executor.poll(1.0))


def main() -> None:
    """Measure and print; `--json` also writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--genomes", type=int, default=200_000)
    parser.add_argument("--window", type=int, default=4096, help="genomes in flight")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recipe = EvaluatorRecipe(SPEC, {})
    figures: dict[str, object] = {"rates": {}, "memory": []}
    rates: dict[str, tuple[float, float]] = {}
    for kind in ("inline", "ray"):
        executor = make_executor(kind, arguments.workers, None, Limits())
        executor.start(recipe)
        while kind == "ray" and executor.state().workers < arguments.workers:
            executor.poll(0.1)
            time.sleep(0.1)
        for size in (256, 64, 8):
            throughput(executor, size, 64, 16)
            count = arguments.genomes // size
            rate, cpu = throughput(executor, size, count, max(4, arguments.window // size))
            rates[f"{kind}/{size}"] = (rate, cpu)
            print(f"{kind:6} block {size:4}: {rate:10,.0f} genomes/s, driver CPU {cpu:6.2f} us a genome", flush=True)
        if kind == "ray":
            figures["memory"] = memory(executor, arguments.batches)
        executor.close()
    figures["rates"] = rates
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
