"""How many optimizer programs train at once, and how fast: batched kernels beside the best plain loops.

    python -m benchmarks.lion_throughput

Every contender trains the same networks (digits MLP 64-32-10, batch 64) on the same batches, for the same number of
steps, on one thread of one core (the process pins itself, `--core`):

- batched: `search_spaces.lion.training.train`, all programs together; its time holds the gathering of the batches, the
  checks for divergence and the judgement on the validation split at the end, which the loops are spared;
- (a) torch loop: one network at a time, the program run statement by statement with torch operations on all weights at
  once; the four tensors are leaves that share one memory, and the batches are gathered once, before the clock starts.
  With torch autograd (`autograd.grad`, and `backward` into one flat gradient), and beside it with a backward pass
  written by hand;
- (b) `torch.optim.AdamW(foreach=True)`, one network at a time, batches gathered once; `fused=True` beside it.

Programs are AdamW's with as many different constants as there are candidates; "mutants" are a dozen mutations away from
it, as in a search, and only the steps up to a program's divergence count. The unit is candidate training steps per
second of process time. Contenders alternate within a repeat, and a ratio is the median of the repeats' ratios: what
else runs on the machine then weighs on both sides. It weighs more on torch, whose step runs through more code than the
caches keep when others share them: so the ratio of the best rates, of the quietest moments, is given as well. A loop's
final weights are judged beside the batched ones: the largest relative difference of a loss is written down.

The limits are measured in the same run: multiply-adds a second of the best large matrix product and of BLAS products of
the very sizes of a step; memory bandwidth by a STREAM-like triad on one and on two threads (2^26 floats an array, 12
bytes an element, by the wall clock, the best of the repeats).
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import common
from benchmarks.lion_loops import BATCH, CLASSES, HIDDEN, INPUTS, adamw, autograd_loop, handwritten_loop
from evo.program import Mutator, Program
from search_spaces.lion import programs
from search_spaces.lion.evaluator import lowered, one_thread
from search_spaces.lion.language import LION
from search_spaces.lion.operators import DRAWN
from search_spaces.lion.tasks import digits
from search_spaces.lion.training import CHECK_EVERY, Course, Programs, train

COUNTS = (16, 64, 256, 1024, 4096)
ALONE = 6
"""Networks that a loop trains in a repeat: its cost a step does not depend on how many."""
PARAMETERS = digits.DigitsMLP.segments[-1]
MULTIPLY_ADDS = BATCH * (2 * INPUTS * HIDDEN + 3 * HIDDEN * CLASSES)
"""A step: forward and backward through both layers, without the gradient by the input."""


def adamw_population(count: int) -> list[Program]:
    """AdamW's programs with learning rates and decays that all differ."""
    rng = np.random.default_rng(0)
    rates, decays = 10.0 ** rng.uniform(-4, -2, count), 10.0 ** rng.uniform(-4, -1, count)
    return [programs.adamw(float(rate), float(decay)) for rate, decay in zip(rates, decays, strict=True)]


def mutant_population(count: int, mutations: int = 12) -> list[Program]:
    """Programs a dozen mutations away from AdamW, as a search trains them: each valid, many of them poor."""
    mutator, rng = Mutator(LION, operators=DRAWN["paper"]), np.random.default_rng(1)
    found = []
    for _ in range(count):
        program = programs.adamw()
        for _ in range(mutations):
            program = mutator.mutate(program, rng).genome
        found.append(program)
    return found


def batched(population: list[Program], steps: int) -> Callable[[], int]:
    """All together; counts the steps of a program up to its divergence."""
    task = digits.DigitsMLP()
    optimizers = Programs([lowered(program) for program in population])
    course = Course(steps, BATCH, "constant")

    def run() -> int:
        gone = train(task, optimizers, 1, course).diverged_at
        return int(np.where(gone < 0, steps, np.minimum(gone + 1, steps)).sum())

    return run


