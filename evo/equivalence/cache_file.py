"""The shared cache's tables, and SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evo.errors import DamagedRunError, RunLockedError, StorageFullError, UsageError

APPLICATION_ID = 0x45564F43
"""Stands in the file's header ("EVOC")."""

CACHE_SCHEMA = 1
"""Stands in the file's header; raised with every change of the tables."""

TABLES = (
    "CREATE TABLE IF NOT EXISTS namespaces (namespace INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE,"
    " description TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS batches (batch INTEGER PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS functions (function INTEGER PRIMARY KEY, namespace INTEGER NOT NULL,"
    " batch INTEGER NOT NULL, genome TEXT)",
    "CREATE INDEX IF NOT EXISTS functions_of_namespace ON functions (namespace)",
    "CREATE TABLE IF NOT EXISTS aliases (namespace INTEGER NOT NULL, alias BLOB NOT NULL, function INTEGER NOT NULL,"
    " batch INTEGER NOT NULL, PRIMARY KEY (namespace, alias)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS observations (function INTEGER NOT NULL, rung TEXT NOT NULL, seed INTEGER NOT NULL,"
    " batch INTEGER NOT NULL, status TEXT NOT NULL, vals BLOB NOT NULL, behaviour BLOB, extra TEXT, message TEXT,"
    " fingerprint BLOB, PRIMARY KEY (function, rung, seed)) WITHOUT ROWID",
)

_WRITE_FAILURES = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_SHMSIZE,
}


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process holds the file."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises typed errors for what can befall the cache's file; programming errors pass unchanged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = extended & 0xFF
        if code == sqlite3.SQLITE_FULL or extended in _WRITE_FAILURES:
            raise StorageFullError(
                f"cannot write the shared cache {path}: {error}",
                "free some space: what was published before is safe, and publishing again adds the rest",
            ) from error
        if is_busy(error):
            raise RunLockedError(
                f"another process holds the shared cache {path}: {error}",
                "try again when it is done, or give this run a cache of its own",
            ) from error
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            raise UsageError(
                f"cannot open the shared cache {path} for writing: {error}",
                "name a file in a folder you may write to, or switch the shared cache off",
            ) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR) or "no such table" in str(
            error
        ):
            raise DamagedRunError(
                f"the shared cache {path} cannot be read: {error}",
                "delete the file (it only saves time), or name another",
            ) from error
        raise
