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

AT_ONCE = 4
"""Batches of a round of gathering; what a round gave is kept when the next is interrupted."""
VERSION = 2
"""Of what is gathered: raise it when the same model would give other samples."""
SHIPPED = ("resnet", "mobilenet")


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """Configurations of one network, and what proxies may look at.

    Attributes:
        name: of the network.
        search: its statistics on each batch that the search sees; none of the held-out network.
        fresh: on each batch of the report alone; none where the report takes those of the search.
        places: (rows, layers) int64: each configuration's bits as indices of choices.
        accuracies: (rows, seeds) float64 in [0, 1].
        search_rows, held_out_rows: indices of rows; they share none.
        float_accuracy: of the network before quantization.
        ceiling: (estimate, low, high): Spearman between the accuracies of two calibration seeds on the rows that the
            report is on; None where the table has one seed. Which test images there are is noise that it leaves out.
    """

    name: str
    search: tuple[Gathered, ...]
    fresh: tuple[Gathered, ...]
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
    def gathered(self) -> Gathered:
        """The statistics of the first batch: layers, layouts and bit-widths are those of all."""
        return (*self.search, *self.fresh)[0]

    @property
    def reported(self) -> tuple[Gathered, ...]:
        """The statistics that a report is on: fresh ones, where there are any."""
        return self.fresh or self.search

    @property
    def choices(self) -> tuple[int, ...]:
        """Bit-widths."""
        return self.gathered.samples.choices


def gather_missing(options: EMQOptions, preparation: Preparation) -> None:
    """Statistics that are not yet in the folder, of both networks and all batches, each by a worker, side by side."""
    subjects = {held_out: _subject(options, held_out) for held_out in (False, True) if _wanted(options, held_out)}
    missing = [
        (held_out, batch)
        for held_out, subject in subjects.items()
        for batch in _wanted(options, held_out)
        if not subject.path(preparation.folder, batch).is_file()
    ]
    done = 0
    while missing:
        some, missing = missing[:AT_ONCE], missing[AT_ONCE:]
        preparation.progress(done, done + len(some) + len(missing), "statistics of both networks, batch by batch")
        for (held_out, batch), gathered in zip(some, preparation.map(partial(_gather, options), some), strict=True):
            write(subjects[held_out].path(preparation.folder, batch), gathered)
        done += len(some)
    if done:
        preparation.progress(done, done, "statistics of both networks, batch by batch")


def _wanted(options: EMQOptions, held_out: bool) -> range:
    """Numbers of the batches that are looked at."""
    last = options.batches + options.fresh
    if not held_out:
        return range(last)
    if options.held_out is None:
        return range(0)
    return range(options.batches if options.fresh else 0, last)


def problem_of(
    options: EMQOptions, held_out: bool, folder: Path, progress: Callable[[int, int, str], None]
) -> Problem | None:
    """The search network, or the held-out one (None where there is none).

    Args:
        options: of the space.
        held_out: which.
        folder: where gathered statistics are kept, by the digest of all they depend on.
        progress: called with (done, total, what).

    Raises:
        ConfigError: the data have too few samples for the batches.
    """
    if held_out and options.held_out is None:
        return None
    subject = _subject(options, held_out)
    table, found = subject.table, {}
    for batch in _wanted(options, held_out):
        path = subject.path(folder, batch)
        if not path.is_file():
            write(
                path, subject.gather(batch, lambda done, total, what: progress(done, total, f"{table.network}: {what}"))
            )
        found[batch] = read(path)
    method = None if options.rows == "all" else options.rows
    search, held = table.split(method=method)
    contested = np.sort(np.concatenate([search, held])) if held_out else held
    return Problem(
        table.network,
        tuple(g for batch, g in found.items() if batch < options.batches and not held_out),
        tuple(g for batch, g in found.items() if batch >= options.batches or (held_out and not options.fresh)),
        places_of(table.bits, table.choices),
        np.asarray(table.accuracy, np.float64),
        search,
        held,
        float(table.float_accuracy),
        _ceiling(table, contested),
    )


def _ceiling(table: Any, rows: np.ndarray) -> tuple[float, float, float] | None:
    if table.accuracy.shape[1] < 2:
        return None
    found = table.ceiling(rows=rows)
    return float(found.estimate), float(found.low), float(found.high)


def _model_and_batch(options: EMQOptions, held_out: bool, name: str) -> tuple[Any, Any, Any]:
    needed = options.batch * (options.batches + options.fresh)
    model, data = (options.held_out_model, options.held_out_data) if held_out else (options.model, options.data)
    if model is not None and data is not None:
        from torch import nn

        from search_spaces.emq.own_data import made, training_batch

        network, given = _attribute(model), _attribute(data)
        network = network if isinstance(network, nn.Module) else network()
        return (network, *training_batch(made(given, data), data, needed))
    if name not in SHIPPED:
        which = "held_out_" if held_out else ""
        raise ConfigError(
            f"options.{which}model and options.{which}data are needed for the table {name}",
            "give module:attr of the model and of a batch (images, labels), or of (training, test)",
        )
    from search_spaces.emq.benchmark import batch
    from search_spaces.emq.benchmark import network as shipped

    return (shipped(name), *batch(name, needed))


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
    """A table with the network that it is about, and samples for all batches."""

    options: EMQOptions
    table: Any
    model: Any
    images: Any
    labels: Any

    def batch(self, number: int) -> tuple[Any, Any]:
        """Inputs and labels of one batch."""
        size = self.options.batch
        return self.images[number * size : (number + 1) * size], self.labels[number * size : (number + 1) * size]

    def path(self, folder: Path, number: int) -> Path:
        """Where its statistics on a batch are kept: a name for all they depend on."""
        import torch

        table, state = self.table, hashlib.sha256()
        images, labels = self.batch(number)
        choices = tuple(int(b) for b in table.choices)
        stated = (VERSION, torch.__version__, str(self.model), tuple(table.layers), choices, self.options.samples)
        state.update(repr(stated).encode())
        for name, tensor in [*self.model.state_dict().items(), ("images", images), ("labels", labels)]:
            array = tensor.detach().cpu().contiguous().numpy()
            state.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
            state.update(array.tobytes())
        return folder / f"emq-{state.hexdigest()[:32]}.npz"

    def gather(self, number: int, progress: Callable[[int, int, str], None]) -> Gathered:
        """Its statistics on a batch: seconds to a minute."""
        from search_spaces.emq.statistics import gather_samples

        table = self.table
        return gather_samples(
            self.model, *self.batch(number), table.layers, table.choices, self.options.samples, progress=progress
        )


def _subject(options: EMQOptions, held_out: bool) -> _Subject:
    from search_spaces.emq.benchmark.loading import load

    name = options.held_out if held_out else options.search
    assert name is not None
    subject = _Subject(options, load(name), *_model_and_batch(options, held_out, name))
    needed = options.batch * (options.batches + options.fresh)
    if len(subject.labels) < needed:
        raise ConfigError(
            f"the data for {name} have {len(subject.labels)} training samples; {options.batches} batches to search "
            f"on and {options.fresh} to report on, of {options.batch} each, need {needed}",
            "give more samples, or set options.batch, options.batches or options.fresh",
        )
    return subject


def _gather(options: EMQOptions, which: tuple[bool, int]) -> Gathered:
    import torch

    torch.set_num_threads(1)
    held_out, batch = which
    return _subject(options, held_out).gather(batch, lambda done, total, what: None)
