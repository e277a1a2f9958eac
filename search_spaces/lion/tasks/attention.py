"""Layers of a transformer for N networks at once in numpy: normed dense layers, causal attention, MLP, embedding.

As in layers.py, every sum is a product of one network's matrices, and a maximum is exact in any order, so that no
number of a network depends on N or on its place, to the bit. What belongs to an input rather than to a position (gains,
the factor 2 of a square's derivative where it is cheap) is folded into the weights, which are small beside the
activations.

Activations are (N, M, width): M positions, sequence by sequence. Scores and logits lie with the axis that a softmax
sums over (keys, classes) before the positions: its maximum, sum and quotient then run over long rows, several times
faster than over rows of 16. All layers take float32 or float64; a layer's intermediate results stay in `Buffers` from
its forward to its backward pass.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from search_spaces.lion.tasks import layers

Array = np.ndarray
EPSILON = 1e-6
"""Added to the mean square under the root of a norm."""


class Buffers(layers.Scratch):
    """Buffers by name, as `Scratch`, of a floating-point type of their own."""

    def __init__(self, dtype: np.dtype | type = np.float32) -> None:
        super().__init__()
        self.dtype = np.dtype(dtype)

    def __call__(self, name: str, *shape: int) -> Array:
        """An uninitialised contiguous array; it is the same memory at each call with this name."""
        size = math.prod(shape)
        buffer = self._buffers.get(name)
        if buffer is None or buffer.size < size:
            buffer = self._buffers[name] = np.empty(size, self.dtype)
        return buffer[:size].reshape(shape)

    def __getstate__(self) -> dict[str, object]:
        return {"_buffers": {}, "dtype": self.dtype}


class Matrix(NamedTuple):
    """A dense layer without biases: `inputs` x `outputs` weights at `offset` of the flat weights."""

    name: str
    offset: int
    inputs: int
    outputs: int

    @property
    def end(self) -> int:
        return self.offset + self.inputs * self.outputs

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return ((self.inputs, self.outputs),)

    def view(self, flat: Array) -> Array:
        """Weights (N, inputs, outputs) in flat weights or gradients (N, n_parameters)."""
        # a view: splitting an axis never copies
        return flat[:, self.offset : self.end].reshape(len(flat), self.inputs, self.outputs)

    def forward(self, weights: Array, inputs: Array, buffers: Buffers) -> Array:
        """Outputs (N, M, outputs) for inputs (N, M, inputs)."""
        out = buffers(f"{self.name} outputs", *inputs.shape[:2], self.outputs)
        return np.matmul(inputs, self.view(weights), out=out)

    def backward(self, weights: Array, inputs: Array, delta: Array, gradient: Array, buffers: Buffers) -> Array:
        """Write the layer's gradient, given `delta` (N, M, outputs), that by its outputs; give that by its inputs,
        (N, M, inputs)."""
        np.matmul(inputs.swapaxes(1, 2), delta, out=self.view(gradient))
        return np.matmul(delta, self.view(weights).swapaxes(1, 2), out=buffers(f"{self.name} inputs", *inputs.shape))


class NormedMatrix(NamedTuple):
    """A root-mean-square norm with gains, then a dense layer without biases: `inputs` gains from `offset`, then
    `inputs` x `outputs` weights (Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4)."""

    name: str
    offset: int
    inputs: int
    outputs: int

    @property
    def matrix(self) -> Matrix:
        return Matrix(self.name, self.offset + self.inputs, self.inputs, self.outputs)

    @property
    def end(self) -> int:
        return self.matrix.end

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return (self.inputs, 1), (self.inputs, self.outputs)

    def gains(self, flat: Array) -> Array:
        """Gains (N, inputs, 1) in flat weights or gradients."""
        return flat[:, self.offset : self.offset + self.inputs, None]

    def forward(self, weights: Array, inputs: Array, buffers: Buffers) -> Array:
        """Outputs (N, M, outputs) for inputs (N, M, inputs)."""
        folded, normed = self._fold(weights, inputs, buffers)
        return np.matmul(normed, folded, out=buffers(f"{self.name} outputs", *inputs.shape[:2], self.outputs))

    def forward_by_output(self, weights: Array, inputs: Array, buffers: Buffers) -> Array:
        """The same outputs as (N, outputs, M)."""
        folded, normed = self._fold(weights, inputs, buffers)
        out = buffers(f"{self.name} outputs", len(inputs), self.outputs, inputs.shape[1])
        return np.matmul(folded.swapaxes(1, 2), normed.swapaxes(1, 2), out=out)

    def backward(self, weights: Array, delta: Array, gradient: Array, buffers: Buffers) -> Array:
        """Write the layer's gradient, given `delta` (N, M, outputs), a view of any order, that by the outputs of the
        last forward pass; give that by its inputs, (N, M, inputs)."""
        n, positions = delta.shape[:2]
        normed = buffers(f"{self.name} normed", n, positions, self.inputs)
        folded = buffers(f"{self.name} folded", n, self.inputs, self.outputs)
        by_matrix = self.matrix.view(gradient)
        np.matmul(normed.swapaxes(1, 2), delta, out=by_matrix)
        # outputs = normed @ (gains * matrix): the product rule, on arrays of the weights' size
        product = np.multiply(by_matrix, self.matrix.view(weights), out=buffers("product", *folded.shape))
        np.matmul(product, constant(1.0, self.outputs, 1, delta.dtype), out=self.gains(gradient))
        by_matrix *= self.gains(weights)
        out = buffers(f"{self.name} inputs", n, positions, self.inputs)
        np.matmul(delta, folded.swapaxes(1, 2), out=out)
        # x / rms(x): the part of the gradient along x goes, the rest is divided by rms(x)
        spare = np.multiply(out, normed, out=buffers("square", *out.shape))
        share = constant(1.0 / self.inputs, self.inputs, 1, delta.dtype)
        along = np.matmul(spare, share, out=buffers("along", n, positions, 1))
        out -= np.multiply(normed, along, out=spare)
        out *= buffers(f"{self.name} scale", n, positions, 1)
        return out

    def _fold(self, weights: Array, inputs: Array, buffers: Buffers) -> tuple[Array, Array]:
        """The matrix with the gains in it, and inputs / rms(inputs)."""
        n, positions = inputs.shape[:2]
        folded = buffers(f"{self.name} folded", n, self.inputs, self.outputs)
        np.multiply(self.matrix.view(weights), self.gains(weights), out=folded)
        square = np.multiply(inputs, inputs, out=buffers("square", *inputs.shape))
        share = constant(1.0 / self.inputs, self.inputs, 1, inputs.dtype)
        scale = np.matmul(square, share, out=buffers(f"{self.name} scale", n, positions, 1))
        scale += EPSILON
        np.reciprocal(np.sqrt(scale, out=scale), out=scale)
        return folded, np.multiply(inputs, scale, out=buffers(f"{self.name} normed", *inputs.shape))


class Attention(NamedTuple):
    """Causal attention with several heads (Vaswani et al. 2017, section 3.2), without weights of its own: it takes
    queries, keys and values side by side, (N, M, 3 * width), and gives (N, M, width)."""

    name: str
    context: int
    heads: int
    width: int

    def forward(self, given: Array, buffers: Buffers) -> Array:
        """Outputs (N, M, width) for queries, keys and values of M positions: M / context sequences."""
        query, key, value = self._heads(given, 3)
        scores, rows = self._scores("shares", given, buffers)
        np.matmul(key, query.swapaxes(-1, -2), out=scores)
        rows *= self._factor
        rows += causal_mask(self.context, rows.shape[2], rows.dtype)
        spare = buffers("per query", len(given), 1, rows.shape[2])
        rows -= rows.max(axis=1, keepdims=True, out=spare)
        np.exp(rows, out=rows)
        np.matmul(constant(1.0, 1, self.context, rows.dtype), rows, out=spare)
        rows /= spare
        out = buffers(f"{self.name} outputs", *given.shape[:2], self.width)
        np.matmul(scores.swapaxes(-1, -2), value, out=self._heads(out, 1)[0])
        return out

    def backward(self, given: Array, delta: Array, buffers: Buffers) -> Array:
        """The gradient (N, M, 3 * width) by what the last forward pass was given, from `delta` (N, M, width), that by
        its outputs."""
        query, key, value = self._heads(given, 3)
        shares, share_rows = self._scores("shares", given, buffers)
        by_scores, rows = self._scores("by scores", given, buffers)
        out = buffers(f"{self.name} inputs", *given.shape)
        by_query, by_key, by_value = self._heads(out, 3)
        (by_output,) = self._heads(delta, 1)
        np.matmul(shares, by_output, out=by_value)
        np.matmul(value, by_output.swapaxes(-1, -2), out=by_scores)
        # softmax: shares * (delta - sum over keys of shares * delta)
        rows *= share_rows
        total = buffers("per query", len(given), 1, rows.shape[2])
        np.matmul(constant(1.0, 1, self.context, rows.dtype), rows, out=total)
        rows -= np.multiply(share_rows, total, out=share_rows)
        rows *= self._factor
        np.matmul(by_scores.swapaxes(-1, -2), key, out=by_query)
        np.matmul(by_scores, query, out=by_key)
        return out

    @property
    def _factor(self) -> float:
        return 1.0 / math.sqrt(self.width // self.heads)

    def _heads(self, values: Array, parts: int) -> list[Array]:
        """`parts` views (N, sequences, heads, context, width / heads) of values (N, M, parts * width)."""
        each = self.width // self.heads
        split = values.reshape(len(values), -1, self.context, parts, self.heads, each)
        return [split[:, :, :, part].swapaxes(2, 3) for part in range(parts)]

    def _scores(self, name: str, given: Array, buffers: Buffers) -> tuple[Array, Array]:
        """One buffer as (N, sequences, heads, key, query) and as (N, key, sequences * heads * query)."""
        n, sequences = len(given), given.shape[1] // self.context
        rows = buffers(f"{self.name} {name}", n, self.context, sequences * self.heads * self.context)
        by_key = rows.reshape(n, self.context, sequences, self.heads, self.context)
        return by_key.transpose(0, 2, 3, 1, 4), rows


@functools.lru_cache(maxsize=64)
def constant(value: float, rows: int, columns: int, dtype: np.dtype) -> Array:
    """(rows, columns) of one value: a sum or a mean as a product."""
    return np.full((rows, columns), value, dtype)


@functools.lru_cache(maxsize=16)
def causal_mask(context: int, columns: int, dtype: np.dtype) -> Array:
    """(context, columns): -inf where the query, column modulo context, comes before the key, the row; else 0."""
    places = np.arange(context)
    mask = np.where(places[None, :] < places[:, None], -np.inf, 0.0).astype(dtype)
    return np.tile(mask, (1, columns // context))


class MLP(NamedTuple):
    """Norm, a dense layer, squared ReLU (So et al. 2021, "Primer", section 3), a dense layer."""

    up: NormedMatrix
    down: Matrix

    def forward(self, weights: Array, inputs: Array, buffers: Buffers) -> Array:
        """Outputs (N, M, width) for inputs of that shape."""
        rectified = layers.relu(self.up.forward(weights, inputs, buffers))
        squared = np.multiply(rectified, rectified, out=buffers(f"{self.up.name} squared", *rectified.shape))
        return self.down.forward(weights, squared, buffers)

    def backward(self, weights: Array, delta: Array, gradient: Array, buffers: Buffers) -> Array:
        """Write the layers' gradients and give that by the inputs, from `delta`, that by the outputs of the last
        forward pass."""
        shape = (*delta.shape[:2], self.up.outputs)
        squared, rectified = buffers(f"{self.up.name} squared", *shape), buffers(f"{self.up.name} outputs", *shape)
        by_squared = self.down.backward(weights, squared, delta, gradient, buffers)
        rectified *= 2.0
        by_squared *= rectified
        return self.up.backward(weights, by_squared, gradient, buffers)


class Block(NamedTuple):
    """A pre-norm residual block: x + attention(x), then x + MLP(x). In memory: gains and matrix of queries, keys and
    values; matrix of the heads' outputs; gains and first matrix of the MLP; its second matrix."""

    project: NormedMatrix
    attention: Attention
    merge: Matrix
    mlp: MLP

    @classmethod
    def at(cls, offset: int, name: str, context: int, heads: int, width: int, hidden: int) -> Block:
        """The block whose weights begin at `offset`."""
        project = NormedMatrix(f"{name} project", offset, width, 3 * width)
        merge = Matrix(f"{name} merge", project.end, width, width)
        up = NormedMatrix(f"{name} up", merge.end, width, hidden)
        mlp = MLP(up, Matrix(f"{name} down", up.end, hidden, width))
        return cls(project, Attention(f"{name} attention", context, heads, width), merge, mlp)

    @property
    def end(self) -> int:
        return self.mlp.down.end

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return (*self.project.shapes, *self.merge.shapes, *self.mlp.up.shapes, *self.mlp.down.shapes)

    def forward(self, weights: Array, stream: Array, buffers: Buffers) -> None:
        """Add the block's outputs to the residual stream (N, M, width), in place."""
        given = self.project.forward(weights, stream, buffers)
        attended = self.attention.forward(given, buffers)
        stream += self.merge.forward(weights, attended, buffers)
        stream += self.mlp.forward(weights, stream, buffers)

    def backward(self, weights: Array, delta: Array, gradient: Array, buffers: Buffers) -> None:
        """Write the block's gradients, and turn `delta` (N, M, width), the gradient by the stream behind the block,
        into that by the stream before it, in place."""
        delta += self.mlp.backward(weights, delta, gradient, buffers)
        attended = buffers(f"{self.attention.name} outputs", *delta.shape)
        given = buffers(f"{self.project.name} outputs", *delta.shape[:2], self.project.outputs)
        by_attended = self.merge.backward(weights, attended, delta, gradient, buffers)
        by_given = self.attention.backward(given, by_attended, buffers)
        delta += self.project.backward(weights, by_given, gradient, buffers)


