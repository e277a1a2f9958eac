"""The writer of run.db: one SQLite file a run, one writer, append-only tables.

What each call writes becomes durable at `commit` (WAL, synchronous=NORMAL: a killed process loses nothing that was
committed; a power cut may lose the last commits but never corrupts). On a network file system, where WAL is not safe,
a truncated rollback journal under an exclusive lock is used instead.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from evo.errors import DamagedRunError, SchemaError, StorageFullError
from evo.run.schema import SCHEMA_VERSION, TABLES
from evo.space import Observation

_DOUBLE = struct.Struct("<d")
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "beegfs", "9p", "fuse.sshfs", "ceph"}


def pack(values: Sequence[float] | None) -> bytes | None:
    """Floats as little-endian float64; None stays None."""
    if values is None:
        return None
    if len(values) == 1:
        return _DOUBLE.pack(values[0])
    return struct.pack(f"<{len(values)}d", *values)


def unpack(blob: bytes | None) -> tuple[float, ...]:
    """The inverse of `pack`; None gives the empty tuple."""
    if not blob:
        return ()
    if len(blob) == 8:
        return _DOUBLE.unpack(blob)
    return struct.unpack(f"<{len(blob) // 8}d", blob)


def dump(value: Any) -> str:
    """Compact JSON text, the same bytes for equal values in every process.

    orjson writes infinities and NaN as null and refuses integers above 64 bits; such values take the slower way, which
    writes them as `json.loads` reads them back.
    """
    try:
        text = orjson.dumps(value).decode()
        if "null" not in text:
            return text
    except TypeError:
        pass
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def file_system_of(path: Path) -> str:
    """The type of the file system that holds `path` ("ext4", "nfs4", ...), or "" where /proc/mounts cannot tell."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return ""
    best, kind = "", ""
    where = str(path.resolve())
    for line in mounts:
        fields = line.split()
        point = fields[1]
        if (where == point or where.startswith(point.rstrip("/") + "/")) and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ours."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "disk is full" in text or "disk I/O error" in text:
            raise StorageFullError(
                f"cannot write {path}: {text}",
                "free some space and resume: everything stored before this is safe",
            ) from error
        if "malformed" in text or "not a database" in text or "no such table" in text or "file is encrypted" in text:
            raise DamagedRunError(
                f"{path} cannot be read: {text}",
                "restore it from a copy, or save what is readable with `sqlite3 run.db .recover`",
            ) from error
        raise


