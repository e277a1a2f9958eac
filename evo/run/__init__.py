"""The run directory: journal, snapshots, status, lock. `RunReader` for reading; the engine alone writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evo.run.journal import journal_digest as journal_digest
    from evo.run.reader import RunReader as RunReader

__all__ = ["RunReader", "journal_digest"]


def __getattr__(name: str) -> Any:
    """Load on use: the journal needs xxhash, the reader nothing beyond the standard library."""
    if name == "journal_digest":
        from evo.run.journal import journal_digest

        return journal_digest
    if name == "RunReader":
        from evo.run.reader import RunReader

        return RunReader
    raise AttributeError(name)
