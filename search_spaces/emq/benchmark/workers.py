"""Rows measured by worker processes, or in this one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from search_spaces.building.workers import finished
from search_spaces.emq.benchmark.errors import BenchmarkError
from search_spaces.emq.benchmark.files import read_arrays
from search_spaces.emq.benchmark.measuring import Meter, Protocol, nearest_weights
from search_spaces.emq.benchmark.subjects import Subject, identity

Row = tuple[int, tuple[int, ...]]
"""A row's number and its bits."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a process must know to measure rows.

    Attributes:
        subject: model and data.
        model: the model's identity, so that a worker's copy is the same.
        protocol: how.
        seeds: calibration seeds.
        learned: file of weights with learned rounding; None: to nearest.
    """

    subject: Subject
    model: str
    protocol: Protocol
    seeds: tuple[int, ...]
    learned: Path | None = None


class Measuring:
    """A meter with its weights.

    Raises:
        BenchmarkError: the subject builds another model than the job was made with.
    """

    def __init__(self, job: Job) -> None:
        model, images = job.subject.load()
        if identity(model) != job.model:
            raise BenchmarkError(
                f"{job.subject.model} returns another model at each call", "load its weights, or fix its seed"
            )
        self._job, self._meter = job, Meter(model, images, job.protocol)
        if job.learned is None:
            self._weights = nearest_weights(model, job.protocol)
        else:
            arrays = read_arrays(job.learned)[0]
            self._weights = {
                (name, bits): torch.from_numpy(arrays[f"{name}/{bits}"])
                for name in self._meter.names
                for bits in job.protocol.choices
            }

    def row(self, bits: Sequence[int]) -> tuple[int, ...]:
        """Correct answers, one count a seed."""
        return tuple(self._meter.correct(bits, self._weights, seed) for seed in self._job.seeds)


def measured(job: Job, rows: Iterable[Row], workers: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(row, counts) in the order in which they are done.

    Raises:
        ExecutorError: a worker process died.
        BenchmarkError: see `Measuring`.
    """
    for (number, _), counts in finished(_measure, job, rows, workers):
        yield number, counts


def _measure(job: Job) -> Callable[[Row], tuple[int, ...]]:
    measuring = Measuring(job)
    return lambda row: measuring.row(row[1])
