"""The networks with the weights that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from search_spaces.emq.benchmark.errors import BenchmarkError, BenchmarkFileError
from search_spaces.emq.benchmark.files import read_arrays, write_arrays
from search_spaces.emq.benchmark.images import training_batch
from search_spaces.emq.benchmark.networks import NETWORKS, untrained
from search_spaces.emq.benchmark.training import load_state, state_arrays

DATA = Path(__file__).parent / "data"


def weights_path(folder: Path, name: str) -> Path:
    """Where a folder keeps a network's weights."""
    return folder / f"{name}.weights.npz"


def network(name: str) -> nn.Module:
    """A network of the benchmark with its shipped weights, in evaluation mode: a new copy at each call.

    Args:
        name: "resnet" or "mobilenet". Both take (n, 1, 28, 28) float32 as `batch` gives, and return logits (n, 10).

    Raises:
        BenchmarkError: no network has this name.
        DamagedBenchmarkError: the weights are damaged.
    """
    untrained(name, 0)  # complains about the name
    return read_network(weights_path(DATA, name))[0]


def batch(name: str, n: int = 64) -> tuple[Tensor, Tensor]:
    """A fixed batch that a network was trained on: training images of the shipped subset of Fashion-MNIST.

    Args:
        name: of the network; both take the same images.
        n: how many; the first n of a larger batch are the smaller one.

    Returns:
        images (n, 1, 28, 28) float32, and labels (n,) int64.

    Raises:
        BenchmarkError: no network has this name, or there are not that many images.
    """
    untrained(name, 0)
    images, labels = training_batch(n)
    if n < 1 or len(labels) < n:
        raise BenchmarkError(f"a batch of {n} images", f"give 1 to {len(labels)}")
    return images, labels


def read_network(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """A network and what is known of its training, from a file of weights.

    Raises:
        BenchmarkFileError, DamagedBenchmarkError: as `read_arrays`; or the file holds no network of this package.
    """
    arrays, meta = read_arrays(path)
    if meta.get("network") not in NETWORKS:
        raise BenchmarkFileError(f"{path} holds no network's weights", "give what `evo bench build` wrote")
    return load_state(untrained(meta["network"], 0), arrays), meta


def write_network(path: Path, model: nn.Module, meta: dict[str, Any]) -> str:
    """Write weights (float16 where they are convolutions' or linear layers'); returns the checksum."""
    return write_arrays(path, state_arrays(model), meta)
