"""The final comparison: finalists as they were found beside tuned baselines, on test data and fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from evo.program import Program
from evo.seeds import replicate_seed
from search_spaces.lion import programs
from search_spaces.lion.evaluator import courses, one_thread
from search_spaces.lion.options import LionOptions
from search_spaces.lion.refine.grids import Family, tuned
from search_spaces.lion.refine.subjects import AdamWSetting, Subject, form_of, optimizers
from search_spaces.lion.tasks import load
from search_spaces.lion.training import Course, Optimizers, Trained, train

CURVE_POINTS = 20
FURTHER = 8
"""Seeds beyond the search's on which the best few settings of a baseline are judged before one is picked."""
RATES = tuple(1e-3 * 2.0**k for k in range(11))
"""Where a grid of rates begins: 0.001 to 1, a factor of two apart; one whose best lies at an end grows."""
DECAYS = (0.0, 0.01, 0.1, 1.0)
AS_FOUND = "as found, nothing tuned"


class Compared(NamedTuple):
    """A line of the table: `index` is that of a finalist, None of a baseline."""

    name: str
    index: int | None
    optimizer: Optimizers
    setting: str


def rows(
    options: LionOptions, genomes: Sequence[Program], seeds: Sequence[int], reference: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Rows for the report's table, by task and metric: baselines first, then the finalists.

    All are trained anew for each of `seeds` and judged on test data, which nothing before has read. Finalists are as
    they were found, their learning rate too; see `compared_with` for the baselines. A row also has "setting" and
    "curve", the mean test loss on the way.
    """
    by_task = courses(options)["search"]
    with one_thread():
        compared = compared_with(options, by_task, reference)
        for index, genome in enumerate(genomes):
            compared.append(Compared(f"finalist {index + 1}", index, _one(genome, options.backend), AS_FOUND))
        found = []
        for task_name, course in by_task.items():
            task = load(task_name)
            points = sorted({max(1, round(course.steps * k / CURVE_POINTS)) for k in range(1, CURVE_POINTS + 1)})
            losses, metrics = [], []
            for name, index, optimizer, setting in compared:
                runs = [train(task, optimizer, seed, course, "test", points) for seed in seeds]
                row = {"name": name, "task": task.name, "genome_index": index, "setting": setting}
                curve = {"steps": points, "loss": _mean_curve(runs)}
                losses.append(
                    {**row, "metric": "test loss", "values": [float(r.loss[0]) for r in runs], "curve": curve}
                )
                metrics.append({**row, "metric": f"test {task.metric}", "values": [float(r.metric[0]) for r in runs]})
            found += losses + metrics
    return found


def compared_with(
    options: LionOptions, by_task: Mapping[str, Course], reference: Mapping[str, float]
) -> list[Compared]:
    """The baselines; the first is the one that the others are compared with.

    Each is tuned over rate and decay as the search judges: one setting for all tasks, the best mean of relative
    validation losses. All points of a grid get the search's seeds, the best few `FURTHER` ones as well; a grid whose
    best lies at an edge grows (`refine.grids`). "AdamW, tuned" is the best of torch's AdamW, of the seed program
    (AdamW without bias correction) tuned alike, and of the seed program as it is: it never loses to that where it is
    picked.
    """
    first = [replicate_seed("search", number) for number in range(options.replicates)]
    further = first + [replicate_seed("baselines", number) for number in range(FURTHER)]

    def score(subjects: Sequence[Subject], shortlist: bool) -> np.ndarray:
        return _relative_losses(subjects, further if shortlist else first, by_task, reference, options.backend)

    families = [
        Family("AdamW", AdamWSetting, RATES, DECAYS),
        Family("AdamW without bias correction", programs.adamw, RATES, DECAYS),
        Family("Lion, tuned", programs.lion, tuple(rate * 0.3 for rate in RATES), (0.0, 0.1, 1.0, 10.0)),
        Family("SGD momentum, tuned", programs.momentum, tuple(rate * 10.0 for rate in RATES), (0.0, 1e-4, 1e-3, 1e-2)),
    ]
    if "muon" in options.seeds:
        families.append(Family("Muon, tuned", programs.muon, RATES, DECAYS))
    corrected, plain, *others = tuned(families, score)
    contestants: list[tuple[Subject, str]] = [(programs.adamw(), "the seed program as it is")]
    for one, words in ((plain, "without bias correction"), (corrected, "")):
        if one.subject is not None:
            contestants.append((one.subject, ", ".join(filter(None, (_setting(one.record), words)))))
    # the one with bias correction last: of equals, it is AdamW as people know it
    values = score([subject for subject, _ in contestants], True)
    best, setting = contestants[len(values) - 1 - int(np.argmin(values[::-1]))]
    found = [
        Compared("AdamW, tuned", None, _one(best, options.backend), setting),
        Compared("AdamW, seed program", None, _one(programs.adamw(), options.backend), "as it is"),
    ]
    for one in others:
        if one.subject is not None:
            found.append(Compared(one.family, None, _one(one.subject, options.backend), _setting(one.record)))
    return found


def _setting(record: Mapping[str, Any]) -> str:
    edge = f" (the edge of its grid: {', '.join(record['at_edge'])})" if record["at_edge"] else ""
    return f"lr {record['rate']:g}, weight decay {record['decay']:g}{edge}"


def _one(subject: Subject, backend: str | None) -> Optimizers:
    return optimizers([form_of(subject)], backend)


def _relative_losses(
    subjects: Sequence[Subject],
    seeds: Sequence[int],
    by_task: Mapping[str, Course],
    reference: Mapping[str, float],
    backend: str | None,
) -> np.ndarray:
    """(n,) means over tasks and seeds of validation losses relative to the reference's, +inf where one diverged."""
    total = np.zeros(len(subjects))
    for kind in (True, False):  # programs train together, and so do settings of AdamW
        rows = np.array([at for at, one in enumerate(subjects) if isinstance(one, AdamWSetting) == kind], int)
        if not len(rows):
            continue
        together = optimizers([form_of(subjects[row]) for row in rows], backend)
        for name, course in by_task.items():
            task = load(name)
            for seed in seeds:
                total[rows] += train(task, together, seed, course).loss / reference[name]
    return total / (len(by_task) * len(seeds))


def _mean_curve(runs: Sequence[Trained]) -> list[float | None]:
    """Mean over the seeds at each point; None where one of them had diverged."""
    means = np.mean([run.curve[:, 0] for run in runs], axis=0)
    return [float(value) if np.isfinite(value) else None for value in means]
