"""The tasks of `lion` with the examples of every batch in another order: the same training in exact arithmetic.

A loss or gradient is a mean over the batch, so that only the order of float32 additions differs. How far a
candidate's final loss moves under such reorderings is how far rounding alone can move it: the bound that audited cache
hits are held to in `benchmarks/lion_cache.py`.

A task is named `benchmarks.lion_reordered:<task>__<number>`; each number is another permutation, 0 the task itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from search_spaces.lion.tasks import load
from search_spaces.lion.tasks.base import Task

SPEC = "benchmarks.lion_reordered:{task}__{number}"


class Reordered:
    """A task whose batches are permuted: another permutation at each step."""

    def __init__(self, task: str, number: int) -> None:
        self._task = load(task)
        self._number = number
        for member in Task.__annotations__:
            setattr(self, member, getattr(self._task, member))
        self.name = f"{self._task.name}__{number}"

    def digest(self) -> str:
        return f"{self._task.digest()}/{self._number}"

    def initial(self, seed: int) -> np.ndarray:
        return self._task.initial(seed)

    def batch(self, step: int, seed: int, size: int) -> Any:
        given = self._task.batch(step, seed, size)
        if not self._number:
            return given
        key = np.array([self._number, step], np.uint64)
        order = np.random.Generator(np.random.Philox(key=key)).permutation(size)
        return type(given)(*(permuted(array, order) for array in given))

    def loss_and_gradient(self, weights: Any, batch: Any, gradient: Any) -> Any:
        return self._task.loss_and_gradient(weights, batch, gradient)

    def evaluate(self, weights: Any, split: str) -> dict[str, Any]:
        return self._task.evaluate(weights, split)


def permuted(array: Any, order: np.ndarray) -> Any:
    """An array or tensor (B * k, ...) with its B groups of k rows in another order (B,)."""
    return array.reshape((len(order), len(array) // len(order), *array.shape[1:]))[order].reshape(array.shape)


def __getattr__(name: str) -> Callable[[], Reordered]:
    task, mark, number = name.rpartition("__")
    if not mark or not number.isdigit():
        raise AttributeError(name)
    return functools.partial(Reordered, task, int(number))
