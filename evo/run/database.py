"""A SQLite file read beside a live writer, or on a read-only file system, leaving nothing behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from evo.errors import DamagedRunError, RunLockedError

BUSY_S = 3.0
"""Seconds to wait for a writer that holds the file for itself (a checkpoint's end, a network file system)."""


class ReadOnlyDatabase:
    """Rows of SELECTs; opens when first asked, and again when a writer comes or goes.

    Args:
        file: an existing file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._log = file.with_name(file.name + "-wal")
        self._db: sqlite3.Connection | None = None
        self._immutable = False
        self._version = (0, 0)

    def _connect(self) -> sqlite3.Connection:
        """Without a write-ahead log nobody writes: then the file is opened as immutable, which leaves no file behind
        and works on a read-only file system. Such a connection sees no later write, so it is opened again after one."""
        writer = self._log.exists()
        stat = self._file.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        if self._db is not None and self._immutable and (writer or version != self._version):
            self.close()
        if self._db is None:
            self._immutable, self._version = not writer, version
            suffix = "&immutable=1" if self._immutable else ""
            uri = self._file.absolute().as_uri() + "?mode=ro" + suffix
            self._db = sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
        return self._db

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of any SELECT, streamed.

        Raises:
            DamagedRunError: the database cannot be read. RunLockedError: its writer lets nobody in.
        """
        try:
            yield from self._connect().execute(query, parameters)
        except FileNotFoundError as error:
            raise DamagedRunError(f"{self._file} is gone", "the run was moved or deleted meanwhile") from error
        except sqlite3.OperationalError as error:
            text = str(error)
            if "locked" in text:
                raise RunLockedError(
                    f"{self._file} is locked by its writer",
                    "on a network file system a run can be read once it has stopped",
                ) from error
            self._fail(error)
        except sqlite3.DatabaseError as error:
            self._fail(error)

    def _fail(self, error: sqlite3.Error) -> None:
        text = str(error)
        if "no such table" in text:
            raise DamagedRunError(
                f"{self._file} is a database, but no run of evo ({text})",
                "name another folder; if the run has just been started, try again",
            ) from error
        if "not a database" in text:
            raise DamagedRunError(
                f"{self._file} is no SQLite database, or its head is broken", "restore it from a copy"
            ) from error
        raise DamagedRunError(
            f"{self._file} cannot be read: {text}",
            f"restore it from a copy, or save what is readable: sqlite3 {self._file} .recover | sqlite3 recovered.db",
        ) from error

    def _one(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        return next(iter(list(self.rows(query, parameters))), None)

    def close(self) -> None:
        """Close the database; idempotent."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
