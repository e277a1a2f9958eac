"""Common random numbers: what sample i starts from under seed s depends on (s, i) alone."""

from __future__ import annotations

import math

import numpy as np

_BELOW = 1 << 64


def noise(seed: int, first: int, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal noise of samples first .. first + count - 1.

    Each sample has a stream of its own (Philox, keyed by seed and index), so that more samples, or some of them, or all
    in another order, begin alike.

    Args:
        seed: 0 to 2^64 - 1.
        first: index of the first sample.
        count: how many.
        shape: of one sample.

    Returns:
        (count, *shape) float32.
    """
    values = np.empty((count, math.prod(shape)), np.float32)
    for row in range(count):
        stream = np.random.Generator(np.random.Philox(key=[seed % _BELOW, first + row]))
        stream.standard_normal(out=values[row], dtype=np.float32)
    return values.reshape(count, *shape)
