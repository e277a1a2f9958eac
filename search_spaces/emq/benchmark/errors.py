"""The errors of the benchmark: a file that is no benchmark, one that is damaged, a model or data that do not fit."""

from __future__ import annotations

from evo.errors import EvoError, UsageError


class BenchmarkError(UsageError, ValueError):
    """What was asked of a benchmark does not fit: a name, a setting, rows, a model or data of the user's own."""


class BenchmarkFileError(UsageError, ValueError):
    """A file that should hold a benchmark holds something else."""


class DamagedBenchmarkError(EvoError):
    """A file of ours whose content does not match its checksum, or that is cut short."""
