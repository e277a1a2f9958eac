"""What is made of the runs: targets, costs to reach them, ratios to tuned AdamW, performance profiles; plain JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from search_spaces.lion.judge import statistics
from search_spaces.lion.judge.boxes import REACH, at_edge
from search_spaces.lion.judge.statistics import Estimate
from search_spaces.lion.judge.subjects import REFERENCE, Subject
from search_spaces.lion.judge.tasks import task_digest, task_named

if TYPE_CHECKING:
    from search_spaces.lion.judge.session import Settings, Tuned
    from search_spaces.lion.judge.training import Run

Outcomes = Mapping[tuple[str, str], "Tuned"]

TARGETS = {
    "best": "the lowest loss that one of the tuned baselines ended at or below under every fresh seed",
    "reference": f"the loss that tuned {REFERENCE} ended at or below under every fresh seed",
    "common": "the loss that every tuned baseline (but those that diverged) ended at or below under every fresh seed",
}
"""The targets of a task. The first is the official one: AlgoPerf takes the best baseline's median, which by
construction half of that baseline's own runs miss; its worst seed instead is a target that one baseline always reaches.
On the other two, ratios stay finite where the reference misses the first. Where the one whose loss it is diverged under
a fresh seed there is no such loss: the task is undecided for that target, and left out of all means and profiles."""
OFFICIAL = "best"
COSTS = ("steps", "seconds")
GOAL = 0.8
"""Geometric mean of steps-to-target over tuned AdamW's that the project set itself: a fifth fewer steps."""
LARGEST_TAU = 4.0
TAUS = [1.0 + 0.01 * k for k in range(301)]


def results(settings: Settings, subjects: Sequence[Subject], outcomes: Outcomes) -> dict[str, Any]:
    """All that the text and the figures show."""
    judged = [_task(name, settings, subjects, outcomes) for name in settings.tasks]
    machines = {run.machine for tuned in outcomes.values() for run in tuned.runs}
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
            "least_seeds": statistics.LEAST_SEEDS,
            "torch": torch.__version__,
            "machines": sorted(machines),
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
        "summary": {target: _summary(target, settings.seeds, subjects, judged) for target in TARGETS},
        "profile": {cost: _profile(cost, subjects, judged) for cost in COSTS},
    }


def _task(name: str, settings: Settings, subjects: Sequence[Subject], outcomes: Outcomes) -> dict[str, Any]:
    task, steps = task_named(name), settings.horizon(task_named(name))
    worst = {s.name: max(run.final for run in outcomes[name, s.name].runs) for s in subjects if not s.is_module}
    targets = _targets(worst)
    folds = task.load()
    with torch.random.fork_rng(devices=[]):
        parameters = sum(p.numel() for p in task.build().parameters())
    return {
        "name": name,
        "title": task.title,
        "metric": task.metric,
        "steps": steps,
        "batch": task.batch,
        "parameters": parameters,
        "folds": len(folds),
        "training_examples": len(folds[0].targets),
        "validation_examples": sum(len(data.validation_targets) for data in folds),
        "digest": task_digest(name, steps),
        "targets": targets,
        "rows": [_row(subject, outcomes[name, subject.name], targets) for subject in subjects],
    }


def _targets(worst: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Values by target, whose they are, and whether they decide anything: an infinite one does not.

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
    return {
        target: {"loss": worst[owner], "of": owner, "decided": math.isfinite(worst[owner])}
        for target, owner in owners.items()
    }


def _row(subject: Subject, tuned: Tuned, targets: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    setting = tuned.settings[tuned.place]
    finals = [run.final for run in tuned.runs]
    return {
        "name": subject.name,
        "lr": setting.lr,
        "weight_decay": setting.weight_decay if subject.weight_decay is not None else None,
        "at_edge": at_edge(subject, setting),
        "trials": [
            {"lr": s.lr, "weight_decay": s.weight_decay, "final": final, "again": tuned.again.get(place)}
            for place, (s, final) in enumerate(zip(tuned.settings, tuned.trials, strict=True))
        ],
        "diverged": sum(math.isinf(final) for final in tuned.trials),
        "final": {"values": finals, **statistics.mean_interval(finals)._asdict()},
        "to": {target: _costs(tuned.runs, at["loss"]) if at["decided"] else None for target, at in targets.items()},
        "training_seconds": statistics.median([run.seconds[-1] for run in tuned.runs]),
        "cpu_seconds": sum(run.seconds[-1] for run in tuned.runs),
        "curve": {
            "steps": list(tuned.runs[0].steps),
            "loss": [statistics.median(column) for column in zip(*(run.losses for run in tuned.runs), strict=True)],
        },
    }


def _costs(runs: Sequence[Run], target: float) -> dict[str, Any]:
    """Steps and seconds to a target: of each run, and their median with its interval."""
    found = {
        "steps": [statistics.reached(run.steps, run.losses, target) for run in runs],
        "seconds": [statistics.reached(run.seconds, run.losses, target) for run in runs],
    }
    return {cost: {"values": values, **statistics.median_interval(values)._asdict()} for cost, values in found.items()}


def _summary(
    target: str, seeds: int, subjects: Sequence[Subject], judged: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """For each subject its costs over tuned AdamW's, by task (None where that is undecided) and as geometric means
    over the tasks that are decided (None where none is)."""
    rows = []
    decided = [task for task in judged if task["targets"][target]["decided"]]
    for place, subject in enumerate(subjects):
        entry: dict[str, Any] = {"name": subject.name}
        for cost in COSTS:
            own = [task["rows"][place]["to"][target][cost]["values"] for task in decided]
            reference = [_reference(task)["to"][target][cost]["values"] for task in decided]
            bounds = [
                float(task["steps"]) if cost == "steps" else _reference(task)["training_seconds"] for task in decided
            ]
            medians = {
                task["name"]: statistics.ratio(statistics.median(a), statistics.median(b), bound)
                for task, a, b, bound in zip(decided, own, reference, bounds, strict=True)
            }
            entry[cost] = {"tasks": [medians.get(task["name"]) for task in judged], **_UNDECIDED}
            if decided:
                found = statistics.mean_ratio(own, reference, bounds)
                entry[cost] |= {**found._asdict(), "standing": statistics.standing(found, GOAL, seeds)}
        entry["missed"] = sum(math.isinf(task["rows"][place]["to"][target]["steps"]["value"]) for task in decided)
        rows.append(entry)
    return rows


_UNDECIDED: Mapping[str, Any] = {**dict.fromkeys(Estimate._fields), "standing": "undecided"}


def _reference(task: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(row for row in task["rows"] if row["name"] == REFERENCE)


def _profile(cost: str, subjects: Sequence[Subject], judged: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Performance profiles to the official target, among all subjects of this judgement, on the tasks it decides."""
    decided = [task for task in judged if task["targets"][OFFICIAL]["decided"]]
    if not decided:
        return []
    medians = {
        subject.name: [task["rows"][place]["to"][OFFICIAL][cost]["value"] for task in decided]
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
