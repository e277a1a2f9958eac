"""What networks are trained and judged on: Fashion-MNIST in three parts that never overlap, by default at half size.

Training, validation and test images are those that `search_spaces.data.fashion_mnist` deals to the splits of these
names, all of its parts together: 37,800, 21,000 and 11,200 of the whole set, 5,400, 3,000 and 1,600 of the shipped one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evo.errors import ConfigError
from search_spaces.building.pictures import normalised
from search_spaces.data.fashion_mnist import CELLS, CLASSES, FashionMNIST, fashion_mnist

CLASS_COUNT = len(CLASSES)
_SIDE = 28


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Examples for training, for the search's objective, and for what is reported in the end.

    Attributes:
        train, validation, test: (n, 1, side, side) float32, normalised.
        train_labels, validation_labels, test_labels: (n,) int64.
        source: where they come from, for people.
        digest: hexadecimal SHA-256 of the data set they come from.
    """

    train: Tensor
    train_labels: Tensor
    validation: Tensor
    validation_labels: Tensor
    test: Tensor
    test_labels: Tensor
    source: str
    digest: str


def images(
    source: str | None = None,
    *,
    side: int = 14,
    train: int | None = None,
    validation: int | None = None,
    test: int | None = None,
) -> Images:
    """Fashion-MNIST for the networks here.

    Args:
        source: as for `search_spaces.data.fashion_mnist.fashion_mnist`; None: the whole set if it is installed.
        side: 28 divided by a whole number: pixels are averaged over squares.
        train, validation, test: the first so many of each part, in a random order of classes; None: all.

    Raises:
        DataError: it cannot be read.
        ConfigError: a side that does not fit, or more images than there are.
    """
    if side < 1 or _SIDE % side:
        raise ConfigError(f"images of side {side} cannot be made of {_SIDE} x {_SIDE} pixels", "give 28, 14, 7 or 4")
    data = fashion_mnist(source)
    parts: dict[str, Tensor] = {}
    for split, wanted in (("train", train), ("validation", validation), ("test", test)):
        rows = _rows(data, split)
        if wanted is not None and not 1 <= wanted <= len(rows):
            hint = f"give 1 to {len(rows)}, or another source: 'installed' is Debian's dataset-fashion-mnist"
            raise ConfigError(f"{wanted:,} {split} images were asked for; there are {len(rows):,}", hint)
        rows = rows[:wanted]
        parts[split] = averaged(normalised(data.images[rows]), side)
        parts[f"{split}_labels"] = torch.from_numpy(data.labels[rows].astype(np.int64))
    counts = " ".join(f"{len(parts[split]):,} {split}," for split in ("train", "validation", "test"))
    return Images(**parts, source=f"Fashion-MNIST: {counts} {side} x {side}", digest=data.digest)


def averaged(pictures: Tensor, side: int) -> Tensor:
    """Pictures (n, c, height, width) averaged over squares to (n, c, side, side)."""
    return torch.nn.functional.avg_pool2d(pictures, pictures.shape[-1] // side)


def _rows(data: FashionMNIST, split: str) -> np.ndarray:
    wanted = [place for place, (_, name) in enumerate(CELLS) if name == split]
    rows = np.flatnonzero(np.isin(data.cells, wanted))
    # by place in the whole set, which is random in the classes
    return rows[np.argsort(data.places[rows], kind="stable")]
