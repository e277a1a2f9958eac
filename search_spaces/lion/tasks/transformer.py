"""A transformer that predicts each next character of a text: a small one to search with, larger ones to select with."""

from __future__ import annotations

import functools
import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import xxhash

from search_spaces.data.texts import text
from search_spaces.lion.tasks import layers
from search_spaces.lion.tasks.attention import (
    Block,
    Buffers,
    Embedding,
    Matrix,
    NormedMatrix,
    constant,
)
from search_spaces.lion.tasks.base import generator

SYMBOLS = 64
CHUNK = 2048
"""The text is cut into chunks of this many characters. Of ten, eight go to train, one to validation, one to test."""
JUDGED = 4096
"""Positions of the validation and of the test text at which a network is judged."""
JUDGED_AT_ONCE = 512
"""Positions that go through the network together when it is judged, about as many as in training."""
CACHE_BYTES = 1 << 23
"""Networks are worked through in groups whose activations fill about this much: enough of them that numpy's calls cost
little, few enough that the third-level cache holds them."""
EXAMPLES_A_SEQUENCE = 2
"""A batch of 32 examples is one of 16 sequences: each has as many targets as characters, and is dear."""


class Corpus(NamedTuple):
    """A text as symbols (characters,) uint8, and by split the places (windows,) int64 at which a window of context + 1
    characters may begin, none of which crosses a chunk's border."""

    symbols: np.ndarray
    starts: dict[str, np.ndarray]


class Sequences(NamedTuple):
    """Symbols (M,) int64 of B sequences one after the other, their one-hot form (M, 64) float32, and the symbols (M,)
    that follow each; M = B * context."""

    symbols: np.ndarray
    one_hot: np.ndarray
    targets: np.ndarray


@functools.cache
def corpus(name: str, context: int) -> Corpus:
    """A text of `search_spaces.data.texts`. Its 63 most frequent characters have a symbol of their own; all others
    share the last."""
    characters = text(name)
    frequent = sorted(Counter(characters).items(), key=lambda item: (-item[1], item[0]))[: SYMBOLS - 1]
    table = {character: symbol for symbol, (character, _) in enumerate(frequent)}
    symbols = np.fromiter((table.get(character, SYMBOLS - 1) for character in characters), np.uint8, len(characters))
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number, start in enumerate(range(0, len(symbols) - context, CHUNK)):
        split = {8: "validation", 9: "test"}.get(number % 10, "train")
        parts[split].append(np.arange(start, min(start + CHUNK, len(symbols)) - context))
    return Corpus(symbols, {split: np.concatenate(starts) for split, starts in parts.items()})


