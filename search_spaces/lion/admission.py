"""Admission: a few steps of training that a program must survive to be worth anything.

Four in ten new functions of a search diverge, most of them within ten steps, each in its own way. What they have in
common is all that a search wants to know. So the fitness is defined to be +inf for a program that diverges in the first
steps of one task from fixed weights on fixed batches, the same in every run; since this depends on nothing but the
program, all those programs compute one function as far as the search goes, and its value is known beforehand. (The
equivalence checks of AutoML-Zero (2020, appendix) and of Unified Functional Hashing (2023) give all programs whose
outputs are not numbers one key, too.)

The other side: a program that stumbles at the start and would have recovered is turned away. About one finite result in
a hundred is lost so (measured in a search of 50,000 proposals: 78 of 7,040).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.lion.tasks import load
from search_spaces.lion.training import Course, Programs, train

if TYPE_CHECKING:
    from search_spaces.lion.options import LionOptions
    from search_spaces.lion.tasks.base import Task

VERSION = 1
SEED = 20230214
"""Of the initial weights and the batches; no search's own."""


def description(options: LionOptions) -> str:
    """All that admission depends on beside the program and the numeric backend."""
    if not options.admission_steps:
        return "none"
    name = _task_name(options)
    return f"{VERSION} {name} {_task(name).digest()} {options.admission_steps} {options.batch}"


def admitted(options: LionOptions, programs: Sequence[Any]) -> np.ndarray:
    """Which programs survive the first steps.

    Args:
        options: of the space: `admission_steps` steps of `probe_task`, or of the first of `tasks`, at the schedule's
            peak, `batch` examples each.
        programs: N of them, as `evo.program.lower` gives them.

    Returns:
        (N,) bool. What one gets does not depend on the others.
    """
    if not options.admission_steps or not programs:
        return np.ones(len(programs), bool)
    course = Course(options.admission_steps, options.batch, "constant")
    return train(_task(_task_name(options)), Programs(programs, options.backend), SEED, course).diverged_at < 0


def _task_name(options: LionOptions) -> str:
    return options.tasks[0] if options.probe_task is None else options.probe_task


@cache
def _task(name: str) -> Task:
    return load(name)
