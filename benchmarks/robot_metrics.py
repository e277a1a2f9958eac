"""All network metrics of live reduced cells: ours, which shares passes, beside one metric at a time, in one run.

    python -m benchmarks.robot_metrics                 # 100 cells of nb201-small: about 4 minutes on a quiet core
    python -m benchmarks.robot_metrics --cells 10      # quick

Cells are random and functionally distinct; batches are 64 images of Fashion-MNIST, 14 x 14, as in the shipped table.
For each cell the two sides take turns; times are those of the processor, one thread. one_metric.py says what the other
side does. Both must agree on every value. The ratio is given in three ways: with everything; without the loop over
samples, where the kernel's gradients are contracted from hooks for both of its metrics; and without those two.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np
import torch

from benchmarks.common import environment, table, write
from benchmarks.one_metric import SINGLE, az_three
from proxies.network import METRICS, score
from search_spaces.robot.architectures import architecture_space
from search_spaces.robot.benchmark.images import images

BATCH = 64
TOLERANCE = {
    # relative; these invert small eigenvalues of float32 gradients or take differences
    "ntk_cond": 0.05, "jacov": 0.02, "epe_nas": 1e-3, "grasp": 5e-3, "plain": 5e-3, "az_progressivity": 1e-2,
    "az_trainability": 1e-2, "zico": 1e-2,
}  # fmt: skip


def cells(count: int, seed: int) -> list[Any]:
    """Random cells, no two of the same function."""
    space, rng = architecture_space("nb201-small"), np.random.default_rng(seed)
    found: dict[bytes, Any] = {}
    while len(found) < count:
        cell = space.sample(rng)
        found.setdefault(space.canonical(cell), cell)
    return [(space.encode(cell), space.build(cell, seed=place)) for place, cell in enumerate(found.values())]


def excused(name: str, ours: float, theirs: float) -> bool:
    """Where one at a time gives rounding or nothing: ours has NaN or the documented bound."""
    if name == "ntk_cond" and not -1e5 <= theirs < 0:
        return math.isnan(ours) or ours < -1e4  # the smallest eigenvalue is rounding
    if name == "naswot" and math.isnan(ours):
        return True  # a singular matrix whose determinant rounding made positive
    return not math.isfinite(theirs) and math.isnan(ours)


def agrees(name: str, ours: float, theirs: float) -> bool:
    """Equal up to rounding."""
    return math.isclose(ours, theirs, rel_tol=TOLERANCE.get(name, 2e-3), abs_tol=2e-3 if name != "fisher" else 1e-7)


def one_at_a_time(model: torch.nn.Module, batch: Any, seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """Values and processor seconds by metric; AZ-NAS's three under "az_three"."""
    values, seconds = {}, {}
    for name, function in SINGLE.items():
        began = time.process_time()
        values[name] = function(model, *batch, seed)
        seconds[name] = time.process_time() - began
    began = time.process_time()
    values |= az_three(model, *batch, seed)
    seconds["az_three"] = time.process_time() - began
    began = time.process_time()
    values["az_complexity"] = SINGLE["flops"](model, *batch, seed)
    seconds["az_complexity"] = time.process_time() - began
    return values, seconds


def measure(count: int, seed: int) -> dict[str, Any]:
    """Times of every cell, and a check of every value."""
    pictures = images(train=BATCH)
    batch = (pictures.train, pictures.train_labels)
    nets = cells(count, seed)
    score(nets[0][1], batch)
    one_at_a_time(nets[0][1], batch, 0)
    ours, singles, theirs, wrong, undefined = [], [], [], [], 0
    without = [name for name in METRICS if not name.startswith("ntk")]
    rest = []
    for place, (text, model) in enumerate(nets):
        began = time.process_time()
        found = score(model, batch, seed=place)
        ours.append(time.process_time() - began)
        began = time.process_time()
        score(model, batch, without, seed=place)
        rest.append(time.process_time() - began)
        values, seconds = one_at_a_time(model, batch, place)
        theirs.append(seconds)
        singles.append({})
        for name in METRICS:
            began = time.process_time()
            score(model, batch, [name], seed=place)
            singles[-1][name] = time.process_time() - began
            if excused(name, found[name], values[name]):
                undefined += 1
            elif not agrees(name, found[name], values[name]):
                wrong.append((text, name, found[name], values[name]))
        print(f"\r{place + 1} of {len(nets)} cells", end="", flush=True)
    print()
    return {"ours": ours, "rest": rest, "singles": singles, "theirs": theirs, "wrong": wrong, "undefined": undefined,
            "source": pictures.source}  # fmt: skip


def interval(numerators: np.ndarray, denominators: np.ndarray) -> list[float]:
    """95 % bootstrap interval of the ratio of sums, over cells."""
    rng = np.random.default_rng(0)
    rows = rng.integers(len(numerators), size=(2000, len(numerators)))
    ratios = numerators[rows].sum(1) / denominators[rows].sum(1)
    return [round(float(value), 2) for value in np.quantile(ratios, (0.025, 0.975))]


def main() -> None:
    """Measure, check, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="robot_metrics")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = environment(["torch", "numpy"])
    found = measure(arguments.cells, arguments.seed)
    for text, name, mine, other in found["wrong"]:
        print(f"disagree: {text} {name}: {mine} here, {other} one at a time")
    assert not found["wrong"], f"{len(found['wrong'])} values disagree"
    print(f"{found['undefined']} of {len(METRICS) * arguments.cells} values are undefined, the others agree")

    names = list(found["theirs"][0])
    each = {name: np.array([row[name] for row in found["theirs"]]) for name in names}
    alone = {name: np.array([row[name] for row in found["singles"]]) for name in METRICS}
    ours, rest = np.array(found["ours"]), np.array(found["rest"])
    everything = sum(each.values())
    contracted = everything - each["ntk_cond"] + each["ntk_trace"]
    kernelless = everything - each["ntk_cond"] - each["ntk_trace"]
    ratios = {
        "everything": (everything, ours),
        "no loop over samples": (contracted, ours),
        "without the two kernel metrics": (kernelless, rest),
    }

    def milliseconds(values: np.ndarray) -> float:
        return round(1e3 * float(values.mean()), 2)

    print(table(("metric", "one at a time, ms", "ours asked alone, ms"), [
        (name, milliseconds(each[name]), milliseconds(alone[name]) if name in alone else
         milliseconds(alone["az_trainability"])) for name in names]))  # fmt: skip
    rows = [
        (title, milliseconds(a), milliseconds(b), f"{a.sum() / b.sum():.2f}", interval(a, b))
        for title, (a, b) in ratios.items()
    ]
    print(table(("all metrics of a cell", "one at a time, ms", "ours, ms", "ratio", "95 %"), rows))
    write(arguments.output, {
        "what": "processor milliseconds an architecture, all metrics; one thread",
        "cells": arguments.cells, "batch": BATCH, "images": found["source"],
        "values_that_agree": len(METRICS) * arguments.cells - found["undefined"],
        "values_undefined_on_both_sides": found["undefined"],
        "ratios": {title: {"one_at_a_time_ms": milliseconds(a), "ours_ms": milliseconds(b),
                           "ratio": round(float(a.sum() / b.sum()), 2), "interval": interval(a, b)}
                   for title, (a, b) in ratios.items()},
        "one_at_a_time_ms": {name: milliseconds(values) for name, values in each.items()},
        "ours_alone_ms": {name: milliseconds(values) for name, values in alone.items()},
        "environment": began,
    })  # fmt: skip


if __name__ == "__main__":
    main()
