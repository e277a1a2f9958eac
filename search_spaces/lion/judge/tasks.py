"""The held-out tasks: work that neither the search nor the selection ever saw; and tasks of the user's own by name."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo.errors import UsageError
from evo.options import did_you_mean
from search_spaces.lion.judge import networks, photographs, sources, tumours
from search_spaces.lion.judge.code import code_digest
from search_spaces.lion.judge.names import HELD_OUT
from search_spaces.lion.judge.sources import CONTEXT, SYMBOLS, Folds


@dataclass(frozen=True, slots=True)
class Task:
    """A task of the judgement.

    Attributes:
        name: as users write it.
        title: for tables: model and data.
        metric: what the validation loss is; lower is better.
        steps: the fixed horizon of a training run, at whose end the schedule is at zero.
        batch: examples a step.
        build: the network.
        load: the data, by fold.
        loss: (outputs, targets) -> mean loss, a scalar tensor; trained on and judged by.
        draws: whether `build` draws the initial weights itself, from torch's global generator, as a user's does; else
            they are drawn by `networks.materialise`.
        source: digest of the user's code; empty for tasks that ship.
        files: that the user's code is in.
    """

    name: str
    title: str
    metric: str
    steps: int
    batch: int
    build: Callable[[], nn.Module] = field(repr=False)
    load: Callable[[], Folds] = field(repr=False)
    loss: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    draws: bool = False
    source: str = ""
    files: tuple[str, ...] = ()


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all predictions; outputs (..., classes), targets (...) int64."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


def _task(name: str, metric: str, steps: int, batch: int, build: Callable[[], nn.Module], load: Callable[[], Folds],
          loss: Callable[[Tensor, Tensor], Tensor]) -> Task:  # fmt: skip
    return Task(name, HELD_OUT[name], metric, steps, batch, build, load, loss)


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _task(
            "vit", "cross-entropy, nats", 500, 32,
            lambda: networks.VisionTransformer(width=32, depth=3, heads=2), sources.standardised_clothes, cross_entropy,
        ),
        _task(
            "characters", "cross-entropy, nats a character", 500, 8,
            lambda: networks.CharacterTransformer(SYMBOLS, CONTEXT, width=48, depth=4, heads=3), sources.jargon,
            cross_entropy,
        ),
        _task(
            "autoencoder", "squared error over the pixels' variance", 600, 64,
            lambda: networks.Perceptron((784, 128, 32, 12, 32, 128, 784)), sources.flat_clothes, F.mse_loss,
        ),
        _task(
            "photographs", "squared error over the colours' variance", 800, 256,
            lambda: networks.Perceptron((photographs.FEATURES, 64, 64, 64, 3)), sources.pixels, F.mse_loss,
        ),
        _task(
            "tumours", "squared error over the measurements' variance, five folds pooled", 250, 32,
            lambda: networks.GraphConvolution(tumours.FEATURES, width=48, outputs=20), sources.neighbourhoods,
            F.mse_loss,
        ),
    )
}  # fmt: skip
"""By name, in the order of tables."""


def task_named(name: str) -> Task:
    """The task of a name: one that ships, or a class of the user's own as `module:attr`; see `own`.

    Raises:
        UsageError: there is none. ConfigError: the user's class is no task.
    """
    if ":" in name:
        from search_spaces.lion.judge.own import own_task

        return own_task(name)
    if name not in TASKS:
        known = f"the tasks are {', '.join(TASKS)}, or a class of your own as module:attr"
        raise UsageError(f"there is no held-out task {name!r}", did_you_mean(name, TASKS) or known)
    return TASKS[name]


def task_digest(name: str, steps: int) -> str:
    """Hexadecimal digest of all that a run's result depends on beside optimizer, setting, seed, machine and torch: the
    task's figures, its data to the bit, and the code that defines data, network and training.

    Args:
        steps: the horizon, of the task's own or shortened.
    """
    task = task_named(name)
    parts = (name, steps, task.batch, task.source, _data_digest(name), _code())
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()


@functools.cache
def _data_digest(name: str) -> str:
    state = hashlib.sha256()
    for data in task_named(name).load():
        for tensor in data:
            # windows are overlapping views; their first symbols and their last window hold all there is
            windows = tensor.dim() == 2 and tensor.stride() == (1, 1)
            part = torch.cat([tensor[:, 0], tensor[-1]]) if windows else tensor
            state.update(f"{tensor.dtype}/{tuple(tensor.shape)}".encode())
            state.update(part.contiguous().reshape(-1).view(torch.uint8).numpy())
    return state.hexdigest()


@functools.cache
def _code() -> str:
    from search_spaces.lion.judge import training

    modules = (sys.modules[__name__], networks, photographs, sources, training, tumours)
    return "/".join(code_digest(module) for module in modules)
