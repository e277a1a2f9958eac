"""What is made of the runs: targets, costs to reach them, ratios to tuned AdamW, performance profiles; plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from evo.report.intervals import bootstrap
from search_spaces.lion.judge import statistics
from search_spaces.lion.judge.subjects import REACH, REFERENCE, Subject
from search_spaces.lion.judge.tasks import task_digest, task_named

if TYPE_CHECKING:
    from search_spaces.lion.judge.session import Settings, Tuned

Outcomes = Mapping[tuple[str, str], "Tuned"]

TARGETS = {
    "best": "the lowest loss that one of the tuned baselines ended at or below under every fresh seed",
    "reference": f"the loss that tuned {REFERENCE} ended at or below under every fresh seed",
    "common": "the loss that every tuned baseline (but those that diverged) ended at or below under every fresh seed",
}
"""The targets of a task. The first is the official one: AlgoPerf takes the best baseline's median, which by
construction half of that baseline's own runs miss; its worst seed instead is a target that one baseline always reaches.
On the other two, ratios stay finite where the reference misses the first."""
OFFICIAL = "best"
COSTS = ("steps", "seconds")
GOAL = 0.8
"""Geometric mean of steps-to-target over tuned AdamW's that the project set itself."""
LARGEST_TAU = 4.0
TAUS = [1.0 + 0.01 * k for k in range(301)]
EDGE = 1.5
"""A tuned rate within this factor of its box's edge is marked: the box may have been too small."""


def results(settings: Settings, subjects: Sequence[Subject], outcomes: Outcomes) -> dict[str, Any]:
    """All that the text and the figures show."""
    judged = [_task(name, settings, subjects, outcomes) for name in settings.tasks]
    return {
        "protocol": {
            "trials": settings.trials,
            "tuning_seeds": 2,
            "seeds": settings.seeds,
            "tasks": list(settings.tasks),
            "steps": settings.steps,
            "targets": TARGETS,
            "official": OFFICIAL,
            "reference": REFERENCE,
            "goal": GOAL,
            "torch": torch.__version__,
        },
        "subjects": [
            {
                "name": s.name,
                "module": s.is_module,
                "digest": s.digest,
                "lr_box": [s.lr / REACH, s.lr * REACH],
                "decay_box": None if s.weight_decay is None else [s.weight_decay / REACH, s.weight_decay * REACH],
                "cpu_seconds": sum(
                    row["cpu_seconds"] for task in judged for row in task["rows"] if row["name"] == s.name
                ),
            }
            for s in subjects
        ],
        "tasks": judged,
        "summary": {target: _summary(target, subjects, judged) for target in TARGETS},
        "profile": {cost: _profile(cost, subjects, judged) for cost in COSTS},
    }


def _task(name: str, settings: Settings, subjects: Sequence[Subject], outcomes: Outcomes) -> dict[str, Any]:
    task, steps = task_named(name), settings.horizon(task_named(name))
    worst = {s.name: max(run.final for run in outcomes[name, s.name].runs) for s in subjects if not s.is_module}
    targets = _targets(worst)
    return {
        "name": name,
        "title": task.title,
        "metric": task.metric,
        "steps": steps,
        "batch": task.batch,
        "parameters": sum(p.numel() for p in task.build().parameters()),
        "digest": task_digest(name, steps),
        "targets": targets,
        "rows": [_row(subject, outcomes[name, subject.name], targets) for subject in subjects],
    }


def _targets(worst: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Values by target, and whose they are.

    Args:
        worst: for each baseline the largest of its final losses over the fresh seeds.
    """
    finite = {name: value for name, value in worst.items() if math.isfinite(value)} or worst
    owners = {
        "best": min(finite, key=lambda name: finite[name]),
        "reference": REFERENCE,
        # a baseline that diverged has no loss to share
        "common": max(finite, key=lambda name: finite[name]),
    }
    return {target: {"loss": worst[owner], "of": owner} for target, owner in owners.items()}


def _row(subject: Subject, tuned: Tuned, targets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    setting = tuned.settings[tuned.place]
    finals = [run.final for run in tuned.runs]
    costs: dict[str, Any] = {}
    for target, at in targets.items():
        steps = [statistics.reached(run.steps, run.losses, at["loss"]) for run in tuned.runs]
        seconds = [statistics.reached(run.seconds, run.losses, at["loss"]) for run in tuned.runs]
        costs[target] = {
            cost: {"values": values, **statistics.median_interval(values)._asdict()}
            for cost, values in zip(COSTS, (steps, seconds), strict=True)
        }
    mean = bootstrap(finals)
    low, high = subject.lr / REACH, subject.lr * REACH
    return {
        "name": subject.name,
        "lr": setting.lr,
        "weight_decay": setting.weight_decay if subject.weight_decay is not None else None,
        "at_edge": setting.lr < low * EDGE or setting.lr > high / EDGE,
        "trials": [
            {"lr": s.lr, "weight_decay": s.weight_decay, "final": final, "again": tuned.again.get(place)}
            for place, (s, final) in enumerate(zip(tuned.settings, tuned.trials, strict=True))
        ],
        "diverged": sum(math.isinf(final) for final in tuned.trials),
        "final": {"values": finals, "mean": mean.mean, "low": mean.low, "high": mean.high},
        "to": costs,
        "training_seconds": statistics.median([run.seconds[-1] for run in tuned.runs]),
        "cpu_seconds": sum(run.seconds[-1] for run in tuned.runs),
        "curve": {
            "steps": list(tuned.runs[0].steps),
            "loss": [statistics.median(column) for column in zip(*(run.losses for run in tuned.runs), strict=True)],
        },
    }


def _summary(target: str, subjects: Sequence[Subject], judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each subject its costs over tuned AdamW's, geometric means over the tasks."""
    rows = []
    for place, subject in enumerate(subjects):
        entry: dict[str, Any] = {"name": subject.name}
        for cost in COSTS:
            own = [task["rows"][place]["to"][target][cost]["values"] for task in judged]
            reference = [_reference(task)["to"][target][cost]["values"] for task in judged]
            bounds = [
                float(task["steps"]) if cost == "steps" else _reference(task)["training_seconds"] for task in judged
            ]
            medians = [
                statistics.ratio(statistics.median(a), statistics.median(b), bound)
                for a, b, bound in zip(own, reference, bounds, strict=True)
            ]
            entry[cost] = {"tasks": medians, **statistics.mean_ratio(own, reference, bounds)._asdict()}
        entry["missed"] = sum(math.isinf(task["rows"][place]["to"][target]["steps"]["value"]) for task in judged)
        rows.append(entry)
    return rows


def _reference(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(row for row in task["rows"] if row["name"] == REFERENCE)


def _profile(cost: str, subjects: Sequence[Subject], judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Performance profiles to the official target, among all subjects of this judgement."""
    medians = {
        subject.name: [task["rows"][place]["to"][OFFICIAL][cost]["value"] for task in judged]
        for place, subject in enumerate(subjects)
    }
    return [
        {
            "name": name,
            "ratios": ratios,
            "rho": statistics.profile(ratios, TAUS),
            "score": statistics.profile_score(ratios, LARGEST_TAU),
        }
        for name, ratios in statistics.performance_ratios(medians).items()
    ]
