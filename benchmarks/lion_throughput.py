"""How many optimizer programs train at once, and how fast: batched kernels beside one network at a time.

    python -m benchmarks.lion_throughput

Every contender trains the same networks (digits MLP 64-32-10, batch 64) from the same weights on the same batches:

- batched: `search_spaces.lion.training.train`, all programs together (loss and gradient of all networks by
  `kernels.dense`, one step of all programs by `kernels.programs.optimizer_step`);
- torch loop: (a) a Python loop, one network at a time: torch autograd on two `addmm`, and the program run statement by
  statement with torch operations;
- torch.optim.AdamW: (b) with `foreach=True`, on an `nn.Sequential`, one network at a time.

Programs are AdamW's with as many different constants as there are candidates; "mutants" are a dozen mutations away from
it, as in a search. The unit is candidate training steps per second of process time, on one thread. Contenders alternate
within a repeat, and a ratio is the median of the repeats' ratios. The limits: arithmetic as multiply-adds of the
networks, against a large matrix product of the BLAS in the same process; memory as bytes that a step must touch.
"""

from __future__ import annotations

import argparse
import operator
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks import common
from evo.program import Mutator, Program, simplify
from search_spaces.lion import programs
from search_spaces.lion.evaluator import lowered, one_thread
from search_spaces.lion.language import LION
from search_spaces.lion.operators import DRAWN
from search_spaces.lion.tasks import digits
from search_spaces.lion.training import Course, Programs, train

BATCH = 64
COUNTS = (16, 64, 256, 1024, 4096)


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


def batched(population: list[Program], steps: int) -> Callable[[], None]:
    task = digits.DigitsMLP()
    optimizers = Programs([lowered(program) for program in population])
    course = Course(steps, BATCH, "cosine")

    def run() -> None:
        train(task, optimizers, 1, course)

    return run


TORCH = {
    "square": torch.square,
    "sqrt": lambda x: torch.sqrt(x.abs()),
    "sign": torch.sign,
    "mul": operator.mul,
    "add": operator.add,
    "sub": operator.sub,
    "div": lambda a, b: a / (b + 1e-8),
    "interp": torch.lerp,
}
"""What the programs of `adamw_population` need, each in the fewest torch operations: a guard of a divisor that is never
negative, a fused interpolation."""


def torch_loop(population: list[Program], steps: int) -> Callable[[], None]:
    """One network at a time: autograd, and the program's statements as torch operations on the flat weights."""
    task = digits.DigitsMLP()
    simplified = [simplify(LION, program).instructions for program in population]
    segments = task.segments
    train_set = digits.splits()["train"]

    def run() -> None:
        for statements in simplified:
            calls = [(target, TORCH[name], arguments) for target, name, arguments in statements]
            weights = torch.from_numpy(task.initial(1).copy()).requires_grad_(True)
            v1 = v2 = torch.zeros_like(weights)
            for step in range(steps):
                rows = task._shuffle(step, 1, BATCH)
                images, labels = torch.from_numpy(train_set.images[rows]), torch.from_numpy(train_set.labels[rows])
                first, bias, second, last = (weights[a:b] for a, b in pairwise(segments))
                hidden = torch.relu(torch.addmm(bias, images, first.view(64, 32)))
                logits = torch.addmm(last, hidden, second.view(32, 10))
                (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, labels), weights)
                with torch.no_grad():
                    values = {"w": weights, "g": gradient, "v1": v1, "v2": v2, "lr": 1.0}
                    for target, call, arguments in calls:
                        values[target] = call(*[values[a] if isinstance(a, str) else a for a in arguments])
                    weights.sub_(values["update"])
                    v1, v2 = values["v1"], values["v2"]

    return run


def adamw(count: int, steps: int) -> Callable[[], None]:
    task = digits.DigitsMLP()
    train_set = digits.splits()["train"]

    def run() -> None:
        for number in range(count):
            torch.manual_seed(number)
            network = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
            optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, foreach=True)
            for step in range(steps):
                rows = task._shuffle(step, 1, BATCH)
                images, labels = torch.from_numpy(train_set.images[rows]), torch.from_numpy(train_set.labels[rows])
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(images), labels).backward()
                optimizer.step()

    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def matrix_peak(repeats: int) -> float:
    """Multiply-adds per second of a 512 x 512 product in float32, the best of the repeats."""
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal((512, 512)).astype(np.float32) for _ in range(2))
    return max(8 * 512**3 / seconds(lambda: [a @ b for _ in range(8)]) for _ in range(4 * repeats))  # type: ignore[func-returns-value]