class Embedding(NamedTuple):
    """A vector of `width` numbers for each of `symbols` symbols and, added to it, one for each of `context` places."""

    offset: int
    symbols: int
    context: int
    width: int

    @property
    def table(self) -> Matrix:
        return Matrix("symbols", self.offset, self.symbols, self.width)

    @property
    def places(self) -> Matrix:
        return Matrix("places", self.table.end, self.context, self.width)

    @property
    def end(self) -> int:
        return self.places.end

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        return (*self.table.shapes, *self.places.shapes)

    def forward(self, weights: Array, symbols: Array, buffers: Buffers) -> Array:
        """The residual stream (N, M, width) of symbols (M,) int64, which all networks share."""
        n, positions = len(weights), len(symbols)
        stream = buffers("stream", n, positions, self.width)
        np.take(self.table.view(weights), symbols, axis=1, out=stream, mode="clip")
        places = weights[:, None, self.places.offset : self.places.end]
        by_sequence = stream.reshape(n, -1, self.context * self.width)
        by_sequence += places
        return stream

    def backward(self, one_hot: Array, delta: Array, gradient: Array) -> None:
        """Write the gradients, given `delta` (N, M, width), that by the stream, and the symbols as `one_hot` (M,
        symbols)."""
        np.matmul(one_hot.T, delta, out=self.table.view(gradient))
        sequences = delta.shape[1] // self.context
        by_sequence = delta.reshape(len(delta), sequences, self.context * self.width)
        ones = constant(1.0, 1, sequences, delta.dtype)
        np.matmul(ones, by_sequence, out=gradient[:, None, self.places.offset : self.places.end])
