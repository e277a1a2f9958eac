"""Training with many optimizers at once: each step is one forward and backward pass and one optimizer step for all.

Networks that `kernels.dense` knows take all the steps between two checks in one call, each network while it is in the
cache (`kernels.dense.mlp_train`): the same numbers, in less time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from kernels.dense import mlp_train
from kernels.programs import PackedPrograms, optimizer_step, pack
from search_spaces.lion.tasks.base import Task, shapes_of

CHECK_EVERY = 10
"""Steps between looks at what has diverged."""
LIMIT = 3.0
"""A loss above this multiple of the task's chance level counts as divergence."""


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how a task is trained.

    Attributes:
        steps: optimizer steps.
        batch: examples a step.
        schedule: what programs read as `lr`: "cosine" falls from 1 to 0 as half a cosine, "linear" straight,
            "constant" stays at 1.
    """

    steps: int
    batch: int
    schedule: str = "cosine"

    def fraction(self, step: int) -> float:
        """The schedule's fraction of its peak at a step, in (0, 1]."""
        progress = step / self.steps
        if self.schedule == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        return 1.0 - progress if self.schedule == "linear" else 1.0


class Optimizers(Protocol):
    """N optimizers, one a row of the arrays."""

    def __len__(self) -> int: ...

    def step(
        self, number: int, weights: np.ndarray, gradients: np.ndarray, slots: list[np.ndarray], fraction: float,
        segments: np.ndarray, shapes: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Step `number` (from 0), in place on weights (N, P) and slots; (N,) bool: whether all weights are finite.

        segments, shapes: of the tensors, as `kernels.programs.optimizer_step` takes them."""

    def take(self, rows: np.ndarray) -> Optimizers:
        """Those of some rows."""


class Programs:
    """Optimizer programs, run by `kernels.programs`.

    Args:
        lowered: N programs as `evo.program.lower` gives them, or packed ones.
        backend: of `kernels.programs.optimizer_step`; None: the best one.
    """

    def __init__(self, lowered: Sequence[Any] | PackedPrograms, backend: str | None = None) -> None:
        self._packed = lowered if isinstance(lowered, PackedPrograms) else pack(lowered)
        self._backend = backend

    def __len__(self) -> int:
        return len(self._packed)

    def step(
        self, number: int, weights: np.ndarray, gradients: np.ndarray, slots: list[np.ndarray], fraction: float,
        segments: np.ndarray, shapes: np.ndarray | None = None,
    ) -> np.ndarray:  # fmt: skip
        return optimizer_step(
            self._packed, weights, gradients, slots, fraction, segments, backend=self._backend, shapes=shapes
        )

    def train_dense(
        self, weights: np.ndarray, slots: list[np.ndarray], x: np.ndarray, y: np.ndarray, sizes: Sequence[int],
        schedule: np.ndarray, shapes: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Steps of plain dense networks: losses (N,) of the last batch, whether weights were finite (N, steps)."""
        return mlp_train(self._packed, weights, slots, x, y, sizes, schedule, shapes, self._backend)

    def take(self, rows: np.ndarray) -> Programs:
        return Programs(self._packed.take(rows), self._backend)


GROUP_BYTES = 1 << 22
"""Weights, gradients and state of the networks that go through a course together. Where all take one step at a time,
a step of small networks takes twice as long beyond the cache, and with few networks the calls themselves weigh."""


class Trained(NamedTuple):
    """What became of N optimizers.

    Attributes:
        loss: (N,) float64 on the judged split at the end; +inf where it diverged.
        metric: (N,) float64, the task's metric; 0 where it diverged.
        diverged_at: (N,) int64: the step at which weights ceased to be finite, or the loss was found above the
            limit; -1 where neither happened.
        curve: (points, N) float64 losses on the judged split on the way, NaN after divergence; (0, N) if not asked for.
        curve_steps: the steps after which they were taken.
    """

    loss: np.ndarray
    metric: np.ndarray
    diverged_at: np.ndarray
    curve: np.ndarray
    curve_steps: tuple[int, ...]


def train(
    task: Task,
    optimizers: Optimizers,
    seed: int,
    course: Course,
    split: str = "validation",
    curve_steps: Sequence[int] = (),
) -> Trained:
    """Train one network an optimizer, all from the same weights on the same batches, and judge them.

    Those that diverge leave the batch at the next check. What one gets does not depend, to the bit, on the others:
    tasks and kernels promise it, and checks come at fixed steps.

    Args:
        task: data and network.
        optimizers: N of them.
        seed: of the initial weights and the batches.
        course: steps, batch size, schedule.
        split: the data that judges.
        curve_steps: numbers of steps after which to judge as well, ascending.
    """
    group = max(1, GROUP_BYTES // (16 * task.segments[-1]))
    if len(optimizers) <= group:
        return _train_group(task, optimizers, seed, course, split, curve_steps)
    places = [np.arange(start, min(start + group, len(optimizers))) for start in range(0, len(optimizers), group)]
    parts = [_train_group(task, optimizers.take(rows), seed, course, split, curve_steps) for rows in places]
    loss, metric, diverged_at = (np.concatenate([part[field] for part in parts]) for field in range(3))
    return Trained(loss, metric, diverged_at, np.concatenate([p.curve for p in parts], axis=1), tuple(curve_steps))


def _train_group(
    task: Task, optimizers: Optimizers, seed: int, course: Course, split: str, curve_steps: Sequence[int]
) -> Trained:
    """As many as the cache holds, through the whole course."""
    n = len(optimizers)
    segments, shapes = np.asarray(task.segments, np.int64), shapes_of(task)
    limit = LIMIT * task.chance
    rows = np.arange(n)
    diverged_at = np.full(n, -1, np.int64)
    curve = np.full((len(curve_steps), n), np.nan)
    weights = np.repeat(task.initial(seed)[None].astype(np.float32), n, axis=0)
    slots = [np.zeros_like(weights), np.zeros_like(weights)]
    step = 0
    with np.errstate(all="ignore"):
        while step < course.steps and len(rows):
            end = min(step - step % CHECK_EVERY + CHECK_EVERY, course.steps, *(s for s in curve_steps if s > step))
            steps = range(step, end)
            losses, finite = _advance(task, optimizers, seed, course, steps, weights, slots, segments, shapes)
            lost = ~finite.all(axis=1)
            diverged_at[rows[lost]] = np.where(
                diverged_at[rows[lost]] < 0, step + finite[lost].argmin(axis=1), diverged_at[rows[lost]]
            )
            if end % CHECK_EVERY == 0:
                above = ~(np.asarray(losses) <= limit)
                diverged_at[rows[above & (diverged_at[rows] < 0)]] = end - 1
                alive = diverged_at[rows] < 0
                if not alive.all():
                    rows = rows[alive]
                    weights, slots = weights[alive], [slot[alive] for slot in slots]
                    optimizers = optimizers.take(np.flatnonzero(alive)) if len(rows) else optimizers
            if end in curve_steps and len(rows):
                curve[list(curve_steps).index(end), rows] = task.evaluate(weights, split)["loss"]
            step = end
        loss, metric = np.full(n, np.inf), np.zeros(n)
        if len(rows):
            judged = task.evaluate(weights, split)
            loss[rows], metric[rows] = judged["loss"], judged[task.metric]
    gone = (diverged_at < 0) & ~(loss <= limit)
    diverged_at[gone] = course.steps
    loss[diverged_at >= 0], metric[diverged_at >= 0] = np.inf, 0.0
    return Trained(loss, metric, diverged_at, curve, tuple(curve_steps))


def _advance(
    task: Task, optimizers: Optimizers, seed: int, course: Course, steps: range, weights: np.ndarray,
    slots: list[np.ndarray], segments: np.ndarray, shapes: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Some steps, in place: losses (N,) of the last one's batch, and whether weights were finite (N, steps)."""
    batches = [task.batch(step, seed, course.batch) for step in steps]
    fractions = [course.fraction(step) for step in steps]
    sizes = getattr(task, "dense_sizes", None)
    if sizes is not None and isinstance(optimizers, Programs):
        x, y = (np.stack(parts) for parts in zip(*batches, strict=True))
        return optimizers.train_dense(weights, slots, x, y, sizes, np.array(fractions), shapes)
    gradient, finite = np.empty_like(weights), np.empty((len(weights), len(steps)), np.bool_)
    for place, (step, batch, fraction) in enumerate(zip(steps, batches, fractions, strict=True)):
        losses = task.loss_and_gradient(weights, batch, gradient)
        finite[:, place] = optimizers.step(step, weights, gradient, slots, fraction, segments, shapes)
    return losses, finite
