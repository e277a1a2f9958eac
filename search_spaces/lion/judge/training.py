"""One training run of the judgement: a task, an optimizer, a setting, a seed; to the horizon or to divergence."""

from __future__ import annotations

import contextlib
import functools
import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from evo.seeds import replicate_seed
from search_spaces.lion.judge.networks import materialise

if TYPE_CHECKING:
    from search_spaces.lion.judge.optimizers import Build
    from search_spaces.lion.judge.sources import Data
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
        losses: validation losses, pooled over the task's folds, lower is better; infinite from the first that is not
            finite to the last.
        seconds: CPU seconds of this process spent on training so far (validation not counted); where the run
            diverged, those until then.
        diverged: the step at which it was given up for a loss that is not finite, or None.
        machine: the processor that did it; see `machine`.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    diverged: int | None
    machine: str

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
    """Train a network on each of the task's folds, one after another; the seed gives initial weights and the order of
    the data, the same for every optimizer.

    The validation loss is the mean over what all folds validate on. Where one of them diverges, so did the run, and
    the folds after it go no further.

    Args:
        build: the optimizers of a network, lr and weight_decay.
        lr: the peak learning rate.
        steps: the horizon.
    """
    points = evaluation_steps(steps)
    folds = task.load()
    examples = sum(len(data.validation_targets) for data in folds)
    losses, seconds = [0.0] * len(points), [0.0] * len(points)
    last, diverged = steps, None
    with one_thread(), torch.random.fork_rng(devices=[]):
        for number, data in enumerate(folds):
            purpose = f"judge/{task.name}" + (f"/fold {number}" if number else "")
            network = _network(task, f"{purpose}/weights", seed)
            batches = torch.randint(
                len(data.inputs), (steps, task.batch), generator=_generator(f"{purpose}/data", seed)
            )
            torch.manual_seed(replicate_seed(f"{purpose}/noise", seed))
            found, spent, stopped = _fold(task, network, build(network, lr, weight_decay), data, batches, last)
            if stopped is not None:
                last = diverged = stopped
            share = len(data.validation_targets) / examples
            losses = [total + share * loss for total, loss in zip(losses, found, strict=True)]
            seconds = [total + more for total, more in zip(seconds, spent, strict=True)]
    return Run(points, tuple(losses), tuple(seconds), diverged, machine())


def _fold(
    task: Task, network: nn.Module, optimizers: Sequence[Optimizer], data: Data, batches: Tensor, last: int
) -> tuple[list[float], list[float], int | None]:
    """Losses and seconds at each validation of one network's training, and where it diverged.

    Args:
        batches: (steps, batch) places of examples.
        last: the step after which nothing is wanted; losses beyond are infinite.
    """
    steps = len(batches)
    points = evaluation_steps(steps)
    schedulers = [LambdaLR(optimizer, lambda step: schedule(step, steps)) for optimizer in optimizers]
    losses: list[float] = []
    seconds: list[float] = []
    spent, diverged = 0.0, None
    for step in range(last + 1):
        if step in points[len(losses) :][:1]:
            network.eval()
            with torch.no_grad():
                value = float(task.loss(network(data.validation_inputs), data.validation_targets))
            network.train()
            if not math.isfinite(value):
                diverged = step
                break
            losses.append(value)
            seconds.append(spent)
        if step == last:
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
    return [*losses, *[math.inf] * missing], [*seconds, *[spent] * missing], diverged


def _network(task: Task, purpose: str, seed: int) -> nn.Module:
    if not task.draws:
        return materialise(task.build, _generator(purpose, seed))
    torch.manual_seed(replicate_seed(purpose, seed))
    return task.build()


@functools.cache
def machine() -> str:
    """What CPU seconds of this machine can be compared with: the processor's model and torch's instruction set."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}"


def _generator(purpose: str, seed: int) -> torch.Generator:
    generator = torch.Generator()
    generator.manual_seed(replicate_seed(purpose, seed))
    return generator


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: runs side by side do not disturb one another, and sums are the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
