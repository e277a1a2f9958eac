"""Our own searches as the benchmarks run them, and what is read from them: rates in windows, memory growth."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.common import ROOT, resident_mb

GENOMES = 2**53
"""Size of the no-op space for every contender: exact in float64, so that all of them can search it."""

NO_OP = "evo.testing.noop:NoOpSpace"
INLINE: dict[str, Any] = {"kind": "inline", "timeout_s": None, "memory_mb": None}


class Sample(NamedTuple):
    """What is noted a few times a second: candidates proposed, resident memory in MiB, processor seconds used."""

    proposals: int
    resident_mb: float
    cpu_s: float


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder under runs/, on the disk that runs are kept on, removed afterwards."""
    (ROOT / "runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".benchmark-", dir=ROOT / "runs"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def no_op_search(proposals: int, window: int, options: Mapping[str, Any], **sections: Any) -> dict[str, Any]:
    """Regularized evolution over the no-op space, journaled to disk.

    Args:
        proposals: candidates.
        window: candidates a window; rates are given for the second and the last one.
        options: of `NoOpSpace`.
        sections: sections of the run's configuration that differ from the defaults used here.

    Returns:
        Wall and processor seconds, candidates/s over the whole run and a window, resident memory, hits, file size.
    """
    from evo import Search

    samples: list[Sample] = []

    def observe(status: Mapping[str, Any]) -> None:
        samples.append(Sample(status["counts"]["proposals"], resident_mb(), time.process_time()))

    with scratch() as folder:
        settings: dict[str, Any] = {
            "strategy": {"name": "regularized", "options": {"population": 1000, "tournament": 2}},
            "budget": {"proposals": proposals, "stall": None},
            "executor": INLINE,
            "report": {"candidates": 0},
            **sections,
        }
        search = Search(NO_OP, options={"alphabet": GENOMES, **options}, runs_dir=str(folder), name="noop", **settings)
        began, cpu = time.perf_counter(), time.process_time()
        result = search.run(observer=observe)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        samples.append(Sample(proposals, resident_mb(), time.process_time()))
        database = Path(result.path) / "run.db"
        return {
            "candidates": result.status["counts"]["committed"],
            "wall_s": wall,
            "cpu_s": cpu,
            "rate": proposals / wall,
            "windows": windows(database, window, proposals),
            "windows_per_cpu_s": windows_per_cpu_second(samples, window, proposals),
            "memory_mb": memory(samples, 2 * window),
            "counts": result.status["counts"],
            "seconds": result.status["seconds"],
            "disk_mb": sum(f.stat().st_size for f in database.parent.rglob("*") if f.is_file()) / 2**20,
            "state": result.state,
            "reason": result.reason,
        }


def windows(database: Path, window: int, proposals: int) -> dict[str, float]:
    """Candidates/s of the second and the last window and of all after the first, from the arrival times of evaluations.

    Needs a run in which nearly every candidate is evaluated. NaN where the run is shorter than three windows.
    """
    arrived: list[float] = []
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        for candidate, finished in connection.execute("SELECT id, finished FROM evaluations ORDER BY id"):
            while len(arrived) * window <= candidate:
                arrived.append(finished)
            last = finished
    arrived.append(last)
    if proposals < 3 * window:
        return {"second": float("nan"), "last": float("nan"), "steady": float("nan")}
    full = proposals // window
    ends = arrived[: full + 1]
    return {
        "second": window / (ends[2] - ends[1]),
        "last": window / (ends[full] - ends[full - 1]),
        "steady": (full - 1) * window / (ends[full] - ends[1]),
    }


def windows_per_cpu_second(samples: Sequence[Sample], window: int, proposals: int) -> dict[str, float]:
    """The same rates a second of this process's processor time: they hold on a machine that others use as well.

    Interpolated between samples, which come five times a second.
    """
    proposed, seconds = [s.proposals for s in samples], [s.cpu_s for s in samples]
    start, second, before, last = np.interp([window, 2 * window, proposals - window, proposals], proposed, seconds)
    return {
        "second": float(window / (second - start)) if second > start else float("nan"),
        "last": float(window / (last - before)) if last > before else float("nan"),
    }


def memory(samples: Sequence[Sample], settled: int) -> dict[str, float]:
    """Resident memory once `settled` candidates had been proposed, at the end, its largest value, and the growth."""
    later = [s.resident_mb for s in samples if s.proposals >= settled]
    return {"settled": later[0], "end": later[-1], "largest": max(later), "growth": max(later) - later[0]}