class RunStore:
    """Opens (or creates) run.db for writing. The caller holds the run's lock.

    Raises:
        DamagedRunError: the file is no readable run.
        SchemaError: another version of the schema wrote it.
        StorageFullError: on any write, when the disk is full.
    """

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self._failed = False
        if not create and not path.exists():
            raise DamagedRunError(f"{path} is missing", "the folder is no run, or its database was deleted")
        with translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=60)
            self.network = file_system_of(path.parent) in NETWORK_FILE_SYSTEMS
            if self.network:
                self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._db.execute("PRAGMA journal_mode=TRUNCATE")
            else:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA wal_autocheckpoint=4000")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("PRAGMA cache_size=-16000")
            if create:
                self._db.executescript(TABLES)
                self.set_meta(schema=SCHEMA_VERSION)
                self.commit()
        found = self.meta().get("schema")
        if found != SCHEMA_VERSION:
            raise SchemaError(
                f"{path} has schema version {found}, this version of evo writes {SCHEMA_VERSION}",
                "use the version of evo that wrote it (see meta.versions in the run), or start a new run",
            )

    # ------------------------------------------------------------------ transactions

    def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        with self._writing():
            if not self._db.in_transaction:
                self._db.execute("BEGIN")
            self._db.executemany(statement, rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """After a failed write nothing half-done may become durable: roll back, and write no more."""
        if self._failed:
            raise StorageFullError(f"{self.path}: an earlier write failed", "free some space and resume")
        try:
            with translated(self.path):
                yield
        except BaseException:
            self._failed = True
            if self._db.in_transaction:
                self._db.rollback()
            raise

    def commit(self) -> None:
        """Make everything written so far durable."""
        if self._db.in_transaction:
            with self._writing():
                self._db.execute("COMMIT")

    def close(self) -> None:
        """Commit and close; idempotent. After a failed write, what was not committed is lost, as it must be."""
        if not self._failed:
            self.commit()
        self._db.close()

    # ------------------------------------------------------------------ writing

    def set_meta(self, **values: Any) -> None:
        self._many("INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, dump(v)) for k, v in values.items()])

    def add_chunk(
        self, first_id: int, told: int, misses_untold: int, window_end: int, rows: Sequence[tuple[Any, ...]]
    ) -> None:
        """One ask: proposal rows (id, kind, genome, parents, operator, salt, thresholds)."""
        self._many(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", [(first_id, len(rows), told, misses_untold, window_end)]
        )
        self._many("INSERT INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def add_identities(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """(id, function, source, key, grid_a, grid_b, miss)."""
        self._many("INSERT INTO identities VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def add_late_identity(self, candidate: int, function: int, digest: bytes) -> None:
        self._many("INSERT OR IGNORE INTO late_identities VALUES (?, ?, ?)", [(candidate, function, digest)])

    def add_observations(self, function: int, rung: str, seeds: Sequence[int], request: int,
                         observations: Sequence[Observation]) -> list[tuple[Any, ...]]:  # fmt: skip
        """Rows for `write_observations`; built apart so that a block is written by one statement."""
        return [
            (function, rung, seed, request, o.status, pack(o.values), pack(o.behaviour),
             None if o.extra is None else dump(o.extra), o.message or None, o.fingerprint)
            for seed, o in zip(seeds, observations, strict=True)
        ]  # fmt: skip

    def write_observations(self, rows: Sequence[tuple[Any, ...]], evaluations: Sequence[tuple[Any, ...]]) -> None:
        """Observation rows, and (id, rung, seconds, attempts, worker, finished) rows beside them."""
        self._many("INSERT OR IGNORE INTO observations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if evaluations:
            self._many("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?)", evaluations)

    def add_commits(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """(id, status, rung, vals, behaviour, extra)."""
        self._many("INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?)", rows)

    def add_tells(self, rows: Sequence[tuple[int, int]]) -> None:
        self._many("INSERT INTO tells VALUES (?, ?)", rows)

    def add_snapshot(self, first_id: int, told: int, state: Any) -> None:
        self._many("INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?)", [(first_id, told, dump(state))])

    def add_audits(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._many("INSERT OR IGNORE INTO audits VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def add_event(self, kind: str, **payload: Any) -> None:
        self._many("INSERT INTO events VALUES (?, ?, ?)", [(time.time(), kind, dump(payload))])

    def replace_reports(self, rows: Sequence[Any]) -> None:
        self._many("DELETE FROM reports", [()])
        self._many("INSERT INTO reports VALUES (?)", [(json.dumps(row),) for row in rows])

    def set_status(self, status: Any) -> None:
        self._many("INSERT OR REPLACE INTO status VALUES (1, ?)", [(json.dumps(status),)])

    # ------------------------------------------------------------------ reading

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, streamed; sees what this store wrote, committed or not."""
        with translated(self.path):
            yield from self._db.execute(query, parameters)

    def one(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        with translated(self.path):
            row: tuple[Any, ...] | None = self._db.execute(query, parameters).fetchone()
            return row

    def meta(self) -> dict[str, Any]:
        return {key: json.loads(value) for key, value in self.rows("SELECT key, value FROM meta")}

    def status(self) -> dict[str, Any]:
        row = self.one("SELECT state FROM status")
        return json.loads(row[0]) if row else {}

    def observations(
        self, function: int, rung: str, seeds: Sequence[int], request: int = 0
    ) -> list[Observation] | None:
        """The stored observations, one a seed; None unless all are there."""
        found = []
        for seed in seeds:
            row = self.one(
                "SELECT status, vals, behaviour, extra, message, fingerprint FROM observations"
                " WHERE function=? AND rung=? AND seed=? AND request=?",
                (function, rung, seed, request),
            )
            if row is None:
                return None
            found.append(decode_observation(row))
        return found


def decode_observation(row: Sequence[Any]) -> Observation:
    """From (status, vals, behaviour, extra, message, fingerprint)."""
    status, values, behaviour, extra, message, fingerprint = row
    return Observation(
        unpack(values),
        status,
        unpack(behaviour) if behaviour is not None else None,
        json.loads(extra) if extra is not None else None,
        message or "",
        fingerprint,
    )
