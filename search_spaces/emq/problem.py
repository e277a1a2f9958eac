"""A network with its table of configurations, as the search and the report see it; gathered once and kept in a file."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evo.errors import ConfigError
from search_spaces.emq.gathered import Gathered, read, write
from search_spaces.emq.options import EMQOptions
from search_spaces.emq.scoring import places_of

VERSION = 1
"""Of what is gathered: raise it when the same model would give other samples."""
SHIPPED = ("resnet", "mobilenet")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Configurations of one network, and what proxies may look at.

    Attributes:
        name: of the network.
        gathered: its statistics.
        places: (rows, layers) int64: each configuration's bits as indices of choices.
        accuracies: (rows, seeds) float64 in [0, 1].
        search_rows, held_out_rows: indices of rows; they share none.
        float_accuracy: of the network before quantization.
        ceiling: (estimate, low, high): Spearman between the accuracies of two calibration seeds on the held-out rows;
            None where the table has one seed.
    """

    name: str
    gathered: Gathered
    places: np.ndarray
    accuracies: np.ndarray
    search_rows: np.ndarray
    held_out_rows: np.ndarray
    float_accuracy: float
    ceiling: tuple[float, float, float] | None

    @property
    def accuracy(self) -> np.ndarray:
        """(rows,) mean over the seeds."""
        return self.accuracies.mean(axis=1)

    @property
    def choices(self) -> tuple[int, ...]:
        """Bit-widths."""
        return self.gathered.samples.choices


def problem_of(
    options: EMQOptions, held_out: bool, folder: Path, progress: Callable[[int, int, str], None]
) -> Problem | None:
    """The search network, or the held-out one (None where there is none).

    Args:
        options: of the space.
        held_out: which.
        folder: where gathered statistics are kept, by the digest of all they depend on.
        progress: called with (done, total, what).
    """
    name = options.held_out if held_out else options.search
    if name is None:
        return None
    from search_spaces.emq.benchmark.loading import load

    table = load(name)
    model, images, labels = _model_and_batch(options, held_out, name)
    gathered = _gathered(model, images, labels, table, options, folder, progress)
    method = None if options.rows == "all" else options.rows
    search, held = table.split(method=method)
    return Problem(
        table.network,
        gathered,
        places_of(table.bits, table.choices),
        np.asarray(table.accuracy, np.float64),
        search,
        held,
        float(table.float_accuracy),
        _ceiling(table, held),
    )


def _ceiling(table: Any, rows: np.ndarray) -> tuple[float, float, float] | None:
    if table.accuracy.shape[1] < 2:
        return None
    found = table.ceiling(rows=rows)
    return float(found.estimate), float(found.low), float(found.high)


def _model_and_batch(options: EMQOptions, held_out: bool, name: str) -> tuple[Any, Any, Any]:
    model, data = (options.held_out_model, options.held_out_data) if held_out else (options.model, options.data)
    if model is not None and data is not None:
        from torch import nn

        network, given = _attribute(model), _attribute(data)
        network = network if isinstance(network, nn.Module) else network()
        images, labels = given() if callable(given) else given
        return network, images, labels
    if name not in SHIPPED:
        which = "held_out_" if held_out else ""
        raise ConfigError(
            f"options.{which}model and options.{which}data are needed for the table {name}",
            "give module:attr of the model and of a batch (images, labels)",
        )
    from search_spaces.emq.benchmark import batch
    from search_spaces.emq.benchmark import network as shipped

    return (shipped(name), *batch(name, options.batch))


def _attribute(spec: str) -> Any:
    module, _, attribute = spec.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{spec} cannot be loaded: {error}", "give module:attr, importable from here") from error
    return found


def _gathered(
    model: Any, images: Any, labels: Any, table: Any, options: EMQOptions, folder: Path,
    progress: Callable[[int, int, str], None],
) -> Gathered:  # fmt: skip
    import torch

    state = hashlib.sha256()
    choices = tuple(int(b) for b in table.choices)
    stated = (VERSION, torch.__version__, str(model), tuple(table.layers), choices, options.samples)
    state.update(repr(stated).encode())
    for name, tensor in [*model.state_dict().items(), ("images", images), ("labels", labels)]:
        array = tensor.detach().cpu().contiguous().numpy()
        state.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        state.update(array.tobytes())
    path = folder / f"emq-{state.hexdigest()[:32]}.npz"
    if not path.is_file():
        from search_spaces.emq.statistics import gather_samples

        def report(done: int, total: int, what: str) -> None:
            progress(done, total, f"{table.network}: {what}")

        write(path, gather_samples(model, images, labels, table.layers, choices, options.samples, progress=report))
    return read(path)
