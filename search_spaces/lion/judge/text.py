"""A judgement for the terminal: a table a task, the ratios to tuned AdamW, the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from evo.cli.text import table
from search_spaces.lion.judge.boxes import EDGE
from search_spaces.lion.judge.results import COSTS, OFFICIAL
from search_spaces.lion.judge.statistics import STANDINGS


def text(data: Mapping[str, Any]) -> str:
    """Tables and a verdict, as lines."""
    protocol = data["protocol"]
    parts = [_task(task) for task in data["tasks"]]
    for target, meaning in protocol["targets"].items():
        head = f"cost to the {target} target over tuned {protocol['reference']}'s\n{target}: {meaning}"
        parts.append(f"{head}\n{_ratios(data, target)}")
    parts.append(f"performance profile to the {OFFICIAL} target, score in [0, 1]\n" + _scores(data))
    parts += [f"search boxes\n{_boxes(data)}", rules(data), verdict(data)]
    return "\n\n".join(parts)


def _task(task: Mapping[str, Any]) -> str:
    targets = ", ".join(f"{name} {number(at['loss'], 4)} ({at['of']})" for name, at in task["targets"].items())
    folds = f" in {task['folds']} folds" if task["folds"] > 1 else ""
    head = (
        f"{task['name']}: {task['title']}; {task['parameters']:,} parameters, {task['steps']} steps of "
        f"{task['batch']}; {task['training_examples']:,} examples train, {task['validation_examples']:,} validate"
        f"{folds}; {task['metric']}\ntargets: {targets}"
    )
    rows = [
        [
            row["name"], f"{row['lr']:.2g}{'*' if 'lr' in row['at_edge'] else ''}",
            "-" if row["weight_decay"] is None
            else f"{row['weight_decay']:.2g}{'*' if 'decay' in row['at_edge'] else ''}",
            row["diverged"], estimate(row["final"], 4),
            *(estimate((row["to"][OFFICIAL] or {}).get(cost), 3) for cost in COSTS),
        ]
        for row in task["rows"]
    ]  # fmt: skip
    headers = ["", "lr", "decay", "diverged", "final loss", "steps to target", "CPU seconds to target"]
    edges = any(row["at_edge"] for row in task["rows"])
    notes = f"\n  * within a factor {EDGE} of the edge of its box" if edges else ""
    for name, at in task["targets"].items():
        if not at["decided"]:
            notes += (
                f"\n  the {name} target is undecided here and left out of the means: {at['of']} diverged under a fresh "
                "seed"
            )
    return f"{head}\n{table(headers, rows, right=(1, 2, 3))}{notes}"


def estimate(found: Mapping[str, Any] | None, digits: int) -> str:
    """A value with its interval: 310 [290, 340]; infinity where a target was missed, a dash where there is none."""
    if found is None or found["value"] is None:
        return "-"
    value, low, high = (number(found[key], digits) for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def number(value: float | None, digits: int = 3) -> str:
    """So many significant digits, no exponent for what a person counts; infinity as "inf", nothing as a dash."""
    if value is None:
        return "-"
    if math.isinf(value):
        return "inf"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


def _ratios(data: Mapping[str, Any], target: str) -> str:
    names = [task["name"] for task in data["tasks"]]
    rows = [
        [
            row["name"], *(number(value) for value in row["steps"]["tasks"]), estimate(row["steps"], 3),
            estimate(row["seconds"], 3), row["missed"],
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
    return table(["", "steps", "CPU time"], rows, right=(1, 2)) if rows else "  undecided on all tasks"


def _boxes(data: Mapping[str, Any]) -> str:
    def box(bounds: Any) -> str:
        return "-" if bounds is None else f"{bounds[0]:.2g} to {bounds[1]:.2g}"

    rows = [[s["name"], box(s["lr_box"]), box(s["decay_box"])] for s in data["subjects"]]
    return table(["", "learning rate", "weight decay (a quarter of the trials has none)"], rows)


def verdict(data: Mapping[str, Any]) -> str:
    """A line for each module (each baseline where there is none) and target, what stands shown, and warnings."""
    protocol = data["protocol"]
    reference, official, goal = protocol["reference"], protocol["official"], protocol["goal"]
    modules = {subject["name"] for subject in data["subjects"] if subject["module"]}
    lines = [f"verdict: steps to target over tuned {reference}'s, geometric mean over the tasks"]
    for place, row in enumerate(data["summary"][official]):
        if modules and row["name"] not in modules:
            continue
        found = {target: data["summary"][target][place]["steps"] for target in protocol["targets"]}
        lines.append(f"  {row['name']}")
        for target, at in found.items():
            lines.append(f"    to the {target} target {estimate(at, 3)}; {STANDINGS[at['standing']]}")
    lines.append(
        f"  the goal is {goal}: a geometric mean of steps to the {official} target of at most {goal} times tuned "
        f"{reference}'s, which the\n  project set itself. What counts is the interval's upper bound, not the estimate"
    )
    misses = next(row["missed"] for row in data["summary"][official] if row["name"] == reference)
    if misses:
        lines.append(
            f"  tuned {reference} itself misses the {official} target on {misses} of {len(data['tasks'])} tasks; "
            "its cost there counts as its whole run"
        )
    return "\n".join([*lines, *(f"  warning: {warning}" for warning in warnings(data))])


def warnings(data: Mapping[str, Any]) -> list[str]:
    """What keeps this judgement from being one."""
    protocol = data["protocol"]
    found = []
    if protocol["steps"] is not None:
        found.append(f"a quick look at {protocol['steps']} steps a run: no judgement")
    if protocol["seeds"] < protocol["least_seeds"]:
        found.append(
            f"{protocol['seeds']} fresh seeds are too few for an interval, which needs at least "
            f"{protocol['least_seeds']}: the brackets are too narrow, and nothing is shown"
        )
    if len(protocol["machines"]) > 1:
        found.append(f"CPU times of several processors do not compare: {'; '.join(protocol['machines'])}")
    modules = {subject["name"] for subject in data["subjects"] if subject["module"]}
    edges = [
        f"{row['name']} on {task['name']} ({', '.join(row['at_edge'])})"
        for task in data["tasks"]
        for row in task["rows"]
        if row["at_edge"] and row["name"] not in modules
    ]
    if edges:
        found.append(f"baselines tuned to an edge of their box may do better beyond it: {'; '.join(edges)}")
    return found


def rules(data: Mapping[str, Any]) -> str:
    """How it was judged, in a few lines."""
    protocol = data["protocol"]
    return f"""\
rules: every optimizer has {protocol["trials"]} quasi-random trials a task over learning rate and weight decay, the best
  three again under a second seed; one box an optimizer, as wide for all; the same schedule, initial weights and data.
  Then {protocol["seeds"]} fresh seeds. Cost: the first validation (every 2 % of the run) at or below the target, not
  interpolated; the median over seeds, infinite where most miss. Brackets: 95 % intervals over seeds, bootstrap for
  costs and ratios, Student's t for final losses. One task missed makes a geometric mean infinite. CPU time is of
  training alone, on {", ".join(protocol["machines"])}."""
