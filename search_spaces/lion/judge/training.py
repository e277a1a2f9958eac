"""One training run of the judgement: a task, an optimizer, a setting, a seed; to the horizon or to divergence."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.optim.lr_scheduler import LambdaLR

from evo.seeds import replicate_seed
from search_spaces.lion.judge.networks import materialise

if TYPE_CHECKING:
    from search_spaces.lion.judge.optimizers import Build
    from search_spaces.lion.judge.tasks import Task

EVALUATIONS = 50
"""Validations of a run after its start: one every 2 % of the horizon."""
WARM_UP = 0.05
"""Share of the horizon over which the learning rate rises linearly to its peak."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a training run gave; the lists match.

    Attributes:
        steps: steps done before each validation, the first is 0.
        losses: validation losses, lower is better; infinite from the first that is not finite to the last.
        seconds: CPU seconds of this process spent on training so far (validation not counted); where the run
            diverged, those until then.
        diverged: the step at which it was given up for a loss that is not finite, or None.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    diverged: int | None

    @property
    def final(self) -> float:
        """The validation loss at the end of the schedule."""
        return self.losses[-1]


def schedule(step: int, steps: int) -> float:
    """The factor of the peak learning rate at a step, from 0: linear warm-up, then half a cosine to zero at the end."""
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def evaluation_steps(steps: int) -> tuple[int, ...]:
    """When a run of so many steps is validated: at its start, every 2 %, and at its end."""
    return tuple(sorted({round(steps * k / EVALUATIONS) for k in range(EVALUATIONS + 1)}))


def train(task: Task, build: Build, lr: float, weight_decay: float, seed: int, steps: int) -> Run:
    """Train one network; the seed gives its initial weights and the order of the data, the same for every optimizer.

    Args:
        build: the optimizers of a network, lr and weight_decay.
        lr: the peak learning rate.
        steps: the horizon.
    """
    data = task.load()
    network = materialise(task.build, _generator(f"judge/{task.name}/weights", seed))
    batches = torch.randint(
        len(data.inputs), (steps, task.batch), generator=_generator(f"judge/{task.name}/data", seed)
    )
    points = evaluation_steps(steps)
    losses: list[float] = []
    seconds: list[float] = []
    spent, diverged = 0.0, None
    with one_thread():
        optimizers = build(network, lr, weight_decay)
        schedulers = [LambdaLR(optimizer, lambda step: schedule(step, steps)) for optimizer in optimizers]
        for step in range(steps + 1):
            if step in points[len(losses) :][:1]:
                with torch.no_grad():
                    value = float(task.loss(network(data.validation_inputs), data.validation_targets))
                if not math.isfinite(value):
                    diverged = step
                    break
                losses.append(value)
                seconds.append(spent)
            if step == steps:
                break
            began = time.process_time()
            rows = batches[step]
            inputs, targets = data.inputs[rows], data.targets[rows]
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = task.loss(network(inputs), targets)
            finite = math.isfinite(float(loss.detach()))
            if finite:
                loss.backward()
                for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
                    optimizer.step()
                    scheduler.step()
            spent += time.process_time() - began
            if not finite:
                diverged = step
                break
    missing = len(points) - len(losses)
    return Run(points, (*losses, *[math.inf] * missing), (*seconds, *[spent] * missing), diverged)


def _generator(purpose: str, seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(replicate_seed(purpose, seed))
    return generator


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: runs side by side do not disturb one another, and sums are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
