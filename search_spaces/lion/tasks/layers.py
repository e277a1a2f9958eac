"""Layers of N networks at once in numpy: batched products, hand-written backward passes, results independent of N.

Weights and biases of a layer are views into the flat weights of all networks. Every sum is a product of one network's
matrices (with ones, for a bias), and a maximum is exact in any order: so no number of a network depends on N or on its
place, to the bit. numpy's products of small matrices beat torch's 1.5 to 7 times here. Intermediate results go to
`Scratch`, because fresh memory for each of them costs more than the arithmetic (page faults).
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from kernels.dense import mlp_logits, mlp_loss_and_gradient

Array = np.ndarray


class Scratch:
    """Buffers by name, kept from step to step and grown when needed."""

    def __init__(self) -> None:
        self._buffers: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int) -> Array:
        """An uninitialised contiguous float32 array; it is the same memory at each call with this name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, np.float32)
        return buffer[:size].reshape(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {"_buffers": {}}


class Dense(NamedTuple):
    """Where a dense layer's weights lie: `inputs` x `outputs` values from `offset`, then `outputs` biases."""

    name: str
    offset: int
    inputs: int
    outputs: int

    @property
    def end(self) -> int:
        return self.offset + (self.inputs + 1) * self.outputs

    @property
    def segments(self) -> tuple[int, int]:
        """Offsets of the weights and of the biases: two tensors."""
        return self.offset, self.offset + self.inputs * self.outputs

    def views(self, flat: Array) -> tuple[Array, Array]:
        """Weights (N, inputs, outputs) and biases (N, 1, outputs) in flat weights or gradients (N, n_parameters)."""
        first, bias = self.segments
        strides = (flat.strides[0], self.outputs * flat.itemsize, flat.itemsize)
        shape = (len(flat), self.inputs, self.outputs)
        return np.lib.stride_tricks.as_strided(flat[:, first:bias], shape, strides), flat[:, None, bias : self.end]

    def forward(self, weights: Array, inputs: Array, scratch: Scratch) -> Array:
        """Outputs (N, B, outputs) of flat weights (N, n_parameters) for inputs (N, B, inputs), or (B, inputs) that all
        networks share."""
        matrix, bias = self.views(weights)
        out = scratch(f"{self.name} outputs", len(weights), inputs.shape[-2], self.outputs)
        np.matmul(inputs, matrix, out=out)
        out += bias
        return out

    def backward(self, inputs: Array, delta: Array, gradient: Array) -> None:
        """Write the layer's gradient into flat `gradient`, given `delta` (N, B, outputs), that by its outputs."""
        matrix, bias = self.views(gradient)
        np.matmul(inputs.swapaxes(-1, -2), delta, out=matrix)
        np.matmul(np.ones((1, delta.shape[1]), delta.dtype), delta, out=bias)

    def backward_inputs(self, weights: Array, delta: Array, scratch: Scratch) -> Array:
        """The gradient (N, B, inputs) by the layer's inputs."""
        out = scratch(f"{self.name} inputs", *delta.shape[:2], self.inputs)
        return np.matmul(delta, self.views(weights)[0].swapaxes(-1, -2), out=out)


class DenseNetwork:
    """Of a task whose network is a plain perceptron, for `kernels.dense`: ReLU between layers, then cross-entropy.

    A task that states `dense_sizes` promises that its batches are (inputs, labels), and that its weights and its loss
    are those of `kernels.dense`: training then takes many steps in one call.
    """

    sizes: tuple[int, ...]

    @property
    def dense_sizes(self) -> tuple[int, ...]:
        """Widths from input to output."""
        return self.sizes

    def loss_and_gradient(self, weights: Array, batch: tuple[Array, Array], gradient: Array) -> Array:
        """Losses (N,); the gradient is written to `gradient`."""
        return mlp_loss_and_gradient(weights, *batch, self.sizes, gradient)

    def logits(self, weights: Array, images: Array) -> Array:
        """Outputs (N, B, classes) before the softmax."""
        return mlp_logits(weights, images, self.sizes)


def chain(*sizes: int, offset: int = 0) -> tuple[Dense, ...]:
    """Dense layers sizes[0] -> sizes[1] -> ..., one after the other in memory from `offset`."""
    layers: list[Dense] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers.append(Dense(f"dense {len(layers)}", offset, inputs, outputs))
        offset = layers[-1].end
    return tuple(layers)


def fill_uniform(flat: Array, layer: Dense, rng: np.random.Generator, gain: float = 1.0) -> None:
    """Initial weights, uniform with variance gain**2 / inputs (He et al. 2015: gain sqrt 2 for ReLU); zero biases."""
    bound = gain * math.sqrt(3.0 / layer.inputs)
    first, bias = layer.segments
    flat[first:bias] = rng.uniform(-bound, bound, bias - first)
    flat[bias : layer.end] = 0.0


def relu(values: Array) -> Array:
    """max(values, 0), in place."""
    return np.maximum(values, 0.0, out=values)


def relu_backward(delta: Array, outputs: Array) -> Array:
    """`delta`, in place, where the ReLU's outputs are positive, else 0."""
    delta *= outputs > 0.0
    return delta


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """Mean cross-entropy (N,) in nats of logits (N, B, C) for labels (B,), and its gradient (N, B, C) by the logits,
    which it overwrites."""
    batch, classes = logits.shape[1:]
    logits -= _highest(logits)
    rows = np.arange(batch)
    right = logits[:, rows, labels]
    delta = np.exp(logits, out=logits)
    total = np.matmul(delta, np.ones((classes, 1), delta.dtype))
    loss = mean(np.log(total[:, :, 0]) - right)
    delta /= total
    delta[:, rows, labels] -= 1.0
    delta *= np.float32(1.0 / batch)
    return loss, delta


def judge(logits: Array, labels: Array) -> dict[str, Array]:
    """Mean cross-entropy and accuracy (N,) of logits (N, B, C), in float64; NaN counts as wrong."""
    values = logits.astype(np.float64)
    values -= _highest(values)
    right = values[:, np.arange(values.shape[1]), labels].copy()
    hits = (values.argmax(-1) == labels) & ~np.isnan(right)
    total = np.matmul(np.exp(values, out=values), np.ones((values.shape[2], 1)))
    return {"loss": mean(np.log(total[:, :, 0]) - right), "accuracy": mean(hits.astype(np.float64))}


def mean(values: Array) -> Array:
    """Mean over the last of two dimensions, as a product with a constant vector: its order of summation is fixed."""
    width = values.shape[1]
    share = np.full((width, 1), 1.0 / width, values.dtype)
    return np.matmul(np.ascontiguousarray(values)[:, None, :], share)[:, 0, 0]


def _highest(logits: Array) -> Array:
    """Maximum (N, B, 1) over the classes; a loop where they are few, which is 5 times faster."""
    classes = logits.shape[2]
    if classes > 16:
        return logits.max(axis=2, keepdims=True)
    top = logits[:, :, 0].copy()
    for label in range(1, classes):
        np.maximum(top, logits[:, :, label], out=top)
    return top[:, :, None]
