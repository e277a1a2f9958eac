"""What a training task is: data, a network, and its loss and gradient for many candidates at once."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from evo.errors import ConfigError

SPLITS = ("train", "validation", "test")


@runtime_checkable
class Task(Protocol):
    """A small network on real data, trained for N candidates at once from the same start on the same batches.

    To bring a task of your own, write a class with these members that takes no arguments, and name it in the options
    as `module:attr`. What it gives a candidate may not depend, to the bit, on N or on the other candidates:
    batched matrix products keep that promise, a library's sums may not. The search trains on "train" and judges on
    "validation"; "test" is read by the final report alone. Arrays are numpy's; `torch.from_numpy` shares their memory.

    Attributes:
        name: short, unique in a list of tasks.
        segments: offsets of the network's tensors in its flat weights, from 0 to n_parameters.
        pace: steps it is trained for each step asked for; slow learners have more than 1.
        chance: the loss of a network that knows nothing; a multiple of it is the limit of divergence.
        metric: the name of the figure beside the loss in `evaluate`, "accuracy" say; higher is better.
        shapes: (rows, columns) of each tensor, row-major; (size, 1) for biases, gains and whatever is no matrix. It may
            be missing: to programs that orthogonalise, nothing is then a matrix (see `shapes_of`).
    """

    name: str
    segments: tuple[int, ...]
    pace: float
    chance: float
    metric: str

    def digest(self) -> str:
        """Hexadecimal digest of everything that a result depends on: data, splits, network, version of the code."""

    def initial(self, seed: int) -> np.ndarray:
        """Initial weights (n_parameters,), float32."""

    def batch(self, step: int, seed: int, size: int) -> Any:
        """The training batch of a step: whatever `loss_and_gradient` takes; the same for all candidates."""

    def loss_and_gradient(self, weights: np.ndarray, batch: Any, gradient: np.ndarray) -> np.ndarray:
        """Losses (N,) of weights (N, n_parameters), float32; the gradient is written to `gradient`, of their shape."""

    def evaluate(self, weights: np.ndarray, split: str) -> dict[str, np.ndarray]:
        """{"loss": (N,), self.metric: (N,)} on all of a split, as float64."""


def shapes_of(task: Task) -> np.ndarray | None:
    """A task's `shapes` as the kernels take them: (n_tensors, 2) int64, or None where it states none.

    Raises:
        ConfigError: they do not fit the task's segments.
    """
    given = getattr(task, "shapes", None)
    if given is None:
        return None
    shapes, lengths = np.asarray(given), np.diff(task.segments)
    if shapes.shape != (len(lengths), 2) or (shapes.astype(np.int64).prod(axis=1) != lengths).any():
        raise ConfigError(
            f"the task {task.name!r} states shapes {given} for tensors of {lengths.tolist()} elements",
            "give (rows, columns) of each tensor, (size, 1) where it is no matrix, or no shapes at all",
        )
    return np.ascontiguousarray(shapes, np.int64)


def generator(seed: int, stream: int) -> np.random.Generator:
    """A counter-based generator of its own for (seed, stream)."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, stream], np.uint64)))


class Shuffle:
    """Batches of indices from 0 to `size` - 1: each epoch in its own order, drawn from (seed, epoch); the rest of an
    epoch that fills no batch is left out."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._epoch: tuple[int, int] | None = None
        self._order = np.empty(0, np.int64)

    def __call__(self, step: int, seed: int, batch: int) -> np.ndarray:
        """Indices (batch,) of a step."""
        if batch > self.size:
            raise ValueError(f"a batch of {batch} does not fit into {self.size} examples")
        epoch, place = divmod(step, self.size // batch)
        if self._epoch != (seed, epoch):
            self._order = generator(seed, 1 + epoch).permutation(self.size)
            self._epoch = (seed, epoch)
        return self._order[place * batch : (place + 1) * batch]
