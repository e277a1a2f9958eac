"""What the engine itself costs: candidates a second where evaluating costs nothing, ours beside the peers.

    python -m benchmarks.overhead                       # a million candidates, and every peer: about five minutes
    python -m benchmarks.overhead --proposals 50000     # quick

Every contender searches the same no-op objective (a hash of one integer) in a process of its own, for the stated
number of candidates. Ours is journaled to disk with identity on. Prints one table and writes
benchmarks/results/overhead.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks.common import environment, own_process, table, write
from benchmarks.engine_runs import no_op_search
from benchmarks.peers import PEERS

PACKAGES = ("evo-search", "optuna", "deap", "ray", "pyglove", "numpy", "sqlalchemy")

OURS: dict[str, tuple[str, dict[str, Any], dict[str, Any], float]] = {
    "ours": ("evo, canonical keys", {}, {}, 1.0),
    "ours-fingerprints": ("evo, keys and fingerprints", {"functions": 2**53}, {}, 0.2),
    "ours-hits": ("evo, nine of ten are hits", {"functions": 10_000}, {}, 0.1),
    "ours-identity-off": ("evo, identity off", {}, {"identity": {"structural": False, "functional": False}}, 0.2),
}
"""Key: what it is, options of the no-op space, sections of the configuration, its share of --proposals."""


def ours(key: str, proposals: int, window: int) -> dict[str, Any]:
    _, options, sections, _ = OURS[key]
    return no_op_search(proposals, window, options, **sections)


def contender(key: str, count: int, window: int) -> dict[str, Any]:
    """Run one contender in this process."""
    if key in OURS:
        return ours(key, count, window)
    measured = PEERS[key][3](count)
    return {"candidates": count, **measured, "rate": count / measured["wall_s"]}


def line(key: str, result: dict[str, Any], base: float) -> list[str]:
    """One line of the table; `base` is our rate."""
    title, stored = (OURS[key][0], "every candidate") if key in OURS else PEERS[key][:2]
    if "error" in result:
        return [title, stored, "-", "-", "-", "-", result["error"][:60]]
    rate = result["rate"]
    cpu = 1e6 * result["cpu_s"] / result["candidates"]
    return [
        title, stored, f"{result['candidates']:,}", f"{result['wall_s']:.1f}", f"{rate:,.0f}", f"{cpu:,.1f}",
        f"{base / rate:,.2f}",
    ]  # fmt: skip


def report(results: dict[str, dict[str, Any]]) -> str:
    """The table, then what is asked of our own run."""
    base = results.get("ours", {}).get("rate", float("nan"))
    header = ["contender", "survives a crash", "candidates", "wall s", "candidates/s", "cpu us each", "ours is x times"]
    text = table(header, [line(key, result, base) for key, result in results.items()])
    own = results.get("ours", {})
    if "windows" not in own:
        return text
    w, c, m = own["windows"], own["windows_per_cpu_s"], own["memory_mb"]
    return (
        f"{text}\n\nOurs: {own['rate']:,.0f} candidates/s, {own['candidates'] / own['cpu_s']:,.0f} a processor second; "
        f"resident memory grew by {m['growth']:.0f} MiB from {m['settled']:.0f}; {own['disk_mb']:.0f} MiB on disk.\n"
        f"A second: window 2 {w['second']:,.0f}, last {w['last']:,.0f} (ratio {w['last'] / w['second']:.2f}). "
        f"A processor second: {c['second']:,.0f}, {c['last']:,.0f} (ratio {c['last'] / c['second']:.2f}).\n"
        "cpu: of the search's own process. Peers that are slow get fewer candidates; rates are over the whole run."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proposals", type=int, default=1_000_000, help="candidates of our run (default: a million)")
    parser.add_argument("--window", type=int, default=10_000, help="candidates a window of which rates are given")
    parser.add_argument("--peer-share", type=float, default=1.0, help="scales the peers' numbers of candidates")
    parser.add_argument("--contenders", nargs="*", default=[*OURS, *PEERS], choices=[*OURS, *PEERS], metavar="KEY")
    parser.add_argument("--output", default="overhead", help="name of the file under benchmarks/results")
    parser.add_argument("--only", choices=[*OURS, *PEERS], help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(json.dumps(contender(given.only, given.count, given.window)))
        return
    results: dict[str, dict[str, Any]] = {}
    for key in given.contenders:
        count = int(given.proposals * OURS[key][3]) if key in OURS else int(PEERS[key][2] * given.peer_share)
        print(f"{key}: {count:,} candidates ...", file=sys.stderr, flush=True)
        results[key] = own_process(
            "benchmarks.overhead", "--only", key, "--count", str(count), "--window", str(given.window)
        )
    print(report(results))
    settings = {"proposals": given.proposals, "window": given.window}
    print(f"written to {write(given.output, {**environment(PACKAGES), 'settings': settings, 'results': results})}")


if __name__ == "__main__":
    main()
