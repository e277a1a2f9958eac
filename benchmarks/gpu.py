"""Kernels on a GPU: `python -m benchmarks.gpu` runs their tests and times each one against the machine's own limits.

Needs only torch, triton, numpy and pytest. Two ceilings are measured first, in the same run: a large device-to-device
copy (bytes read plus written) and large matrix products. A kernel's floor is the larger of (fewest bytes it must move)
/ (copy rate) and (operations it must do) / (matrix rate); the table shows floor / time, so 100 % is the best there can
be. Times are medians over device events; inputs are random and larger than the cache where the shape allows.

Without a GPU it says so and leaves with code 2; with `--interpret` it runs the kernels' tests under Triton's
interpreter instead, and compiles the Triton kernels for an H100 without running them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import RESULTS, ROOT, environment

# Statements as (operator, operands...); a variable, or a number. The optimizer AdamW as a program of nine statements.
ADAMW = [
    ("g2", "square", "g"),
    ("m", "interp", "g", "v1", 0.9),
    ("v", "interp", "g2", "v2", 0.999),
    ("s", "sqrt", "v"),
    ("u", "div", "m", "s"),
    ("wd", "mul", "w", 0.01),
    ("u", "add", "u", "wd"),
    ("lr", "mul", "lr", 0.001),
    ("u", "mul", "u", "lr"),
]
# The same with its gradient clipped: one sum over all parameters before the rest, hence two passes.
CLIPPED = [("g", "clip_by_global_norm", "g", "lr"), *ADAMW]
# Elementary functions, which are computed in float64.
FUNCTIONS = [("u", "tanh", "g"), ("u", "arcsin", "u"), ("u", "sinh", "u"), ("m", "exp", "g"), ("v", "sin", "m")]

PROGRAMS = {"adamw": (ADAMW, 7), "adamw clipped": (CLIPPED, 8), "functions": (FUNCTIONS, 5)}
"""Program, and the arrays that a step must at least read or write: w, g, slots; in a second pass g again."""

SHAPES = {"digits MLP": [0, 2048, 2080, 2400, 2410], "large": [0, 500_000, 1_000_000]}


def lower(statements: list[tuple[Any, ...]]) -> Any:
    """A program in the form that `kernels.programs.pack` takes, of inputs w, g, v1, v2, lr and outputs u, m, v."""
    from types import SimpleNamespace

    from kernels.programs import OPCODES
    from kernels.programs.opcodes import result_kind

    constants = list(dict.fromkeys(x for _, _, *operands in statements for x in operands if not isinstance(x, str)))
    place: dict[Any, int] = {name: number for number, name in enumerate(["w", "g", "v1", "v2", "lr", *constants])}
    place |= {"m": place["v1"], "v": place["v2"]}
    kinds, code = [0, 0, 0, 0, 2] + [2] * len(constants), []
    for target, name, *operands in statements:
        registers = [place[operand] for operand in operands]
        kinds.append(result_kind(OPCODES[name], [kinds[register] for register in registers]))
        code.append((OPCODES[name], len(kinds) - 1, *[*registers, -1, -1, -1][:3]))
        place[target] = len(kinds) - 1
    outputs = (place["u"], place["m"], place["v"])
    return SimpleNamespace(
        code=tuple(code), kinds=tuple(kinds), constants=tuple(constants), n_inputs=5, outputs=outputs
    )


def median_seconds(work: Callable[[], Any], seconds: float = 0.5) -> float:
    """Median time of a call on the device, warm, over about `seconds`."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    times: list[float] = []
    deadline = time.perf_counter() + seconds
    while len(times) < 5 or (time.perf_counter() < deadline and len(times) < 200):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def ceilings() -> dict[str, float]:
    """Bytes/s of a copy, operations/s of matrix products in float32 (no tf32) and bfloat16."""
    source = torch.rand(1 << 28, device="cuda")
    target = torch.empty_like(source)
    found = {"copy_bytes_per_s": 2 * source.nbytes / median_seconds(lambda: target.copy_(source))}
    for name, dtype, size in (("float32", torch.float32, 4096), ("bfloat16", torch.bfloat16, 8192)):
        left, right = (torch.randn(size, size, device="cuda").to(dtype) for _ in range(2))
        found[f"matmul_{name}_flop_per_s"] = 2 * size**3 / median_seconds(lambda a=left, b=right: a @ b)
    return found


