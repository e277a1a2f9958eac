"""How often rounding noise splits equal functions: one quantisation grid against two, measured beside the formula.

    python -m benchmarks.equivalence_grids [--pairs 20000] [--timings]

Each row compares pairs of vectors, one of them with relative noise uniform in [-eps, eps], by the keys of
`evo.equivalence.digest`. A split on both grids is a false miss: it costs one evaluation. See that module for the
derivation of the expected columns. `--timings` adds microseconds and bytes of digests, index and identifier.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from evo.equivalence.digest import digests
from evo.equivalence.identify import Identifier
from evo.equivalence.index import FunctionIndex
from evo.space import Fingerprints
from evo.testing.noop import NoOpSpace

ULP = 2.0**-53
KINDS = ("normal", "structured")
CASES = (
    (32, 8 * ULP, "+-8 ulp"),
    (36, 8 * ULP, "+-8 ulp"),
    (40, 8 * ULP, "+-8 ulp"),
    (44, 8 * ULP, "+-8 ulp"),
    (32, 1e-12, "1e-12"),
    (24, 1e-10, "1e-10"),
    (12, 1e-7, "1e-7 (float32)"),
    (16, 1e-7, "1e-7 (float32)"),
)


def vectors(kind: str, pairs: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """(pairs, columns) float64: normal values, or with the zeros, signs and powers of two that programs produce."""
    values = rng.standard_normal((pairs, columns))
    if kind == "structured":
        values[:, ::4] = 0.0
        values[:, 1::4] = np.sign(values[:, 1::4])
        values[:, 2::4] = np.exp2(np.round(values[:, 2::4] * 3))
    return values


def split_rates(kind: str, pairs: int, columns: int, bits: int, eps: float) -> tuple[float, float, float, float, float]:
    """Shares of pairs split on grid A, on grid B and on both; and what the formula expects on A and on both."""
    rng = np.random.default_rng(0)
    values = vectors(kind, pairs, columns, rng)
    magnitude = float(np.mean(np.abs(values).mean(axis=1) / np.abs(values).max(axis=1)))
    noisy = values * (1 + rng.uniform(-eps, eps, values.shape))
    keys, noisy_keys = digests(Fingerprints(values, bits)), digests(Fingerprints(noisy, bits))
    split_a, split_b = ((one != other).any(axis=1) for one, other in zip(keys, noisy_keys, strict=True))
    expected_a, expected_b = (
        -np.expm1(columns * np.log1p(-min(c * magnitude * eps * 2.0**bits, 0.99))) for c in (0.86, 0.61)
    )
    both = float((split_a & split_b).mean())
    return float(split_a.mean()), float(split_b.mean()), both, float(expected_a), float(expected_a * expected_b)


def seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """The best process time of some repeats."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def timings() -> None:
    rng = np.random.default_rng(0)
    print("\ndigests of both grids, us a candidate (batch of 256)")
    for columns in (20, 200, 1000):
        values = rng.standard_normal((256, columns))
        grouped = Fingerprints(values, 32, None, np.arange(columns) // 20)
        one, many = seconds(lambda v=values: digests(Fingerprints(v))), seconds(lambda g=grouped: digests(g))  # type: ignore[misc]
        print(f"  D={columns:5}   one scale {one / 256e-6:6.2f}   a scale every 20 columns {many / 256e-6:6.2f}")

    print("\nindex, us a key (process time)")
    keys = rng.integers(0, 2**64, (3_000_000, 2), dtype=np.uint64)
    for batch in (64, 256):
        index, missed, inserted = FunctionIndex(), 0.0, 0.0
        for start in range(0, len(keys) - batch + 1, batch):
            part = keys[start : start + batch]
            before = time.process_time()
            index.lookup(part)
            between = time.process_time()
            index.insert(part, np.arange(start, start + batch), distinct=True)
            missed, inserted = missed + between - before, inserted + time.process_time() - between
            if len(index) in (1_000_000 // batch * batch, len(keys) // batch * batch):
                n = len(index)
                print(
                    f"  batch {batch:4} {n:9,} aliases: look up a miss {missed / n * 1e6:.2f}, insert"
                    f" {inserted / n * 1e6:.2f}, {index.nbytes / n:.0f} bytes an alias, {index.nbytes / 1e6:.0f} MB"
                )
        asked = keys[rng.integers(0, len(index), 100_000)]
        hit = seconds(lambda a=asked, i=index, b=batch: [i.lookup(a[s : s + b]) for s in range(0, len(a), b)], 3)  # type: ignore[misc]
        print(f"  batch {batch:4} look up a hit {hit / len(asked) * 1e6:.2f}")

    print("\nidentifier, no-op space (structure alone), us a candidate in batches of 256")
    identifier = Identifier(NoOpSpace())
    genomes = rng.integers(0, 2**62, 256 * 400).tolist()
    start = time.process_time()
    for first in range(0, len(genomes), 256):
        identifier.identify(range(first, first + 256), genomes[first : first + 256])
    print(f"  {(time.process_time() - start) / len(genomes) * 1e6:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--timings", action="store_true")
    arguments = parser.parse_args()
    print(f"false splits, {arguments.pairs} pairs a row")
    print(f"{'':26}{'':15}{'measured':>10}{'':20}{'expected':>11}")
    print(f"{'values':11}{'columns':>8}{'bits':>5}  {'noise':15}{'A':>10}{'B':>10}{'both':>10}{'A':>11}{'both':>10}")
    for kind in KINDS:
        for columns in (20, 200):
            for bits, eps, name in CASES:
                a, b, both, expected, expected_both = split_rates(kind, arguments.pairs, columns, bits, eps)
                print(
                    f"{kind:11}{columns:8}{bits:5}  {name:15}{a:10.2%}{b:10.2%}{both:10.3%}"
                    f"{expected:11.2%}{expected_both:10.3%}"
                )
    if arguments.timings:
        timings()


if __name__ == "__main__":
    main()
