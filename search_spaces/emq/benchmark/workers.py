"""Rows measured by worker processes, or in this one; a worker ends when its parent does, however that ends."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import torch

from evo.errors import ExecutorError
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
    if workers == 1:
        measuring = Measuring(job)
        for number, bits in rows:
            yield number, measuring.row(bits)
        return
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start, (job,))
    try:
        waiting = {pool.submit(_row, number, bits) for number, bits in rows}
        while waiting:
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield future.result()
    except BrokenProcessPool as error:
        raise ExecutorError(
            "a worker process died", "rows so far are kept: run it again, with workers=1 to see its errors"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_measuring: Measuring | None = None


def _start(job: Job) -> None:
    global _measuring
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _measuring = Measuring(job)


def _end_with_parent() -> None:
    # an orphan would wait forever: it holds the other end of its own queue
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _row(number: int, bits: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    assert _measuring is not None, "the pool's initializer sets it"
    return number, _measuring.row(bits)