def row(kernel: str, seconds: float, floor: float, limit: str, **more: Any) -> dict[str, Any]:
    """One line of the result: a time and its floor, both in seconds a call."""
    return {"kernel": kernel, **more, "seconds": seconds, "floor": floor, "limit": limit, "share": floor / seconds}


def time_programs(limits: dict[str, float]) -> list[dict[str, Any]]:
    """kernels.programs.optimizer_step, every program and shape, float32."""
    from kernels.programs import optimizer_step, pack

    rows = []
    for shape, offsets in SHAPES.items():
        segments = np.array(offsets)
        candidates = max(1, (1 << 26) // offsets[-1])  # 256 MiB an array: well beyond the cache
        state = [0.01 * torch.randn(candidates, offsets[-1], device="cuda") for _ in range(4)]
        state[3] = state[3].abs() + 1e-3
        for name, (statements, arrays) in PROGRAMS.items():
            packed = pack([lower(statements)] * candidates)

            def step(packed: Any = packed, state: Any = state, segments: Any = segments) -> Any:
                return optimizer_step(packed, state[0], state[1], state[2:], 1.0, segments, backend="triton")

            seconds = median_seconds(step)
            floor = arrays * state[0].nbytes / limits["copy_bytes_per_s"]
            more = {"program": name, "shape": shape, "candidates": candidates, "parameters": offsets[-1]}
            rows.append(row("programs", seconds, floor, "memory", **more, steps_per_s=candidates / seconds))
    return rows


def time_dense(limits: dict[str, float]) -> list[dict[str, Any]]:
    """kernels.dense.mlp_loss_and_gradient, float32 without tf32."""
    from kernels import dense

    rows = []
    for sizes, candidates in (((64, 32, 10), 8192), ((784, 256, 10), 512)):
        batch = 64
        parameters = int(dense.mlp_segments(sizes)[-1])
        weights = 0.1 * torch.randn(candidates, parameters, device="cuda")
        gradient = torch.empty_like(weights)
        x = torch.randn(batch, sizes[0], device="cuda")
        y = torch.randint(0, sizes[-1], (batch,), device="cuda")
        work = lambda: dense.mlp_loss_and_gradient(weights, x, y, sizes, gradient)  # noqa: B023, E731
        seconds = median_seconds(work)
        products = [a * b for a, b in pairwise(sizes)]
        # Forward and weight gradients in every layer, what is handed down in all but the first.
        flop = 2 * batch * candidates * (3 * sum(products) - products[0])
        by_memory = 2 * weights.nbytes / limits["copy_bytes_per_s"]
        by_arithmetic = flop / limits["matmul_float32_flop_per_s"]
        floor, limit = max((by_memory, "memory"), (by_arithmetic, "arithmetic"))
        more = {"sizes": list(sizes), "candidates": candidates, "batch": batch}
        rows.append(row("dense", seconds, floor, limit, **more, steps_per_s=candidates / seconds))
    return rows


def time_ranks(limits: dict[str, float]) -> list[dict[str, Any]]:
    """kernels.ranks: rows with one target. Their floor reads each score once; pairs of columns stay in registers."""
    from kernels import ranks

    rows = []
    for candidates, columns, dtype in (
        (100_000, 400, torch.float64),
        (100_000, 400, torch.float32),
        (1000, 4000, torch.float64),
    ):
        scores = torch.randn(candidates, columns, device="cuda", dtype=dtype)
        target = torch.randn(columns, device="cuda", dtype=dtype)
        floor = scores.nbytes / limits["copy_bytes_per_s"]
        for name, function in (("spearman", ranks.spearman), ("kendall", ranks.kendall)):
            for backend in ("triton", "torch"):
                if backend == "torch" and name == "kendall":
                    continue  # the definition: all pairs, in memory
                seconds = median_seconds(lambda: function(scores, target, backend))  # noqa: B023
                more = {"program": f"{name} {backend}", "shape": f"{columns} {str(dtype)[6:]}"}
                more |= {"candidates": candidates, "columns": columns}
                rows.append(row("ranks", seconds, floor, "memory", **more, rows_per_s=candidates / seconds))
    return rows


def run_tests(interpret: bool) -> dict[str, Any]:
    """The kernels' tests, in a process of their own, with the interpreter on or off."""
    # Cut off from the conftest of all tests, which wants more than a GPU machine has.
    options = ["-q", "-p", "no:cacheprovider", "--confcutdir=tests/kernels"]
    command = [sys.executable, "-m", "pytest", *options, "tests/kernels"]
    environ = os.environ | {"TRITON_INTERPRET": "1" if interpret else "0", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    print("\n".join(lines[-40:] if done.returncode else lines[-3:]), done.stderr[-2000:], sep="\n")
    return {"passed": done.returncode == 0, "summary": lines[-1] if lines else done.stderr[-500:]}


def compile_for_h100() -> dict[str, Any]:
    """Compile the Triton kernels for compute capability 9.0 without a device; sizes in bytes."""
    code = (
        "import json, sys\n"
        "from kernels.programs import triton_path as programs\n"
        "from kernels.ranks import triton_path as ranks\n"
        "print(json.dumps(programs.compile_ahead(90) | ranks.compile_ahead(90)))\n"
    )
    environ = os.environ | {"TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr[-2000:]}


def main(arguments: list[str] | None = None) -> int:
    """Run it; the exit code is 0 if all tests pass, 1 if not, 2 without a GPU."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="default: benchmarks/results/gpu-<device>.json")
    parser.add_argument("--interpret", action="store_true", help="without a GPU: run the tests under the interpreter")
    parser.add_argument("--no-tests", action="store_true", help="timings alone")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() and not options.interpret:
        print("no GPU here: torch.cuda.is_available() is False. --interpret runs the kernels' tests on the CPU instead")
        return 2
    interpret = options.interpret
    import kernels

    device = "interpreter" if interpret else torch.cuda.get_device_name(0)
    result: dict[str, Any] = {"environment": environment(["torch", "triton", "numpy", "pytest"]), "gpu": device}
    result["backends"] = kernels.backends()
    result["tests"] = {"passed": True, "summary": "not run"} if options.no_tests else run_tests(interpret)
    if interpret:
        result["compiled"] = compile_for_h100()
        print(json.dumps(result["compiled"], indent=1))
    else:
        torch.backends.cuda.matmul.allow_tf32 = False
        result["ceilings"] = ceilings()
        result["timings"] = [
            line for measured in (time_programs, time_dense, time_ranks) for line in measured(result["ceilings"])
        ]
        print(json.dumps(result["ceilings"], indent=1))
        for line in result["timings"]:
            what = " ".join(str(line[key]) for key in ("program", "shape", "sizes") if key in line)
            rate = f"{line['steps_per_s']:.3g} steps/s" if "steps_per_s" in line else f"{line['rows_per_s']:.3g} rows/s"
            print(
                f"{line['kernel']:9} {what:28} {line['candidates']:6} candidates {line['seconds'] * 1e3:9.3f} ms"
                f"  {line['share']:6.1%} of the {line['limit']} limit  {rate}"
            )
    name = "".join(letter if letter.isalnum() else "-" for letter in device.lower())
    output = options.output or RESULTS / f"gpu-{name}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {output}")
    failed = not result["tests"]["passed"] or "error" in result.get("compiled", {})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