def sequences(data: Corpus, starts: np.ndarray, context: int) -> Sequences:
    """The windows that begin at `starts` (B,)."""
    windows = data.symbols[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    symbols = windows[:, :-1].reshape(-1)
    one_hot = np.zeros((len(symbols), SYMBOLS), np.float32)
    one_hot[np.arange(len(symbols)), symbols] = 1.0
    return Sequences(symbols, one_hot, windows[:, 1:].reshape(-1))


@functools.cache
def judged(name: str, context: int, split: str) -> Sequences:
    """The fixed windows, evenly spread over a split, at which networks are judged."""
    data = corpus(name, context)
    starts = data.starts[split]
    return sequences(data, starts[np.linspace(0, len(starts) - 1, JUDGED // context).astype(np.int64)], context)


class Transformer:
    """A causal transformer on the characters of the Python tutorial: 64 symbols, context 16, one block of width 32 with
    two heads and 64 hidden units: 12,896 weights in ten tensors.

    Pre-norm residual blocks, norms by the root mean square with gains, squared ReLU, learned places, no biases, an
    output layer that is not the embedding. The loss is the mean over all positions of a batch.
    """

    name = "transformer"
    version = 1
    pace = 2.0
    chance = math.log(SYMBOLS)
    metric = "accuracy"
    text = "python_tutorial"
    context = 16
    width = 32
    heads = 2
    hidden = 64
    blocks = 1

    def __init__(self) -> None:
        self.embedding = Embedding(0, SYMBOLS, self.context, self.width)
        offset, stack = self.embedding.end, []
        for number in range(self.blocks):
            stack.append(Block.at(offset, f"block {number}", self.context, self.heads, self.width, self.hidden))
            offset = stack[-1].end
        self.stack = tuple(stack)
        self.output = NormedMatrix("output", offset, self.width, SYMBOLS)
        parts = (self.embedding, *self.stack, self.output)
        self.shapes: tuple[tuple[int, int], ...] = tuple(shape for part in parts for shape in part.shapes)
        lengths = np.cumsum([rows * columns for rows, columns in self.shapes])
        self.segments: tuple[int, ...] = (0, *(int(length) for length in lengths))
        self._buffers = Buffers()

    def digest(self) -> str:
        network = (self.shapes, self.context, self.heads, JUDGED)
        state = xxhash.xxh3_128(f"{self.name}/{self.version}/{network}".encode())
        data = corpus(self.text, self.context)
        state.update(data.symbols)
        for split, starts in data.starts.items():
            state.update(split.encode())
            state.update(starts)
        return state.hexdigest()

    def initial(self, seed: int) -> np.ndarray:
        """Weights uniform with variance 1 / inputs, those of the two layers that end in the residual stream divided by
        the root of the number of such layers (Radford et al. 2019, section 2.3); gains 1; embeddings of variance 1/2
        each for symbol and place."""
        rng = generator(seed, 0)
        flat = np.ones((1, self.segments[-1]), np.float32)

        def fill(matrix: Matrix, variance: float) -> None:
            bound = math.sqrt(3.0 * variance)
            matrix.view(flat)[:] = rng.uniform(-bound, bound, (matrix.inputs, matrix.outputs))

        fill(self.embedding.table, 0.5)
        fill(self.embedding.places, 0.5)
        for block in self.stack:
            for normed in (block.project, block.mlp.up):
                fill(normed.matrix, 1.0 / normed.inputs)
            for ending in (block.merge, block.mlp.down):
                fill(ending, 1.0 / (2 * self.blocks * ending.inputs))
        fill(self.output.matrix, 1.0 / self.width)
        return flat[0]

    def batch(self, step: int, seed: int, size: int) -> Sequences:
        data = corpus(self.text, self.context)
        starts = data.starts["train"]
        drawn = generator(seed, 1 + step).integers(0, len(starts), max(1, size // EXAMPLES_A_SEQUENCE))
        return sequences(data, starts[drawn], self.context)

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        given = judged(self.text, self.context, split)
        total = len(given.targets)
        losses, hits = np.empty((len(weights), total)), np.empty((len(weights), total))
        step = JUDGED_AT_ONCE // self.context * self.context
        for place in (slice(start, min(start + step, total)) for start in range(0, total, step)):
            for rows in self._groups(len(weights), place.stop - place.start):
                logits = self._forward(weights[rows], given.symbols[place], self._buffers)
                losses[rows, place], hits[rows, place] = judge_by_class(logits, given.targets[place])
        return {"loss": layers.mean(losses), self.metric: layers.mean(hits)}

    def loss_and_gradient(self, weights: np.ndarray, batch: Sequences, gradient: np.ndarray) -> np.ndarray:
        losses = np.empty(len(weights), weights.dtype)
        buffers = self._buffers if weights.dtype == self._buffers.dtype else Buffers(weights.dtype)
        for rows in self._groups(len(weights), len(batch.symbols)):
            losses[rows] = self._step(weights[rows], batch, gradient[rows], buffers)
        return losses

    def logits(self, weights: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        """Outputs (N, M, 64) before the softmax for symbols (M,) of whole sequences: what follows each of them."""
        return self._forward(weights, symbols, Buffers(weights.dtype)).swapaxes(1, 2)

    def _step(self, weights: np.ndarray, batch: Sequences, gradient: np.ndarray, buffers: Buffers) -> np.ndarray:
        logits = self._forward(weights, batch.symbols, buffers)
        loss, by_logits = cross_entropy_by_class(logits, batch.targets)
        delta = self.output.backward(weights, by_logits.swapaxes(1, 2), gradient, buffers)
        for block in reversed(self.stack):
            block.backward(weights, delta, gradient, buffers)
        self.embedding.backward(batch.one_hot.astype(delta.dtype, copy=False), delta, gradient)
        return loss

    def _forward(self, weights: np.ndarray, symbols: np.ndarray, buffers: Buffers) -> np.ndarray:
        """Logits (N, 64, M), in a buffer."""
        stream = self.embedding.forward(weights, symbols, buffers)
        for block in self.stack:
            block.forward(weights, stream, buffers)
        return self.output.forward_by_output(weights, stream, buffers)

    def _groups(self, n: int, positions: int) -> list[slice]:
        """Slices of n networks, each as many as fill the cache."""
        each = self.blocks * (10 * self.width + 3 * self.hidden + 2 * self.heads * self.context) + 2 * SYMBOLS
        size = max(1, CACHE_BYTES // (4 * positions * each))
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]


class Transformer10x(Transformer):
    """About ten times `Transformer` in weights times steps, on another part of the Python documentation: context 32,
    one block of width 64 with two heads and 128 hidden units."""

    name = "transformer_10x"
    pace = 6.0
    text = "python_library"
    context = 32
    width = 64
    hidden = 128


class Transformer100x(Transformer):
    """About a hundred times `Transformer` in weights times steps, on another part of the Python documentation: context
    32, three blocks of width 64 with four heads and 256 hidden units."""

    name = "transformer_100x"
    pace = 17.0
    text = "python_library"
    context = 32
    width = 64
    heads = 4
    hidden = 256
    blocks = 3


def cross_entropy_by_class(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As `layers.cross_entropy`, for logits (N, C, M) and labels (M,): mean loss (N,) in nats, and its gradient in the
    place of the logits."""
    right = _lower(logits, labels)
    total = _exponentiate(logits)
    loss = layers.mean(np.log(total) - right)
    share = logits.dtype.type(1.0 / len(labels))
    logits *= (share / total)[:, None]
    logits[:, labels, np.arange(len(labels))] -= share
    return loss, logits


def judge_by_class(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy (N, M) in nats and hits (N, M), bool, of logits (N, C, M), which it overwrites, for labels (M,). A
    hit is a right class above all others; NaN and ties are none."""
    right = _lower(logits, labels)
    # the highest classes are 0 now; `argmax` over an axis that is not the last takes ten times as long
    highest = np.add.reduce(logits == 0.0, axis=1, dtype=np.int32)
    return np.log(_exponentiate(logits)) - right, (right == 0.0) & (highest == 1)


def _lower(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Lower the logits (N, C, M) of each position in place, so that the highest is 0; those (N, M) of the labels."""
    logits -= logits.max(axis=1, keepdims=True)
    return logits[:, labels, np.arange(len(labels))]


def _exponentiate(logits: np.ndarray) -> np.ndarray:
    """Exponentials in the place of logits (N, C, M), and their sums (N, M) over the classes."""
    np.exp(logits, out=logits)
    return np.matmul(constant(1.0, 1, logits.shape[1], logits.dtype), logits)[:, 0]
