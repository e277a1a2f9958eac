"""The whole build of a benchmark: train, quantize, measure, write; killed and started again, it goes on.

Into the folder: NAME.npz (the table), NAME.weights.npz for a network of the package, and under work/ what was done so
far: the training by epochs, learned roundings by layers, accuracies by rows. Results depend on settings, data, and
numeric backend alone: not on kills, nor on the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from evo.codebase import numeric_backend
from evo.space import Judgement
from proxies.errors import ProxyError
from proxies.quantization import layer_shapes
from search_spaces.building.session import locked, one_thread
from search_spaces.emq.benchmark.configurations import random_configurations
from search_spaces.emq.benchmark.errors import BenchmarkError
from search_spaces.emq.benchmark.files import digest
from search_spaces.emq.benchmark.images import Images, images
from search_spaces.emq.benchmark.journal import RowJournal
from search_spaces.emq.benchmark.loading import save
from search_spaces.emq.benchmark.measuring import Meter, Protocol
from search_spaces.emq.benchmark.networks import untrained
from search_spaces.emq.benchmark.pretrained import DATA, read_network, weights_path, write_network
from search_spaces.emq.benchmark.rounding import Rounding, learned_weights
from search_spaces.emq.benchmark.settings import Settings, build_settings
from search_spaces.emq.benchmark.subjects import Subject, identity
from search_spaces.emq.benchmark.summary import summarised
from search_spaces.emq.benchmark.table import Table, make_table
from search_spaces.emq.benchmark.training import Recipe, train
from search_spaces.emq.benchmark.workers import Job, measured

VERSION = 1
"""Of what is measured; another one makes what earlier builds kept unusable."""
Progress = Callable[[int, int, str], None]


def build(settings: Mapping[str, Any], folder: Path, progress: Progress) -> Judgement:
    """Build the tables that the settings ask for, or go on with a build.

    Args:
        settings: see `Settings`.
        folder: where everything goes.
        progress: called with steps done, all steps, and words.

    Returns:
        What was built, as text and JSON.

    Raises:
        ConfigError: a setting does not fit.
        BenchmarkError: the model or its data do not fit, or the folder belongs to a build with other settings.
        DamagedBenchmarkError: a file in the folder is damaged.
        RunLockedError: another process builds in this folder.
    """
    chosen = build_settings(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder), one_thread():
        try:
            tables = {}
            for subject in _subjects(chosen, folder, progress):
                tables[subject.name] = _table(subject, chosen, folder, progress)
        except ProxyError as error:
            raise BenchmarkError(error.message, error.hint) from error
        return summarised(tables, folder)


def _subjects(settings: Settings, folder: Path, progress: Progress) -> Iterator[Subject]:
    if settings.model is not None and settings.data is not None:
        name = settings.model.partition(":")[0].rpartition(".")[2]
        yield Subject(name, model=settings.model, data=settings.data, test=settings.test)
        return
    for name in settings.networks:
        path = weights_path(folder, name)
        if settings.weights == "shipped":
            model, meta = read_network(weights_path(DATA, name))
            del meta["checksum"]
            write_network(path, model, meta)
        else:
            _train(name, path, settings, folder, progress)
        yield Subject(name, weights=path, source=settings.source, test=settings.test)


def _train(name: str, path: Path, settings: Settings, folder: Path, progress: Progress) -> None:
    data, recipe = images(settings.source), Recipe(epochs=settings.epochs)
    meta = {"network": name, "recipe": asdict(recipe), "data": data.digest, "source": data.source}
    if path.is_file() and {**read_network(path)[1], "checksum": ""} == {**meta, "checksum": ""}:
        return
    model = train(
        untrained(name, recipe.seed), data.train, data.train_labels, recipe, folder / "work" / f"{name}.training.npz",
        _prefixed(progress, name), {"network": name, "data": data.digest},
    )  # fmt: skip
    write_network(path, model, meta)


def _table(subject: Subject, settings: Settings, folder: Path, progress: Progress) -> Table:
    model, data = subject.load()
    protocol = Protocol(
        settings.choices, settings.activation_bits, settings.calibration, settings.norms, settings.layers
    )
    meter = Meter(model, data, protocol)
    bits = random_configurations(len(meter.names), settings.choices, settings.rows, settings.seed)
    job = Job(subject, identity(model), protocol, tuple(range(settings.seeds)))
    what = {
        "version": VERSION, "model": job.model, "data": data.digest, "test": len(data.test_labels),
        "protocol": asdict(protocol), "seeds": settings.seeds, "configurations": settings.seed,
        "backend": dict(numeric_backend()),
    }  # fmt: skip
    counts = [_rows(job, "nearest", bits, what, settings, folder, progress)]
    if settings.adaround_rows:
        rounding = Rounding(settings.rounding_iterations)
        learned = folder / "work" / f"{subject.name}.rounding.npz"
        same = {key: what[key] for key in ("version", "model", "data", "protocol", "backend")}
        learned_weights(
            model, data.train, protocol, rounding, learned, digest({}, same),
            lambda done, total: progress(done, total, f"{subject.name}: learned rounding"),
        )  # fmt: skip
        job = Job(subject, job.model, protocol, job.seeds, learned)
        what = {**what, "rounding": asdict(rounding)}
        counts.append(_rows(job, "adaround", bits[: settings.adaround_rows], what, settings, folder, progress))
    table = _assembled(subject, meter, model, data, bits, counts, what)
    save(table, folder / f"{subject.name}.npz")
    return table


def _rows(
    job: Job, method: str, bits: np.ndarray, what: dict[str, Any], settings: Settings, folder: Path, progress: Progress
) -> np.ndarray:
    """(rows, seeds) int64: correct answers, measured where the journal does not have them."""
    words = f"{job.subject.name}: {method}"
    with RowJournal(folder / "work" / f"{job.subject.name}.{method}.jsonl", digest({}, what)) as journal:
        todo = [(number, tuple(row)) for number, row in enumerate(bits.tolist()) if number not in journal.counts]
        progress(len(bits) - len(todo), len(bits), words)
        if todo:
            for done, (number, counts) in enumerate(measured(job, todo, settings.workers), len(bits) - len(todo) + 1):
                journal.add_row(number, counts)
                progress(done, len(bits), words)
        return np.array([journal.counts[number] for number in range(len(bits))], np.int64)


def _assembled(
    subject: Subject,
    meter: Meter,
    model: nn.Module,
    data: Images,
    bits: np.ndarray,
    counts: list[np.ndarray],
    what: dict[str, Any],
) -> Table:
    shapes = {shape.name: shape for shape in layer_shapes(model, data.test[:1], meter.names)}
    tests = len(data.test_labels)
    return make_table(
        network=subject.name,
        layers=meter.names,
        choices=tuple(what["protocol"]["choices"]),
        bits=np.concatenate([bits[: len(part)] for part in counts]),
        accuracy=np.concatenate(counts) / tests,
        method=np.repeat(["nearest", "adaround"][: len(counts)], [len(part) for part in counts]),
        activation_bits=what["protocol"]["activation_bits"],
        parameters=np.array([shapes[name].weights for name in meter.names]),
        macs=np.array([shapes[name].macs for name in meter.names]),
        float_accuracy=meter.float_correct() / tests,
        origin={**what, "source": data.source},
    )


def _prefixed(progress: Progress, name: str) -> Progress:
    return lambda done, total, what: progress(done, total, f"{name}: {what}")
