"""The evaluator: blocks of programs, trained together, one course a (task, seed)."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from evo.errors import EvaluatorError
from evo.program import Lowered, Program, lower, simplify
from evo.space import Observation, Request
from kernels.programs import OPCODES
from search_spaces.lion.admission import admitted, description
from search_spaces.lion.language import LION
from search_spaces.lion.options import LionOptions
from search_spaces.lion.programs import adamw
from search_spaces.lion.tasks import load
from search_spaces.lion.tasks.base import Task, shapes_of
from search_spaces.lion.training import CHECK_EVERY, LIMIT, Course, Programs, Trained, train

VERSION = 3
"""Of the fitness: raise it when equal programs would get other values."""
REFERENCE_SEEDS = (101, 102, 103)

TURNED_AWAY = Observation((math.inf,), "ok", None, {"losses": {}, "turned_away": True})


def lowered(program: Program) -> Lowered:
    """A program as kernels take it: its simplified form, which is also what is exported."""
    return lower(LION, simplify(LION, program), OPCODES)


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Products of small matrices on one thread: they are slower on more, and their rounding must not depend on it."""
    with _threads().limit(limits=1, user_api="blas"):
        yield


def courses(options: LionOptions) -> dict[str, dict[str, Course]]:
    """By rung: the tasks and how long each is trained."""
    found = {"search": {task: course(options, task, options.steps) for task in options.tasks}}
    if options.screen_hurdle is not None:
        screened = options.tasks if options.screen_tasks is None else options.screen_tasks
        found["screen"] = {task: found["search"][task] for task in screened}
    if options.probe_task is not None:
        found["probe"] = {options.probe_task: course(options, options.probe_task, options.probe_steps)}
    return found


def course(options: LionOptions, task: str, steps: int) -> Course:
    """The course of a task: `steps` times its pace."""
    return Course(max(1, round(steps * load(task).pace)), options.batch, options.schedule)


def references(options: LionOptions) -> dict[str, dict[str, float]]:
    """By rung and task: the validation loss that the AdamW seed program, with the constants it is born with, has at the
    end of the course, in the mean over three seeds that no search uses. It divides every loss of that task.

    Raises:
        EvaluatorError: it diverges, or a task's loss is NaN.
    """
    program = Programs([lowered(adamw())], options.backend)
    found: dict[str, dict[str, float]] = {}
    with one_thread():
        for rung, by_task in courses(options).items():
            if rung == "screen":
                found[rung] = {name: found["search"][name] for name in by_task}
                continue
            for name, given in by_task.items():
                task = load(name)
                losses = [float(train(task, program, seed, given).loss[0]) for seed in REFERENCE_SEEDS]
                if not all(map(math.isfinite, losses)):
                    raise EvaluatorError(
                        f"the AdamW seed program has no finite loss on the task {name}: nothing can be related to it",
                        "a task of your own? its loss must be finite, and stay below three times its `chance`",
                    )
                found.setdefault(rung, {})[name] = math.fsum(losses) / len(losses)
    return found


def course_digest(options: LionOptions) -> str:
    """Digest of all that a value depends on beside the program and the seed, but for the numeric backend."""
    parts = [f"fitness {VERSION}, check {CHECK_EVERY}, limit {LIMIT}, references {REFERENCE_SEEDS}"]
    parts.append(f"admission {description(options)}")
    for rung, by_task in sorted(courses(options).items()):
        for name, given in by_task.items():
            task = load(name)
            shapes = shapes_of(task)
            stated = None if shapes is None else shapes.tolist()
            parts.append(f"{rung}: {name} {task.digest()} {stated} {given}")
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


class LionEvaluator:
    """Trains the programs of a call together and judges them on validation data.

    A value is the mean over the rung's tasks of the final validation loss divided by the reference's (see
    `references`): 1 is the AdamW seed's level on every task, 0.9 is a tenth less loss. The division gives tasks with
    large and small losses an equal say, and a fixed divisor (rather than one of the same seed) adds no noise.
    A program that diverges on a task has the value +inf, and no further task is spent on it; one that is not admitted
    (see `search_spaces.lion.admission`) has it on every seed.

    Args:
        options: of the space.
        reference: what `references` gave.
    """

    def __init__(self, options: LionOptions, reference: Mapping[str, Mapping[str, float]]) -> None:
        self._options = options
        self._reference = reference
        self._courses = courses(options)
        self._tasks: dict[str, Task] = {}

    def evaluate(self, requests: Sequence[Request]) -> list[list[Observation]]:
        answers: list[list[Any]] = [[None] * len(request.seeds) for request in requests]
        forms: dict[Program, Lowered] = {}
        groups: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for row, request in enumerate(requests):
            if request.genome not in forms:
                forms[request.genome] = lowered(request.genome)
            for place, seed in enumerate(request.seeds):
                groups.setdefault((request.rung, seed), []).append((row, place))
        with one_thread():
            known = dict(zip(forms, admitted(self._options, list(forms.values())).tolist(), strict=True))
            for (rung, seed), places in groups.items():
                trained = [(row, place) for row, place in places if known[requests[row].genome]]
                if not trained:
                    continue
                programs = [forms[requests[row].genome] for row, _ in trained]
                for (row, place), observation in zip(trained, self._observe(rung, seed, programs), strict=True):
                    answers[row][place] = observation
        for row, request in enumerate(requests):
            if not known[request.genome]:
                answers[row] = [TURNED_AWAY] * len(request.seeds)
        return answers

    def _observe(self, rung: str, seed: int, programs: Sequence[Lowered]) -> list[Observation]:
        n = len(programs)
        total = np.zeros(n)
        losses: list[dict[str, float]] = [{} for _ in range(n)]
        diverged: list[dict[str, Any]] = [{} for _ in range(n)]
        rows = np.arange(n)
        for name, given in self._courses[rung].items():
            trained = self._train(name, [programs[row] for row in rows], seed, given)
            total[rows] += trained.loss / self._reference[rung][name]
            for row, loss, step in zip(rows.tolist(), trained.loss.tolist(), trained.diverged_at.tolist(), strict=True):
                if step < 0:
                    losses[row][name] = loss
                else:
                    diverged[row] = {"diverged_at": step, "diverged_on": name}
            rows = rows[trained.diverged_at < 0]
            if not len(rows):
                break
        values = (total / len(self._courses[rung])).tolist()
        return [
            Observation((value,), "ok", None, {"losses": loss, **gone})
            for value, loss, gone in zip(values, losses, diverged, strict=True)
        ]

    def _train(self, name: str, programs: Sequence[Lowered], seed: int, given: Course) -> Trained:
        task = self._tasks.get(name)
        if task is None:
            task = self._tasks[name] = load(name)
        return train(task, Programs(programs, self._options.backend), seed, given)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_tasks": {}}


def numeric_backend(backend: str | None) -> str:
    """What pins the rounding of a result: the kernels' digest, numpy, and the BLAS that multiplies matrices with the
    instruction set that it chose on this machine."""
    import kernels

    blas = [
        f"{info.get('internal_api')} {info.get('version')} {info.get('architecture')}"
        for info in _threads().info()
        if info.get("user_api") == "blas"
    ]
    text = f"{backend} {kernels.backends()['digest']} numpy {np.__version__} {sorted(set(blas))}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
