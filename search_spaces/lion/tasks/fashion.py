"""Fashion-MNIST: dense and convolutional networks, small ones for the search, larger ones for selection.

The search's tasks read the part "search" of the shipped subset, so that a search is the same on every machine.
Selection's read the part "selection" of whatever set is there (see `search_spaces.data.fashion_mnist`): images that
no search saw, and many more of them where the whole set is installed.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import xxhash

from kernels.dense import mlp_segments
from search_spaces.data import fashion_mnist
from search_spaces.lion.tasks import layers
from search_spaces.lion.tasks.base import Shuffle, generator
from search_spaces.lion.tasks.convolution import ConvNet

JUDGED = 2000
"""At most this many images of a split judge a network: a standard error of about 1 % in accuracy."""


class Examples(NamedTuple):
    """Images (B, size * size) float32: standardised pixels, row by row; labels (B,) int64."""

    images: np.ndarray
    labels: np.ndarray


class Prepared(NamedTuple):
    """Examples by split, and a digest of the data that they were made from."""

    splits: dict[str, Examples]
    digest: str


def prepared(part: str, source: str | None, size: int) -> Prepared:
    """A part's examples with pixels centred and scaled by the mean and deviation of all training pixels.

    Args:
        part: of `fashion_mnist.PARTS`.
        source: as for `fashion_mnist.part`.
        size: 28, or 14 for means of 2 x 2 pixels.
    """
    return _prepared(fashion_mnist.part(part, source), size)


@functools.cache
def _prepared(data: fashion_mnist.Part, size: int) -> Prepared:
    step = 28 // size
    # sums of bytes: exact, so that pooling has no order of summation
    pooled = {
        split: data[split].images.astype(np.int64).reshape(-1, size, step, size, step).sum((2, 4)).reshape(-1, size**2)
        for split in fashion_mnist.SPLITS
    }
    train = pooled["train"]
    centre, scale = train.mean(), train.std()
    splits = {}
    for split, sums in pooled.items():
        rows = slice(None) if split == "train" else slice(JUDGED)
        images = ((sums[rows] - centre) / scale).astype(np.float32)
        splits[split] = Examples(images, data[split].labels[rows].astype(np.int64))
    return Prepared(splits, f"{data.digest}/{size}")


class Fashion:
    """What the networks share: data, batches, judgement."""

    version = 1
    pace = 1.0
    chance = math.log(10)
    metric = "accuracy"
    name: str
    segments: tuple[int, ...]
    shapes: tuple[tuple[int, int], ...]
    part = "search"
    source: str | None = "shipped"
    size = 14

    def __init__(self) -> None:
        self._data = prepared(self.part, self.source, self.size)
        self._shuffle = Shuffle(len(self._data.splits["train"].labels))
        self._scratch = layers.Scratch()

    def digest(self) -> str:
        return xxhash.xxh3_128_hexdigest(f"{self.name}/{self.version}/{self.segments}/{self._data.digest}".encode())

    def initial(self, seed: int) -> np.ndarray:
        rng = generator(seed, 0)
        flat = np.empty(self.segments[-1], np.float32)
        *hidden, output = self._layers()
        for layer in hidden:
            layers.fill_uniform(flat, layer, rng, math.sqrt(2))
        layers.fill_uniform(flat, output, rng)
        return flat

    def batch(self, step: int, seed: int, size: int) -> Examples:
        rows = self._shuffle(step, seed, size)
        train = self._data.splits["train"]
        return Examples(train.images[rows], train.labels[rows])

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        examples = self._data.splits[split]
        return layers.judge(self.logits(weights, examples.images), examples.labels)

    def logits(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Outputs (N, B, 10) before the softmax."""
        raise NotImplementedError

    def _layers(self) -> tuple[layers.Dense, ...]:
        """Where the weights of each layer lie."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()


def _dense_shapes(sizes: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(rows, columns) of the tensors of a dense network."""
    return tuple(
        shape for layer in layers.chain(*sizes) for shape in ((layer.inputs, layer.outputs), (layer.outputs, 1))
    )


class FashionMLP(layers.DenseNetwork, Fashion):
    """14 x 14 pixels -> 32 ReLU -> 10: 6,634 weights in four tensors."""

    name = "fashion_mlp"
    sizes: tuple[int, ...] = (196, 32, 10)
    segments = tuple(mlp_segments(sizes).tolist())
    shapes = _dense_shapes(sizes)

    def _layers(self) -> tuple[layers.Dense, ...]:
        return layers.chain(*self.sizes)


class FashionMLP10x(FashionMLP):
    """14 x 14 pixels -> 64 -> 32 -> 10: 15,018 weights in six tensors; 10 times `fashion_mlp` in weights x steps."""

    name = "fashion_mlp_10x"
    pace = 4.4
    part = "selection"
    source = None
    sizes = (196, 64, 32, 10)
    segments = tuple(mlp_segments(sizes).tolist())
    shapes = _dense_shapes(sizes)


class FashionMLP100x(FashionMLP):
    """28 x 28 pixels -> 128 -> 64 -> 10: 109,386 weights in six tensors; 100 times `fashion_mlp` in weights x steps."""

    name = "fashion_mlp_100x"
    pace = 6.1
    part = "selection"
    source = None
    size = 28
    sizes = (784, 128, 64, 10)
    segments = tuple(mlp_segments(sizes).tolist())
    shapes = _dense_shapes(sizes)


class FashionConv(Fashion):
    """14 x 14 -> 7 x 7 x 8 -> 4 x 4 x 16 -> 10, ReLU between: 3,818 weights in six tensors."""

    name = "fashion_conv"
    network = ConvNet(14, (8, 16), 10)
    segments = network.segments
    shapes = network.shapes

    def loss_and_gradient(self, weights: np.ndarray, batch: Examples, gradient: np.ndarray) -> np.ndarray:
        return self.network.loss_and_gradient(weights, batch.images, batch.labels, gradient, self._scratch)

    def logits(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        return self.network.logits(weights, images, self._scratch)

    def _layers(self) -> tuple[layers.Dense, ...]:
        return self.network.layers


class FashionConv10x(FashionConv):
    """28 x 28 -> 14 x 14 x 8 -> 7 x 7 x 16 -> 4 x 4 x 32 -> 10: 11,018 weights in eight tensors; 10 times
    `fashion_conv` in weights x steps."""

    name = "fashion_conv_10x"
    pace = 3.5
    part = "selection"
    source = None
    size = 28
    network = ConvNet(28, (8, 16, 32), 10)
    segments = network.segments
    shapes = network.shapes


class FashionConv100x(FashionConv):
    """28 x 28 -> 14 x 14 x 8 -> 7 x 7 x 16 -> 4 x 4 x 64 -> 2 x 2 x 128 -> 10: 89,514 weights in ten tensors; 100 times
    `fashion_conv` in weights x steps."""

    name = "fashion_conv_100x"
    pace = 4.3
    part = "selection"
    source = None
    size = 28
    network = ConvNet(28, (8, 16, 64, 128), 10)
    segments = network.segments
    shapes = network.shapes
