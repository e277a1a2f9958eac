"""What makes two journals equal: what was proposed, identified, observed, committed; never when, where or how often."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import xxhash

PARTS = {
    "chunks": "SELECT told, MIN(first_id) FROM chunks GROUP BY told, window_end ORDER BY MIN(first_id)",
    "proposals": "SELECT * FROM proposals ORDER BY id",
    "identities": "SELECT * FROM identities ORDER BY id",
    "late_identities": "SELECT * FROM late_identities ORDER BY id",
    "observations": "SELECT function, rung, seed, request, status, vals, behaviour, extra, fingerprint"
    " FROM observations ORDER BY function, rung, seed, request",
    "commits": "SELECT * FROM commits ORDER BY id",
}


def journal_parts(path: Path) -> dict[str, str]:
    """A digest for each compared table of `<path>/run.db`.

    `chunks` counts windows, so that a run extended past a budget equals a longer one; failure messages are left out,
    since a traceback may name a worker.
    """
    database = path / "run.db" if path.is_dir() else path
    connection = sqlite3.connect(database.absolute().as_uri() + "?mode=ro", uri=True)
    try:
        parts = {}
        for name, query in PARTS.items():
            digest = xxhash.xxh3_128()
            for row in connection.execute(query):
                digest.update(repr(row).encode())
            parts[name] = digest.hexdigest()
        return parts
    finally:
        connection.close()


def journal_digest(path: Path | str) -> str:
    """One digest of a run's journal: equal for equal journals (see `PARTS`)."""
    parts = journal_parts(Path(path))
    return xxhash.xxh3_128_hexdigest("".join(f"{k}={v};" for k, v in sorted(parts.items())).encode())
