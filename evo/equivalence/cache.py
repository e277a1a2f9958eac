"""What earlier runs found out: observations by function, shared by the runs and processes of one machine.

One SQLite file, append-only. A function has a number in the file; its aliases (see `evo.equivalence.identify`) lead to
it, and its observations are stored by rung and seed. Everything lies in a namespace, the digest of what a value depends
on beside the function: space, task, data, versions, numeric backend.

Rows are written in transactions with ascending batch numbers. A handle sees the batches up to its mark alone, so that
a search does not change when another run publishes beside it: a run notes the mark of its first hour and gives it
again when it resumes.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import orjson
import xxhash

from evo.equivalence.cache_file import APPLICATION_ID, CACHE_SCHEMA, TABLES, is_busy, translated
from evo.equivalence.digest import DIGEST_VERSION
from evo.errors import DamagedRunError, SchemaError, UsageError
from evo.run.store import NETWORK_FILE_SYSTEMS, decode_observation, dump, file_system_of, pack
from evo.space import Observation

STORED_STATUSES = frozenset({"ok", "stopped", "invalid", "nan"})
"""Facts about a function. That it timed out, crashed or raised may be the machine's doing, and is not kept."""

BUSY_TIMEOUT_S = 60.0
_PUBLISH_FUNCTIONS = 1_000
"""Functions a transaction: the write lock is held for tens of milliseconds, so that publishers take turns."""
_QUERY_KEYS = 500


class Published(NamedTuple):
    """A function as a run gives it to the cache.

    Attributes:
        aliases: its keys, 16 bytes each.
        observations: (rung, seed, observation); those whose status is no fact about the function are left out.
        genome: the JSON text of a genome that computes it, if that stands alone; for the audit at a start.
    """

    aliases: Sequence[bytes]
    observations: Iterable[tuple[str, int, Observation]]
    genome: str | None = None


class Stored(NamedTuple):
    """A function as the cache holds it: its number in the file, a genome's JSON text, its visible observations."""

    function: int
    genome: str
    observations: tuple[tuple[str, int, Observation], ...]


class Added(NamedTuple):
    """How many rows a call of `publish` added."""

    functions: int
    aliases: int
    observations: int


