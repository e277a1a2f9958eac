"""A judgement for the terminal: a table a task, the ratios to tuned AdamW, the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evo.cli.text import table
from search_spaces.lion.judge.results import COSTS, OFFICIAL

UNITS = {"steps": "", "seconds": " s"}


def text(data: Mapping[str, Any]) -> str:
    """Tables and a verdict, as lines."""
    protocol = data["protocol"]
    parts = [_task(task) for task in data["tasks"]]
    for target, meaning in protocol["targets"].items():
        head = f"cost to the {target} target over tuned {protocol['reference']}'s\n{target}: {meaning}"
        parts.append(f"{head}\n{_ratios(data, target)}")
    parts.append(f"performance profile to the {OFFICIAL} target, score in [0, 1]\n" + _scores(data))
    parts += [rules(data), verdict(data)]
    return "\n\n".join(parts)


def _task(task: Mapping[str, Any]) -> str:
    targets = ", ".join(f"{name} {at['loss']:.4g} ({at['of']})" for name, at in task["targets"].items())
    head = (
        f"{task['name']}: {task['title']}; {task['parameters']:,} parameters, {task['steps']} steps of "
        f"{task['batch']}; {task['metric']}\ntargets: {targets}"
    )
    rows = [
        [
            row["name"], f"{row['lr']:.2g}{'*' if row['at_edge'] else ''}",
            "-" if row["weight_decay"] is None else f"{row['weight_decay']:.2g}",
            row["diverged"], estimate(row["final"], "mean", 4),
            *(estimate(row["to"][OFFICIAL][cost], "value", 3) for cost in COSTS),
        ]
        for row in task["rows"]
    ]  # fmt: skip
    headers = ["", "lr", "decay", "diverged", "final loss", "steps to target", "CPU seconds to target"]
    note = "\n  * near the edge of its box" if any(row["at_edge"] for row in task["rows"]) else ""
    return f"{head}\n{table(headers, rows, right=(1, 2, 3))}{note}"


def estimate(found: Mapping[str, float], value: str, digits: int) -> str:
    """A value with its interval: 310 [290, 340]; infinity where a target was missed."""
    return f"{number(found[value], digits)} [{number(found['low'], digits)}, {number(found['high'], digits)}]"


def number(value: float, digits: int = 3) -> str:
    """So many significant digits, no exponent for what a person counts; infinity as "inf"."""
    if math.isinf(value):
        return "inf"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _ratios(data: Mapping[str, Any], target: str) -> str:
    names = [task["name"] for task in data["tasks"]]
    rows = [
        [
            row["name"], *(number(value) for value in row["steps"]["tasks"]), estimate(row["steps"], "value", 3),
            estimate(row["seconds"], "value", 3), row["missed"],
        ]
        for row in data["summary"][target]
    ]  # fmt: skip
    return table(
        ["steps", *names, "geometric mean", "in CPU time", "missed"], rows, right=tuple(range(1, len(names) + 1))
    )


def _scores(data: Mapping[str, Any]) -> str:
    rows = [
        [steps["name"], number(steps["score"]), number(seconds["score"])]
        for steps, seconds in zip(*(data["profile"][cost] for cost in COSTS), strict=True)
    ]
    return table(["", "steps", "CPU time"], rows, right=(1, 2))


def verdict(data: Mapping[str, Any]) -> str:
    """A line for each module (each baseline where there is none) and target, and what misses mean."""
    protocol = data["protocol"]
    reference, official = protocol["reference"], protocol["official"]
    modules = {subject["name"] for subject in data["subjects"] if subject["module"]}
    lines = [f"steps to target over tuned {reference}'s, geometric mean over the tasks"]
    for place, row in enumerate(data["summary"][official]):
        if modules and row["name"] not in modules:
            continue
        found = {target: data["summary"][target][place] for target in protocol["targets"]}
        parts = [f"{estimate(at['steps'], 'value', 3)} to the {target} target" for target, at in found.items()]
        lines.append(f"  {row['name']}: {', '.join(parts)}")
        if row["name"] in modules:
            reached = "reached" if row["steps"]["value"] <= protocol["goal"] else "missed"
            lines.append(f"  the goal, at most {protocol['goal']} to the {official} target, is {reached}")
    misses = next(row["missed"] for row in data["summary"][official] if row["name"] == reference)
    if misses:
        lines.append(
            f"  tuned {reference} itself misses the {official} target on {misses} of {len(data['tasks'])} tasks; "
            "its cost there counts as its whole run"
        )
    if protocol["steps"] is not None:
        lines.append(f"  a quick look at {protocol['steps']} steps a run: no judgement")
    return "\n".join(lines)


def rules(data: Mapping[str, Any]) -> str:
    """How it was judged, in a few lines."""
    protocol = data["protocol"]
    return f"""\
rules: every optimizer has {protocol["trials"]} quasi-random trials a task over learning rate and weight decay, the best
  three again under a second seed; one box an optimizer, as wide for all; the same schedule, initial weights and data.
  Then {protocol["seeds"]} fresh seeds. Cost: the first validation (every 2 % of the run) at or below the target, not
  interpolated; the median over seeds, infinite where most miss. Brackets: 95 % bootstrap intervals over seeds. One
  task missed makes a geometric mean infinite. CPU time is of training alone."""
