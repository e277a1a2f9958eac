"""A network with its table of configurations, as the search and the report see it; gathered once and kept in a file."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from evo.errors import ConfigError
from evo.space import Preparation
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


def gather_missing(options: EMQOptions, preparation: Preparation) -> None:
    """Statistics of both networks that are not yet in the folder, each by a worker, at the same time."""
    wanted = [False] if options.held_out is None else [False, True]
    missing = [held_out for held_out in wanted if not _subject(options, held_out).path(preparation.folder).is_file()]
    if len(missing) < 2:
        return
    preparation.progress(0, len(missing), "statistics of both networks")
    for held_out, gathered in zip(missing, preparation.map(partial(_gather, options), missing), strict=True):
        write(_subject(options, held_out).path(preparation.folder), gathered)
    preparation.progress(len(missing), len(missing), "statistics of both networks")


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
    if held_out and options.held_out is None:
        return None
    subject = _subject(options, held_out)
    path, table = subject.path(folder), subject.table
    if not path.is_file():
        write(path, subject.gather(lambda done, total, what: progress(done, total, f"{table.network}: {what}")))
    gathered = read(path)
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


@dataclass(frozen=True, slots=True, eq=False)
class _Subject:
    """A table with the network and the batch that it is about."""

    options: EMQOptions
    table: Any
    model: Any
    images: Any
    labels: Any

    def path(self, folder: Path) -> Path:
        """Where its statistics are kept: a name for all they depend on."""
        import torch

        table, state = self.table, hashlib.sha256()
        choices = tuple(int(b) for b in table.choices)
        stated = (VERSION, torch.__version__, str(self.model), tuple(table.layers), choices, self.options.samples)
        state.update(repr(stated).encode())
        for name, tensor in [*self.model.state_dict().items(), ("images", self.images), ("labels", self.labels)]:
            array = tensor.detach().cpu().contiguous().numpy()
            state.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
            state.update(array.tobytes())
        return folder / f"emq-{state.hexdigest()[:32]}.npz"

    def gather(self, progress: Callable[[int, int, str], None]) -> Gathered:
        """Its statistics: seconds to a minute."""
        from search_spaces.emq.statistics import gather_samples

        table = self.table
        return gather_samples(
            self.model, self.images, self.labels, table.layers, table.choices, self.options.samples, progress=progress
        )


def _subject(options: EMQOptions, held_out: bool) -> _Subject:
    from search_spaces.emq.benchmark.loading import load

    name = options.held_out if held_out else options.search
    assert name is not None
    return _Subject(options, load(name), *_model_and_batch(options, held_out, name))


def _gather(options: EMQOptions, held_out: bool) -> Gathered:
    import torch

    torch.set_num_threads(1)
    return _subject(options, held_out).gather(lambda done, total, what: None)
