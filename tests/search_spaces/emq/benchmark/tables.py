"""Tables for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from search_spaces.emq.benchmark import Table, make_table


def table(rows: int = 20, seeds: int = 3, noise: float = 0.01, adaround: int = 5, **fields: Any) -> Table:
    """Random rows; the first `adaround` of them stand at the end again, with learned rounding."""
    rng = np.random.default_rng(0)
    bits = np.unique(rng.choice([2, 3, 4, 8], (4 * rows, 4)), axis=0)
    bits = rng.permutation(bits)[:rows]
    accuracy = (bits.mean(1, keepdims=True) / 10 + rng.normal(0, noise, (len(bits), seeds))).clip(0, 1)
    given: dict[str, Any] = {
        "network": "tiny",
        "layers": ("a", "b.0", "b.1", "c"),
        "choices": (2, 3, 4, 8),
        "bits": np.concatenate([bits, bits[:adaround]]),
        "accuracy": np.concatenate([accuracy, accuracy[:adaround] * 0.5 + 0.5]),
        "method": np.array(["nearest"] * len(bits) + ["adaround"] * adaround),
        "activation_bits": 8,
        "parameters": np.array([10, 20, 30, 40]),
        "macs": np.array([100, 20, 30, 4]),
        "float_accuracy": 0.9,
        "origin": {"source": "a test"},
    }
    return make_table(**{**given, **fields})
