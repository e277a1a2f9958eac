"""A character language model: the next character of a text from the four before it."""

from __future__ import annotations

import functools
import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import xxhash

from search_spaces.data import texts
from search_spaces.lion.tasks import layers
from search_spaces.lion.tasks.base import generator

TEXT = "python_tutorial"
SYMBOLS = 64
CONTEXT = 4
CHUNK = 2048
"""The text is cut into chunks of this many characters. Of ten, eight go to train, one to validation, one to test."""
JUDGED = 1024
"""Places of the validation and of the test text at which a network is judged."""


class Places(NamedTuple):
    """Contexts (B * 4,) int64 of symbols, their one-hot form (B * 4, 64) float32, and the symbols (B,) that follow."""

    contexts: np.ndarray
    one_hot: np.ndarray
    targets: np.ndarray


@functools.cache
def windows() -> dict[str, np.ndarray]:
    """Windows (places, 5) int64 of symbols by split, none of which crosses a chunk's border. The 63 most frequent
    characters have a symbol of their own; all others share the last."""
    text = texts.text(TEXT)
    frequent = sorted(Counter(text).items(), key=lambda item: (-item[1], item[0]))[: SYMBOLS - 1]
    table = {character: symbol for symbol, (character, _) in enumerate(frequent)}
    symbols = np.fromiter((table.get(character, SYMBOLS - 1) for character in text), np.int64, len(text))
    parts: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for number, start in enumerate(range(0, len(symbols) - CONTEXT, CHUNK)):
        split = {8: "validation", 9: "test"}.get(number % 10, "train")
        chunk = symbols[start : start + CHUNK]
        if len(chunk) > CONTEXT:
            parts[split].append(np.lib.stride_tricks.sliding_window_view(chunk, CONTEXT + 1))
    return {split: np.concatenate(rows) for split, rows in parts.items()}


def places(rows: np.ndarray) -> Places:
    """What the network takes, of windows (B, 5)."""
    contexts = np.ascontiguousarray(rows[:, :CONTEXT]).reshape(-1)
    one_hot = np.zeros((len(contexts), SYMBOLS), np.float32)
    one_hot[np.arange(len(contexts)), contexts] = 1.0
    return Places(contexts, one_hot, rows[:, CONTEXT].copy())


@functools.cache
def judged(split: str) -> Places:
    """The fixed places, evenly spread over a split, at which networks are judged."""
    rows = windows()[split]
    return places(rows[np.linspace(0, len(rows) - 1, JUDGED).astype(np.int64)])


class Characters:
    """Four embedded characters (8 numbers each) -> 32 ReLU -> 64 symbols: 3,680 weights in five tensors.

    The text is the Python tutorial (see `search_spaces/data/NOTICE.md`).
    """

    name = "characters"
    version = 1
    pace = 3.0
    chance = math.log(SYMBOLS)
    metric = "accuracy"
    width = 8
    hidden, output = layers.chain(CONTEXT * width, 32, SYMBOLS, offset=SYMBOLS * width)
    segments = (0, *hidden.segments, *output.segments, output.end)
    shapes = ((SYMBOLS, width), (hidden.inputs, 32), (32, 1), (32, SYMBOLS), (SYMBOLS, 1))

    def __init__(self) -> None:
        self._scratch = layers.Scratch()

    def digest(self) -> str:
        state = xxhash.xxh3_128(f"{self.name}/{self.version}/{self.segments}".encode())
        for split, rows in windows().items():
            state.update(split.encode())
            state.update(np.ascontiguousarray(rows))
        return state.hexdigest()

    def initial(self, seed: int) -> np.ndarray:
        rng = generator(seed, 0)
        flat = np.empty(self.output.end, np.float32)
        flat[: SYMBOLS * self.width] = rng.uniform(-math.sqrt(3), math.sqrt(3), SYMBOLS * self.width)
        layers.fill_uniform(flat, self.hidden, rng, math.sqrt(2))
        layers.fill_uniform(flat, self.output, rng)
        return flat

    def batch(self, step: int, seed: int, size: int) -> Places:
        rows = windows()["train"]
        return places(rows[generator(seed, 1 + step).integers(0, len(rows), size)])

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        given = judged(split)
        return layers.judge(self._forward(weights, given)[-1], given.targets)

    def loss_and_gradient(self, weights: np.ndarray, batch: Places, gradient: np.ndarray) -> np.ndarray:
        n = len(weights)
        embedded, hidden, logits = self._forward(weights, batch)
        loss, delta = layers.cross_entropy(logits, batch.targets)
        self.output.backward(hidden, delta, gradient)
        delta = layers.relu_backward(self.output.backward_inputs(weights, delta, self._scratch), hidden)
        self.hidden.backward(embedded, delta, gradient)
        delta = self.hidden.backward_inputs(weights, delta, self._scratch).reshape(n, -1, self.width)
        np.matmul(batch.one_hot.T, delta, out=self._table(gradient))
        return loss

    def _forward(self, weights: np.ndarray, given: Places) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        n, batch = len(weights), len(given.targets)
        embedded = self._scratch("embedded", n, batch * CONTEXT, self.width)
        np.take(self._table(weights), given.contexts, axis=1, out=embedded, mode="clip")
        embedded = embedded.reshape(n, batch, CONTEXT * self.width)
        hidden = layers.relu(self.hidden.forward(weights, embedded, self._scratch))
        return embedded, hidden, self.output.forward(weights, hidden, self._scratch)

    def _table(self, flat: np.ndarray) -> np.ndarray:
        """The embeddings (N, 64, 8) in flat weights or gradients."""
        strides = (flat.strides[0], self.width * flat.itemsize, flat.itemsize)
        return np.lib.stride_tricks.as_strided(flat, (len(flat), SYMBOLS, self.width), strides)