def measure(repeats: int, steps: int, counts: tuple[int, ...]) -> dict[str, Any]:
    loops = 2  # candidates that the slow contenders train in a repeat: their cost does not depend on how many
    slow_steps = 300
    rates: dict[str, list[float]] = {}
    runs: dict[str, tuple[Callable[[], None], int]] = {
        "torch loop": (torch_loop(adamw_population(loops), slow_steps), loops * slow_steps),
        "torch.optim.AdamW": (adamw(loops, slow_steps), loops * slow_steps),
    }
    for count in counts:
        length = max(10, min(steps, steps * 256 // count))
        runs[f"batched AdamW {count}"] = (batched(adamw_population(count), length), count * length)
    runs["batched mutants 256"] = (batched(mutant_population(256), steps), 256 * steps)
    for run, _ in runs.values():
        run()
    for _ in range(repeats):
        for name, (run, work) in runs.items():
            rates.setdefault(name, []).append(work / seconds(run))
    return {
        "rates": {
            name: {"median": median(r), "lowest": min(r), "highest": max(r), "all": r} for name, r in rates.items()
        },
        "matrix_multiply_adds_per_s": matrix_peak(repeats),
    }


def ratio(rates: dict[str, Any], fast: str, slow: str) -> float:
    """Median over the repeats of the ratio within one repeat."""
    return median(a / b for a, b in zip(rates[fast]["all"], rates[slow]["all"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100, help="training steps of 256 candidates in one repeat")
    parser.add_argument("--output", default="lion_throughput", help="name of the file in benchmarks/results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with one_thread():
        found = measure(given.repeats, given.steps, COUNTS)
    rates = found["rates"]
    main_row = "batched AdamW 256"
    # A step: forward and backward of both layers without the gradient by the input, and the update.
    multiply_adds = BATCH * (3 * (64 * 32 + 32 * 10) - 64 * 32)
    parameters = 64 * 32 + 32 + 32 * 10 + 10
    found |= {
        "ratios": {
            "batched 256 over torch loop (a)": ratio(rates, main_row, "torch loop"),
            "batched 256 over torch.optim.AdamW(foreach=True) (b)": ratio(rates, main_row, "torch.optim.AdamW"),
        },
        "limit": {
            "multiply_adds_per_step": multiply_adds,
            "share_of_matrix_peak": rates[main_row]["median"] * multiply_adds / found["matrix_multiply_adds_per_s"],
            "bytes_per_step": 4 * parameters * (1 + 1 + 7),
            "bytes_per_s_at_4096": rates["batched AdamW 4096"]["median"] * 4 * parameters * 9,
        },
    }
    rows = [(name, f"{r['median']:,.0f}", f"{r['lowest']:,.0f}", f"{r['highest']:,.0f}") for name, r in rates.items()]
    print(common.table(("candidate training steps/s", "median", "lowest", "highest"), rows), end="\n\n")
    for name, value in found["ratios"].items():
        print(f"{name}: {value:.1f}x")
    limit = found["limit"]
    print(
        f"limit at 256: arithmetic. A step needs {multiply_adds:,} multiply-adds in products; the rate is "
        f"{limit['share_of_matrix_peak']:.0%} of what products alone would allow at the speed of a 512 x 512 BLAS "
        f"product on this core ({found['matrix_multiply_adds_per_s'] / 1e9:.1f} G multiply-adds/s)"
    )
    print(
        f"memory: a step reads and writes {limit['bytes_per_step'] / 1024:.0f} KiB a candidate; at 4,096 candidates "
        f"({4096 * parameters * 16 / 2**20:.0f} MiB of state) that is {limit['bytes_per_s_at_4096'] / 1e9:.1f} GB/s"
    )
    common.write(given.output, {**common.environment(("torch", "numpy")), "settings": vars(given), **found})


if __name__ == "__main__":
    main()
