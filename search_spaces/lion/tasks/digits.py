"""Handwritten digits that ship with scikit-learn: a dense and a convolutional network."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
import xxhash
from numpy.lib.stride_tricks import sliding_window_view

from kernels.dense import mlp_segments
from search_spaces.lion.tasks import layers
from search_spaces.lion.tasks.base import Shuffle, generator

SIZES = {"train": 1000, "validation": 397, "test": 400}
SPLIT_SEED = 20230213


class Examples(NamedTuple):
    """Images (B, 64) float32: standardised pixels of 8 x 8, row by row; labels (B,) int64."""

    images: np.ndarray
    labels: np.ndarray


@functools.cache
def splits() -> dict[str, Examples]:
    """The 1,797 images of `sklearn.datasets.load_digits`, in a fixed random order, as train, validation and test.
    Pixels are centred and scaled with the mean and deviation of all training pixels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = generator(SPLIT_SEED, 0).permutation(len(data.target))
    pixels, labels = data.data[order], data.target[order]
    train = pixels[: SIZES["train"]]
    scaled = ((pixels - train.mean()) / train.std()).astype(np.float32)
    out, start = {}, 0
    for split, size in SIZES.items():
        rows = slice(start, start + size)
        out[split] = Examples(scaled[rows], labels[rows].astype(np.int64))
        start += size
    return out


def data_digest() -> str:
    state = xxhash.xxh3_128()
    for split, examples in splits().items():
        state.update(split.encode())
        state.update(examples.images)
        state.update(examples.labels)
    return state.hexdigest()


class Digits:
    """What the two networks share: data, batches, judgement."""

    version = 1
    pace = 1.0
    chance = math.log(10)
    metric = "accuracy"
    name: str
    segments: tuple[int, ...]

    def __init__(self) -> None:
        self._shuffle = Shuffle(SIZES["train"])
        self._scratch = layers.Scratch()

    def digest(self) -> str:
        return xxhash.xxh3_128_hexdigest(f"{self.name}/{self.version}/{self.segments}/{data_digest()}".encode())

    def batch(self, step: int, seed: int, size: int) -> Examples:
        rows = self._shuffle(step, seed, size)
        train = splits()["train"]
        return Examples(train.images[rows], train.labels[rows])

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        examples = splits()[split]
        return layers.judge(self.logits(weights, examples.images), examples.labels)

    def logits(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Outputs (N, B, 10) before the softmax."""
        raise NotImplementedError


class DigitsMLP(layers.DenseNetwork, Digits):
    """64 pixels -> 32 ReLU -> 10: 2,410 weights in four tensors."""

    name = "digits_mlp"
    sizes = (64, 32, 10)
    segments = tuple(mlp_segments(sizes).tolist())
    shapes = ((64, 32), (32, 1), (32, 10), (10, 1))

    def initial(self, seed: int) -> np.ndarray:
        rng = generator(seed, 0)
        hidden, output = layers.chain(*self.sizes)
        flat = np.empty(output.end, np.float32)
        layers.fill_uniform(flat, hidden, rng, math.sqrt(2))
        layers.fill_uniform(flat, output, rng)
        return flat


class DigitsConv(Digits):
    """Two convolutions (3 x 3 padded, 1 -> 4 channels; 2 x 2, 4 -> 16 channels; both of stride 2) and a dense layer:
    8 x 8 -> 4 x 4 x 4 -> 2 x 2 x 16 -> 10, ReLU between: 962 weights in six tensors.

    A convolution is a dense layer over patches. The patches of the images are the same for all networks; those of the
    second layer do not overlap, so that they are a transposition.
    """

    name = "digits_conv"
    first = layers.Dense("convolution 1", 0, 9, 4)
    second = layers.Dense("convolution 2", first.end, 4 * 4, 16)
    output = layers.Dense("dense", second.end, 4 * 16, 10)
    segments = (*first.segments, *second.segments, *output.segments, output.end)
    shapes = ((9, 4), (4, 1), (16, 16), (16, 1), (64, 10), (10, 1))

    def initial(self, seed: int) -> np.ndarray:
        rng = generator(seed, 0)
        flat = np.empty(self.output.end, np.float32)
        layers.fill_uniform(flat, self.first, rng, math.sqrt(2))
        layers.fill_uniform(flat, self.second, rng, math.sqrt(2))
        layers.fill_uniform(flat, self.output, rng)
        return flat

    def logits(self, weights: np.ndarray, images: np.ndarray) -> np.ndarray:
        return self._forward(weights, images)[-1]

    def loss_and_gradient(self, weights: np.ndarray, batch: Examples, gradient: np.ndarray) -> np.ndarray:
        patches, coarse, inner, fine, logits = self._forward(weights, batch.images)
        n, size = logits.shape[:2]
        loss, delta = layers.cross_entropy(logits, batch.labels)
        self.output.backward(fine.reshape(n, size, 64), delta, gradient)
        delta = self.output.backward_inputs(weights, delta, self._scratch).reshape(n, size * 4, 16)
        delta = layers.relu_backward(delta, fine)
        self.second.backward(inner, delta, gradient)
        windows = self.second.backward_inputs(weights, delta, self._scratch).reshape(n * size, 2, 2, 2, 8)
        spread = self._scratch("spread", n * size, 2, 2, 2, 8)
        np.copyto(spread, windows.swapaxes(2, 3))
        delta = layers.relu_backward(spread.reshape(n, size * 16, 4), coarse)
        self.first.backward(patches, delta, gradient)
        return loss

    def _forward(self, weights: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, ...]:
        """Patches of the images, activations of the first layer, their windows, those of the second, logits."""
        n, size = len(weights), len(images)
        padded = np.pad(images.reshape(size, 8, 8), ((0, 0), (1, 1), (1, 1)))
        patches = sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2].reshape(size * 16, 9)
        coarse = layers.relu(self.first.forward(weights, patches, self._scratch))
        # 4 rows of 4 x 4 values become 2 x 2 windows of two rows of 2 x 4 = 8 values
        inner = self._scratch("windows", n * size, 2, 2, 2, 8)
        np.copyto(inner, coarse.reshape(n * size, 2, 2, 2, 8).swapaxes(2, 3))
        inner = inner.reshape(n, size * 4, 16)
        fine = layers.relu(self.second.forward(weights, inner, self._scratch))
        return patches, coarse, inner, fine, self.output.forward(weights, fine.reshape(n, size, 64), self._scratch)
