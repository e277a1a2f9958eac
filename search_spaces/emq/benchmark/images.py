"""Images of the benchmark: Fashion-MNIST's own training and test images, as the networks take them.

The whole set where it is installed (60,000 and 10,000), else those of either kind in the shipped subset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search_spaces.building.pictures import normalised
from search_spaces.data.fashion_mnist import FashionMNIST, fashion_mnist

TRAINING = 60_000
"""The whole set's training images come before its test images."""
_BATCH_SEED = 4


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Examples for training and calibration, and others for the test.

    Attributes:
        train, test: what the model is called with, first dimension examples.
        train_labels, test_labels: (n,) int64.
        source: where they come from, for people.
        digest: hexadecimal SHA-256 of all of them.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    source: str
    digest: str


def images(source: str | None = None) -> Images:
    """Fashion-MNIST for the networks here, images (n, 1, 28, 28) float32.

    Args:
        source: as for `search_spaces.data.fashion_mnist.fashion_mnist`; None: the whole set if it is installed.

    Raises:
        DataError: it cannot be read.
    """
    data = fashion_mnist(source)
    training = data.places < TRAINING
    kind = "whole" if len(data.labels) > TRAINING else "the shipped subset"
    name = f"Fashion-MNIST, {kind}: {training.sum():,} training and {(~training).sum():,} test images"
    return Images(*_examples(data, training), *_examples(data, ~training), source=name, digest=data.digest)


def training_batch(n: int) -> tuple[Tensor, Tensor]:
    """n training images of the shipped subset in a fixed order: (n, 1, 28, 28) float32, and labels (n,) int64.

    The first n of a longer batch are those of a shorter one.
    """
    data = fashion_mnist("shipped")
    rows = np.flatnonzero(data.places < TRAINING)
    order = np.random.Generator(np.random.Philox(key=_BATCH_SEED)).permutation(len(rows))
    return _examples(data, rows[order[:n]])


def _examples(data: FashionMNIST, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    return normalised(data.images[rows]), torch.from_numpy(data.labels[rows].astype(np.int64))
