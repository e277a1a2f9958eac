"""The errors of builds: what was asked does not fit, or a file of ours is damaged."""

from __future__ import annotations

from evo.errors import EvoError, UsageError


class BenchmarkError(UsageError, ValueError):
    """What was asked of a benchmark does not fit: a name, a setting, rows, a model or data of the user's own."""


class DamagedBenchmarkError(EvoError):
    """A file of ours whose content does not match its checksum, or that is cut short."""
