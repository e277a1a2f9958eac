"""How a network is trained and judged: SGD with Nesterov momentum over a half cosine.

NAS-Bench-201's recipe (rate 0.1 to 0, momentum 0.9, decay 5e-4, mirrored images) with batches of 128, on fewer images
and epochs; images are not shifted by default, which short schedules gain nothing from. Works for any classifier of
images that returns logits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.building.pictures import distorted
from search_spaces.robot.benchmark.images import Images

_EVALUATED = 500
"""Images a forward pass outside training."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A training.

    Attributes:
        epochs: passes over the training images.
        batch: images a step; what is left of an epoch after whole batches is not used.
        rate: learning rate at the first step; it falls to 0 along a half cosine.
        momentum: of Nesterov's kind.
        decay: weight decay, of every parameter.
        shift: largest shift of an image in pixels, each way.
        mirror: whether every other image, at random, is mirrored.
        watched: validation images that the curve's accuracy is taken on, the last epoch's excepted.
    """

    epochs: int = 2
    batch: int = 128
    rate: float = 0.1
    momentum: float = 0.9
    decay: float = 5e-4
    shift: int = 0
    mirror: bool = True
    watched: int = 1000


@dataclass(frozen=True, slots=True)
class Epoch:
    """One point of the curve.

    Attributes:
        loss: mean cross-entropy of the epoch's batches, each before its step.
        train: share of training images that were right, likewise.
        validation: share of the watched validation images that are right after the epoch; after the last: of all.
    """

    loss: float
    train: float
    validation: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gave.

    Attributes:
        validation: share of right answers, all validation images: the objective.
        test: likewise on the test images: for the report, never for a choice.
        curve: by epoch.
        seconds: of processor time, for training and judging.
    """

    validation: float
    test: float
    curve: tuple[Epoch, ...]
    seconds: float


def train(
    network: nn.Module,
    images: Images,
    schedule: Schedule,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train a network in place and judge it.

    The same network, images, schedule, seed and number of torch threads give the same result; the global random state
    is neither used nor changed.

    Args:
        network: with its first weights; ends trained, in evaluation mode and channels-last.
        images: to train and judge on.
        schedule: how.
        seed: of the images' order and distortions.
        progress: called with epochs done and all epochs, after each.

    Returns:
        Accuracies, curve and cost. A training that diverged has the accuracy of the guesses that came of it.
    """
    started = time.process_time()
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), schedule.rate, schedule.momentum, weight_decay=schedule.decay, nesterov=True
    )
    generator = torch.Generator().manual_seed(seed)
    count = len(images.train_labels)
    steps = max(1, count // schedule.batch)
    curve = []
    for epoch in range(schedule.epochs):
        network.train()
        order = torch.randperm(count, generator=generator)
        loss_sum, right, seen = 0.0, 0, 0
        for step in range(steps):
            rows = order[step * schedule.batch : (step + 1) * schedule.batch]
            done = (epoch * steps + step) / (schedule.epochs * steps)
            for group in optimizer.param_groups:
                group["lr"] = schedule.rate * 0.5 * (1 + math.cos(math.pi * done))
            batch = distorted(images.train[rows], schedule.shift, schedule.mirror, generator)
            labels = images.train_labels[rows]
            logits = network(batch.contiguous(memory_format=torch.channels_last))
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += float(loss.detach()) * len(rows)
            right += int((logits.detach().argmax(1) == labels).sum())
            seen += len(rows)
        watched = schedule.watched if epoch + 1 < schedule.epochs else len(images.validation)
        validation = accuracy(network, images.validation[:watched], images.validation_labels[:watched])
        curve.append(Epoch(loss_sum / seen, right / seen, validation))
        if progress is not None:
            progress(epoch + 1, schedule.epochs)
    validation = curve[-1].validation
    test = accuracy(network, images.test, images.test_labels)
    return Trained(validation, test, tuple(curve), time.process_time() - started)


def accuracy(network: nn.Module, pictures: Tensor, labels: Tensor) -> float:
    """Share of pictures (n, c, h, w) whose largest logit is at their label; leaves the network in evaluation mode."""
    network.eval()
    right = 0
    with torch.no_grad():
        for start in range(0, len(labels), _EVALUATED):
            batch = pictures[start : start + _EVALUATED].contiguous(memory_format=torch.channels_last)
            right += int((network(batch).argmax(1) == labels[start : start + _EVALUATED]).sum())
    return right / len(labels)
