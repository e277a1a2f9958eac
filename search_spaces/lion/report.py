"""The final comparison: finalists beside tuned baselines, on test data and fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evo.program import Program
from evo.seeds import replicate_seed
from search_spaces.lion.baselines import baselines
from search_spaces.lion.evaluator import courses, lowered, one_thread
from search_spaces.lion.options import LionOptions
from search_spaces.lion.tasks import load
from search_spaces.lion.training import Course, Optimizers, Programs, Trained, train

CURVE_POINTS = 20


def rows(
    options: LionOptions, genomes: Sequence[Program], seeds: Sequence[int], reference: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Rows for the report's table, by task and metric: baselines first, then the finalists.

    A baseline is tuned as the search judges: one setting for all tasks, the best mean of relative validation losses
    over the seeds of the search. All are then trained anew for each of `seeds` and judged on test data, which nothing
    before has read. A row also has "setting" (of a baseline) and "curve", the mean test loss on the way.
    """
    by_task = courses(options)["search"]
    with one_thread():
        compared: list[tuple[str, int | None, Optimizers, str]] = []
        for name, settings, optimizers in baselines(options.backend):
            best = _tuned(by_task, optimizers, reference, options.replicates)
            setting = "lr {:g}, weight decay {:g}".format(*settings[best])
            compared.append((name, None, optimizers.take(np.array([best])), setting))
        for index, genome in enumerate(genomes):
            compared.append((f"finalist {index + 1}", index, Programs([lowered(genome)], options.backend), ""))
        found = []
        for task_name, course in by_task.items():
            task = load(task_name)
            points = sorted({max(1, round(course.steps * k / CURVE_POINTS)) for k in range(1, CURVE_POINTS + 1)})
            losses, metrics = [], []
            for name, index, optimizers, setting in compared:
                runs = [train(task, optimizers, seed, course, "test", points) for seed in seeds]
                row = {"name": name, "task": task.name, "genome_index": index, "setting": setting}
                curve = {"steps": points, "loss": _mean_curve(runs)}
                losses.append(
                    {**row, "metric": "test loss", "values": [float(r.loss[0]) for r in runs], "curve": curve}
                )
                metrics.append({**row, "metric": f"test {task.metric}", "values": [float(r.metric[0]) for r in runs]})
            found += losses + metrics
    return found


def _tuned(
    by_task: Mapping[str, Course], optimizers: Optimizers, reference: Mapping[str, float], replicates: int
) -> int:
    """Index of the setting with the best mean relative validation loss over the tasks and the seeds of the search."""
    if len(optimizers) == 1:
        return 0
    total = np.zeros(len(optimizers))
    for name, course in by_task.items():
        task = load(name)
        for replicate in range(replicates):
            total += train(task, optimizers, replicate_seed("search", replicate), course).loss / reference[name]
    return int(np.argmin(total))


def _mean_curve(runs: Sequence[Trained]) -> list[float | None]:
    """Mean over the seeds at each point; None where one of them had diverged."""
    means = np.mean([run.curve[:, 0] for run in runs], axis=0)
    return [float(value) if np.isfinite(value) else None for value in means]
