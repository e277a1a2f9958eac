"""Convolutional networks of N sets of weights at once in numpy: 3 x 3 convolutions of stride 2, then a dense layer.

As in layers.py, every sum is a product of one network's matrices, or runs in a fixed order, so that no number of a
network depends on N or on its place, to the bit.

A convolution is a matrix product with the patches of its input. Examples come last in every array, (channels, row,
column, example): the copies between images and patches then run over whole batches, and a product's long side is all
places of all examples. The biases of a layer lie behind its weights, so that weights and biases are one matrix, and a
row of ones among the patches makes the product add the bias, and gives its gradient.

Networks are worked through in blocks whose patches stay in the cache; this has no influence on any number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from search_spaces.lion.tasks import layers

Array = np.ndarray

KERNEL, STRIDE, PADDING = 3, 2, 1
BLOCK_BYTES = 1 << 21
"""Patches of all layers of the networks in a block. Measured on the 14 x 14 network: 2 MiB is best; 1 MiB, 4 MiB and
32 MiB cost 10, 25 and 40 % more."""
JUDGED_TOGETHER = 256
"""Examples a forward pass of `logits` takes at once."""


class Convolution(NamedTuple):
    """A layer from images of `size` x `size` and `channels` channels to `reduced` x `reduced` and `filters`.

    Its weights are those of a dense layer of 9 * channels inputs (channel, row, column of the patch, as in torch's
    `Conv2d`), stored inputs x outputs.
    """

    dense: layers.Dense
    size: int
    channels: int
    filters: int

    @property
    def reduced(self) -> int:
        return (self.size + 2 * PADDING - KERNEL) // STRIDE + 1

    @property
    def padded(self) -> int:
        """The extent that patches reach: a zero on the left, and one on the right if a patch sees it."""
        return STRIDE * (self.reduced - 1) + KERNEL

    @property
    def inner(self) -> slice:
        """Where the image lies in its padded form."""
        return slice(PADDING, min(PADDING + self.size, self.padded))

    def patches(self, padded: Array, out: Array) -> None:
        """Write patches (n, 9 * channels + 1, places * B), the last row ones, of padded images (n, channels, padded,
        padded, B)."""
        n, batch = len(padded), padded.shape[-1]
        across = self.reduced
        image, channel, row, column, example = padded.strides
        windows = np.lib.stride_tricks.as_strided(
            padded,
            (n, self.channels, KERNEL, KERNEL, across, across, batch),
            (image, channel, row, column, STRIDE * row, STRIDE * column, example),
            writeable=False,
        )
        np.copyto(out[:, :-1].reshape(windows.shape), windows)
        out[:, -1] = 1.0

    def spread(self, patches: Array, out: Array) -> None:
        """The transpose of `patches`, without the row of ones: `out` (n, channels, padded, padded, B) gets the sum of
        the values that patches have of each place, always in the same order."""
        n, batch = len(out), out.shape[-1]
        across = self.reduced
        cells = patches.reshape(n, self.channels, KERNEL, KERNEL, across, across, batch)
        reach = STRIDE * (across - 1) + 1
        # the first two rows and columns of all patches tile the image: they are written, which saves a pass of zeros
        out[:, :, STRIDE * across :] = 0.0
        out[:, :, :, STRIDE * across :] = 0.0
        for row, column in sorted(itertools.product(range(KERNEL), repeat=2), key=max):
            places = out[:, :, row : row + reach : STRIDE, column : column + reach : STRIDE]
            if max(row, column) < STRIDE:
                np.copyto(places, cells[:, :, row, column])
            else:
                places += cells[:, :, row, column]


class ConvNet:
    """Convolutions with ReLU between, and a dense layer on all that is left: image -> ... -> classes.

    Args:
        size: rows and columns of the images, which have one channel.
        filters: of each convolution.
        classes: outputs of the dense layer.
    """

    def __init__(self, size: int, filters: tuple[int, ...], classes: int) -> None:
        self.size, self.classes = size, classes
        self.convolutions: list[Convolution] = []
        offset, channels = 0, 1
        for number, count in enumerate(filters):
            dense = layers.Dense(f"convolution {number}", offset, KERNEL * KERNEL * channels, count)
            self.convolutions.append(Convolution(dense, size, channels, count))
            offset, channels, size = dense.end, count, self.convolutions[-1].reduced
        self.output = layers.Dense("dense", offset, channels * size * size, classes)
        self.layers = (*(layer.dense for layer in self.convolutions), self.output)
        self.segments = (*(start for layer in self.layers for start in layer.segments), self.output.end)
        self.shapes = tuple(
            shape for layer in self.layers for shape in ((layer.inputs, layer.outputs), (layer.outputs, 1))
        )

    def loss_and_gradient(
        self, weights: Array, images: Array, labels: Array, gradient: Array, scratch: layers.Scratch
    ) -> Array:
        """Mean cross-entropy (N,) of weights (N, n_parameters) on images (B, size * size), and its gradient.

        Args:
            weights: float32.
            images: float32, row by row.
            labels: (B,) int64.
            gradient: of the weights' shape; written to.
            scratch: memory for intermediate results.
        """
        first = self._image_patches(images)
        losses = np.empty(len(weights), np.float32)
        for rows in self._blocks(len(weights), len(images)):
            losses[rows] = self._backward(weights[rows], first, labels, gradient[rows], scratch)
        return losses

    def logits(self, weights: Array, images: Array, scratch: layers.Scratch) -> Array:
        """Outputs (N, B, classes) before the softmax for images (B, size * size)."""
        out = np.empty((len(weights), self.classes, len(images)), np.float32)
        for start in range(0, len(images), JUDGED_TOGETHER):
            some = slice(start, start + JUDGED_TOGETHER)
            first = self._image_patches(images[some])
            for rows in self._blocks(len(weights), len(images[some])):
                out[rows, :, some] = self._forward(weights[rows], first, scratch)[-1]
        return out.swapaxes(1, 2)

    def _blocks(self, n: int, batch: int) -> Iterator[slice]:
        each = sum((layer.dense.inputs + 1) * layer.reduced**2 for layer in self.convolutions[1:])
        block = max(1, BLOCK_BYTES // (4 * batch * max(1, each)))
        return (slice(start, start + block) for start in range(0, n, block))

    def _image_patches(self, images: Array) -> Array:
        """Patches (10, places * B) of the images, which all networks share."""
        layer, batch = self.convolutions[0], len(images)
        padded = np.zeros((1, 1, layer.padded, layer.padded, batch), np.float32)
        padded[0, 0, layer.inner, layer.inner] = images.T.reshape(self.size, self.size, batch)
        out = np.empty((1, layer.dense.inputs + 1, layer.reduced**2 * batch), np.float32)
        layer.patches(padded, out)
        return out[0]

    def _forward(self, weights: Array, first: Array, scratch: layers.Scratch) -> list[Array]:
        """Patches of each convolution, the last one's outputs (n, inputs + 1, B) with ones below, and the logits
        (n, classes, B). What is kept after the ReLU is in `scratch`, padded for the next layer."""
        n, batch = len(weights), first.shape[1] // self.convolutions[0].reduced ** 2
        kept = [first]
        for number, layer in enumerate(self.convolutions):
            across = layer.reduced
            sums = scratch("sums", n, layer.filters, across * across * batch)
            np.matmul(_whole(layer.dense, weights).swapaxes(1, 2), kept[-1], out=sums)
            if layer is self.convolutions[-1]:
                features = scratch("features", n, self.output.inputs + 1, batch)
                np.maximum(sums.reshape(n, -1, batch), 0.0, out=features[:, :-1])
                features[:, -1] = 1.0
                kept.append(features)
            else:
                below = self.convolutions[number + 1]
                padded = self._padded(below, n, batch, scratch)
                np.maximum(
                    sums.reshape(n, layer.filters, across, across, batch),
                    0.0,
                    out=padded[:, :, below.inner, below.inner],
                )
                patches = scratch(f"patches {number + 1}", n, below.dense.inputs + 1, below.reduced**2 * batch)
                below.patches(padded, patches)
                kept.append(patches)
        logits = scratch("logits", n, self.classes, batch)
        kept.append(np.matmul(_whole(self.output, weights).swapaxes(1, 2), kept[-1], out=logits))
        return kept

    def _backward(self, weights: Array, first: Array, labels: Array, gradient: Array, scratch: layers.Scratch) -> Array:
        n, batch = len(weights), len(labels)
        *kept, features, logits = self._forward(weights, first, scratch)
        loss, delta = layers.cross_entropy(logits.swapaxes(1, 2), labels)
        np.matmul(features, delta, out=_whole(self.output, gradient))
        slope = scratch("sums", n, self.output.inputs, batch)
        np.matmul(self.output.views(weights)[0], delta.swapaxes(1, 2), out=slope)
        slope *= features[:, :-1] > 0.0
        for number in reversed(range(len(self.convolutions))):
            layer, patches = self.convolutions[number], kept[number]
            slope = slope.reshape(n, layer.filters, -1)
            np.matmul(patches, slope.swapaxes(1, 2), out=_whole(layer.dense, gradient))
            if number == 0:
                break
            # the patches are not needed any more: their memory takes their gradient
            below = np.matmul(layer.dense.views(weights)[0], slope, out=patches[:, :-1])
            spread = scratch("spread", n, layer.channels, layer.padded, layer.padded, batch)
            layer.spread(below, spread)
            values = scratch(f"padded {layer.dense.name}", *spread.shape)[:, :, layer.inner, layer.inner]
            slope = scratch("sums", n, layer.channels, layer.size, layer.size, batch)
            np.multiply(spread[:, :, layer.inner, layer.inner], values > 0.0, out=slope)
        return loss

    def _padded(self, layer: Convolution, n: int, batch: int, scratch: layers.Scratch) -> Array:
        """Memory for a layer's padded input, with zeros around."""
        padded = scratch(f"padded {layer.dense.name}", n, layer.channels, layer.padded, layer.padded, batch)
        for edge in (slice(0, layer.inner.start), slice(layer.inner.stop, layer.padded)):
            padded[:, :, edge] = 0.0
            padded[:, :, :, edge] = 0.0
        return padded


def _whole(layer: layers.Dense, flat: Array) -> Array:
    """Weights and, below them, biases (N, inputs + 1, outputs): a view into flat weights or gradients."""
    strides = (flat.strides[0], layer.outputs * flat.itemsize, flat.itemsize)
    shape = (len(flat), layer.inputs + 1, layer.outputs)
    return np.lib.stride_tricks.as_strided(flat[:, layer.offset : layer.end], shape, strides)
