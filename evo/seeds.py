"""Random streams: counter-based, derived from (run seed, candidate id, purpose), independent of order and time.

One Philox4x64 generator is re-keyed for each stream (2 us; a fresh one costs 16 us). The key is the run seed and a
digest of the purpose; the counter's third word is the candidate id, so that streams never overlap.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xxhash

MASK63 = (1 << 63) - 1


class Streams:
    """Random streams of one run.

    Calling it returns a `numpy.random.Generator` set to the stream's start. It is one object, re-keyed: a generator
    is valid until the next call, so draw what you need before asking for another stream.

    Args:
        seed: the run's seed, any non-negative integer below 2**64.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._bits = np.random.Philox(0)
        self._generator = np.random.Generator(self._bits)
        self._state: dict[str, Any] = dict(self._bits.state)
        self._inner = {"counter": np.zeros(4, np.uint64), "key": np.array([seed, 0], np.uint64)}
        self._state["state"] = self._inner
        self._purposes: dict[str, int] = {}

    def __call__(self, candidate_id: int, purpose: str) -> np.random.Generator:
        """Args:
        candidate_id: non-negative.
        purpose: a short constant name ("mutate", "tournament"); different names give independent streams.
        """
        word = self._purposes.get(purpose)
        if word is None:
            word = self._purposes[purpose] = xxhash.xxh3_64_intdigest(purpose.encode())
        self._inner["key"][1] = word
        self._inner["counter"][2] = candidate_id
        self._bits.state = self._state  # type: ignore[assignment]
        return self._generator


def replicate_seed(rung: str, replicate: int, salt: int = 0) -> int:
    """The 63-bit seed of one replicate: the same for every candidate and every run, so that candidates are compared
    under common random numbers and observations can be shared between runs."""
    return xxhash.xxh3_64_intdigest(f"{rung}/{replicate}/{salt}".encode()) & MASK63
