"""The data of the held-out tasks, as tensors: what trains and what validates, by fold."""

from __future__ import annotations

import functools
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from search_spaces.data import fashion_mnist, texts
from search_spaces.lion.judge import photographs, tumours

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


Folds = tuple[Data, ...]
"""What a task loads: usually one. Where there are several, a run trains a network on each, and what validates is pooled
over them, so that a small set validates as a whole."""


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
def standardised_clothes() -> Folds:
    """`clothes` with the mean and the deviation of the training pixels taken out."""
    data = clothes()
    mean, deviation = data.inputs.mean(), data.inputs.std()
    return (
        data._replace(
            inputs=(data.inputs - mean) / deviation, validation_inputs=(data.validation_inputs - mean) / deviation
        ),
    )


@functools.cache
def flat_clothes() -> Folds:
    """`standardised_clothes` as (n, 784) inputs that are their own targets."""
    (data,) = standardised_clothes()
    training, validation = data.inputs.flatten(1), data.validation_inputs.flatten(1)
    return (Data(training, training, validation, validation),)


@functools.cache
def jargon() -> Folds:
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
    return (Data(training[:, :-1], training[:, 1:], validation[:, :-1], validation[:, 1:]),)


@functools.cache
def pixels() -> Folds:
    """Features of places in the two photographs, and the colours there, standardised; see `photographs`."""
    data = Data(*map(torch.from_numpy, photographs.examples()))
    mean, deviation = data.targets.mean(dim=0), data.targets.std()
    return (
        data._replace(
            targets=(data.targets - mean) / deviation, validation_targets=(data.validation_targets - mean) / deviation
        ),
    )


@functools.cache
def neighbourhoods() -> Folds:
    """Five folds of the tumours' graph; see `tumours`."""
    inputs, targets = map(torch.from_numpy, tumours.nodes())
    return tuple(
        Data(inputs[trains], targets[trains], inputs[validates], targets[validates])
        for trains, validates in (map(torch.from_numpy, fold) for fold in tumours.folds())
    )