def seconds(run: Callable[[], Any], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    run()
    return clock() - start


def products(repeats: int) -> dict[str, float]:
    """Multiply-adds a second: of the best large product of numpy's and torch's BLAS, and of the five products of a step
    by numpy, for as many networks as stay in the cache."""
    rng = np.random.default_rng(2)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def rate(work: int, run: Callable[[], Any]) -> float:
        return max(work / seconds(run) for _ in range(4 * repeats))

    large = []
    for size in (256, 512, 1024):
        times = max(1, (1 << 29) // size**3)
        a, b = normal(size, size), normal(size, size)
        one, other = torch.from_numpy(a), torch.from_numpy(b)
        large.append(rate(times * size**3, lambda a=a, b=b, times=times: [a @ b for _ in range(times)]))
        large.append(rate(times * size**3, lambda a=one, b=other, times=times: [a @ b for _ in range(times)]))
    n, times = 32, 20
    x, hidden, delta, inner = (
        normal(BATCH, INPUTS),
        normal(n, BATCH, HIDDEN),
        normal(n, BATCH, CLASSES),
        normal(n, BATCH, HIDDEN),
    )
    first, second = normal(n, INPUTS, HIDDEN), normal(n, HIDDEN, CLASSES)
    outs = [np.empty_like(each) for each in (hidden, delta, second, hidden, first)]

    def step() -> None:
        for _ in range(times):
            np.matmul(x, first, out=outs[0])
            np.matmul(hidden, second, out=outs[1])
            np.matmul(hidden.swapaxes(1, 2), delta, out=outs[2])
            np.matmul(delta, second.swapaxes(1, 2), out=outs[3])
            np.matmul(x.T, inner, out=outs[4])

    return {"large": max(large), "of a step, by BLAS": rate(times * n * MULTIPLY_ADDS, step)}


def triad(threads: int, repeats: int) -> float:
    """Bytes a second of a = b + s c, counting 12 bytes an element as STREAM does."""
    torch.set_num_threads(threads)
    a, b, c = (torch.ones(1 << 26) for _ in range(3))
    best = min(seconds(lambda: torch.add(b, c, alpha=3.0, out=a), time.perf_counter) for _ in range(3 * repeats))
    torch.set_num_threads(1)
    return 12 * a.numel() / best


def measure(repeats: int, steps: int, counts: tuple[int, ...]) -> dict[str, Any]:
    alone, ends = adamw_population(ALONE), {"grad": [], "backward": [], "by hand": []}
    runs: dict[str, Callable[[], int]] = {
        "(a) torch loop, autograd.grad": autograd_loop(alone, steps, ends["grad"], False),
        "(a) torch loop, backward()": autograd_loop(alone, steps, ends["backward"], True),
        "(a) torch loop, backward by hand": handwritten_loop(alone, steps, ends["by hand"]),
        "(b) torch.optim.AdamW(foreach=True)": adamw(ALONE, steps, foreach=True),
        "(b) torch.optim.AdamW(fused=True)": adamw(ALONE, steps, fused=True),
        **{f"batched AdamW {count}": batched(adamw_population(count), steps) for count in counts},
        "batched mutants 256": batched(mutant_population(256), steps),
    }
    for run in runs.values():
        run()
    rates: dict[str, list[float]] = {}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.process_time()
            work = run()
            rates.setdefault(name, []).append(work / (time.process_time() - start))
    task = digits.DigitsMLP()
    ours = train(task, Programs([lowered(program) for program in alone]), 1, Course(steps, BATCH, "constant")).loss
    apart = {
        name: float(np.abs(task.evaluate(np.stack(flat), "validation")["loss"] / ours - 1).max())
        for name, flat in ends.items()
    }
    return {
        "rates": {
            name: {"median": median(r), "lowest": min(r), "highest": max(r), "all": r} for name, r in rates.items()
        },
        "losses_apart": apart,
        "multiply_adds_per_s": products(repeats),
    }


def ratios(rates: dict[str, Any], fast: str) -> dict[str, dict[str, float]]:
    """For each loop, the median over the repeats of the ratio within one repeat, and the ratio of the best rates."""
    return {
        name: {
            "median": median(a / b for a, b in zip(rates[fast]["all"], rates[name]["all"], strict=True)),
            "of the best": rates[fast]["highest"] / rates[name]["highest"],
        }
        for name in rates
        if name.startswith("(")
    }


def limits(rates: dict[str, Any], peaks: dict[str, float], bandwidth: dict[str, float]) -> dict[str, Any]:
    """How far the batched rows are from what the machine can do."""
    traffic = 2 * 3 * 4 * PARAMETERS / CHECK_EVERY  # weights and two slots, read and written once between checks
    rows = {name: rate["median"] for name, rate in rates.items() if name.startswith("batched AdamW")}
    return {
        "multiply_adds_per_step": MULTIPLY_ADDS,
        "share_of_large_products": {name: rate * MULTIPLY_ADDS / peaks["large"] for name, rate in rows.items()},
        "share_of_step_products": {
            name: rate * MULTIPLY_ADDS / peaks["of a step, by BLAS"] for name, rate in rows.items()
        },
        "bytes_per_step": traffic,
        "share_of_bandwidth": {name: rate * traffic / bandwidth["1 thread"] for name, rate in rows.items()},
    }


def report(found: dict[str, Any]) -> None:
    rates, limit, peaks = found["rates"], found["limit"], found["multiply_adds_per_s"]
    rows = [(name, f"{r['median']:,.0f}", f"{r['lowest']:,.0f}", f"{r['highest']:,.0f}") for name, r in rates.items()]
    print(common.table(("candidate training steps/s", "median", "lowest", "highest"), rows), end="\n\n")
    for name, value in found["ratios"].items():
        print(f"batched 256 over {name}: {value['median']:.1f}x, of the best rates {value['of the best']:.1f}x")
    print(f"losses after the course differ from the loops' by {max(found['losses_apart'].values()):.1e} at most")
    print(f"\na step is {MULTIPLY_ADDS:,} multiply-adds; products alone run at, in G/s:")
    print(", ".join(f"{name} {value / 1e9:.1f}" for name, value in peaks.items()))
    print("triad, GB/s: " + ", ".join(f"{name} {value / 1e9:.1f}" for name, value in found["bytes_per_s"].items()))
    print(
        common.table(
            ("row", "of large products' speed", "of a step's products' by BLAS", "of the triad on 1 thread"),
            [
                (name, *(f"{limit[key][name]:.0%}" for key in ("share_of_large_products", "share_of_step_products")),
                 f"{limit['share_of_bandwidth'][name]:.1%}")
                for name in limit["share_of_large_products"]
            ],
        )
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="training steps of every contender")
    parser.add_argument("--core", type=int, default=None, help="the core to run on; default: the last one there is")
    parser.add_argument("--output", default="lion_throughput", help="name of the file in benchmarks/results")
    given = parser.parse_args()
    bandwidth = {f"{n} thread{'s' * (n > 1)}": triad(n, given.repeats) for n in (1, 2)}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0)) if given.core is None else given.core})
    with one_thread():
        found = measure(given.repeats, given.steps, COUNTS)
    found["bytes_per_s"] = bandwidth
    found["ratios"] = ratios(found["rates"], "batched AdamW 256")
    found["limit"] = limits(found["rates"], found["multiply_adds_per_s"], bandwidth)
    report(found)
    common.write(given.output, {**common.environment(("torch", "numpy")), "settings": vars(given), **found})


if __name__ == "__main__":
    main()
