"""What Ray costs: the rate of a no-op search inline and over Ray workers, in one run.

    python -m benchmarks.executor [--proposals 200000] [--workers 2] [--repeats 3]

Prints one table and writes benchmarks/results/executor.json. A share is the Ray rate over the inline rate, medians of
the repeats, taken in turns. Rates are steady ones: after the first window, so that starting Ray is not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from typing import Any

from benchmarks.common import environment, own_process, table, write
from benchmarks.engine_runs import INLINE, no_op_search


def executor_of(key: str) -> dict[str, Any]:
    """The executor section of a contender: "inline", or the number of Ray workers."""
    return INLINE if key == "inline" else {"kind": "ray", "workers": int(key)}


def measure(key: str, proposals: int, loop: dict[str, int]) -> dict[str, Any]:
    """Run one search in this process."""
    return no_op_search(proposals, proposals // 20, {}, executor=executor_of(key), loop=loop)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=200_000)
    parser.add_argument("--workers", type=int, nargs="*", default=[2])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--lag", type=int, default=8192)
    parser.add_argument("--block", type=int, default=256)
    parser.add_argument("--output", default="executor", help="name of the file under benchmarks/results")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    loop = {"chunk": given.chunk, "lag": given.lag, "block": given.block}
    if given.only:
        print(json.dumps(measure(given.only, given.proposals, loop)))
        return
    keys = ["inline", *(str(w) for w in given.workers)]
    results: dict[str, list[dict[str, Any]]] = {key: [] for key in keys}
    shared = [f for name, value in loop.items() for f in (f"--{name}", str(value))]
    for repeat in range(given.repeats):
        for key in keys:
            print(f"{repeat + 1}/{given.repeats} {key}", file=sys.stderr, flush=True)
            results[key].append(
                own_process("benchmarks.executor", "--only", key, "--proposals", str(given.proposals), *shared)
            )
    failed = {key: r["error"] for key, repeats in results.items() for r in repeats if "error" in r}
    if failed:
        sys.exit(f"failed: {failed}")
    rates = {key: statistics.median(r["windows"]["steady"] for r in repeats) for key, repeats in results.items()}
    rows = []
    for key in keys:
        each = [r["windows"]["steady"] for r in results[key]]
        name = key if key == "inline" else f"Ray, {key} workers"
        spread = f"{min(each):,.0f} - {max(each):,.0f}"
        rows.append([name, f"{given.proposals:,}", f"{rates[key]:,.0f}", spread, f"{rates[key] / rates['inline']:.2f}"])
    print(table(["executor", "candidates", "candidates/s", "range", "share of inline"], rows))
    shares = {key: rates[key] / rates["inline"] for key in keys}
    settings = {"proposals": given.proposals, "repeats": given.repeats, **loop}
    document = {
        **environment(("evo-search", "ray", "numpy")),
        "settings": settings,
        "shares": shares,
        "results": results,
    }
    print(f"written to {write(given.output, document)}")


if __name__ == "__main__":
    main()
