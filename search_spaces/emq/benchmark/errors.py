"""The errors of the benchmark: a file that is no benchmark, one that is damaged, a model or data that do not fit."""

from __future__ import annotations

from evo.errors import UsageError
from search_spaces.building.errors import BenchmarkError, DamagedBenchmarkError

__all__ = ["BenchmarkError", "BenchmarkFileError", "DamagedBenchmarkError"]


class BenchmarkFileError(UsageError, ValueError):
    """A file that should hold a benchmark holds something else."""
