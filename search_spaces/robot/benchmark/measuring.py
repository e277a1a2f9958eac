"""The metrics of a build: every one of `proxies.network` for every cell, on several batches, each kept when it is done.

Batch b has 64 training images of its own and initial weights of its own, other than any training starts from.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from evo.codebase import files_below
from proxies.network import METRICS, score
from search_spaces.building.journal import LineJournal
from search_spaces.building.workers import finished
from search_spaces.robot.architectures.nb201 import CODE
from search_spaces.robot.architectures.networks import REDUCED, network
from search_spaces.robot.benchmark.images import Images
from search_spaces.robot.benchmark.trainings import Data, Progress

BATCH = 64
"""Images a batch, as the field takes."""
_SEED = 1_000_000
"""Seeds of weights and batches; trainings have small ones."""


class Measurement(NamedTuple):
    """The string of the cell, and the number of the batch."""

    cell: str
    batch: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Metrics of a cell on a batch.

    Attributes:
        values: by metric; NaN where it is not finite.
        seconds: of processor time, by metric, each computed on its own, and "all" together; on batch 0 alone.
    """

    values: dict[str, float]
    seconds: dict[str, float]


def measured(
    cells: Iterable[str], batches: int, data: Data, folder: Path, workers: int, progress: Progress
) -> dict[Measurement, Measured]:
    """Compute the metrics that the journal in `folder` does not have.

    Another version of the metrics' code has a journal of its own, "metrics.DIGEST.jsonl".

    Args:
        cells: strings.
        batches: how many.

    Raises:
        DamagedBenchmarkError: the journal is damaged.
        ExecutorError: a worker process died.
    """
    plan = [Measurement(cell, batch) for batch in range(batches) for cell in cells]
    digest = identity(data.load())
    with LineJournal(folder / f"metrics.{digest[:8]}.jsonl", digest) as journal:
        done = {Measurement(entry["cell"], entry["batch"]): _result(entry) for entry in journal.entries}
        todo = [measurement for measurement in plan if measurement not in done]
        count = len(plan) - len(todo)
        progress(count, len(plan), "metrics")
        for measurement, result in finished(_measurer, data, todo, workers):
            values = {name: None if math.isnan(value) else value for name, value in result.values.items()}
            seconds = {name: round(value, 6) for name, value in result.seconds.items()}
            journal.add({**measurement._asdict(), "values": values, "seconds": seconds})
            done[measurement] = result
            count += 1
            progress(count, len(plan), "metrics")
    return {measurement: done[measurement] for measurement in plan}


def identity(pictures: Images) -> str:
    """Digest of what the metrics depend on besides cell, batch and numeric backend; the code that computes them too."""
    package = importlib.util.find_spec("proxies.network")
    assert package is not None
    assert package.submodule_search_locations
    root = Path(next(iter(package.submodule_search_locations)))
    code = {str(path.relative_to(root)): path.read_text() for path in files_below(root, code_only=True)}
    what = {"skeleton": asdict(REDUCED), "batch": BATCH, "seed": _SEED, "source": pictures.source,
            "data": pictures.digest, "code": code}  # fmt: skip
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def batch_of(pictures: Images, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Training images (64, 1, side, side) and labels (64,) of a batch."""
    generator = torch.Generator().manual_seed(_SEED + number)
    rows = torch.randperm(len(pictures.train_labels), generator=generator)[:BATCH]
    return pictures.train[rows], pictures.train_labels[rows]


def _measurer(data: Data) -> Callable[[Measurement], Measured]:
    pictures = data.load()

    def do(measurement: Measurement) -> Measured:
        seed = _SEED + measurement.batch
        model = network(CODE.operations(CODE.from_string(measurement.cell)), REDUCED, seed=seed)
        batch = batch_of(pictures, measurement.batch)
        started = time.process_time()
        values = score(model, batch, seed=seed)
        seconds = {}
        if measurement.batch == 0:
            seconds["all"] = time.process_time() - started
            for name in METRICS:
                started = time.process_time()
                score(model, batch, [name], seed=seed)
                seconds[name] = time.process_time() - started
        return Measured(values, seconds)

    return do


def _result(entry: dict) -> Measured:
    values = {name: math.nan if value is None else value for name, value in entry["values"].items()}
    return Measured(values, entry["seconds"])
