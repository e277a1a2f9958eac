"""The held-out tasks: work that neither the search nor the selection ever saw."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evo.errors import UsageError
from evo.options import did_you_mean
from search_spaces.data import fashion_mnist, texts
from search_spaces.lion.judge import networks, photographs
from search_spaces.lion.judge.code import code_digest

VALIDATION_IMAGES = 512
SYMBOLS = 64
CONTEXT = 32
VALIDATION_WINDOWS = 128


class Data(NamedTuple):
    """Inputs and targets for training (n_train, ...) and for validation (n_validation, ...), first axes matching."""

    inputs: Tensor
    targets: Tensor
    validation_inputs: Tensor
    validation_targets: Tensor


@dataclass(frozen=True, slots=True)
class Task:
    """A held-out task.

    Attributes:
        name: as users write it.
        title: for tables: model and data.
        metric: what the validation loss is; lower is better.
        steps: the fixed horizon of a training run, at whose end the schedule is at zero.
        batch: examples a step.
        build: the network.
        load: the data.
        loss: (outputs, targets) -> mean loss, a scalar tensor; trained on and judged by.
    """

    name: str
    title: str
    metric: str
    steps: int
    batch: int
    build: Callable[[], nn.Module] = field(repr=False)
    load: Callable[[], Data] = field(repr=False)
    loss: Callable[[Tensor, Tensor], Tensor] = field(repr=False)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all predictions; outputs (..., classes), targets (...) int64."""
    return F.cross_entropy(outputs.flatten(0, -2), targets.flatten())


@functools.cache
def clothes() -> Data:
    """The held-out part of Fashion-MNIST: images (n, 28, 28) float32 in [0, 1], labels (n,) int64."""
    part = fashion_mnist.part("held_out")
    parts = []
    for examples, limit in ((part.train, None), (part.validation, VALIDATION_IMAGES)):
        parts.append(torch.from_numpy(examples.images[:limit].astype(np.float32) / np.float32(255.0)))
        parts.append(torch.from_numpy(examples.labels[:limit].astype(np.int64)))
    return Data(*parts)


@functools.cache
def standardised_clothes() -> Data:
    """`clothes` with the mean and the deviation of the training pixels taken out."""
    data = clothes()
    mean, deviation = data.inputs.mean(), data.inputs.std()
    return data._replace(
        inputs=(data.inputs - mean) / deviation, validation_inputs=(data.validation_inputs - mean) / deviation
    )


@functools.cache
def flat_clothes() -> Data:
    """`standardised_clothes` as (n, 784) inputs that are their own targets."""
    data = standardised_clothes()
    training, validation = data.inputs.flatten(1), data.validation_inputs.flatten(1)
    return Data(training, training, validation, validation)


@functools.cache
def jargon() -> Data:
    """Windows of the jargon text, inputs (n, 32) int64, targets the same moved on by one character.

    The first nine tenths train, and every place in them starts a window; evenly spread windows of the rest validate.
    The 63 most frequent characters have a symbol of their own, all others share the last.
    """
    text = texts.text("jargon")
    frequent = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))[: SYMBOLS - 1]
    table = {character: symbol for symbol, (character, _) in enumerate(frequent)}
    symbols = torch.tensor([table.get(character, SYMBOLS - 1) for character in text], dtype=torch.int64)
    border = len(symbols) * 9 // 10
    training = symbols[:border].unfold(0, CONTEXT + 1, 1)  # a view: windows overlap and share memory
    rest = symbols[border:].unfold(0, CONTEXT + 1, 1)
    chosen = torch.linspace(0, len(rest) - 1, VALIDATION_WINDOWS).long()
    validation = rest[chosen]
    return Data(training[:, :-1], training[:, 1:], validation[:, :-1], validation[:, 1:])


@functools.cache
def pixels() -> Data:
    """Features of places in the two photographs, and the colours there, standardised; see `photographs`."""
    data = Data(*map(torch.from_numpy, photographs.examples()))
    mean, deviation = data.targets.mean(dim=0), data.targets.std()
    return data._replace(
        targets=(data.targets - mean) / deviation, validation_targets=(data.validation_targets - mean) / deviation
    )


TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        Task(
            "vit", "vision transformer, Fashion-MNIST", "cross-entropy, nats", 500, 32,
            lambda: networks.VisionTransformer(width=32, depth=3, heads=2), standardised_clothes, cross_entropy,
        ),
        Task(
            "characters", "character transformer, jargon text", "cross-entropy, nats a character", 500, 8,
            lambda: networks.CharacterTransformer(SYMBOLS, CONTEXT, width=48, depth=4, heads=3), jargon, cross_entropy,
        ),
        Task(
            "autoencoder", "dense autoencoder, Fashion-MNIST", "squared error over the pixels' variance", 600, 64,
            lambda: networks.Perceptron((784, 128, 32, 12, 32, 128, 784)), flat_clothes, F.mse_loss,
        ),
        Task(
            "photographs", "coordinates to colours, two photographs", "squared error over the colours' variance",
            800, 256,
            lambda: networks.Perceptron((photographs.FEATURES, 64, 64, 64, 3)), pixels, F.mse_loss,
        ),
    )
}  # fmt: skip
"""By name, in the order of tables."""


def task_named(name: str) -> Task:
    """The task of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in TASKS:
        raise UsageError(
            f"there is no held-out task {name!r}", did_you_mean(name, TASKS) or f"the tasks are {', '.join(TASKS)}"
        )
    return TASKS[name]


def task_digest(name: str, steps: int) -> str:
    """Hexadecimal digest of all that a run's result depends on beside optimizer, setting, seed and torch: the task's
    figures, its data to the bit, and the code that defines data, network and training.

    Args:
        steps: the horizon, of the task's own or shortened.
    """
    task = task_named(name)
    return hashlib.sha256(f"{name}/{steps}/{task.batch}/{_data_digest(name)}/{_code()}".encode()).hexdigest()


@functools.cache
def _data_digest(name: str) -> str:
    state = hashlib.sha256()
    for tensor in task_named(name).load():
        # windows are overlapping views; their first symbols and their last window hold all there is
        part = tensor if tensor.is_contiguous() else torch.cat([tensor[:, 0], tensor[-1]])
        state.update(part.contiguous().numpy().tobytes())
    return state.hexdigest()


@functools.cache
def _code() -> str:
    from search_spaces.lion.judge import training

    return "/".join(code_digest(module) for module in (sys.modules[__name__], networks, photographs, training))