class SharedCache:
    """A handle on the cache; open it with `SharedCache.open`. One process and thread a handle; not across fork.

    Attributes:
        path: the file.
        mark: the last batch this handle sees.
    """

    def __init__(self, path: Path, database: sqlite3.Connection, namespace: Mapping[str, str], mark: int) -> None:
        self.path = path
        self.mark = mark
        self._database = database
        self._description = dump(dict(sorted({**namespace, "digest version": str(DIGEST_VERSION)}.items())))
        self._digest = xxhash.xxh3_128_digest(self._description.encode())
        self._namespace = self._namespace_number()

    @classmethod
    def open(cls, path: Path | str, namespace: Mapping[str, str], mark: int | None = None) -> SharedCache:
        """Opens the cache, creating the file and its folder where there is none.

        Args:
            path: the file; on a local disk, since several processes map it.
            namespace: names and versions of all that an observation depends on beside the function and the seed.
            mark: what `mark` was when this run began; None for a run that begins.

        Raises:
            DamagedRunError: the file cannot be read, or holds less than the mark says.
            SchemaError: another program's file, or another version's.
            StorageFullError: no room to create it.
            UsageError: the place cannot be written to, or is on a network file system.
            RunLockedError: another process holds the file for more than a minute.
        """
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"cannot create the folder of the shared cache {path}: {error.strerror}",
                "name a place you may write to, or switch the shared cache off",
            ) from error
        if (kind := file_system_of(path.parent)) in NETWORK_FILE_SYSTEMS:
            raise UsageError(
                f"the shared cache {path} lies on a network file system ({kind})",
                "SQLite cannot share a file between machines: put it on a local disk",
            )
        with translated(path):
            database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            try:
                _check_kind(path, database)
                _create(database)
                (last,) = database.execute("SELECT coalesce(max(batch), 0) FROM batches").fetchone()
                if mark is not None and mark > last:
                    raise DamagedRunError(
                        f"the shared cache {path} ends at batch {last}, but this run began with batch {mark}",
                        "the file was replaced or cut: put the old one back, or start a new run",
                    )
                return cls(path, database, namespace, last if mark is None else mark)
            except BaseException:
                database.close()
                raise

    def close(self) -> None:
        """Idempotent."""
        self._database.close()

    def __enter__(self) -> SharedCache:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------------ reading

    def __len__(self) -> int:
        """The number of functions visible in this namespace."""
        query = "SELECT count(*) FROM functions WHERE namespace=? AND batch<=?"
        return int(self._rows(query, (self._namespace, self.mark))[0][0])

    def find(self, aliases: Sequence[Sequence[bytes]]) -> list[int | None]:
        """The functions of candidates.

        Args:
            aliases: the keys of each candidate.

        Returns:
            For each the smallest number in this file of a function that has one of the keys; None if there is none.
        """
        known = self._owners({alias for one in aliases for alias in one}, self._namespace, self.mark)
        if not known:
            return [None] * len(aliases)
        return [min((known[alias] for alias in one if alias in known), default=None) for one in aliases]

    def observations(self, function: int, rung: str, seeds: Sequence[int]) -> list[Observation | None]:
        """What is known of a function, one entry a seed in order; None where nothing is.

        Args:
            function: a number that `find` gave.
            rung: the protocol's name.
            seeds: the replicate seeds wanted.
        """
        query = (
            "SELECT status, vals, behaviour, extra, message, fingerprint FROM observations"
            " WHERE function=? AND rung=? AND seed=? AND batch<=?"
        )
        found = [self._rows(query, (function, rung, seed, self.mark)) for seed in seeds]
        return [decode_observation(rows[0]) if rows else None for rows in found]

    def sample(self, rng: np.random.Generator, n: int) -> list[Stored]:
        """Draws stored functions for an audit, without repetition.

        Args:
            rng: the source of randomness.
            n: how many are wanted; fewer come where fewer are visible that have a genome.
        """
        query = "SELECT function FROM functions WHERE namespace=? AND batch<=? AND genome IS NOT NULL ORDER BY function"
        functions = [row[0] for row in self._rows(query, (self._namespace, self.mark))]
        chosen = rng.choice(len(functions), min(n, len(functions)), replace=False).tolist() if functions else []
        stored = []
        for number in chosen:
            function = functions[number]
            ((genome,),) = self._rows("SELECT genome FROM functions WHERE function=?", (function,))
            rows = self._rows(
                "SELECT rung, seed, status, vals, behaviour, extra, message, fingerprint FROM observations"
                " WHERE function=? AND batch<=? ORDER BY rung, seed",
                (function, self.mark),
            )
            stored.append(
                Stored(function, genome, tuple((row[0], row[1], decode_observation(row[2:])) for row in rows))
            )
        return stored

    # ------------------------------------------------------------------ writing

    def publish(self, functions: Iterable[Published]) -> Added:
        """Adds what a run found out; what is there stays as it is.

        Functions that share an alias with a stored one (or with each other) become one, with the smallest number.
        Publishing again adds nothing, also after a call that was cut short: whole transactions are kept. Functions
        without aliases or without facts are passed over. This handle does not see what it publishes.

        Args:
            functions: consumed in portions; those of one portion are written in the order of their aliases.

        Raises:
            StorageFullError: the disk is full; portions written before are kept.
            RunLockedError: another process held the file for more than a minute.
        """
        total = Added(0, 0, 0)
        remaining = iter(functions)
        while portion := list(islice(remaining, _PUBLISH_FUNCTIONS)):
            added = self._publish_portion(sorted(portion, key=lambda entry: sorted(entry.aliases)))
            total = Added(*(before + more for before, more in zip(total, added, strict=True)))
        return total

    def _publish_portion(self, portion: Sequence[Published]) -> Added:
        facts: list[tuple[Published, list[tuple[str, int, Observation]]]] = []
        for entry in portion:
            kept = [row for row in entry.observations if row[2].status in STORED_STATUSES]
            if entry.aliases and kept:
                facts.append((entry, kept))
        if not facts:
            return Added(0, 0, 0)
        with self._transaction() as execute_many:
            namespace = self._namespace_number(create=True)
            batch = int(self._rows("SELECT coalesce(max(batch), 0) FROM batches")[0][0]) + 1
            number = int(self._rows("SELECT coalesce(max(function), 0) FROM functions")[0][0])
            owners = self._owners({alias for entry, _ in facts for alias in entry.aliases}, namespace, batch)
            function_rows: list[tuple[Any, ...]] = []
            alias_rows: list[tuple[Any, ...]] = []
            observation_rows: list[tuple[Any, ...]] = []
            for entry, kept in facts:
                known = [owners[alias] for alias in entry.aliases if alias in owners]
                if known:
                    function = min(known)
                else:
                    number = function = number + 1
                    function_rows.append((function, namespace, batch, entry.genome))
                for alias in entry.aliases:
                    if alias not in owners:
                        owners[alias] = function
                        alias_rows.append((namespace, alias, function, batch))
                observation_rows += [(function, rung, seed, batch, *_encode(fact)) for rung, seed, fact in kept]
            execute_many("INSERT INTO functions VALUES (?, ?, ?, ?)", function_rows)
            execute_many("INSERT INTO aliases VALUES (?, ?, ?, ?)", alias_rows)
            before = self._database.total_changes
            execute_many("INSERT OR IGNORE INTO observations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", observation_rows)
            added = Added(len(function_rows), len(alias_rows), self._database.total_changes - before)
            if any(added):
                execute_many("INSERT INTO batches VALUES (?)", [(batch,)])
        return added

    # ------------------------------------------------------------------ details

    def _rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return self._database.execute(query, parameters).fetchall()

    def _owners(self, aliases: Iterable[bytes], namespace: int | None, mark: int) -> dict[bytes, int]:
        """Functions of those aliases that are there."""
        owners: dict[bytes, int] = {}
        if namespace is None:
            return owners
        remaining = iter(sorted(aliases))
        while part := list(islice(remaining, _QUERY_KEYS)):
            query = (
                "SELECT alias, function FROM aliases WHERE namespace=? AND batch<=?"
                f" AND alias IN ({','.join('?' * len(part))})"
            )
            owners.update(self._rows(query, (namespace, mark, *part)))
        return owners

    def _namespace_number(self, create: bool = False) -> int | None:
        if create:
            with translated(self.path):
                self._database.execute(
                    "INSERT OR IGNORE INTO namespaces (digest, description) VALUES (?, ?)",
                    (self._digest, self._description),
                )
        rows = self._rows("SELECT namespace FROM namespaces WHERE digest=?", (self._digest,))
        return rows[0][0] if rows else None

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        with translated(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database.executemany
                self._database.execute("COMMIT")
            except BaseException:
                # A full disk ends the transaction by itself.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


def _encode(fact: Observation) -> tuple[Any, ...]:
    extra = None if fact.extra is None else orjson.dumps(fact.extra, option=orjson.OPT_SORT_KEYS).decode()
    return (fact.status, pack(fact.values), pack(fact.behaviour), extra, fact.message or None, fact.fingerprint)


def _check_kind(path: Path, database: sqlite3.Connection) -> None:
    """Refuses a file that is not ours before anything is written to it."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        return
    if application != APPLICATION_ID:
        raise SchemaError(f"{path} is a database of another program", "name another file for the shared cache")
    if version != CACHE_SCHEMA:
        raise SchemaError(
            f"the shared cache {path} has schema version {version}, this version of evo writes {CACHE_SCHEMA}",
            "name another file for the shared cache, or use the version of evo that wrote it",
        )


def _create(database: sqlite3.Connection) -> None:
    """Tables where there are none; several processes may do this at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            # Changing the journal's mode does not wait for other connections by itself.
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    database.execute("PRAGMA synchronous=NORMAL")
    database.execute("PRAGMA cache_size=-32000")
    if database.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID:
        return
    database.execute("BEGIN IMMEDIATE")
    try:
        for statement in TABLES:
            database.execute(statement)
        database.execute(f"PRAGMA application_id={APPLICATION_ID}")
        database.execute(f"PRAGMA user_version={CACHE_SCHEMA}")
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
